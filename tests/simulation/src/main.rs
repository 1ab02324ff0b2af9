//! Runs the simulated world, once for each seed. `tests/simulate` builds and starts this program.

#![expect(clippy::print_stdout, reason = "it prints what it finds")]

use std::num::NonZero;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, available_parallelism};
use std::time::Instant;

use flexgate_simulation::{run, steps};

const USAGE: &str = "tests/simulate [--seeds N] [--from SEED] [--until-found] [--seed SEED] [--shrink SEED]";

enum Wanted {
    Many { from: u64, count: u64, until_found: bool },
    One(u64),
    Shrunk(u64),
}

fn main() -> std::io::Result<ExitCode> {
    let Some(wanted) = wanted() else {
        println!("{USAGE}");
        return Ok(ExitCode::FAILURE);
    };
    match wanted {
        Wanted::Many { from, count, until_found } => many(from, count, until_found),
        Wanted::One(seed) => {
            let outcome = run(seed, None)?;
            outcome.trace.iter().for_each(|line| println!("{line}"));
            Ok(report(seed, &outcome.complaints))
        }
        Wanted::Shrunk(seed) => shrink(seed),
    }
}

fn wanted() -> Option<Wanted> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = arguments.len();
    arguments.retain(|argument| argument != "--until-found");
    let until_found = arguments.len() < given;
    let (mut from, mut count) = (0, 200);
    for pair in arguments.chunks(2) {
        let [name, number] = pair else { return None };
        let number = number.parse().ok()?;
        match name.as_str() {
            "--seeds" => count = number,
            "--from" => from = number,
            "--seed" => return Some(Wanted::One(number)),
            "--shrink" => return Some(Wanted::Shrunk(number)),
            _ => return None,
        }
    }
    Some(Wanted::Many { from, count, until_found })
}

#[expect(clippy::disallowed_methods, reason = "it prints how long the seeds took")]
fn many(from: u64, count: u64, until_found: bool) -> std::io::Result<ExitCode> {
    let began = Instant::now();
    let (next, failed, steps) = (AtomicU64::new(from), AtomicU64::new(0), AtomicU64::new(0));
    let work = || -> std::io::Result<()> {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || (until_found && failed.load(Ordering::Relaxed) > 0) {
                return Ok(());
            }
            let outcome = run(seed, None)?;
            steps.fetch_add(outcome.steps as u64, Ordering::Relaxed);
            if !outcome.complaints.is_empty() {
                failed.fetch_add(1, Ordering::Relaxed);
                report(seed, &outcome.complaints);
            }
        }
    };
    // A run uses only one thread, so run several seeds in parallel.
    let threads = available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        (0..threads).map(|_| scope.spawn(work)).collect::<Vec<_>>().into_iter().try_for_each(joined)
    })?;
    let failed = failed.into_inner();
    let (run, steps) = (next.into_inner().min(from + count) - from, steps.into_inner());
    let seconds = began.elapsed().as_secs().max(1);
    let rate = steps / seconds;
    println!("{run} seeds from {from}: {failed} failed; {steps} steps in {seconds} s, {rate} steps a second");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn joined(thread: thread::ScopedJoinHandle<'_, std::io::Result<()>>) -> std::io::Result<()> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Leaves out steps one by one, to find a shorter script with the same first complaint. Prints what happens in the
/// shorter run.
fn shrink(seed: u64) -> std::io::Result<ExitCode> {
    let Some(complaint) = run(seed, None)?.complaints.into_iter().next() else {
        println!("seed {seed} finds nothing");
        return Ok(ExitCode::SUCCESS);
    };
    let mut kept: Vec<usize> = (0..steps(seed)?).collect();
    let mut place = kept.len();
    while place > 0 {
        place -= 1;
        let mut fewer = kept.clone();
        fewer.remove(place);
        if run(seed, Some(&fewer))?.complaints.contains(&complaint) {
            kept = fewer;
        }
    }
    let outcome = run(seed, Some(&kept))?;
    outcome.trace.iter().for_each(|line| println!("{line}"));
    Ok(report(seed, &outcome.complaints))
}

fn report(seed: u64, complaints: &[String]) -> ExitCode {
    for complaint in complaints {
        println!("seed {seed}: {complaint}");
    }
    if complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
