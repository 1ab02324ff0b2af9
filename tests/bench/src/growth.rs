//! Measures how three costs grow with the number of users and rows: the costs of events in `apply`, of lists of SCIM
//! users, and of store operations.
//!
//! The bench measures only a function's own processor time, not the simulator's. If possible, it keeps its files in
//! memory.

use std::path::Path;
use std::sync::Arc;

use flexgate::domain::{FlexUserSid, Identity};
use flexgate::store::{Bindings, Counters, OnceOnly, Session, SessionKey, SessionOrigin, Sessions, SqliteStore};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::functions::good;
use crate::lambda::{Function, Start, cpu_seconds, http_event};
use crate::report::{Report, median, progress, row, rule, section, short};
use crate::subjects::{Places, event};
use crate::upstream::{SCIM_TOKEN, Upstream};

/// The maximum ratio of the costs per item at two successive sizes. With linear growth, the ratio is 1.
const LINEAR: f64 = 1.15;

/// Measures the parts `apply`, `walk` and `store`. Skips a part if `wants` returns false for its name.
pub async fn measure(places: &Places, folder: &Path, quick: bool, wants: impl Fn(&str) -> bool, report: &Report) {
    let memory = Path::new("/dev/shm");
    let here = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir_in(folder) }.unwrap();
    if wants("apply") {
        section("Events through apply");
        let users: &[usize] = if quick { &[1_000, 5_000] } else { &[1_000, 10_000, 100_000] };
        apply(places, here.path(), users, report).await;
    }
    if wants("walk") {
        section("The list of users, walked by SCIM");
        let users: &[usize] = if quick { &[2_000, 4_000] } else { &[10_000, 20_000] };
        scim(places, here.path(), users, report).await;
    }
    if wants("store") {
        section("Operations of the store");
        let rows: &[usize] = if quick { &[10_000, 50_000] } else { &[10_000, 100_000, 1_000_000] };
        store(here.path(), rows, report).await;
    }
}

/// Starts the upstream services with `users` Flex users, named `person000000`, `person000001` and so on.
async fn populated(folder: &Path, users: usize) -> Upstream {
    progress(&format!("making {users} users"));
    let upstream = Arc::new(Upstream::start(folder));
    let mut tasks = JoinSet::new();
    for worker in 0..8 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(async move {
            for number in (worker..users).step_by(8) {
                upstream.provision(&format!("person{number:06}")).await;
            }
        });
    }
    tasks.join_all().await;
    Arc::into_inner(upstream).unwrap()
}

fn function(places: &Places, upstream: &Upstream, name: &str) -> Start {
    let mut variables = upstream.variables();
    variables.push(("FLEXGATE_STORE", "dynamodb:flexgate".to_owned()));
    Start { command: vec![places.binaries.join(name).display().to_string()], variables, group: None }
}

/// The number of turns for each size. The sizes take turns, so that other load on the machine affects all sizes
/// equally.
const TURNS: usize = 10;

async fn apply(places: &Places, folder: &Path, sizes: &[usize], report: &Report) {
    const EACH: usize = 500;
    let mut all = Vec::new();
    for &users in sizes {
        let upstream = populated(&folder.join(format!("apply-{users}")), users).await;
        let mut apply = Function::start(&function(places, &upstream, "flexgate-apply")).await;
        // Apply one event for each person first, so that the measured events are changes to known people. Batches have
        // ten events, as with SQS.
        progress(&format!("{users} first events"));
        for people in (0..users).collect::<Vec<_>>().chunks(10) {
            deliver(&mut apply, people, 0).await;
        }
        all.push((users, apply, upstream));
    }
    let mut taken = vec![(0.0, 0.0); sizes.len()];
    for turn in 0..TURNS {
        for ((users, apply, _), taken) in all.iter_mut().zip(&mut taken) {
            let (began, used) = (Instant::now(), cpu_seconds(apply.pid()));
            for some in 0..EACH / 10 {
                let first = turn * EACH + some * 10;
                let people: Vec<usize> = (first..first + 10).map(|n| n * 7_919 % *users).collect();
                deliver(apply, &people, *users + first).await;
            }
            taken.0 += began.elapsed().as_secs_f64();
            taken.1 += cpu_seconds(apply.pid()) - used;
        }
    }
    row(["users", "events a second", "events a second of its own processor time"]);
    rule(3);
    let events = f64::from(u32::try_from(TURNS * EACH).unwrap());
    for ((users, apply, _), (wall, used)) in all.into_iter().zip(&taken) {
        row([&users.to_string(), &short(events / wall), &short(events / used)]);
        apply.end().await;
    }
    println!();
    let cost: Vec<f64> = taken.iter().map(|(_, used)| *used).collect();
    grown("an event's cost", "users", sizes, &cost, report);
}

/// Checks that the cost per item at each size is at most `LINEAR` times the cost per item at the next smaller size.
fn grown(what: &str, of: &str, sizes: &[usize], cost: &[f64], report: &Report) {
    for (sizes, costs) in sizes.windows(2).zip(cost.windows(2)) {
        report.at_most(&format!("{what} at {} {of} over {}", sizes[1], sizes[0]), costs[1] / costs[0], LINEAR, " x");
    }
}

async fn deliver(apply: &mut Function, people: &[usize], count: usize) {
    let records = people.iter().enumerate().map(|(at, person)| {
        json!({ "messageId": format!("m{at}"), "body": event(count + at, *person),
                "attributes": { "MessageGroupId": format!("g{person}"), "ApproximateReceiveCount": "1" } })
    });
    let (answer, _, _) = apply.invoke(&json!({ "Records": records.collect::<Vec<_>>() })).await;
    assert!(good(&answer), "{answer}");
}

async fn scim(places: &Places, folder: &Path, sizes: &[usize], report: &Report) {
    let mut all = Vec::new();
    for &users in sizes {
        let upstream = populated(&folder.join(format!("scim-{users}")), users).await;
        let mut provision = Function::start(&function(places, &upstream, "flexgate-provision")).await;
        let _warm = page(&mut provision, 1).await;
        all.push((users, provision, upstream));
    }
    let mut taken = vec![(0.0, 0.0); sizes.len()];
    for _ in 0..TURNS {
        for ((users, provision, _), taken) in all.iter_mut().zip(&mut taken) {
            let (began, used) = (Instant::now(), cpu_seconds(provision.pid()));
            let mut from = 1;
            while from <= *users {
                let list = page(provision, from).await;
                assert_eq!(list["totalResults"], *users, "{list}");
                from += list["Resources"].as_array().unwrap().len();
            }
            taken.0 += began.elapsed().as_secs_f64();
            taken.1 += cpu_seconds(provision.pid()) - used;
        }
    }
    row(["users", "seconds", "seconds of its own processor time"]);
    rule(3);
    let turns = f64::from(u32::try_from(TURNS).unwrap());
    for ((users, provision, _), (wall, used)) in all.into_iter().zip(&taken) {
        row([&users.to_string(), &short(wall / turns), &short(used / turns)]);
        provision.end().await;
    }
    println!();
    let what = format!("walking {} users over walking {}", sizes[1], sizes[0]);
    report.at_most(&what, taken[1].1 / taken[0].1, 2.0 * LINEAR, " x");
}

async fn page(provision: &mut Function, from: usize) -> Value {
    let bearer = format!("Bearer {SCIM_TOKEN}");
    let query = format!("startIndex={from}&count=100");
    let event = http_event("GET", "/scim/v2/Users", &query, &[("authorization", &bearer)], None);
    let (answer, _, _) = provision.invoke(&event).await;
    assert!(good(&answer), "{answer}");
    serde_json::from_str(answer["body"].as_str().unwrap()).unwrap()
}

/// Measures one round of store operations for each number of rows in `sizes`.
async fn store(folder: &Path, sizes: &[usize], report: &Report) {
    const EACH: usize = 500;
    let mut stores = Vec::new();
    for &size in sizes {
        progress(&format!("filling a store with {size} rows of each"));
        let file = folder.join(format!("rows-{size}.db"));
        let store = SqliteStore::open(&file).unwrap();
        for some in (0..size).collect::<Vec<_>>().chunks(100) {
            futures_util::future::join_all(some.iter().map(|number| fill(&store, *number))).await;
        }
        stores.push((size, store, file));
    }
    let mut rounds = vec![Vec::new(); sizes.len()];
    for turn in 0..TURNS {
        for ((size, store, _), rounds) in stores.iter().zip(&mut rounds) {
            let began = Instant::now();
            for number in turn * EACH..(turn + 1) * EACH {
                round(store, number * 7_919 % size, size + number).await;
            }
            rounds.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(EACH).unwrap()));
        }
    }
    row(["rows of each", "a round of operations, µs", "file MB"]);
    rule(3);
    let cost: Vec<f64> = rounds.iter().map(|rounds| median(rounds)).collect();
    for ((size, _, file), cost) in stores.iter().zip(&cost) {
        let bytes = std::fs::metadata(file).unwrap().len();
        row([&size.to_string(), &short(*cost), &(bytes / 1_000_000).to_string()]);
    }
    println!();
    grown("an operation's time", "rows", sizes, &cost, report);
}

fn moment() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_767_258_000).unwrap()
}

fn session(number: usize) -> Session {
    Session {
        key: SessionKey::of(&number.to_string()),
        profile: "default".parse().unwrap(),
        flex_user_sid: user(number),
        sealed: "x".repeat(600),
        version: 0,
        created_at: moment(),
        used_at: moment(),
        ends_at: moment() + Duration::hours(12),
        seat: None,
        origin: SessionOrigin::default(),
    }
}

fn user(number: usize) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

fn identity(number: usize) -> Identity {
    Identity { issuer: "https://login.example.com/".into(), subject: format!("subject-{number}").into() }
}

async fn fill(store: &SqliteStore, number: usize) {
    store.insert(session(number)).await.unwrap();
    store.bind(&identity(number), &user(number), moment()).await.unwrap();
}

/// Runs one round: every store operation that is measured. `old` is the number of an existing row, and `new` is the
/// number of a new row.
async fn round(store: &SqliteStore, old: usize, new: usize) {
    let key = SessionKey::of(&old.to_string());
    assert!(store.get(&key).await.unwrap().is_some());
    store.touch(&session(old), moment()).await.unwrap();
    assert_eq!(store.user_of(&identity(old)).await.unwrap(), Some(user(old)));
    store.count("mint", &[&old.to_string()], moment(), Duration::MINUTE).await.unwrap();
    let fresh = format!("new-{new}");
    store.claim("login", &fresh, moment(), moment() + Duration::HOUR).await.unwrap();
    let fresh = Session { key: SessionKey::of(&fresh), ..session(old) };
    store.insert(fresh.clone()).await.unwrap();
    store.end(&fresh.key).await.unwrap();
}
