//! Tests that a person can have only one sign-in at a time, with two gateway processes that share one store.

use flexgate_test_support::{Browser, Process, Reply, World, free_port};
use tokio::task::JoinSet;

const BINARY: &str = env!("CARGO_BIN_EXE_flexgate");
const SINGLE: [(&str, &str); 1] = [("FLEXGATE_SESSION_POLICIES", r#"{"default": {"sessions_per_person": 1}}"#)];
const BROWSERS: usize = 50;
const ROUNDS: usize = 10;

/// Two gateway processes. The tokens of the simulated Twilio expire so soon that Flexgate refreshes a token each time a
/// page asks for it.
async fn two_processes() -> (World, [Process; 2]) {
    let world = World::start().await;
    world.simulator.switch(|switches| switches.sso_token_ttl_seconds = 240);
    let processes = [(); 2].map(|()| Process::live_with(BINARY, &world, free_port(), &SINGLE));
    (world, processes)
}

/// A browser that has authenticated as ada, and the path of the callback that signs it in.
async fn authenticated(world: &World, process: &Process) -> (Browser, String) {
    let mut browser = Browser::new(process.router());
    let authorize = browser.begin("/sso/default/login?return_to=/desk").await;
    let callback = browser.authenticate(world, &authorize, Some("ada")).await;
    (browser, callback)
}

/// Lets every browser ask for a token at once. Returns the numbers of the browsers that got one.
async fn with_tokens(browsers: &[Browser]) -> Vec<usize> {
    let mut asking = JoinSet::new();
    for (index, browser) in browsers.iter().cloned().enumerate() {
        let mut browser = browser;
        asking.spawn(async move { (index, browser.call("/sso/token").await) });
    }
    asking.join_all().await.into_iter().filter(|(_, reply)| is_token(reply)).map(|(index, _)| index).collect()
}

/// Whether the answer is a token. Any other answer must say that the person has signed in elsewhere.
fn is_token(reply: &Reply) -> bool {
    if reply.status != 200 {
        assert_eq!(reply.problem(), (401, "signed_in_elsewhere".into()));
    }
    reply.status == 200
}

async fn refreshes(world: &World) -> usize {
    let journal = world.journal("OAuth/Tokens").await;
    journal.iter().filter(|request| request["body"].to_string().contains("RefreshToken")).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn g20_of_fifty_sign_ins_at_once_one_browser_refreshes() {
    let (world, processes) = two_processes().await;
    let mut ready = Vec::new();
    for index in 0..BROWSERS {
        ready.push(authenticated(&world, &processes[index % 2]).await);
    }
    let mut signing_in = JoinSet::new();
    for (index, (mut browser, callback)) in ready.into_iter().enumerate() {
        // From now on, the browser talks to the other process, as can happen behind a load balancer.
        let other = processes[(index + 1) % 2].router();
        signing_in.spawn(async move {
            assert_eq!(browser.get(&callback).await.status, 303);
            browser.at(other)
        });
    }
    let browsers = signing_in.join_all().await;
    assert_eq!(with_tokens(&browsers).await.len(), 1);
    assert_eq!(refreshes(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn g20_a_browser_that_signs_in_during_a_refresh_displaces_the_other() {
    let (world, processes) = two_processes().await;
    let (mut newest, callback) = authenticated(&world, &processes[0]).await;
    assert_eq!(newest.get(&callback).await.status, 303);
    for round in 1..=ROUNDS {
        let (mut next, callback) = authenticated(&world, &processes[round % 2]).await;
        let mut older = newest.clone();
        let (signed_in, asked) = tokio::join!(next.get(&callback), older.call("/sso/token"));
        assert_eq!(signed_in.status, 303);
        // The older browser may have asked before the newer one signed in. So it gets either a token, or the answer
        // that the person has signed in elsewhere.
        let _either = is_token(&asked);
        let before = refreshes(&world).await;
        assert_eq!(with_tokens(&[older, next.clone()]).await, [1], "round {round}");
        assert_eq!(refreshes(&world).await, before + 1, "round {round}");
        newest = next;
    }
}
