//! Creates many users, and walks their list.

use std::time::Duration;

use flexgate_simulator::Config;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use crate::common::{Scim, scim_over};

/// Starts the SCIM function with `count` users at the simulated Twilio.
pub async fn world_of(count: usize) -> Scim {
    let scim = scim_over(Config::default(), &[]).await;
    scim.world.ask(Method::POST, "/__sim/users", &json!({ "count": count })).await;
    scim
}

/// Reads the list page by page, as Okta does. Returns the number of requests to Twilio and the total time.
pub async fn walk(scim: &mut Scim, count: usize, total: usize, fresh_instances: bool) -> (usize, Duration) {
    scim.world.forget_calls().await;
    let (mut start, mut calls, mut seen, mut time) = (1, 0, Vec::new(), Duration::ZERO);
    loop {
        if fresh_instances {
            scim.restarted();
        }
        let began = Instant::now();
        let list = scim.get(&format!("/Users?startIndex={start}&count={count}")).await.is(200);
        time += began.elapsed();
        assert_eq!(list["totalResults"], total);
        let page = list["Resources"].as_array().unwrap();
        seen.extend(page.iter().map(|user| user["userName"].as_str().unwrap().to_owned()));
        start += page.len();
        calls += scim.calls().await.len();
        scim.world.forget_calls().await;
        if start > total {
            break;
        }
    }
    assert_eq!(seen.len(), total);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), total, "nobody twice");
    (calls, time)
}
