//! Tests that the state survives a restart, and that the cost of a save does not grow with the state.

mod constant;
mod damage;
mod killed;
mod restart;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{CALLBACK, Sim, client, sim_with};
use flexgate_simulator::{Config, Simulator};
use serde_json::{Value, json};

const FOLDER: &str = "SIMULATOR_TEST_FOLDER";

pub fn config(folder: &Path) -> Config {
    Config { data_dir: Some(folder.to_owned()), trusted_urls: vec![CALLBACK.to_owned()], ..Config::default() }
}

/// A simulator in another process, so that a test can kill it.
pub struct Other {
    child: Child,
    url: String,
    http: reqwest::Client,
}

/// Runs a simulator for [`Other`]. [`Other`] starts this test program again with only this function. In a normal test
/// run, this function does nothing.
#[tokio::test]
async fn other_process() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let simulator = Simulator::start(config(&folder)).await.unwrap();
    std::fs::write(folder.join("url.new"), simulator.url()).unwrap();
    std::fs::rename(folder.join("url.new"), folder.join("url")).unwrap();
    tokio::time::sleep(Duration::from_mins(5)).await;
}

impl Other {
    pub async fn start(folder: &Path) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "storage::other_process"])
            .env(FOLDER, folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut other = Self { child, url: String::new(), http: client().build().unwrap() };
        for _ in 0..600 {
            if let Ok(url) = std::fs::read_to_string(folder.join("url")) {
                other.url = url;
                return other;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the other process did not start");
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process at once (SIGKILL on Unix).
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn users(&self, rest: &str) -> String {
        format!("{}/flex-api/v4/Instances/{}/Users{rest}", self.url, flexgate_simulator::INSTANCE_SID)
    }

    pub fn provision(&self, username: &str) -> reqwest::RequestBuilder {
        use flexgate_simulator::{ACCOUNT_SID, AUTH_TOKEN};
        self.http.post(self.users("/Provision")).basic_auth(ACCOUNT_SID, Some(AUTH_TOKEN)).json(&json!({
            "username": username, "email": "user@example.com", "full_name": "Some User", "roles": ["agent"], "worker": {},
        }))
    }

    pub async fn control(&self, request: reqwest::RequestBuilder) -> Value {
        crate::common::send(request).await.unwrap().json().await.unwrap()
    }

    pub fn at_control(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method, format!("{}/__sim/{path}", self.url))
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub async fn restarted(sim: Sim, folder: &Path) -> Sim {
    sim.simulator.shutdown().await;
    sim_with(config(folder)).await
}

pub async fn everybody(sim: &Sim) -> Vec<Value> {
    sim.get(&sim.at("/__sim/users")).await.1["users"].as_array().unwrap().clone()
}
