//! Coverage-guided fuzzing: one target for each kind of input from outside. A target panics if a property (something
//! that must be true for every input) does not hold. `docs/testing.md` lists the properties and explains how to run the
//! targets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a target reports that a property does not hold")]

mod targets;
mod terminal;
mod users;
mod world;

/// What Flexgate did with an input. The committed corpus of every target contains inputs for both outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Accepted,
    Refused,
}

impl Outcome {
    fn of(accepted: bool) -> Self {
        if accepted { Self::Accepted } else { Self::Refused }
    }
}

/// A target's function: it gives an input to Flexgate, and checks the target's properties.
pub type Run = fn(&[u8]) -> Outcome;

/// All targets with their names, beginning with those whose inputs are most exposed to attackers.
pub const TARGETS: [(&str, Run); 18] = [
    ("return_to", targets::return_to::run),
    ("jwt", targets::jwt::run),
    ("api_gateway_event", targets::event::run),
    ("callback_query", targets::callback::run),
    ("cookie", targets::cookie::run),
    ("scim_filter", targets::scim_filter::run),
    ("scim_path", targets::scim_patch::path),
    ("scim_patch", targets::scim_patch::run),
    ("webhook_standard", |input| targets::webhook::run("standard", input)),
    ("webhook_generic", |input| targets::webhook::run("hr", input)),
    ("webhook_okta", |input| targets::webhook::run("okta", input)),
    ("webhook_auth0", |input| targets::webhook::run("auth0", input)),
    ("webhook_workos", |input| targets::webhook::run("workos", input)),
    ("webhook_fusionauth", |input| targets::webhook::run("fusionauth", input)),
    ("webhook_zitadel", |input| targets::webhook::run("zitadel", input)),
    ("webhook_graph", |input| targets::webhook::run("graph", input)),
    ("csv", targets::csv::run),
    ("settings", targets::settings::run),
];

/// Does the slow preparations, so that the fuzzer does not count their time as the time of the first input.
pub fn prepare() {
    world::World::new().outside.simulator();
}

/// Returns the target with this name.
#[must_use]
pub fn target(name: &str) -> Option<Run> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}
