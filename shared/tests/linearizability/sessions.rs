//! Tests that the operations on a session, and on the lease for its refresh, are linearizable.

use async_trait::async_trait;
use flexgate::store::{Lease, Session, SessionKey, SessionOrigin, Sessions, StoreError};
use time::{Duration, OffsetDateTime};

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Clients refresh one session, and seldom end it.
pub struct OneSession;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Get,
    /// Requests a lease that ends at [`until`], a time that depends on the number `unique`. With `late`, the request
    /// comes after the end of all leases that were requested without `late`.
    Lease {
        version: u64,
        unique: u32,
        late: bool,
    },
    Release {
        version: u64,
        unique: u32,
    },
    Refreshed {
        version: u64,
        unique: u32,
    },
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// The session's version, and the number (`unique`) of the operation that stored its tokens.
    Found(Option<(u64, u32)>),
    Lease(Lease),
    Stored(bool),
    Done,
}

#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct State {
    version: u64,
    tokens: u32,
    leased: Option<(u32, bool)>,
    has_ended: bool,
}

impl Model for OneSession {
    type State = State;
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &State, op: &Op) -> (State, Answer) {
        let mut state = state.clone();
        let is_at = |wanted: u64| !state.has_ended && state.version == wanted;
        let answer = match *op {
            Op::Get => Answer::Found((!state.has_ended).then_some((state.version, state.tokens))),
            Op::Lease { version, .. } if !is_at(version) => Answer::Lease(Lease::Moved),
            // When a late request arrives, all leases that were requested without `late` have ended.
            Op::Lease { late, .. } if state.leased.is_some_and(|(_, by_late)| by_late || !late) => {
                Answer::Lease(Lease::Held)
            }
            Op::Lease { unique, late, .. } => {
                state.leased = Some((unique, late));
                Answer::Lease(Lease::Granted)
            }
            Op::Release { version, unique } => {
                if is_at(version) {
                    state.leased = state.leased.filter(|(by, _)| *by != unique);
                }
                Answer::Done
            }
            Op::Refreshed { version, .. } if !is_at(version) => Answer::Stored(false),
            Op::Refreshed { unique, .. } => {
                state = State { version: state.version + 1, tokens: unique, leased: None, has_ended: false };
                Answer::Stored(true)
            }
            Op::End => {
                state.has_ended = true;
                Answer::Done
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        same(recorded, expected)
    }

    /// Allows the store to refuse a request that took effect. This happens if the answer to the request is lost, and
    /// another client acts before the SDK repeats the request. The store then refuses the repeated request.
    fn accepts_from_dynamodb(recorded: &Answer, expected: &Answer) -> bool {
        match (recorded, expected) {
            (Answer::Stored(false), Answer::Stored(true)) => true,
            (Answer::Lease(recorded), Answer::Lease(expected)) => {
                (*recorded, *expected) == (Lease::Held, Lease::Granted)
            }
            _ => false,
        }
    }
}

fn key(number: u32) -> SessionKey {
    SessionKey::of(&format!("session {number}"))
}

/// Returns the time at which the lease with this number ends. Late requests come an hour later.
fn until(unique: u32, late: bool) -> OffsetDateTime {
    asked(late) + Duration::minutes(10) + Duration::seconds(unique.into())
}

fn asked(late: bool) -> OffsetDateTime {
    if late { NOW + Duration::HOUR } else { NOW }
}

#[async_trait]
impl Subject for OneSession {
    const SIZE: (usize, usize) = (4, 8);

    async fn prepare(store: &dyn Store, number: u32) {
        let session = Session {
            key: key(number),
            profile: "default".parse().unwrap(),
            flex_user_sid: format!("FU{number:032x}").parse().unwrap(),
            sealed: "0".into(),
            version: 0,
            created_at: NOW,
            used_at: NOW,
            ends_at: NOW + Duration::hours(12),
            seat: None,
            origin: SessionOrigin::default(),
        };
        store.insert(session).await.unwrap();
    }

    fn draw(dice: &mut Dice, unique: u32, version: u64) -> Op {
        // A release names a lease by the number of the operation that may have requested it. Half of the releases
        // contain the number of the client's previous operation. (If the client has none, this is another client's last
        // operation.) The other half contain their own number, so they name a lease that nobody has requested.
        let earlier = unique - u32::try_from(dice.below(2)).unwrap();
        match dice.below(20) {
            0..=4 => Op::Get,
            5..=10 => Op::Lease { version, unique, late: dice.below(4) == 0 },
            11..=14 => Op::Release { version, unique: earlier },
            15..=18 => Op::Refreshed { version, unique },
            _ if dice.below(3) == 0 => Op::End,
            _ => Op::Get,
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        let key = key(number);
        Ok(match *op {
            Op::Get => {
                let found = store.get(&key).await?;
                Answer::Found(found.map(|found| (found.version, found.sealed.parse().unwrap())))
            }
            Op::Lease { version, unique, late } => {
                let until = until(unique, late);
                Answer::Lease(Sessions::lease(store, &key, version, asked(late), until).await?)
            }
            Op::Release { version, unique } => {
                // A real holder knows when its lease ends. This operation does not know whether the lease was requested
                // late, so it releases both leases that are possible.
                for late in [false, true] {
                    Sessions::release(store, &key, version, until(unique, late)).await?;
                }
                Answer::Done
            }
            Op::Refreshed { version, unique } => {
                Answer::Stored(store.refreshed(&key, version, &unique.to_string()).await?)
            }
            Op::End => {
                store.end(&key).await?;
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
