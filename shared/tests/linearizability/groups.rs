//! Tests that the operations on two SCIM groups are linearizable. The operations compete for names, because two groups
//! cannot have the same name at the same time.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use flexgate::domain::FlexUserSid;
use flexgate::store::StoreError;
use flexgate::store::scim::{Group, GroupWritten, Member};

use super::checker::Model;
use super::history::{Dice, Subject, same};
use super::{NOW, Store};

/// Clients write, read and remove two groups.
pub struct TwoGroups;

/// The content of a group: its version, name and members. Numbers stand for the name and for each member.
type Content = (u64, u8, BTreeSet<u8>);

#[derive(Debug, Clone)]
pub enum Op {
    Read(u8),
    Put(u8, Content),
    Remove(u8, u64),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Found(Option<Content>),
    Written(GroupWritten),
    Removed(bool),
}

impl Model for TwoGroups {
    type State = BTreeMap<u8, Content>;
    type Op = Op;
    type Answer = Answer;

    fn apply(state: &Self::State, op: &Op) -> (Self::State, Answer) {
        let mut state = state.clone();
        let answer = match op {
            Op::Read(id) => Answer::Found(state.get(id).cloned()),
            Op::Put(id, (version, name, members)) => {
                let is_taken = state.iter().any(|(other, (_, taken, _))| other != id && taken == name);
                Answer::Written(if is_taken {
                    GroupWritten::NameTaken
                } else if state.get(id).map_or(0, |(version, ..)| *version) == *version {
                    state.insert(*id, (version + 1, *name, members.clone()));
                    GroupWritten::Yes
                } else {
                    GroupWritten::Moved
                })
            }
            Op::Remove(id, version) => {
                let is_there = state.get(id).is_some_and(|(stored, ..)| stored == version);
                if is_there {
                    state.remove(id);
                }
                Answer::Removed(is_there)
            }
        };
        (state, answer)
    }

    fn accepts(recorded: &Answer, expected: &Answer) -> bool {
        same(recorded, expected)
    }
}

fn id(number: u32, group: u8) -> String {
    format!("fggrp_{number}_{group}")
}

/// The SIDs end with different digits, so that DynamoDB stores the members in different buckets.
fn sid(number: u32, user: u8) -> FlexUserSid {
    format!("FU{:032x}", number * 16 + u32::from(user)).parse().unwrap()
}

fn name(number: u32, name: u8) -> String {
    format!("Group {number} {name}")
}

#[async_trait]
impl Subject for TwoGroups {
    const SIZE: (usize, usize) = (4, 7);

    async fn prepare(_store: &dyn Store, _number: u32) {}

    fn draw(dice: &mut Dice, _unique: u32, seen: u64) -> Op {
        let group = u8::try_from(dice.below(2)).unwrap();
        match dice.below(10) {
            0..=3 => Op::Read(group),
            4..=8 => {
                let members = (0..3).filter(|_| dice.below(2) == 0).collect();
                Op::Put(group, (seen, u8::try_from(dice.below(3)).unwrap(), members))
            }
            _ => Op::Remove(group, seen),
        }
    }

    async fn perform(store: &dyn Store, number: u32, op: &Op) -> Result<Answer, StoreError> {
        Ok(match op {
            Op::Read(group) => {
                let told = |found: Group| {
                    let members = found
                        .members
                        .iter()
                        .map(|member| (0..3).find(|user| sid(number, *user) == member.user).unwrap());
                    let names = (0..3).find(|one| name(number, *one) == found.display_name);
                    (found.version, names.unwrap(), members.collect())
                };
                Answer::Found(store.group(&id(number, *group)).await?.map(told))
            }
            Op::Put(group, (version, named, members)) => {
                let member = |user: &u8| Member { user: sid(number, *user), present: true, announced: None };
                let group = Group {
                    id: id(number, *group),
                    display_name: name(number, *named),
                    external_id: None,
                    members: members.iter().map(member).collect(),
                    version: *version,
                    created_at: NOW,
                    updated_at: NOW,
                };
                Answer::Written(store.put_group(&group).await?)
            }
            Op::Remove(group, version) => Answer::Removed(store.remove_group(&id(number, *group), *version).await?),
        })
    }

    fn version(answer: &Answer) -> Option<u64> {
        match answer {
            Answer::Found(found) => Some(found.as_ref().map_or(0, |(version, ..)| *version)),
            _ => None,
        }
    }
}
