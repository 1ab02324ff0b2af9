//! Instructions that one warm request costs, counted by callgrind: two runs that differ only in the
//! number of requests, and so in nothing else.

use std::path::Path;

use std::process::Command;

use crate::functions::good;
use crate::lambda::Function;
use crate::report::progress;
use crate::subjects::Subject;

/// The number of requests in the two runs.
const RUNS: [u32; 2] = [40, 140];

/// Instructions per warm request; `None` without valgrind.
pub async fn count(subject: &mut Subject, folder: &Path) -> Option<f64> {
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|ran| ran.status.success()) {
        return None;
    }
    progress(&format!("counting the instructions of {}", subject.name));
    let mut totals = Vec::new();
    for requests in RUNS {
        let out = folder.join(format!("callgrind-{}-{requests}", subject.name));
        let mut start = subject.start.clone();
        let options = ["valgrind", "--tool=callgrind", "--quiet"].map(str::to_owned);
        let file = format!("--callgrind-out-file={}", out.display());
        start.command = options.into_iter().chain([file]).chain(start.command).collect();
        let mut function = Function::start(&start).await;
        for _ in 0..requests {
            let (answer, _, _) = function.invoke(&(subject.event)()).await;
            assert!(good(&answer), "{}: {answer}", subject.name);
        }
        function.end().await;
        totals.push(total(&std::fs::read_to_string(&out).ok()?)?);
    }
    Some((totals[1] - totals[0]) / f64::from(RUNS[1] - RUNS[0]))
}

fn total(profile: &str) -> Option<f64> {
    let line = profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")))?;
    line.trim().parse().ok()
}
