//! The store records each person's newest sign-in with a profile, and the browser (the seat) of that sign-in. This
//! module tests that the operations on this record are linearizable.

use async_trait::async_trait;
use flexgate::store::{Seat, Session, SessionKey, SessionOrigin, StoreError};
use time::Duration;

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// One person signs in with two profiles, in several browsers at once.
pub struct SeatsOfOne;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    /// A sign-in with this profile. `unique` is the sign-in's number, which no other sign-in has.
    Take {
        profile: usize,
        unique: u32,
        is_only: bool,
    },
    Newest {
        profile: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Taken,
    Newest(Option<Seat>),
}

const PROFILES: [&str; 2] = ["default", "second"];

impl Model for SeatsOfOne {
    /// For each profile, the number of the newest sign-in, and whether it ended the sessions in other browsers.
    type State = [Option<(u32, bool)>; PROFILES.len()];
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &Self::State, op: &Op) -> (Self::State, Answer) {
        let mut state = *state;
        let answer = match *op {
            Op::Take { profile, unique, is_only } => {
                state[profile] = Some((unique, is_only));
                Answer::Taken
            }
            Op::Newest { profile } => {
                Answer::Newest(state[profile].map(|(unique, is_only)| Seat { seat: key(unique), is_only }))
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        same(recorded, expected)
    }
}

fn key(unique: u32) -> SessionKey {
    SessionKey::of(&format!("sign-in {unique}"))
}

#[async_trait]
impl Subject for SeatsOfOne {
    const SIZE: (usize, usize) = (4, 8);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, unique: u32, _seen: u64) -> Op {
        let profile = usize::from(dice.below(4) == 0);
        match dice.below(2) {
            0 => Op::Take { profile, unique, is_only: dice.below(3) > 0 },
            _ => Op::Newest { profile },
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        let user = format!("FU{number:032x}").parse().unwrap();
        Ok(match *op {
            Op::Take { profile, unique, is_only } => {
                let session = Session {
                    key: key(unique),
                    profile: PROFILES[profile].parse().unwrap(),
                    flex_user_sid: user,
                    sealed: "0".into(),
                    version: 0,
                    created_at: NOW,
                    used_at: NOW,
                    ends_at: NOW + Duration::hours(12),
                    seat: None,
                    origin: SessionOrigin::default(),
                };
                store.take(&session, is_only).await?;
                Answer::Taken
            }
            Op::Newest { profile } => Answer::Newest(store.newest(&user, &PROFILES[profile].parse().unwrap()).await?),
        })
    }
}
