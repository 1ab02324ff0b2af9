//! Runs a few requests at once, each in a separate process, and tries different orders of their calls to the store and
//! to Twilio.
//!
//! Processes share only the store and Twilio, so a schedule is a sequence of these calls. A process waits at each call
//! until the scheduler (`stage`) lets it continue. The scheduler tries every sequence within a [`Budget`], or draws
//! some at random (`choices`). It can also let any call fail (`gate`).
//!
//! The crates `shuttle` and `loom` are not suitable. They replace tokio and explore the orders of operations on locks
//! and atomics, but Flexgate's processes share no locks or atomics.

mod choices;
mod claims;
mod gate;
mod groups;
mod people;
mod refresh;
mod stage;
mod usernames;

use choices::Choices;
pub use choices::{Budget, Drawn};

use crate::run::Outcome;
use crate::world::World;

/// Requests that come at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// Two tabs ask for the token of one session. The token expires in less than five minutes.
    Refresh,
    /// Two tabs ask for the token of one session. The token has expired.
    RefreshExpired,
    /// Three tabs open the callback URL of one login.
    Callbacks,
    /// A service makes somebody a supervisor while SCIM deactivates that person.
    PromotedAndDeactivated,
    /// A service makes somebody a supervisor while SCIM changes that person's e-mail address.
    PromotedAndChanged,
    /// A service makes somebody a supervisor. Then it takes the role back, whether or not the first request got an
    /// answer.
    PromotionTakenBack,
    /// Two SCIM requests create a user with the same username in different spellings, while a third request renames
    /// another user to this name.
    SameUsername,
    /// SCIM deletes a user while another request creates that user again.
    DeletedAndCreated,
    /// SCIM adds somebody to a group while another request removes somebody else from it.
    Members,
    /// SCIM adds somebody to a group while another request renames the group. The settings map the old name to a role,
    /// but not the new one.
    MemberAndRename,
    /// SCIM adds somebody to a group while another request deletes the group.
    MemberAndDelete,
}

impl Scenario {
    /// Every scenario with its name.
    pub const ALL: [(&'static str, Self); 11] = [
        ("refresh", Self::Refresh),
        ("refresh-expired", Self::RefreshExpired),
        ("callbacks", Self::Callbacks),
        ("promoted-and-deactivated", Self::PromotedAndDeactivated),
        ("promoted-and-changed", Self::PromotedAndChanged),
        ("promotion-taken-back", Self::PromotionTakenBack),
        ("same-username", Self::SameUsername),
        ("deleted-and-created", Self::DeletedAndCreated),
        ("members", Self::Members),
        ("member-and-rename", Self::MemberAndRename),
        ("member-and-delete", Self::MemberAndDelete),
    ];
}

/// A schedule after which something was wrong.
#[derive(Debug)]
pub struct Found {
    /// The choices of the schedule, for [`replay`].
    pub choices: Vec<usize>,
    /// What was wrong, and what had happened.
    pub outcome: Outcome,
}

/// The result of a search.
#[derive(Debug)]
pub struct Search {
    /// The number of schedules that were tried.
    pub schedules: u64,
    /// Whether all schedules within the budget were tried.
    pub is_complete: bool,
    /// The first schedule after which something was wrong. The search ends with this schedule.
    pub found: Option<Found>,
}

/// Tries all schedules within `budget`, but no more than `at_most` of them.
///
/// # Errors
/// If the runtime cannot be built.
pub fn exhaust(scenario: Scenario, budget: Budget, at_most: u64) -> std::io::Result<Search> {
    let mut next = Some(Vec::new());
    let mut schedules = 0;
    while let Some(given) = next.take().filter(|_| schedules < at_most) {
        let (outcome, choices) = play(scenario, Choices::given(budget, given))?;
        schedules += 1;
        if !outcome.complaints.is_empty() {
            let found = Some(Found { choices: choices.taken(), outcome });
            return Ok(Search { schedules, is_complete: false, found });
        }
        next = choices.next();
        if next.is_none() {
            return Ok(Search { schedules, is_complete: true, found: None });
        }
    }
    Ok(Search { schedules, is_complete: false, found: None })
}

/// Draws one schedule for each seed in `seeds`, and tries it.
///
/// # Errors
/// If the runtime cannot be built.
pub fn draw(scenario: Scenario, drawn: Drawn, seeds: std::ops::Range<u64>) -> std::io::Result<Search> {
    let mut schedules = 0;
    for seed in seeds {
        let (outcome, choices) = play(scenario, Choices::drawn(drawn, seed))?;
        schedules += 1;
        if !outcome.complaints.is_empty() {
            let found = Some(Found { choices: choices.taken(), outcome });
            return Ok(Search { schedules, is_complete: false, found });
        }
    }
    Ok(Search { schedules, is_complete: false, found: None })
}

/// Plays the schedule with these choices.
///
/// # Errors
/// If the runtime cannot be built.
pub fn replay(scenario: Scenario, choices: Vec<usize>) -> std::io::Result<Outcome> {
    play(scenario, Choices::given(Budget::LIMITLESS, choices)).map(|(outcome, _)| outcome)
}

fn play(scenario: Scenario, mut choices: Choices) -> std::io::Result<(Outcome, Choices)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let outcome = runtime.block_on(async {
        let world = World::start(1);
        let made = &mut choices;
        match scenario {
            Scenario::Refresh => refresh::play(&world, made, false).await,
            Scenario::RefreshExpired => refresh::play(&world, made, true).await,
            Scenario::Callbacks => claims::play(&world, made).await,
            Scenario::PromotedAndDeactivated => people::play(&world, made, true).await,
            Scenario::PromotedAndChanged => people::play(&world, made, false).await,
            Scenario::PromotionTakenBack => people::play_promotion_taken_back(&world, made).await,
            Scenario::SameUsername => usernames::created_twice(&world, made).await,
            Scenario::DeletedAndCreated => usernames::deleted_and_created(&world, made).await,
            Scenario::Members => groups::play(&world, made, groups::Other::Removes).await,
            Scenario::MemberAndRename => groups::play(&world, made, groups::Other::Renames).await,
            Scenario::MemberAndDelete => groups::play(&world, made, groups::Other::Deletes).await,
        }
        let complaints = std::mem::take(&mut world.spy.seen().complaints);
        Outcome { complaints, steps: 0, trace: world.trace() }
    });
    Ok((outcome, choices))
}
