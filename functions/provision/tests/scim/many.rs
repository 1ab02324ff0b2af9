//! Many users, and walking their list.

use std::time::Duration;

use flexgate_simulator::{Config, Simulator};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::common::{World, world_over};

/// A world whose Twilio has that many users, made from one of them by copying the simulator's own state.
pub async fn world_of(count: usize) -> World {
    let folder = tempfile::tempdir().unwrap().keep();
    let config = Config { data_dir: Some(folder.clone()), ..Config::default() };
    let seed = world_over(config.clone(), &[]).await;
    seed.at_twilio("seed", &["agent"]).await;
    let World { simulator, .. } = seed;
    Simulator::shutdown(simulator).await;
    let file = folder.join("state.json");
    let mut state: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let one = state["directory"]["users"][0].clone();
    let users: Vec<Value> = (0..count)
        .map(|n| {
            let mut user = one.clone();
            user["sid"] = json!(format!("FU{n:032x}"));
            user["username"] = json!(format!("user{n:06}"));
            user
        })
        .collect();
    state["directory"]["users"] = users.into();
    std::fs::write(&file, state.to_string()).unwrap();
    let world = world_over(config, &[]).await;
    std::fs::remove_dir_all(folder).unwrap();
    world
}

/// Walks the list as Okta does; how many calls Twilio got, and how long the answers took.
pub async fn walk(world: &mut World, count: usize, total: usize, fresh_instances: bool) -> (usize, Duration) {
    world.forget_calls().await;
    let (mut start, mut calls, mut seen, mut time) = (1, 0, Vec::new(), Duration::ZERO);
    loop {
        if fresh_instances {
            world.restarted();
        }
        let began = Instant::now();
        let list = world.get(&format!("/Users?startIndex={start}&count={count}")).await.is(200);
        time += began.elapsed();
        assert_eq!(list["totalResults"], total);
        let page = list["Resources"].as_array().unwrap();
        seen.extend(page.iter().map(|user| user["userName"].as_str().unwrap().to_owned()));
        start += page.len();
        calls += world.calls().await.len();
        world.forget_calls().await;
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
