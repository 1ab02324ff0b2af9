//! Compares Flexgate's functions with a function that does nothing (the floor), and with mint functions written in
//! other languages (the peers). A local server provides Lambda's runtime API.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::lambda::{Function, peak_mib};
use crate::report::{median, ms, progress, quantile, row, rule, short};
use crate::subjects::Subject;

#[derive(Debug, Default, Clone)]
pub struct Seen {
    /// For each start, the milliseconds until the function was ready.
    pub init: Vec<f64>,
    /// For each start, the milliseconds until the first answer.
    pub cold: Vec<f64>,
    /// For each later request, the milliseconds until the answer.
    pub warm: Vec<f64>,
    /// The peak memory of each measured process, in MiB.
    pub rss: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub starts: usize,
    /// How many further answers to measure, after the first, in each of the last three processes of a [`Subject`].
    pub answers: usize,
}

/// Whether an answer is a success. Refusals are faster, so they must not be measured.
pub fn good(answer: &Value) -> bool {
    match answer["statusCode"].as_u64() {
        Some(status) => (200..400).contains(&status),
        None => answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty),
    }
}

/// Starts and measures the subjects in turn, round after round, so that other load on the machine affects all of them
/// equally.
pub async fn measure(subjects: &mut [Subject], times: Times, group: Option<&PathBuf>) -> Vec<Seen> {
    let mut seen = vec![Seen::default(); subjects.len()];
    for round in 0..times.starts {
        if round % 5 == 0 {
            progress(&format!("start {} of {} of each of {}", round + 1, times.starts, subjects.len()));
        }
        for (subject, seen) in subjects.iter_mut().zip(&mut seen) {
            let start = crate::lambda::Start { group: group.cloned(), ..subject.start.clone() };
            let mut function = Function::start(&start).await;
            let (init, cold, answer) = function.first(&(subject.event)()).await;
            assert!(good(&answer), "{}: {answer}", subject.name);
            seen.init.push(ms(init));
            seen.cold.push(ms(cold));
            // Measure warm answers in three processes, because one process may have an unusually fast memory layout.
            if times.answers > 0 && round + 3 >= times.starts {
                seen.warm.extend(warm(&mut function, subject, times.answers).await);
                seen.rss.push(peak_mib(function.pid()));
            }
            function.end().await;
        }
    }
    seen
}

async fn warm(function: &mut Function, subject: &mut Subject, answers: usize) -> Vec<f64> {
    let mut warm = Vec::new();
    for number in 0..answers + 100 {
        let (answer, _, took) = function.invoke(&(subject.event)()).await;
        assert!(good(&answer), "{}: {answer}", subject.name);
        if number >= 100 {
            warm.push(ms(took));
        }
    }
    warm
}

pub fn table(subjects: &[Subject], seen: &[Seen]) {
    row(["", "init ms", "cold first answer ms", "warm p50 ms", "warm p99 ms", "peak RSS MiB", "size MB", "zipped MB"]);
    rule(8);
    for (subject, seen) in subjects.iter().zip(seen) {
        let size = subject.artifact.as_ref().map(|path| sizes(path));
        let cell = |value: Option<f64>| value.map(short).unwrap_or_default();
        row([
            &subject.name,
            &short(median(&seen.init)),
            &short(median(&seen.cold)),
            &cell((!seen.warm.is_empty()).then(|| median(&seen.warm))),
            &cell((!seen.warm.is_empty()).then(|| quantile(&seen.warm, 0.99))),
            &cell((!seen.rss.is_empty()).then(|| median(&seen.rss))),
            &cell(size.map(|(raw, _)| raw)),
            &cell(size.map(|(_, zipped)| zipped)),
        ]);
    }
}

/// Returns a file's size, and its size after `gzip -9`, both in megabytes.
pub fn sizes(path: &std::path::Path) -> (f64, f64) {
    let megabytes = |bytes: u64| f64::from(u32::try_from(bytes).unwrap()) / 1e6;
    let raw = std::fs::metadata(path).unwrap().len();
    let zipped = std::process::Command::new("gzip").args(["-9", "-c"]).arg(path).output().unwrap();
    (megabytes(raw), megabytes(zipped.stdout.len() as u64))
}

/// A control group that limits processor time as Lambda does. Dropping the value removes the group.
pub struct Share(PathBuf);

impl Share {
    /// Creates the control group of a function with `megabytes` of memory. Lambda gives a whole processor at 1,769 MB,
    /// and a proportional share below that. Returns `None` if this machine does not allow control groups.
    pub fn of_memory(megabytes: u32) -> Option<Self> {
        const PERIOD: u32 = 20_000;
        let quota = (PERIOD * megabytes / 1_769).to_string();
        let name = format!("flexgate-bench-{}", std::process::id());
        let first = PathBuf::from("/sys/fs/cgroup/cpu").join(&name);
        let second = PathBuf::from("/sys/fs/cgroup").join(&name);
        if std::fs::create_dir(&first).is_ok() {
            let share = Self(first);
            let period = std::fs::write(share.0.join("cpu.cfs_period_us"), PERIOD.to_string());
            return (period.is_ok() && std::fs::write(share.0.join("cpu.cfs_quota_us"), quota).is_ok())
                .then_some(share);
        }
        std::fs::create_dir(&second).ok()?;
        let share = Self(second);
        std::fs::write(share.0.join("cpu.max"), format!("{quota} {PERIOD}")).ok().map(|()| share)
    }

    pub fn group(&self) -> &PathBuf {
        &self.0
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for _ in 0..50 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
