//! The oracle computes the expected state of a person after a sequence of statements. The tests compare this state
//! with the ledger's result. The oracle follows `docs/adr/0010-people-ledger.md`, and shares no code with the ledger.

use std::collections::{BTreeMap, BTreeSet};

/// The set `groups` contains this value if a token gives the supervisor role. The oracle treats such a role like a role
/// from a group.
const TOKEN: usize = usize::MAX;

/// A source that makes statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Scim,
    Api,
    Operator,
    /// A webhook source. Webhook sources have their own ids for people.
    Hr,
    Crm,
}

/// What a source says about the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
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

#[derive(Debug, Clone, Copy)]
pub enum Step {
    Says(Who, Act),
    /// A SCIM group starts or stops listing the person.
    Member(usize, bool),
    /// The person mints with a token. The value says whether the token gives the supervisor role.
    Mints(bool),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Word {
    active: Option<bool>,
    /// Whether the source names the supervisor role. `None` if the source has never mentioned roles.
    roles: Option<bool>,
}

/// The expected state of the person.
#[derive(Debug, Default)]
pub struct Oracle {
    words: BTreeMap<Who, Word>,
    /// The webhook sources whose current subject is this person.
    named: BTreeSet<Who>,
    /// The webhook sources whose current subject is a previous owner of the username.
    elsewhere: BTreeSet<Who>,
    /// The groups that list the person, and also `TOKEN` if the last token that had an effect gave the supervisor role.
    groups: BTreeSet<usize>,
    /// How many times the username has passed to another person. Each owner's tokens have a different subject.
    pub owners: u32,
    /// Whether the person has a Flex user.
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
            // The source's current subject has lost the username. The source's statements have no effect on this person
            // until the source gives the username to another subject.
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
            // With `Act::Remove`, the source says only that the person has no role. For such a statement, Flexgate does
            // not look for a person by username.
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

    /// A token has no effect if a source says "inactive". Otherwise, the person gets a Flex user and the role that the
    /// token gives.
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

    /// Whether a statement from `who` may give access. While another source says "inactive", only a webhook source that
    /// has made a statement before may give access.
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
