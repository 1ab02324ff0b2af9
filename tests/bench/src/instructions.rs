//! Counts the instructions of one warm request with callgrind. The bench makes two runs that differ only in the number
//! of requests. So the difference between the two counts excludes the start of the process.

use std::path::Path;

use std::process::Command;

use crate::functions::good;
use crate::lambda::Function;
use crate::report::{progress, row, rule, section, short};
use crate::subjects::Subject;

/// The numbers of requests in the two runs.
const RUNS: [u32; 2] = [40, 140];

/// The maximum number of attempts for a run.
const TRIES: u32 = 5;

/// Counts the instructions of one warm request. Returns `None` if valgrind is not installed.
pub async fn count(subject: &mut Subject, folder: &Path) -> Option<f64> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return None;
    }
    progress(&format!("counting the instructions of {}", subject.name));
    // Send the requests once without counting instructions, because a person's first request also binds the identity.
    let mut function = Function::start(&subject.start).await;
    for _ in 0..RUNS[0] {
        let (answer, _, _) = function.invoke(&(subject.event)()).await;
        assert!(good(&answer), "{}: {answer}", subject.name);
    }
    function.end().await;
    let mut totals = Vec::new();
    for requests in RUNS {
        let mut counted = None;
        for _ in 0..TRIES {
            counted = run(subject, requests, folder).await;
            if counted.is_some() {
                break;
            }
        }
        totals.push(counted.expect("the function does not answer under callgrind"));
    }
    Some((totals[1] - totals[0]) / f64::from(RUNS[1] - RUNS[0]))
}

pub async fn table(subjects: &mut [Subject], folder: &Path) {
    section("Instructions of one warm request");
    row(["", "instructions"]);
    rule(2);
    for subject in subjects {
        match count(subject, folder).await {
            Some(count) => row([&subject.name, &short(count)]),
            None => row([&subject.name, "not counted: no valgrind"]),
        }
    }
}

/// Counts the instructions of a process that answers `requests` requests. Returns `None` if a request fails. Callgrind
/// makes the process about fifty times slower, so a request to Twilio may time out.
async fn run(subject: &mut Subject, requests: u32, folder: &Path) -> Option<f64> {
    let out = folder.join(format!("callgrind-{}-{requests}", subject.name));
    let mut start = subject.start.clone();
    let options = ["valgrind", "--tool=callgrind", "--quiet"].map(str::to_owned);
    let file = format!("--callgrind-out-file={}", out.display());
    start.command = options.into_iter().chain([file]).chain(start.command).collect();
    start.variables.push(("FLEXGATE_PREWARM_MILLISECONDS", "5000".to_owned()));
    let mut function = Function::start(&start).await;
    for _ in 0..requests {
        let (answer, _, _) = function.invoke(&(subject.event)()).await;
        if !good(&answer) {
            return None;
        }
    }
    function.end().await;
    total(&std::fs::read_to_string(&out).ok()?)
}

fn total(profile: &str) -> Option<f64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    line.trim().parse().ok()
}
