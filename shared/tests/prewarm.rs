//! Tests that the prefetching of secrets and keys delays the start of a function only for a limited time, and that a
//! function that cannot start reports why.

use std::time::Duration;

use flexgate::lambda;
use tokio::time::Instant;

#[tokio::test]
async fn what_does_not_come_in_time_is_let_go() {
    let began = Instant::now();
    lambda::prewarm(Duration::from_millis(50), |_| tokio::time::sleep(Duration::from_mins(1))).await;
    assert!((Duration::from_millis(50)..Duration::from_secs(30)).contains(&began.elapsed()));
}

#[tokio::test]
async fn nothing_is_fetched_ahead_where_the_time_for_it_is_zero() {
    lambda::prewarm(Duration::ZERO, |_| async { unreachable!("asked not to") }).await;
}

#[test]
fn a_function_that_fails_says_so() {
    lambda::run(async { Ok(()) }).unwrap();
    assert_eq!(lambda::run(async { Err("no settings".into()) }).unwrap_err().to_string(), "no settings");
}
