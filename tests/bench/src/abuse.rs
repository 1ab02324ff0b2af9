//! Measures whether an attack disturbs other clients: one client sends garbage to the local gateway, and another signs
//! in. The clients have the addresses 127.0.0.1 and 127.0.0.2, which requires Linux.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use flexgate_test_support::{Browser, Client, Process, World, router_from};
use http::Request;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::report::{Report, median, ms, progress, quantile, row, rule, short};
use crate::subjects::Places;

const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The number of the attacker's connections. Each connection sends [`EACH`] requests per second.
const CONNECTIONS: usize = 10;
const EACH: u32 = 50;
/// The time from the start of one sign-in to the start of the next.
const SIGN_IN_PAUSE: Duration = Duration::from_millis(200);

/// How many of the attacker's requests were refused because of their content, and how many because the attacker's
/// budget of failed requests was used up.
#[derive(Default)]
struct Refused {
    for_content: AtomicUsize,
    by_budget: AtomicUsize,
}

/// The sign-ins of the other client.
#[derive(Default)]
struct SignIns {
    took: Vec<f64>,
    failed: usize,
}

/// Measures sign-ins without the attack, and then with it.
pub async fn measure(places: &Places, quick: bool, report: &Report) {
    let world = Arc::new(World::start().await);
    let process = Process::live(&places.binaries.join("flexgate").display().to_string(), &world);
    let (calm_time, flood_time) = if quick { (5, 10) } else { (20, 60) };
    sign_ins(&world, process.port(), Duration::from_secs(2)).await;

    progress(&format!("sign-ins for {calm_time} s, and for {flood_time} s beside garbage"));
    let calm = sign_ins(&world, process.port(), Duration::from_secs(calm_time)).await;
    let (refused, stop) = (Arc::<Refused>::default(), Arc::<AtomicBool>::default());
    let mut floods = JoinSet::new();
    for number in 0..CONNECTIONS {
        floods.spawn(flood(process.port(), number, refused.clone(), stop.clone()));
    }
    let began = Instant::now();
    let beside = sign_ins(&world, process.port(), Duration::from_secs(flood_time)).await;
    let seconds = began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    floods.join_all().await;

    row(["", "sign-ins", "failed", "p50 ms", "p99 ms"]);
    rule(5);
    for (name, seen) in [("calm", &calm), ("beside garbage", &beside)] {
        let (p50, p99) = (short(median(&seen.took)), short(quantile(&seen.took, 0.99)));
        row([name, &seen.took.len().to_string(), &seen.failed.to_string(), &p50, &p99]);
    }
    let [for_content, by_budget] =
        [&refused.for_content, &refused.by_budget].map(|count| as_f64(count.load(Ordering::Relaxed)));
    println!("\n{for_content} requests of the attacker were refused for their content, {by_budget} by the budget.\n");
    report.at_least(
        "garbage a second",
        (for_content + by_budget) / seconds,
        f64::from(EACH) * as_f64(CONNECTIONS) * 0.9,
        "",
    );
    report.at_most("failed sign-ins beside garbage", as_f64(beside.failed), 0.0, "");
    let ratio = quantile(&beside.took, 0.99) / quantile(&calm.took, 0.99);
    report.at_most("p99 of a sign-in beside garbage over the calm one", ratio, 3.0, " x");
    // Login, validate and `/token` each allow 300 failed requests, plus five more per second. Flexgate must refuse any
    // further garbage without checking its content.
    report.at_most("garbage that caused work", for_content, 3.0 * (300.0 + 5.0 * (seconds + 1.0)), "");
}

fn as_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// Signs in repeatedly for `time`, each time with a new browser.
async fn sign_ins(world: &Arc<World>, port: u16, time: Duration) -> SignIns {
    let (began, mut seen) = (Instant::now(), SignIns::default());
    let mut tick = interval(SIGN_IN_PAUSE);
    while began.elapsed() < time {
        tick.tick().await;
        let world = world.clone();
        let sign_in = tokio::spawn(async move {
            let began = Instant::now();
            let answer = Browser::new(router_from(OTHER, port)).sign_in(&world, "ada").await;
            (answer.status == 303).then(|| ms(began.elapsed()))
        });
        // A failed step of the sign-in panics.
        match sign_in.await {
            Ok(Some(took)) => seen.took.push(took),
            _ => seen.failed += 1,
        }
    }
    seen
}

/// Sends garbage to login, validate and `/token` until `stop` is true.
async fn flood(port: u16, number: usize, refused: Arc<Refused>, stop: Arc<AtomicBool>) {
    let mut client = Client::connect(ATTACKER, port).await.unwrap();
    let mut tick = interval(Duration::from_secs(1) / EACH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for route in number.. {
        tick.tick().await;
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let answer = client.send(garbage(route)).await.unwrap();
        let count = if answer.status == 429 { &refused.by_budget } else { &refused.for_content };
        count.fetch_add(1, Ordering::Relaxed);
        assert!(answer.status.is_client_error(), "{}", answer.text);
    }
}

/// The form body of a token exchange (RFC 8693) with an invalid token.
const EXCHANGE: &str = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=a.b.c\
    &subject_token_type=urn:ietf:params:oauth:token-type:jwt";

fn garbage(route: usize) -> Request<Body> {
    let (path, body) = match route % 4 {
        3 => {
            let form = "application/x-www-form-urlencoded";
            return Request::post("/token").header("content-type", form).body(EXCHANGE.into()).unwrap();
        }
        0 => return Request::get("/sso/nobody/login").body(Body::empty()).unwrap(),
        1 => ("/sso/validate", r#"{"token":"garbage"}"#),
        _ => ("/token", "{}"),
    };
    let request =
        Request::post(path).header("content-type", "application/json").header("authorization", "Bearer a.b.c");
    request.body(body.into()).unwrap()
}
