//! Runs the simulated world once for each of several seeds. If a run fails, prints what happened in it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use flexgate_simulation::run;

/// Seeds that once revealed a bug, each with a description of the bug. Any change to `script.rs` makes every seed
/// produce a different run.
const KEPT: [u64; 3] = [
    // A PUT sent back a role that the user had from a group. Another request was removing the user from this group at
    // the same time, and the user kept the role.
    2756,
    // The simulated clock jumped by hours while a consumer was handling a message. The consumer's lease ended during
    // the jump, so its request to Twilio undid a newer change.
    2450, // The change was a deactivation.
    8267, // The change was a reactivation.
];

fn check(seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let outcome = run(seed, None).unwrap();
        assert!(outcome.complaints.is_empty(), "seed {seed}\n{}\n{:#?}", outcome.trace.join("\n"), outcome.complaints);
    }
}

#[test]
fn nothing_goes_wrong_in_the_first_hundred_seeds() {
    check(0..100);
}

#[test]
fn nothing_goes_wrong_in_the_second_hundred_seeds() {
    check(100..200);
}

#[test]
fn seeds_that_once_found_a_fault_find_nothing() {
    check(KEPT.into_iter());
}

#[test]
fn a_seed_always_tells_the_same_story() {
    for seed in 0..5 {
        assert_eq!(run(seed, None).unwrap().trace, run(seed, None).unwrap().trace, "seed {seed}");
    }
}
