//! Tests that a SIGKILL at any moment loses no confirmed change.

use super::{Other, config, everybody};
use crate::common::{send, sim_with};
use serde_json::json;

#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut other = Other::start(folder.path()).await;
    let mut acknowledged = Vec::new();
    let mut writers = tokio::task::JoinSet::new();
    let (first, mut enough) = tokio::sync::mpsc::channel(1);
    for writer in 0..4 {
        let requests: Vec<_> = (0..2000).map(|n| format!("user-{writer}-{n}")).collect();
        let requests: Vec<_> = requests.into_iter().map(|name| (other.provision(&name), name)).collect();
        let first = first.clone();
        writers.spawn(async move {
            let mut done = Vec::new();
            for (request, name) in requests {
                match send(request).await {
                    Ok(answer) if answer.status() == 201 => {
                        done.push(name);
                        if done.len() == 50 {
                            // This fails if another writer was faster.
                            let _ = first.try_send(());
                        }
                    }
                    // The simulator was killed during this request.
                    _ => break,
                }
            }
            done
        });
    }
    enough.recv().await.unwrap();
    other.kill();
    while let Some(done) = writers.join_next().await {
        acknowledged.extend(done.unwrap());
    }
    assert!(!acknowledged.is_empty());

    let sim = sim_with(config(folder.path())).await;
    let users = everybody(&sim).await;
    let kept: std::collections::HashSet<&str> = users.iter().map(|user| user["username"].as_str().unwrap()).collect();
    for name in &acknowledged {
        assert!(kept.contains(name.as_str()), "{name} of {}", acknowledged.len());
    }
    assert!(kept.len() <= acknowledged.len() + 4, "at most one under way for each writer");
    let (_, found) = sim.get(&sim.users(&format!("?Username={}", acknowledged[0]))).await;
    assert_eq!(found["users"][0]["roles"], json!(["agent"]));
}
