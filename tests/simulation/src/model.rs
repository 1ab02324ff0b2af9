//! What the people of the company may and must have, as far as an observer outside Flexgate can know. The model shares
//! no code with the ledger. Where an answer was lost, both outcomes stay possible, and only the certain ones are checked.

use std::collections::{BTreeMap, BTreeSet};

/// Who says something about a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    Scim,
    Api,
    Okta,
    Hr,
    Token,
}

/// What a source may have said, each as the set of what is possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    active: BTreeSet<Option<bool>>,
    supervisor: BTreeSet<bool>,
}

impl Default for Word {
    fn default() -> Self {
        Self { active: [None].into(), supervisor: [false].into() }
    }
}

/// A statement. `None` leaves a field as it is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Says {
    pub(crate) active: Option<bool>,
    pub(crate) supervisor: Option<bool>,
}

/// The end of a mint.
pub(crate) enum Minted {
    Yes,
    /// Flexgate refused the mint. The word is what was known before.
    No(Option<Word>),
    Perhaps,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Person {
    words: BTreeMap<Source, Word>,
    /// How often a source has begun to say that the person is active.
    said_active: u64,
    /// Whether each SCIM group that gives the supervisor's role may list the person.
    groups: BTreeMap<&'static str, BTreeSet<bool>>,
    /// The tokens with which the person has tried to mint: when each was issued, and whether it names the role. Of two
    /// tokens of the same second, either may count in the end.
    minted: Vec<(i64, bool)>,
    minting: u32,
    /// Somebody gave the supervisor's role by hand.
    pub(crate) by_hand: bool,
    /// Somebody else writes the Flex user too, like Twilio at each sign-in. Flexgate repairs only some of it.
    pub(crate) disturbed: bool,
    /// The person has a role that Flexgate cannot give. Flexgate then changes no other role.
    pub(crate) has_wfo: bool,
    /// Nothing has ever deactivated the person, so that role must stay.
    pub(crate) keeps_wfo: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) people: BTreeMap<String, Person>,
}

impl Model {
    pub(crate) fn person(&mut self, name: &str) -> &mut Person {
        self.people.entry(name.to_owned()).or_default()
    }
}

impl Person {
    /// The source begins to say something. Returns what was known before.
    pub(crate) fn begin(&mut self, source: Source, says: Says) -> Word {
        if says.active == Some(false) {
            self.keeps_wfo = false;
        }
        self.said_active += u64::from(says.active == Some(true));
        let word = self.words.entry(source).or_default();
        let before = word.clone();
        word.active.extend(says.active.map(Some));
        word.supervisor.extend(says.supervisor);
        before
    }

    /// Flexgate has accepted the statement.
    pub(crate) fn settle(&mut self, source: Source, says: Says) {
        let word = self.words.entry(source).or_default();
        if let Some(active) = says.active {
            word.active = [Some(active)].into();
        }
        if let Some(supervisor) = says.supervisor {
            word.supervisor = [supervisor].into();
        }
    }

    /// Flexgate has refused the statement, and nothing of it has been stored.
    pub(crate) fn refuse(&mut self, source: Source, before: Word) {
        self.words.insert(source, before);
    }

    /// What the source last said is uncertain: everything in `said` is possible, and silence.
    pub(crate) fn cloud(&mut self, source: Source, said: &[Says]) {
        self.said_active += u64::from(said.iter().any(|says| says.active == Some(true)));
        let word = self.words.entry(source).or_default();
        for says in said {
            word.active.extend(says.active.map(Some));
            word.supervisor.extend(says.supervisor);
        }
        word.active.insert(None);
        word.supervisor.insert(false);
    }

    /// The person begins to mint. Returns what was known before, if nothing else is under way.
    pub(crate) fn mints(&mut self, issued_at: i64, supervisor: bool) -> Option<Word> {
        self.minted.push((issued_at, supervisor));
        self.minting += 1;
        let before = self.begin(Source::Token, Says { active: None, supervisor: Some(supervisor) });
        (self.minting == 1).then_some(before)
    }

    /// The mint is over. If it succeeded, only its claims, later ones and those of the same second can still count.
    pub(crate) fn minted(&mut self, issued_at: i64, done: Minted) {
        self.minting -= 1;
        match done {
            Minted::Yes => {
                let possible = self.minted.iter().filter(|(at, _)| *at >= issued_at).map(|(_, supervisor)| *supervisor);
                self.words.entry(Source::Token).or_default().supervisor = possible.collect();
            }
            Minted::No(Some(before)) if self.minting == 0 => drop(self.words.insert(Source::Token, before)),
            Minted::No(_) | Minted::Perhaps => {}
        }
    }

    pub(crate) fn member(&mut self, group: &'static str, possible: &[bool]) {
        self.groups.insert(group, possible.iter().copied().collect());
    }

    pub(crate) fn may_join(&mut self, group: &'static str, joins: bool) {
        self.groups.entry(group).or_insert_with(|| [false].into()).insert(joins);
    }

    /// Whether the group lists the person, if that is certain.
    pub(crate) fn is_member(&self, group: &str) -> Option<bool> {
        let possible = self.groups.get(group).filter(|possible| possible.len() == 1)?;
        possible.first().copied()
    }

    /// The SCIM groups no longer list the person.
    pub(crate) fn leaves_all(&mut self) {
        self.groups.clear();
    }

    /// Whether a source certainly says that the person is inactive. One is enough.
    pub(crate) fn must_be_inactive(&self) -> bool {
        self.words.values().any(|word| word.active == [Some(false)].into())
    }

    /// Returns `Some` if the person is certainly inactive. A person who is inactive before and after a request, with the
    /// same value, was inactive all the time.
    pub(crate) fn inactive_since(&self) -> Option<u64> {
        self.must_be_inactive().then_some(self.said_active)
    }

    /// Whether somebody has changed the Flex user without Flexgate.
    pub(crate) fn is_touched(&self) -> bool {
        self.disturbed || self.by_hand
    }

    pub(crate) fn must_be_active(&self) -> bool {
        let nobody_objects = self.words.values().all(|word| !word.active.contains(&Some(false)));
        !self.disturbed && nobody_objects && self.words.values().any(|word| word.active == [Some(true)].into())
    }

    pub(crate) fn may_be_supervisor(&self) -> bool {
        self.words.values().any(|word| word.supervisor.contains(&true)) || self.may_be_supervisor_beside(Source::Scim)
    }

    fn may_be_supervisor_beside(&self, source: Source) -> bool {
        let others = self.words.iter().filter(|(other, _)| **other != source);
        self.by_hand
            || others.map(|(_, word)| word).any(|word| word.supervisor.contains(&true))
            || self.groups.values().any(|member| member.contains(&true))
    }

    pub(crate) fn must_be_supervisor(&self) -> bool {
        let certain =
            self.words.iter().any(|(source, word)| *source != Source::Token && word.supervisor == [true].into())
                || self.groups.values().any(|member| *member == [true].into());
        !self.has_wfo && self.must_be_active() && certain
    }
}
