//! Checks whether a recorded history of concurrent operations is linearizable. It is linearizable if each operation
//! could have happened at a single moment between its call and its return, so that a sequential model gives the same
//! answers.
//!
//! The algorithm is by Wing and Gong, with the cache by Lowe: a depth-first search through the possible orders of the
//! operations. The cache remembers each set of performed operations together with the resulting state, so that the
//! search visits no such pair twice.

use std::collections::HashSet;
use std::fmt::Debug;
use std::hash::Hash;

/// A sequential model.
pub trait Model {
    type State: Clone + Eq + Hash + Default;
    type Op: Clone + Debug;
    type Answer: Clone + Debug;

    /// Performs the operation alone.
    fn apply(state: &Self::State, op: &Self::Op) -> (Self::State, Self::Answer);

    /// Whether the store may give the answer `recorded` if the model gives `expected`.
    fn accepts(recorded: &Self::Answer, expected: &Self::Answer) -> bool;

    /// Whether DynamoDB, unlike SQLite, may give the answer `recorded` if the model gives `expected`. The operation
    /// must still have the same effect as in the model.
    fn accepts_from_dynamodb(_recorded: &Self::Answer, _expected: &Self::Answer) -> bool {
        false
    }
}

/// An operation, with the times of its call and its return. An operation without a return may have happened at any time
/// after the call, or not at all.
#[derive(Debug, Clone)]
pub struct Event<Op, Answer> {
    pub client: usize,
    pub op: Op,
    pub called: u64,
    pub returned: Option<(u64, Answer)>,
}

/// The events of a history, at most 128.
pub type History<M> = [Event<<M as Model>::Op, <M as Model>::Answer>];

pub fn is_linearizable<M: Model>(history: &History<M>, is_dynamodb: bool) -> bool {
    assert!(history.len() <= 128, "the set of performed operations has 128 bits");
    let returned = |(index, event): (usize, &Event<M::Op, M::Answer>)| {
        if event.returned.is_some() { 1_u128 << index } else { 0 }
    };
    let answered = history.iter().enumerate().map(returned).fold(0, |all, one| all | one);
    let mut tried = HashSet::new();
    let mut open = vec![(0_u128, M::State::default())];
    while let Some((performed, state)) = open.pop() {
        if performed & answered == answered {
            return true;
        }
        if !tried.insert((performed, state.clone())) {
            continue;
        }
        let waiting = || history.iter().enumerate().filter(|(index, _)| performed & (1 << index) == 0);
        // An operation cannot come next if it was called after another waiting operation returned.
        let first_return = waiting().filter_map(|(_, event)| event.returned.as_ref().map(|(at, _)| *at)).min();
        for (index, event) in waiting().filter(|(_, event)| first_return.is_none_or(|at| event.called < at)) {
            let (next, expected) = M::apply(&state, &event.op);
            let is_possible = |recorded: &M::Answer| {
                M::accepts(recorded, &expected) || is_dynamodb && M::accepts_from_dynamodb(recorded, &expected)
            };
            if event.returned.as_ref().is_none_or(|(_, recorded)| is_possible(recorded)) {
                open.push((performed | (1 << index), next));
            }
        }
    }
    false
}

mod tests {
    use super::*;

    /// A number with two operations: read the number, or replace it if it still has an expected value.
    struct Register;

    #[derive(Debug, Clone, Copy)]
    enum Op {
        Read,
        Replace(u8, u8),
    }

    impl Model for Register {
        type State = u8;
        type Op = Op;
        type Answer = u8;

        /// The answer to `Read` is the number. The answer to `Replace` is 1 if the number was replaced, and otherwise
        /// 0.
        fn apply(state: &u8, op: &Op) -> (u8, u8) {
            match op {
                Op::Read => (*state, *state),
                Op::Replace(from, to) if from == state => (*to, 1),
                Op::Replace(..) => (*state, 0),
            }
        }

        fn accepts(recorded: &u8, expected: &u8) -> bool {
            recorded == expected
        }
    }

    fn event(op: Op, called: u64, returned: Option<(u64, u8)>) -> Event<Op, u8> {
        Event { client: 0, op, called, returned }
    }

    fn holds(history: &[Event<Op, u8>]) -> bool {
        is_linearizable::<Register>(history, false)
    }

    #[test]
    fn concurrent_operations_may_come_in_any_order() {
        let replace = event(Op::Replace(0, 7), 1, Some((4, 1)));
        assert!(holds(&[replace.clone(), event(Op::Read, 2, Some((3, 0)))]));
        assert!(holds(&[replace.clone(), event(Op::Read, 2, Some((3, 7)))]));
        let other = event(Op::Replace(0, 8), 2, Some((3, 0)));
        assert!(holds(&[replace, other, event(Op::Read, 5, Some((6, 7)))]));
    }

    #[test]
    fn a_stale_read_is_refused() {
        let replace = event(Op::Replace(0, 7), 1, Some((2, 1)));
        assert!(!holds(&[replace.clone(), event(Op::Read, 3, Some((4, 0)))]));
        // After one read has returned the new number, no later read may return the old one.
        let long = event(Op::Replace(0, 7), 1, Some((9, 1)));
        assert!(!holds(&[long, event(Op::Read, 2, Some((3, 7))), event(Op::Read, 4, Some((5, 0)))]));
    }

    #[test]
    fn two_winners_and_a_lost_update_are_refused() {
        let first = event(Op::Replace(0, 7), 1, Some((4, 1)));
        let second = event(Op::Replace(0, 8), 2, Some((3, 1)));
        assert!(!holds(&[first.clone(), second]));
        let third = event(Op::Replace(7, 8), 5, Some((6, 1)));
        assert!(!holds(&[first, third, event(Op::Read, 7, Some((8, 7)))]));
    }

    #[test]
    fn an_operation_without_an_answer_may_happen_late_or_never() {
        let lost = event(Op::Replace(0, 7), 1, None);
        for seen in [0, 7] {
            assert!(holds(&[lost.clone(), event(Op::Read, 2, Some((3, seen)))]));
        }
        let reads = |numbers: [u8; 2]| {
            let [first, second] = numbers;
            [lost.clone(), event(Op::Read, 2, Some((3, first))), event(Op::Read, 4, Some((5, second)))]
        };
        assert!(holds(&reads([0, 7])));
        assert!(!holds(&reads([7, 0])));
        assert!(!holds(&[event(Op::Read, 1, Some((2, 7))), event(Op::Replace(0, 7), 3, None)]));
    }
}
