//! The script of a run: a list of actions that depends only on the seed. The caller can choose to run only some of
//! these actions.

use crate::chance::Chance;
use crate::hooks::{Hr, Okta};
use crate::model::Says;

/// The usernames in each system. `wes000000` ends with digits because the simulator adds a number to the name of each
/// seeded user.
pub(crate) const SCIM: [&str; 5] = ["ada", "bea", "cy", "eve", "wes000000"];
/// The administrators. Only SCIM changes these users, so if Flex has no administrator, Flexgate is at fault.
pub(crate) const BOSSES: [&str; 2] = ["max", "mia"];
pub(crate) const BOSSES_GROUP: &str = "Bosses";
pub(crate) const API: [&str; 2] = ["cy", "ida"];
pub(crate) const OKTA: [&str; 2] = ["dan", "eve"];
pub(crate) const HR: [&str; 3] = ["fay", "gus", "hal"];
/// People who are described only by their own tokens.
pub(crate) const TOKEN: [&str; 1] = ["jon"];
pub(crate) const GROUPS: [&str; 2] = ["Leads", "Chiefs"];
const OKTA_GROUPS: [&str; 2] = ["group-a", "group-b"];

#[derive(Debug, Clone)]
pub(crate) enum Action {
    ScimCreates {
        name: &'static str,
        supervisor: bool,
    },
    ScimSays {
        name: &'static str,
        says: Says,
        email: Option<u32>,
    },
    ScimReplaces {
        name: &'static str,
        active: bool,
        number: u32,
    },
    ScimDeletes {
        name: &'static str,
    },
    ScimMembers {
        group: &'static str,
        names: Vec<&'static str>,
        joins: bool,
    },
    Okta {
        name: &'static str,
        change: Okta,
    },
    Hr {
        name: &'static str,
        change: Hr,
    },
    ApiProvisions {
        name: &'static str,
        supervisor: bool,
    },
    ApiDeprovisions {
        name: &'static str,
    },
    SignsIn {
        name: &'static str,
    },
    AsksForToken {
        name: &'static str,
        tabs: usize,
    },
    /// A signed-in person keeps the page open for some hours.
    KeepsPageOpen {
        name: &'static str,
        tabs: usize,
    },
    Mints {
        name: &'static str,
        supervisor: bool,
    },
    ConsolePromotes {
        name: &'static str,
    },
    ConsoleDeactivates {
        name: &'static str,
    },
    ConsoleActivates {
        name: &'static str,
    },
    Sweep,
    Deploy,
    RotateIssuerKeys,
    RotateCredential,
    RotateCookieKeys {
        number: u8,
    },
    Jump {
        seconds: i64,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// The time between the previous step and this one, in milliseconds.
    pub(crate) pause: u64,
    pub(crate) action: Action,
}

/// Draws the script of a run.
pub(crate) fn draw(chance: &Chance) -> Vec<Step> {
    let length = 10 + chance.below(40);
    // Each run prefers some kinds of actions, so that rare kinds occur together in some runs.
    let weights: Vec<usize> = KINDS.iter().map(|_| chance.below(8).saturating_sub(3)).collect();
    let total: usize = weights.iter().sum::<usize>().max(1);
    // Each run uses only a few people, so that several changes concern the same person.
    let cast = Cast::drawn(chance);
    let mut steps = cast.opening(chance);
    for number in 0..length {
        let mut ticket = chance.below(total);
        let kind = KINDS.iter().zip(&weights).find(|(_, weight)| {
            let hit = ticket < **weight;
            ticket = ticket.saturating_sub(**weight);
            hit
        });
        let Some((kind, _)) = kind else { continue };
        let action = kind(chance, &cast, u32::try_from(number).unwrap_or_default());
        let pause = match chance.below(4) {
            0 => 0,
            1 => chance.below(200) as u64,
            2 => chance.below(5_000) as u64,
            _ => chance.below(60_000) as u64,
        };
        steps.push(Step { pause, action });
    }
    steps
}

struct Cast {
    scim: Vec<&'static str>,
    okta: Vec<&'static str>,
    hr: Vec<&'static str>,
    api: Vec<&'static str>,
    bosses: bool,
}

impl Cast {
    fn drawn(chance: &Chance) -> Self {
        let some = |all: &[&'static str]| {
            let first = chance.below(all.len());
            let count = 1 + chance.below(2);
            (0..count).map(|place| all[(first + place) % all.len()]).collect()
        };
        let bosses = chance.thousandths(300);
        Self { scim: some(&SCIM), okta: some(&OKTA), hr: some(&HR), api: some(&API), bosses }
    }

    /// Returns the steps that create people at the beginning of a run. In most runs, these steps create most of the
    /// people.
    fn opening(&self, chance: &Chance) -> Vec<Step> {
        let scim = self.scim.iter().map(|&name| Action::ScimCreates { name, supervisor: false });
        let okta = self.okta.iter().map(|&name| Action::Okta { name, change: Okta::Joins(OKTA_GROUPS[0]) });
        let hr = self.hr.iter().map(|&name| Action::Hr { name, change: Hr::Job { supervisor: chance.half() } });
        let all: Vec<Action> = scim.chain(okta).chain(hr).collect();
        let mut kept: Vec<Action> = all.into_iter().filter(|_| chance.thousandths(700)).collect();
        if self.bosses {
            kept.extend(BOSSES.map(|name| Action::ScimCreates { name, supervisor: false }));
            kept.push(Action::ScimMembers { group: BOSSES_GROUP, names: BOSSES.to_vec(), joins: true });
        }
        kept.into_iter().map(|action| Step { pause: chance.below(3_000) as u64, action }).collect()
    }

    fn anybody(&self, chance: &Chance) -> &'static str {
        let all: Vec<&'static str> =
            [&self.scim, &self.okta, &self.hr, &self.api].into_iter().flatten().copied().chain(TOKEN).collect();
        chance.one_of(&all)
    }
}

type Kind = fn(&Chance, &Cast, u32) -> Action;

const KINDS: [Kind; 15] = [
    |chance, cast, _| Action::ScimCreates { name: chance.one_of(&cast.scim), supervisor: chance.thousandths(250) },
    scim_change,
    |chance, cast, _| {
        let names = if chance.half() { cast.scim.clone() } else { vec![chance.one_of(&cast.scim)] };
        let group = if chance.thousandths(800) { GROUPS[0] } else { GROUPS[1] };
        Action::ScimMembers { group, names, joins: chance.half() }
    },
    |chance, cast, number| Action::ScimReplaces {
        name: chance.one_of(&cast.scim),
        active: chance.thousandths(700),
        number,
    },
    |chance, cast, _| Action::ScimDeletes { name: chance.one_of(&cast.scim) },
    |chance, cast, _| {
        let group = chance.one_of(&OKTA_GROUPS);
        let change = match chance.below(6) {
            0..=2 => Okta::Joins(group),
            3 => Okta::Leaves(group),
            4 => Okta::Suspends,
            _ => Okta::Unsuspends,
        };
        Action::Okta { name: chance.one_of(&cast.okta), change }
    },
    |chance, cast, _| {
        let change = match chance.below(6) {
            0..=2 => Hr::Job { supervisor: chance.half() },
            3 => Hr::Moves,
            4 => Hr::Leaves,
            _ => Hr::Successor,
        };
        Action::Hr { name: chance.one_of(&cast.hr), change }
    },
    |chance, cast, _| {
        let name = chance.one_of(&cast.api);
        if chance.thousandths(600) {
            Action::ApiProvisions { name, supervisor: chance.half() }
        } else {
            Action::ApiDeprovisions { name }
        }
    },
    |chance, cast, _| Action::SignsIn { name: cast.anybody(chance) },
    |chance, cast, _| Action::AsksForToken { name: cast.anybody(chance), tabs: 1 + chance.below(2) },
    |chance, cast, _| Action::KeepsPageOpen { name: cast.anybody(chance), tabs: 1 + chance.below(2) },
    |chance, cast, _| Action::Mints { name: cast.anybody(chance), supervisor: chance.thousandths(300) },
    |chance, cast, _| {
        let name = cast.anybody(chance);
        match chance.below(8) {
            0 => Action::ConsolePromotes { name },
            1 => Action::ConsoleDeactivates { name },
            2 => Action::ConsoleActivates { name },
            _ => Action::Sweep,
        }
    },
    |chance, _, number| match chance.below(6) {
        0 => Action::Deploy,
        1 => Action::RotateIssuerKeys,
        2 => Action::RotateCredential,
        3 => Action::RotateCookieKeys { number: u8::try_from(number).unwrap_or_default() },
        _ => Action::Jump { seconds: [60, 3_600, 6 * 3_600][chance.below(3)] },
    },
    |chance, cast, number| if cast.bosses { boss_change(chance) } else { scim_change(chance, cast, number) },
];

fn boss_change(chance: &Chance) -> Action {
    let name = chance.one_of(&BOSSES);
    match chance.below(8) {
        0..=2 => Action::ScimSays { name, says: Says { active: Some(chance.half()), supervisor: None }, email: None },
        3 => Action::ScimDeletes { name },
        4 => Action::ScimCreates { name, supervisor: false },
        _ => {
            let names = if chance.half() { BOSSES.to_vec() } else { vec![name] };
            Action::ScimMembers { group: BOSSES_GROUP, names, joins: chance.half() }
        }
    }
}

fn scim_change(chance: &Chance, cast: &Cast, number: u32) -> Action {
    let name = chance.one_of(&cast.scim);
    let (mut says, mut email) = (Says::default(), None);
    match chance.below(4) {
        0 | 1 => says.active = Some(chance.thousandths(600)),
        2 => says.supervisor = Some(chance.half()),
        _ => email = Some(number),
    }
    if chance.thousandths(150) {
        says.supervisor = Some(chance.half());
    }
    Action::ScimSays { name, says, email }
}
