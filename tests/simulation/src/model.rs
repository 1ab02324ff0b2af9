//! The model of the company's people: what they must have at Flex and what they may have, as far as an observer outside
//! Flexgate can tell. The model shares no code with Flexgate's ledger, which stores what each source says about each
//! person. If an answer was lost, the model keeps both outcomes as possible, and the tests check only what is certain.

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

/// What a source may have said about a person: the possible values of each field.
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

/// A source's statement. A field that is `None` does not change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Says {
    pub(crate) active: Option<bool>,
    pub(crate) supervisor: Option<bool>,
}

/// How an attempt to mint a token ended.
pub(crate) enum Minted {
    Yes,
    /// Flexgate refused the mint. The value is what [`Person::mints`] returned when the mint began.
    No(Option<Word>),
    Perhaps,
}

/// A call to `/users` that is in progress.
#[derive(Debug)]
struct Call {
    says: Says,
    /// The values that were possible before the call.
    before: Word,
    /// What Flexgate has accepted from other calls since this one began.
    overlapped: Vec<Says>,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Person {
    words: BTreeMap<Source, Word>,
    /// The calls to `/users` that are in progress, by number.
    calls: BTreeMap<u64, Call>,
    /// The number of calls to `/users` so far.
    called: u64,
    /// The number of statements in which a source has said, or may have said, that the person is active.
    said_active: u64,
    /// For each SCIM group that gives the supervisor's role: whether the group lists the person. The set contains both
    /// values if this is uncertain.
    groups: BTreeMap<&'static str, BTreeSet<bool>>,
    /// The tokens with which the person has tried to mint: the time of issue, and whether the token contains the
    /// supervisor's role. If two tokens were issued in the same second, the claims of either may apply.
    minted: Vec<(i64, bool)>,
    minting: u32,
    /// Somebody gave the person the supervisor's role by hand.
    pub(crate) by_hand: bool,
    /// Something other than Flexgate, such as Twilio at a sign-in, has changed the Flex user. Flexgate repairs only
    /// some of these changes.
    pub(crate) disturbed: bool,
    /// The person has a role that Flexgate cannot give, so Flexgate changes none of the person's roles.
    pub(crate) has_wfo: bool,
    /// The person must keep the role that Flexgate cannot give. After a deactivation, a sign-in or a change by hand,
    /// this is no longer required.
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
    /// Records that the source sends a statement, which may or may not take effect. Returns the values that were
    /// possible before.
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

    /// Records that Flexgate has accepted the statement.
    pub(crate) fn settle(&mut self, source: Source, says: Says) {
        let word = self.words.entry(source).or_default();
        if let Some(active) = says.active {
            word.active = [Some(active)].into();
        }
        if let Some(supervisor) = says.supervisor {
            word.supervisor = [supervisor].into();
        }
    }

    /// Records that Flexgate has refused the statement and stored nothing of it.
    pub(crate) fn refuse(&mut self, source: Source, before: Word) {
        self.words.insert(source, before);
    }

    /// Records that the service begins to call `/users`. Returns the call's number.
    pub(crate) fn call(&mut self, says: Says) -> u64 {
        let before = self.begin(Source::Api, says);
        let number = self.called;
        self.called += 1;
        self.calls.insert(number, Call { says, before, overlapped: Vec::new() });
        number
    }

    /// Records that Flexgate has accepted the call. If other calls overlapped with this one, any of them may have taken
    /// effect last. A call that is still in progress may take effect later. It may even take effect twice, because the
    /// service repeats a call until it gets an answer.
    pub(crate) fn accepted(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        self.settle(Source::Api, call.says);
        let word = self.words.entry(Source::Api).or_default();
        for says in call.overlapped.iter().chain(self.calls.values().map(|other| &other.says)) {
            word.active.extend(says.active.map(Some));
            word.supervisor.extend(says.supervisor);
        }
        for other in self.calls.values_mut() {
            other.overlapped.push(call.says);
        }
    }

    /// Records that Flexgate has refused the call and stored nothing of it.
    pub(crate) fn refused(&mut self, number: u64) {
        let Some(call) = self.calls.remove(&number) else { return };
        if call.overlapped.is_empty() && self.calls.is_empty() {
            self.refuse(Source::Api, call.before);
        }
    }

    /// Records that it is uncertain what the source said last: any statement in `said`, any earlier statement that
    /// was possible until now, or nothing.
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

    /// Records that the person begins to mint. Returns the values that were possible before, unless another mint is in
    /// progress.
    pub(crate) fn mints(&mut self, issued_at: i64, supervisor: bool) -> Option<Word> {
        self.minted.push((issued_at, supervisor));
        self.minting += 1;
        let before = self.begin(Source::Token, Says { active: None, supervisor: Some(supervisor) });
        (self.minting == 1).then_some(before)
    }

    /// Records the end of a mint. After a success, only the claims of this token and of tokens issued at the same time
    /// or later can apply.
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

    /// Whether the group lists the person. `None` if this is uncertain.
    pub(crate) fn is_member(&self, group: &str) -> Option<bool> {
        let possible = self.groups.get(group).filter(|possible| possible.len() == 1)?;
        possible.first().copied()
    }

    /// Records that no SCIM group lists the person now.
    pub(crate) fn leaves_all(&mut self) {
        self.groups.clear();
    }

    /// Whether at least one source certainly says that the person is inactive. Flexgate must deactivate the person even
    /// if other sources disagree.
    pub(crate) fn must_be_inactive(&self) -> bool {
        self.words.values().any(|word| word.active == [Some(false)].into())
    }

    /// Returns a number if the person is certainly inactive, and otherwise `None`. If the number is the same before and
    /// after a request, the person was inactive during the whole request.
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

#[cfg(test)]
mod tests {
    use super::*;

    const IN: Says = Says { active: Some(true), supervisor: None };
    const OUT: Says = Says { active: Some(false), supervisor: None };

    #[test]
    fn only_calls_that_do_not_overlap_leave_a_certain_result() {
        let mut person = Person::default();
        let joins = person.call(IN);
        person.accepted(joins);
        let leaves = person.call(OUT);
        person.accepted(leaves);
        assert!(person.must_be_inactive());

        let (joins, leaves) = (person.call(IN), person.call(OUT));
        person.accepted(leaves);
        assert!(!person.must_be_inactive(), "the service repeats the other call");
        person.accepted(joins);
        assert!(!person.must_be_active(), "the other call may have had the last effect");
    }
}
