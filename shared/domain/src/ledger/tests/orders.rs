//! Tests every sequence of five actions by two sources, for every pair of kinds of source.
//!
//! An oracle computes the expected result of each sequence. The oracle shares no code with the ledger.

use super::model::{Model, flex_user, webhook};
use crate::ledger::{Source, attach};

/// What a source does in one step of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    /// The source says that the person is active and a supervisor.
    Add,
    /// The source says that the person is inactive.
    Deactivate,
    /// The source says that the person has no role.
    Remove,
    /// The source says that the person is active, and nothing else.
    Reactivate,
    /// The source gives the username to another subject, who is active and has no role.
    Reuse,
}

const ACTS: [Act; 5] = [Act::Add, Act::Deactivate, Act::Remove, Act::Reactivate, Act::Reuse];
const LENGTH: usize = 5;

/// The latest values that one source has stated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Word {
    active: Option<bool>,
    /// Whether the source names the supervisor role. `None` if the source never mentioned roles.
    roles: Option<bool>,
}

impl Word {
    fn spoke(self) -> bool {
        self != Self::default()
    }
}

/// The latest values that each of the two sources has stated, and the expected Flex user.
#[derive(Debug, Clone, Copy)]
struct Oracle {
    words: [Word; 2],
    /// Whether each source has sent its own id for the person.
    named: [bool; 2],
    operator: [bool; 2],
    active: bool,
    supervisor: bool,
}

impl Oracle {
    fn act(&mut self, which: usize, act: Act) {
        let other_inactive = self.words[1 - which].active == Some(false);
        let stranger = !self.words[which].spoke() && !self.operator[which] && other_inactive;
        match act {
            Act::Deactivate => self.words[which].active = Some(false),
            Act::Remove => self.words[which].roles = Some(false),
            Act::Add | Act::Reactivate if stranger => {}
            Act::Reactivate => self.words[which].active = Some(true),
            Act::Add => {
                self.words[which] = Word { active: Some(true), roles: Some(true) };
                self.named[which] = true;
            }
            Act::Reuse if self.named[which] => {
                if self.words[which].active == Some(false) {
                    self.words = [Word::default(); 2];
                    self.named = [false; 2];
                    self.words[which] = Word { active: Some(true), roles: Some(false) };
                    self.named[which] = true;
                }
            }
            Act::Reuse if stranger => {}
            Act::Reuse => {
                self.words[which] = Word { active: Some(true), roles: Some(false) };
                self.named[which] = true;
            }
        }
        if self.words.iter().any(|word| word.active == Some(false)) {
            self.active = false;
        } else if self.words.iter().any(|word| word.active == Some(true)) {
            self.active = true;
        }
        if self.active {
            self.supervisor = self.words.iter().any(|word| word.roles == Some(true));
        }
    }
}

#[derive(Clone)]
struct State {
    model: Model,
    oracle: Oracle,
    /// For each source, the number in the id (`subject-1`, `subject-2`, …) of the subject who has the username now.
    subjects: [u32; 2],
}

impl State {
    fn act(&mut self, sources: [&Source; 2], which: usize, act: Act) {
        let (model, source) = (&mut self.model, sources[which]);
        match act {
            Act::Add => drop(model.names(source, &format!("subject-{}", self.subjects[which]), &["supervisor"])),
            Act::Deactivate => model.says_active(source, false),
            Act::Remove => model.says_roles(source, &[]),
            Act::Reactivate => {
                if attach(&model.person, source, None, true).is_ok() {
                    model.says_active(source, true);
                }
            }
            Act::Reuse => {
                if model.names(source, &format!("subject-{}", self.subjects[which] + 1), &[]) {
                    self.subjects[which] += 1;
                }
            }
        }
        self.oracle.act(which, act);
    }
}

fn explore(state: &State, sources: [&Source; 2], acts: &mut Vec<(usize, Act)>) -> usize {
    if acts.len() == LENGTH {
        return 1;
    }
    let mut orders = 0;
    for which in 0..2 {
        for act in ACTS {
            let mut next = state.clone();
            next.act(sources, which, act);
            acts.push((which, act));
            let what = || format!("{} and {}: {acts:?}", sources[0], sources[1]);
            assert_eq!(next.model.is_active(), next.oracle.active, "{}", what());
            assert_eq!(next.model.roles().contains(&"supervisor"), next.oracle.supervisor, "{}", what());
            orders += explore(&next, sources, acts);
            acts.pop();
        }
    }
    orders
}

#[test]
fn every_order_of_five_actions_of_two_sources_ends_as_the_rules_say() {
    let kinds = [Source::Scim, webhook("hr"), webhook("crm"), Source::Api, Source::Operator];
    for (place, first) in kinds.iter().enumerate() {
        for second in &kinds[place + 1..] {
            let operator = [*first == Source::Operator, *second == Source::Operator];
            let oracle =
                Oracle { words: [Word::default(); 2], named: [false; 2], operator, active: true, supervisor: false };
            let state = State { model: Model::new(Some(flex_user(&["agent"]))), oracle, subjects: [1, 1] };
            assert_eq!(explore(&state, [first, second], &mut Vec::new()), 100_000);
        }
    }
}
