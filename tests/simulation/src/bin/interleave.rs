//! Runs each scenario in many schedules (orders of calls). `tests/interleave` builds and starts this program.

#![expect(clippy::print_stdout, reason = "it prints what it finds")]

use std::process::ExitCode;
use std::time::Instant;

use flexgate_simulation::interleave::{Budget, Drawn, Scenario, Search, draw, exhaust, replay};

const USAGE: &str =
    "tests/interleave [--scenario NAME] [--switches N] [--faults N] [--schedules N] [--random SEED] [--steps N]
tests/interleave --scenario NAME --replay 0,0,3";

struct Wanted {
    scenario: Option<String>,
    budget: Budget,
    schedules: u64,
    /// The first seed, if schedules are drawn at random. `None` if all schedules are tried.
    random: Option<u64>,
    steps: usize,
    replay: Option<Vec<usize>>,
}

fn wanted() -> Option<Wanted> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let budget = Budget { switches: 2, faults: 1 };
    let mut wanted = Wanted { scenario: None, budget, schedules: 10_000, random: None, steps: 60, replay: None };
    for pair in arguments.chunks(2) {
        let [name, value] = pair else { return None };
        match name.as_str() {
            "--scenario" => wanted.scenario = Some(value.clone()),
            "--switches" => wanted.budget.switches = value.parse().ok()?,
            "--faults" => wanted.budget.faults = value.parse().ok()?,
            "--schedules" => wanted.schedules = value.parse().ok()?,
            "--random" => wanted.random = Some(value.parse().ok()?),
            "--steps" => wanted.steps = value.parse().ok()?,
            "--replay" => {
                let choices = value.split(',').filter(|number| !number.is_empty()).map(str::parse);
                wanted.replay = Some(choices.collect::<Result<_, _>>().ok()?);
            }
            _ => return None,
        }
    }
    Some(wanted)
}

fn main() -> std::io::Result<ExitCode> {
    let Some(wanted) = wanted() else {
        println!("{USAGE}");
        return Ok(ExitCode::FAILURE);
    };
    let is_wanted = |name: &str| wanted.scenario.as_deref().is_none_or(|scenario| scenario == name);
    let scenarios: Vec<_> = Scenario::ALL.into_iter().filter(|(name, _)| is_wanted(name)).collect();
    if scenarios.is_empty() {
        println!("{USAGE}\nscenarios: {}", Scenario::ALL.map(|(name, _)| name).join(", "));
        return Ok(ExitCode::FAILURE);
    }
    let mut is_good = true;
    for (name, scenario) in scenarios {
        is_good &= match &wanted.replay {
            Some(choices) => {
                let outcome = replay(scenario, choices.clone())?;
                outcome.trace.iter().for_each(|line| println!("{line}"));
                outcome.complaints.is_empty()
            }
            None => search(&wanted, name, scenario)?,
        };
    }
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[expect(clippy::disallowed_methods, reason = "it prints how long the schedules took")]
fn search(wanted: &Wanted, name: &str, scenario: Scenario) -> std::io::Result<bool> {
    let began = Instant::now();
    let Search { schedules, is_complete, found } = match wanted.random {
        Some(seed) => {
            let drawn = Drawn { budget: wanted.budget, steps: wanted.steps };
            draw(scenario, drawn, seed..seed + wanted.schedules)?
        }
        None => exhaust(scenario, wanted.budget, wanted.schedules)?,
    };
    let whole = if is_complete { ", which are all" } else { "" };
    println!("{name}: {schedules} schedules{whole}, in {} s", began.elapsed().as_secs());
    let Some(found) = found else { return Ok(true) };
    found.outcome.trace.iter().for_each(|line| println!("{line}"));
    found.outcome.complaints.iter().for_each(|complaint| println!("{name}: {complaint}"));
    let choices: Vec<String> = found.choices.iter().map(usize::to_string).collect();
    println!("tests/interleave --scenario {name} --replay {}", choices.join(","));
    Ok(false)
}
