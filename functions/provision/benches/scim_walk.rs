//! Measures how long it takes to read the whole list of users page by page, with 10,000 and with 20,000 users. Fails if
//! 20,000 users need more than 2.2 times the requests or more than 2.2 times the time of 10,000 users.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails as tests do, and says what it measured")]

#[path = "../tests/scim/common.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod common;
#[path = "../tests/scim/many.rs"]
mod many;

#[tokio::main]
async fn main() {
    let mut cost = Vec::new();
    for total in [10_000, 20_000] {
        let mut world = many::world_of(total).await;
        let (calls, time) = many::walk(&mut world, 100, total, false).await;
        let seconds = time.as_secs_f64();
        println!("{total} users: {calls} calls of Twilio, {seconds:.2} s");
        cost.push((u32::try_from(calls).unwrap(), seconds));
    }
    let (once, twice) = (cost[0], cost[1]);
    let ratios = (f64::from(twice.0) / f64::from(once.0), twice.1 / once.1);
    println!("twice as many cost {:.2} times the calls and {:.2} times the time; at most 2.2", ratios.0, ratios.1);
    assert!(ratios.0 <= 2.2 && ratios.1 <= 2.2);
}
