//! Tests that the operations on the username index are linearizable, with two users whose usernames differ only in
//! case. For each user, the report with the latest time wins.

use std::collections::BTreeMap;

use async_trait::async_trait;
use flexgate::domain::{FlexUserSid, Username};
use flexgate::store::{SeenUser, StoreError};
use time::Duration;

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Clients report and look up two users whose names differ only in case.
pub struct OneName;

#[derive(Debug, Clone, Copy)]
pub enum Op {
    Seen,
    /// Reports whether the user was active at the time `second`.
    Put {
        user: u8,
        second: u32,
        active: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Users(BTreeMap<u8, bool>),
    Done,
}

impl Model for OneName {
    type State = BTreeMap<u8, (u32, bool)>;
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &Self::State, op: &Op) -> (Self::State, Answer) {
        let mut state = state.clone();
        let answer = match *op {
            Op::Seen => Answer::Users(state.iter().map(|(user, (_, active))| (*user, *active)).collect()),
            Op::Put { user, second, active } => {
                if state.get(&user).is_none_or(|(latest, _)| *latest <= second) {
                    state.insert(user, (second, active));
                }
                Answer::Done
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        same(recorded, expected)
    }
}

fn sid(number: u32, user: u8) -> FlexUserSid {
    format!("FU{:032x}", number * 2 + u32::from(user)).parse().unwrap()
}

fn name(number: u32, user: u8) -> Username {
    let name = if user == 0 { "ada" } else { "Ada" };
    format!("{name}{number}").parse().unwrap()
}

#[async_trait]
impl Subject for OneName {
    const SIZE: (usize, usize) = (4, 7);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, _unique: u32, _seen: u64) -> Op {
        match dice.below(5) {
            0 | 1 => Op::Seen,
            _ => Op::Put {
                user: u8::try_from(dice.below(2)).unwrap(),
                second: u32::try_from(dice.below(1_000)).unwrap(),
                active: dice.below(2) == 0,
            },
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        Ok(match *op {
            Op::Seen => {
                let seen = store.seen(&name(number, 0).key()).await?;
                let told = |user: &SeenUser| (u8::from(user.flex_user_sid == sid(number, 1)), user.active);
                Answer::Users(seen.iter().map(told).collect())
            }
            Op::Put { user, second, active } => {
                let username = name(number, user);
                let seen = SeenUser { key: username.key(), username, flex_user_sid: sid(number, user), active };
                store.put_seen(&[seen], NOW + Duration::seconds(second.into())).await?;
                Answer::Done
            }
        })
    }
}
