//! The choices that determine a schedule. They are given, or drawn at random.

use std::collections::BTreeSet;

use crate::chance::Chance;

/// How much a schedule may differ from the simplest one, in which each process runs to its end without a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// The maximum number of switches. A switch lets another process continue, although the current one could continue
    /// too.
    pub switches: u32,
    /// How many things may go wrong.
    pub faults: u32,
}

impl Budget {
    /// No limit.
    pub const LIMITLESS: Self = Self { switches: u32::MAX, faults: u32::MAX };

    fn affords(self, cost: Self) -> bool {
        cost.switches <= self.switches && cost.faults <= self.faults
    }

    fn less(self, cost: Self) -> Self {
        Self { switches: self.switches - cost.switches, faults: self.faults - cost.faults }
    }
}

/// How to draw a schedule at random. As in probabilistic concurrency testing (PCT), first draw the steps at which
/// switches and faults happen. If each step were decided at random, schedules with few switches and faults would be
/// rare.
#[derive(Debug, Clone, Copy)]
pub struct Drawn {
    /// The maximum number of switches and of faults in each schedule.
    pub budget: Budget,
    /// The expected number of steps.
    pub steps: usize,
}

/// Decides what happens next.
#[derive(Debug)]
pub(crate) struct Choices {
    limit: Budget,
    left: Budget,
    way: Way,
    made: Vec<Choice>,
}

#[derive(Debug)]
enum Way {
    /// Takes the given choices, and then always the first option.
    Given(Vec<usize>),
    Drawn {
        chance: Chance,
        switches: BTreeSet<usize>,
        faults: BTreeSet<usize>,
    },
}

/// A choice that was made.
#[derive(Debug, Clone, Copy)]
struct Choice {
    taken: usize,
    /// The number of options for which enough of the budget was left.
    of: usize,
}

impl Choices {
    pub(super) fn given(limit: Budget, choices: Vec<usize>) -> Self {
        Self { limit, left: limit, way: Way::Given(choices), made: Vec::new() }
    }

    pub(super) fn drawn(drawn: Drawn, seed: u64) -> Self {
        let (chance, limit) = (Chance::new(seed), drawn.budget);
        let some = |count: u32| (0..count).map(|_| chance.below(drawn.steps)).collect();
        let (switches, faults) = (some(limit.switches), some(limit.faults));
        Self { limit, left: limit, way: Way::Drawn { chance, switches, faults }, made: Vec::new() }
    }

    /// Chooses one of the options with these costs, and returns its index. The first option must cost nothing.
    ///
    /// # Panics
    /// If a given choice does not exist, which means that the run is not deterministic.
    pub(super) fn pick(&mut self, costs: &[Budget]) -> usize {
        let affordable: Vec<usize> = (0..costs.len()).filter(|index| self.left.affords(costs[*index])).collect();
        let step = self.made.len();
        let those = |wanted: &dyn Fn(Budget) -> bool| -> Vec<usize> {
            (0..affordable.len()).filter(|index| wanted(costs[affordable[*index]])).collect()
        };
        let taken = match &self.way {
            Way::Given(choices) => choices.get(step).copied().unwrap_or_default(),
            Way::Drawn { chance, switches, faults } => {
                let free = those(&|cost| cost == Budget { switches: 0, faults: 0 });
                let wanted = if faults.contains(&step) {
                    those(&|cost| cost.faults > 0)
                } else if switches.contains(&step) {
                    those(&|cost| cost.switches > 0 && cost.faults == 0)
                } else {
                    Vec::new()
                };
                chance.one_of(if wanted.is_empty() { &free } else { &wanted })
            }
        };
        assert!(taken < affordable.len(), "step {step} has no option {taken}: the run is not deterministic");
        self.made.push(Choice { taken, of: affordable.len() });
        self.left = self.left.less(costs[affordable[taken]]);
        affordable[taken]
    }

    /// The number of things that went wrong.
    pub(super) fn faults(&self) -> u32 {
        self.limit.faults - self.left.faults
    }

    /// Returns the choices so far, up to the last one that did not take the first option. The rest is not necessary,
    /// because a schedule takes the first option by default.
    pub(super) fn taken(&self) -> Vec<usize> {
        let mut taken: Vec<usize> = self.made.iter().map(|choice| choice.taken).collect();
        while taken.last() == Some(&0) {
            taken.pop();
        }
        taken
    }

    /// Returns the choices for the next schedule in a depth-first search, or `None` if this was the last schedule.
    pub(super) fn next(&self) -> Option<Vec<usize>> {
        let last = self.made.iter().rposition(|choice| choice.taken + 1 < choice.of)?;
        let mut next: Vec<usize> = self.made[..=last].iter().map(|choice| choice.taken).collect();
        next[last] += 1;
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Simulates two processes that make `calls` calls each. Returns the process of each call, in order.
    fn run(choices: &mut Choices, calls: usize) -> Vec<usize> {
        let (mut left, mut last, mut order) = ([calls; 2], 0, Vec::new());
        while left != [0; 2] {
            let mut able: Vec<usize> = (0..2).filter(|process| left[*process] > 0).collect();
            able.sort_by_key(|process| *process != last);
            let switch = u32::from(left[last] > 0 && !order.is_empty());
            let costs: Vec<Budget> = (0..able.len())
                .map(|index| Budget { switches: if index == 0 { 0 } else { switch }, faults: 0 })
                .collect();
            last = able[choices.pick(&costs)];
            left[last] -= 1;
            order.push(last);
        }
        order
    }

    fn orders(switches: u32) -> Vec<Vec<usize>> {
        let budget = Budget { switches, faults: 0 };
        let (mut next, mut orders) = (Some(Vec::new()), Vec::new());
        while let Some(given) = next {
            let mut choices = Choices::given(budget, given);
            orders.push(run(&mut choices, 3));
            next = choices.next();
        }
        orders
    }

    #[test]
    fn every_order_comes_once() {
        let all = orders(9);
        assert_eq!(
            (all.len(), all.iter().collect::<BTreeSet<_>>().len()),
            (20, 20),
            "6 calls, of which 3 are the first's"
        );
    }

    #[test]
    fn a_budget_limits_the_switches() {
        // Without a switch, either process comes first.
        assert_eq!(orders(0), [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]]);
        assert_eq!(orders(1).len(), 2 + 2 * 2);
    }

    #[test]
    fn a_seed_always_draws_the_same_schedule_and_seeds_differ() {
        let drawn = Drawn { budget: Budget { switches: 2, faults: 0 }, steps: 6 };
        let order = |seed| run(&mut Choices::drawn(drawn, seed), 3);
        assert_eq!(order(1), order(1));
        assert!((0..200).map(order).collect::<BTreeSet<_>>().len() > 8);
    }
}
