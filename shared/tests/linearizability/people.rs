//! Tests that the operations on a person in the ledger are linearizable: the writes that check the version, and the
//! lease for reconciling.

use async_trait::async_trait;
use flexgate::domain::ledger::{Given, Person, PersonId, Said, Source, Statement};
use flexgate::store::{Noting, People, PersonKey, PersonLease, Stating, StoreError, Written};
use time::{Duration, OffsetDateTime};

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Clients store statements about one person, and take the lease on that person.
pub struct OnePerson;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Read,
    /// Stores a statement that contains the number `unique`.
    State {
        version: u64,
        unique: u32,
    },
    Note {
        version: u64,
    },
    /// Requests the lease. The number `unique` identifies the holder. With `late`, the request comes after the end of
    /// all leases that were requested without `late`.
    Lease {
        unique: u32,
        late: bool,
    },
    /// Releases the lease of `holder`. If a version is given, releases it only if the person still has this version.
    Release {
        holder: u32,
        version: Option<u64>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The person's version, and the number `unique` from the stored statement.
    Person(u64, u32),
    Written(Option<u64>),
    Granted {
        taken_over: bool,
    },
    Held(OffsetDateTime),
    Released(bool),
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct State {
    version: u64,
    said: u32,
    leased: Option<(u32, bool)>,
}

impl Default for State {
    fn default() -> Self {
        Self { version: 1, said: 0, leased: None }
    }
}

impl Model for OnePerson {
    type State = State;
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &State, op: &Op) -> (State, Answer) {
        let mut state = state.clone();
        let answer = match *op {
            Op::Read => Answer::Person(state.version, state.said),
            Op::State { version, .. } | Op::Note { version } if version != state.version => Answer::Written(None),
            Op::State { unique, .. } => {
                (state.version, state.said) = (state.version + 1, unique);
                Answer::Written(Some(state.version))
            }
            Op::Note { .. } => {
                state.version += 1;
                Answer::Written(Some(state.version))
            }
            Op::Lease { unique, late } => match state.leased {
                Some((by, by_late)) if by != unique && (by_late || !late) => Answer::Held(until(by, by_late)),
                earlier => {
                    state.leased = Some((unique, late));
                    Answer::Granted { taken_over: earlier.is_some() }
                }
            },
            Op::Release { holder, version } => {
                let is_holder = state.leased.is_some_and(|(by, _)| by == holder);
                let released = is_holder && version.is_none_or(|version| version == state.version);
                state.leased = state.leased.filter(|_| !released);
                Answer::Released(released)
            }
        };
        (state, answer)
    }

    /// If the first answer is lost and the SDK repeats the request, the holder requests a lease that it already holds.
    /// The store then answers that the lease was taken over.
    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        let own = (Answer::Granted { taken_over: true }, Answer::Granted { taken_over: false });
        same(recorded, expected) || (*recorded, *expected) == own
    }

    /// Accepts a refusal although the model says that the request takes effect. This can happen if an answer is lost
    /// and another client acts before the SDK repeats the request: the store then refuses the repeated request.
    fn accepts_from_dynamodb(recorded: &Answer, expected: &Answer) -> bool {
        match (recorded, expected) {
            (Answer::Released(recorded), Answer::Released(expected)) => !recorded && *expected,
            (Answer::Held(_), Answer::Granted { .. }) => true,
            _ => false,
        }
    }
}

fn until(holder: u32, late: bool) -> OffsetDateTime {
    asked(late) + Duration::minutes(10) + Duration::seconds(holder.into())
}

fn asked(late: bool) -> OffsetDateTime {
    if late { NOW + Duration::HOUR } else { NOW }
}

fn id(number: u32) -> PersonId {
    PersonId::of(u128::from(number + 1).to_be_bytes())
}

fn statement(said: u32) -> Statement {
    let names = [said.to_string().into()].into();
    Statement { roles: Some(Said::new(NOW, &"e".parse().unwrap(), names)), ..Statement::default() }
}

fn name(number: u32) -> flexgate::domain::Username {
    format!("ada{number}").parse().unwrap()
}

#[async_trait]
impl Subject for OnePerson {
    const SIZE: (usize, usize) = (4, 8);

    async fn prepare(store: &dyn Store, number: u32) {
        let mut person = Person::new(id(number), name(number));
        person.statements.insert(Source::Api, statement(0));
        assert_eq!(store.add(&person, None).await.unwrap(), Written::Yes(1));
    }

    fn draw(dice: &mut Dice, unique: u32, seen: u64) -> Op {
        let earlier = unique - u32::try_from(dice.below(3)).unwrap().min(unique);
        match dice.below(20) {
            0..=4 => Op::Read,
            5..=8 => Op::State { version: seen, unique },
            9 => Op::Note { version: seen },
            10..=14 => Op::Lease { unique, late: dice.below(4) == 0 },
            15..=17 => Op::Release { holder: earlier, version: Some(seen) },
            _ => Op::Release { holder: earlier, version: None },
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        let id = id(number);
        let written = |written: Written| match written {
            Written::Yes(version) => Answer::Written(Some(version)),
            Written::Moved => Answer::Written(None),
        };
        Ok(match *op {
            Op::Read => {
                let person = store.person(&PersonKey::Id(id)).await?.unwrap();
                let said = person.statements[&Source::Api].roles.as_ref().unwrap().value.first().unwrap().clone();
                Answer::Person(person.version, said.parse().unwrap())
            }
            Op::State { version, unique } => {
                let statement = statement(unique);
                let stating = Stating { source: &Source::Api, statement: &statement, subject: None, given: None };
                written(store.state(id, version, stating).await?)
            }
            Op::Note { version } => {
                let (given, username) = (Given::default(), name(number));
                let noting = Noting { given: &given, flex_user_sid: None, username: &username };
                written(store.note(id, version, noting).await?)
            }
            Op::Lease { unique, late } => {
                match People::lease(store, id, unique.into(), asked(late), until(unique, late)).await? {
                    PersonLease::Granted { taken_over } => Answer::Granted { taken_over },
                    PersonLease::Held(until) => Answer::Held(until),
                    PersonLease::Unknown => unreachable!("the person exists"),
                }
            }
            Op::Release { holder, version } => {
                Answer::Released(People::release(store, id, holder.into(), version).await?)
            }
        })
    }

    fn version(answer: &Answer) -> Option<u64> {
        match answer {
            Answer::Person(version, _) | Answer::Written(Some(version)) => Some(*version),
            _ => None,
        }
    }
}
