//! Tests that two kinds of operation are linearizable: claiming an action, which succeeds only once, and binding an
//! identity to a Flex user.

use std::collections::BTreeMap;

use async_trait::async_trait;
use flexgate::domain::{FlexUserSid, Identity};
use flexgate::store::{Bound, StoreError};
use time::Duration;

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Several clients claim three actions.
pub struct Claims;

impl Model for Claims {
    type State = u8;
    type Op = u8;
    type Answer = bool;

    fn apply(claimed: &u8, what: &u8) -> (u8, bool) {
        (claimed | (1 << what), claimed & (1 << what) == 0)
    }

    fn accepts(recorded: &bool, expected: &bool) -> bool {
        same(recorded, expected)
    }
}

#[async_trait]
impl Subject for Claims {
    const SIZE: (usize, usize) = (6, 4);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, _unique: u32, _seen: u64) -> u8 {
        u8::try_from(dice.below(3)).unwrap()
    }

    async fn perform(store: &dyn Store, number: u32, what: &u8) -> Result<bool, StoreError> {
        store.claim("test", &format!("{number} {what}"), NOW, NOW + Duration::HOUR).await
    }
}

/// Several clients claim two actions. Each claim names one of two holders, or no holder.
pub struct ClaimsForHolders;

/// Claims the action `what`. `holder` is the holder 0 or 1, or `None` for a claim without a holder.
#[derive(Debug, Clone, Copy)]
pub struct ClaimOp {
    what: usize,
    holder: Option<u8>,
}

impl Model for ClaimsForHolders {
    /// The holder of each claimed action.
    type State = [Option<Option<u8>>; 2];
    type Op = ClaimOp;
    type Answer = bool;

    fn apply(claims: &Self::State, op: &ClaimOp) -> (Self::State, bool) {
        let mut claims = *claims;
        let is_granted = claims[op.what].is_none_or(|holder| holder.is_some() && holder == op.holder);
        if is_granted {
            claims[op.what] = Some(op.holder);
        }
        (claims, is_granted)
    }

    fn accepts(recorded: &bool, expected: &bool) -> bool {
        same(recorded, expected)
    }
}

#[async_trait]
impl Subject for ClaimsForHolders {
    const SIZE: (usize, usize) = (6, 4);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, _unique: u32, _seen: u64) -> ClaimOp {
        let what = usize::try_from(dice.below(2)).unwrap();
        ClaimOp { what, holder: u8::try_from(dice.below(3)).ok().filter(|holder| *holder < 2) }
    }

    async fn perform(store: &dyn Store, number: u32, op: &ClaimOp) -> Result<bool, StoreError> {
        let (what, until) = (format!("{number} {}", op.what), NOW + Duration::HOUR);
        match op.holder {
            Some(holder) => store.claim_for(&[&holder.to_string()], "for", &what, NOW, until).await,
            None => store.claim("for", &what, NOW, until).await,
        }
    }
}

/// Several clients bind and unbind two identities and two Flex users.
pub struct BindingsOfTwo;

#[derive(Debug, Clone, Copy)]
pub enum BindingOp {
    UserOf(u8),
    Bind(u8, u8),
    Unbind(u8),
    UnbindIdentity(u8, u8),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingAnswer {
    User(Option<u8>),
    Bound,
    IdentityTaken(u8),
    UserTaken,
    Done,
}

impl Model for BindingsOfTwo {
    type State = BTreeMap<u8, u8>;
    type Op = BindingOp;
    type Answer = BindingAnswer;

    fn apply(state: &Self::State, op: &BindingOp) -> (Self::State, BindingAnswer) {
        let mut state = state.clone();
        let answer = match *op {
            BindingOp::UserOf(identity) => BindingAnswer::User(state.get(&identity).copied()),
            BindingOp::Bind(identity, user) => match state.get(&identity) {
                Some(bound) if *bound == user => BindingAnswer::Bound,
                Some(bound) => BindingAnswer::IdentityTaken(*bound),
                None if state.values().any(|bound| *bound == user) => BindingAnswer::UserTaken,
                None => {
                    state.insert(identity, user);
                    BindingAnswer::Bound
                }
            },
            BindingOp::Unbind(user) => {
                state.retain(|_, bound| *bound != user);
                BindingAnswer::Done
            }
            BindingOp::UnbindIdentity(identity, user) => {
                state.retain(|known, bound| *known != identity || *bound != user);
                BindingAnswer::Done
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &BindingAnswer, expected: &BindingAnswer) -> bool {
        same(recorded, expected)
    }

    /// DynamoDB reads the identity's binding first, and the user's binding second. Between these reads, another client
    /// may bind the identity. So the answer may be `UserTaken` instead of `IdentityTaken`.
    fn accepts_from_dynamodb(recorded: &BindingAnswer, expected: &BindingAnswer) -> bool {
        matches!((recorded, expected), (BindingAnswer::UserTaken, BindingAnswer::IdentityTaken(_)))
    }
}

fn identity(number: u32, identity: u8) -> Identity {
    Identity { issuer: "https://idp.example".into(), subject: format!("{number} {identity}").into() }
}

fn sid(number: u32, user: u8) -> FlexUserSid {
    format!("FU{:032x}", number * 2 + u32::from(user)).parse().unwrap()
}

#[async_trait]
impl Subject for BindingsOfTwo {
    const SIZE: (usize, usize) = (4, 6);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, _unique: u32, _seen: u64) -> BindingOp {
        let mut one = || u8::try_from(dice.below(2)).unwrap();
        let (identity, user) = (one(), one());
        match dice.below(6) {
            0 => BindingOp::UserOf(identity),
            1..=3 => BindingOp::Bind(identity, user),
            4 => BindingOp::Unbind(user),
            _ => BindingOp::UnbindIdentity(identity, user),
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &BindingOp) -> Result<BindingAnswer, StoreError> {
        let which = |user: &FlexUserSid| u8::from(*user == sid(number, 1));
        Ok(match *op {
            BindingOp::UserOf(one) => {
                BindingAnswer::User(store.user_of(&identity(number, one)).await?.as_ref().map(which))
            }
            BindingOp::Bind(one, user) => match store.bind(&identity(number, one), &sid(number, user), NOW).await? {
                Bound::Yes => BindingAnswer::Bound,
                Bound::IdentityTaken(by) => BindingAnswer::IdentityTaken(which(&by)),
                Bound::UserTaken => BindingAnswer::UserTaken,
            },
            BindingOp::Unbind(user) => {
                store.unbind(&sid(number, user)).await?;
                BindingAnswer::Done
            }
            BindingOp::UnbindIdentity(one, user) => {
                store.unbind_identity(&identity(number, one), &sid(number, user)).await?;
                BindingAnswer::Done
            }
        })
    }
}
