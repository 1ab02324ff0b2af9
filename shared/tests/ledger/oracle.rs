//! What the rules of design.md make of a sequence of statements, over each source's last word. It shares no code with
//! the ledger.

use std::collections::{BTreeMap, BTreeSet};

/// A token gives the role as one more group would.
const TOKEN: usize = usize::MAX;

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Scim,
    Api,
    Operator,
    /// A webhook source, which calls people by names of its own.
    Hr,
    Crm,
}

/// What they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Names the person, active and with the role of a supervisor.
    Add,
    /// Says inactive.
    Deactivate,
    /// Names no role any more.
    Remove,
    /// Says active, and nothing else.
    Reactivate,
    /// Gives the username to another subject, active and without a role.
    Reuse,
}

/// One step of a sequence.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Says(Who, Act),
    /// A SCIM group lists the person, or does not.
    Member(usize, bool),
    /// The person mints with a token that gives the supervisor's role, or gives none.
    Mints(bool),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Word {
    active: Option<bool>,
    /// Whether it named roles, and the supervisor's among them.
    roles: Option<bool>,
}

/// What should be.
#[derive(Debug, Default)]
pub struct Oracle {
    words: BTreeMap<Who, Word>,
    /// The webhook sources whose subject is this person, and those whose subject is an earlier one.
    named: BTreeSet<Who>,
    elsewhere: BTreeSet<Who>,
    /// The groups that list the person; and `TOKEN` if their last token that was heard gave the role.
    groups: BTreeSet<usize>,
    /// How often the username changed hands. Its next owner's tokens name another subject.
    pub owners: u32,
    /// Whether there is a Flex user.
    pub exists: bool,
    pub active: bool,
    pub supervisor: bool,
}

impl Who {
    pub fn is_webhook(self) -> bool {
        matches!(self, Self::Hr | Self::Crm)
    }
}

impl Oracle {
    /// Whether the step has an effect that a retry would not change.
    pub fn step(&mut self, step: Step) {
        match step {
            Step::Member(group, true) if self.exists => drop(self.groups.insert(group)),
            Step::Member(group, _) => drop(self.groups.remove(&group)),
            Step::Says(who, act) => self.says(who, act),
            Step::Mints(supervisor) => self.mints(supervisor),
        }
        self.settle();
    }

    fn says(&mut self, who: Who, act: Act) {
        let gives = matches!(act, Act::Add | Act::Reactivate | Act::Reuse);
        if self.elsewhere.contains(&who) {
            // Its subject lost the username. Only a new subject may have it.
            if act != Act::Reuse {
                return;
            }
            self.elsewhere.remove(&who);
            if !self.may(who) {
                self.elsewhere.insert(who);
                return;
            }
        } else if act == Act::Reuse && self.named.contains(&who) {
            if self.words.get(&who).is_some_and(|word| word.active == Some(false)) {
                self.elsewhere.extend(self.named.iter().filter(|named| **named != who));
                self.words.clear();
                self.named = [who].into();
                self.groups.clear();
                self.owners += 1;
                self.words.insert(who, Word { active: Some(true), roles: Some(false) });
            }
            return;
        } else if gives && !self.may(who) {
            return;
        } else if act == Act::Remove && !self.is_known(who) {
            // Whoever only changes a profile means nobody by a username.
            return;
        }
        if who.is_webhook() {
            self.named.insert(who);
        }
        let word = self.words.entry(who).or_default();
        match act {
            Act::Add => *word = Word { active: Some(true), roles: Some(true) },
            Act::Reuse => *word = Word { active: Some(true), roles: Some(false) },
            Act::Deactivate => word.active = Some(false),
            Act::Reactivate => word.active = Some(true),
            Act::Remove => word.roles = Some(false),
        }
    }

    /// Nobody is brought back by a token, and nobody held inactive gets anything by one. Somebody of whom nobody says
    /// that they are inactive gets a Flex user.
    fn mints(&mut self, supervisor: bool) {
        if self.words.values().all(|word| word.active != Some(false)) {
            self.groups.remove(&TOKEN);
            self.groups.extend(supervisor.then_some(TOKEN));
            (self.active, self.exists) = (true, true);
        }
    }

    fn is_known(&self, who: Who) -> bool {
        if who.is_webhook() { self.named.contains(&who) } else { self.exists }
    }

    /// Whether who gives access may do so while others say that the person is inactive.
    fn may(&self, who: Who) -> bool {
        let others_inactive = self.words.iter().any(|(other, word)| *other != who && word.active == Some(false));
        let spoke = self.words.get(&who).is_some_and(|word| *word != Word::default());
        !others_inactive || (who.is_webhook() && spoke)
    }

    fn settle(&mut self) {
        if self.words.values().any(|word| word.active == Some(false)) {
            self.active = false;
        } else if self.words.values().any(|word| word.active == Some(true)) {
            (self.active, self.exists) = (true, true);
        }
        if self.active {
            self.supervisor = !self.groups.is_empty() || self.words.values().any(|word| word.roles == Some(true));
        }
    }
}
