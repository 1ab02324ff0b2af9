//! Tests that the operations on a SCIM entry and on its work record are linearizable. The work is to create the entry's
//! user. Only one process at a time, the holder, may do this work, and the work record names the holder.

use async_trait::async_trait;
use flexgate::domain::FlexUserSid;
use flexgate::store::StoreError;
use flexgate::store::scim::{Begun, Entry, Work};
use time::{Duration, OffsetDateTime};

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Clients create or change one user.
pub struct OneEntry;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Read,
    /// Writes an entry with the number `unique`. If `finishes` contains a holder's number, also finishes the work of
    /// this holder.
    Put {
        version: u64,
        unique: u32,
        finishes: Option<u32>,
    },
    /// Begins the work. The number `unique` identifies the new holder. A holder's right to do the work expires. If
    /// `late` is true, the request comes so late that the right of every holder who began without `late` has expired.
    Begin {
        unique: u32,
        late: bool,
    },
    Intend {
        holder: u32,
    },
    Abandon {
        holder: u32,
    },
    Finish {
        holder: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The version, and the number (`unique`) in the stored entry.
    Found(Option<(u64, u32)>),
    Stored(bool),
    Is(bool),
    Begun {
        intended: bool,
    },
    Held(OffsetDateTime),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    entry: Option<(u64, u32)>,
    work: Option<Record>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Record {
    /// The holder, and whether it asked late.
    by: Option<(u32, bool)>,
    intended: bool,
}

impl State {
    fn is_held_by(&self, holder: u32) -> bool {
        self.work.is_some_and(|work| work.by.is_some_and(|(by, _)| by == holder))
    }

    fn is_held_by_another_than(&self, holder: u32) -> bool {
        self.work.is_some_and(|work| work.by.is_some_and(|(by, _)| by != holder))
    }
}

impl Model for OneEntry {
    type State = State;
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &State, op: &Op) -> (State, Answer) {
        let mut state = state.clone();
        let answer = match *op {
            Op::Read => Answer::Found(state.entry),
            Op::Put { version, unique, finishes } => {
                let is_current = state.entry.map_or(0, |(version, _)| version) == version;
                if !is_current || finishes.is_some_and(|holder| state.is_held_by_another_than(holder)) {
                    return (state, Answer::Stored(false));
                }
                state.entry = Some((version + 1, unique));
                if finishes.is_some_and(|holder| state.is_held_by(holder)) {
                    state.work = None;
                }
                Answer::Stored(true)
            }
            Op::Begin { unique, late } => match state.work {
                Some(Record { by: Some((by, by_late)), .. }) if by != unique && (by_late || !late) => {
                    Answer::Held(until(by, by_late))
                }
                earlier => {
                    let intended = earlier.is_some_and(|work| work.intended);
                    state.work = Some(Record { by: Some((unique, late)), intended });
                    Answer::Begun { intended }
                }
            },
            Op::Intend { holder } => {
                let is_held = state.is_held_by(holder);
                state.work = state.work.map(|work| Record { intended: work.intended || is_held, ..work });
                Answer::Is(is_held)
            }
            Op::Abandon { holder } => {
                if state.is_held_by(holder) {
                    state.work = state.work.map(|work| Record { by: None, ..work });
                }
                Answer::Done
            }
            Op::Finish { holder } => {
                if state.is_held_by(holder) {
                    state.work = None;
                }
                Answer::Done
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        same(recorded, expected)
    }

    /// Accepts a refusal although the model says that the request takes effect. This can happen if an answer is lost
    /// and another client acts before the SDK repeats the request: the store then refuses the repeated request.
    fn accepts_from_dynamodb(recorded: &Answer, expected: &Answer) -> bool {
        match (recorded, expected) {
            (Answer::Is(recorded), Answer::Is(expected)) => !recorded && *expected,
            (Answer::Held(_), Answer::Begun { .. }) => true,
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

fn id(number: u32) -> FlexUserSid {
    format!("FU{number:032x}").parse().unwrap()
}

#[async_trait]
impl Subject for OneEntry {
    const SIZE: (usize, usize) = (4, 8);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, unique: u32, seen: u64) -> Op {
        let holder = unique - u32::try_from(dice.below(3)).unwrap().min(unique);
        match dice.below(20) {
            0..=3 => Op::Read,
            4..=6 => Op::Put { version: seen, unique, finishes: None },
            7..=9 => Op::Put { version: seen, unique, finishes: Some(holder) },
            10..=14 => Op::Begin { unique, late: dice.below(4) == 0 },
            15..=17 => Op::Intend { holder },
            18 => Op::Abandon { holder },
            _ => Op::Finish { holder },
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        let id = id(number);
        let work = |holder: u32| Work { name: format!("user:ada{number}"), holder: holder.into() };
        Ok(match *op {
            Op::Read => {
                let told = |entry: Entry| (entry.version, entry.external_id.unwrap().parse().unwrap());
                Answer::Found(store.entry(&id).await?.map(told))
            }
            Op::Put { version, unique, finishes } => {
                let entry = Entry {
                    id: id.clone(),
                    current: id,
                    username: format!("ada{number}").parse().unwrap(),
                    external_id: Some(unique.to_string()),
                    asserted: serde_json::Map::new(),
                    deleted: false,
                    version,
                    updated_at: NOW,
                };
                Answer::Stored(store.put_entry(&entry, finishes.map(work).as_ref()).await?)
            }
            Op::Begin { unique, late } => match store.begin(&work(unique), asked(late), until(unique, late)).await? {
                Begun::Yes { intended } => Answer::Begun { intended },
                Begun::Held(until) => Answer::Held(until),
            },
            Op::Intend { holder } => Answer::Is(store.intend(&work(holder)).await?),
            Op::Abandon { holder } => {
                store.abandon(&work(holder)).await?;
                Answer::Done
            }
            Op::Finish { holder } => {
                store.finish(&work(holder)).await?;
                Answer::Done
            }
        })
    }

    fn version(answer: &Answer) -> Option<u64> {
        match answer {
            Answer::Found(found) => found.map(|(version, _)| version),
            _ => None,
        }
    }
}
