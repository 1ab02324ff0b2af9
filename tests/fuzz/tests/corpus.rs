//! Runs every target on its committed corpus, without libFuzzer. So `cargo test` checks every input that has ever
//! revealed a bug.

use std::path::Path;

use flexgate_fuzz::{Outcome, TARGETS};

#[test]
fn every_property_holds_for_the_corpus_and_both_outcomes_occur() {
    let mut wrong = Vec::new();
    for (name, run) in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let (mut accepted, mut refused) = (0, 0);
        for file in std::fs::read_dir(&folder).unwrap() {
            let path = file.unwrap().path();
            match std::panic::catch_unwind(|| run(&std::fs::read(&path).unwrap())) {
                Ok(Outcome::Accepted) => accepted += 1,
                Ok(Outcome::Refused) => refused += 1,
                Err(_) => wrong.push(format!("{} breaks a property", path.display())),
            }
        }
        if accepted == 0 || refused == 0 {
            wrong.push(format!("{name}: {accepted} accepted and {refused} refused"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
