//! Records histories of concurrent clients.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use async_trait::async_trait;
use flexgate::store::StoreError;
use tokio::sync::Barrier;

use super::checker::{Event, Model, is_linearizable};
use super::{Store, Stores};

/// A random generator (`SplitMix64`).
pub struct Dice(u64);

impl Dice {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// The operations to test, on a few records in the store. The parameter `number` identifies a history. It is part of
/// the keys of the history's records.
#[async_trait]
pub trait Subject: Model<Op: Send + Sync + 'static, Answer: Send + Sync + 'static> + 'static {
    /// The number of clients, and the number of operations for each client.
    const SIZE: (usize, usize);

    /// Stores the records that must exist before the history begins.
    async fn prepare(store: &dyn Store, number: u32);

    /// Returns a random operation. `unique` is a number that no other operation in this history has. `seen` is the last
    /// version that this client has read or written.
    fn draw(dice: &mut Dice, unique: u32, seen: u64) -> Self::Op;

    async fn perform(store: &dyn Store, number: u32, op: &Self::Op) -> Result<Self::Answer, StoreError>;

    /// The version in an answer.
    fn version(_answer: &Self::Answer) -> Option<u64> {
        None
    }
}

/// On average, a client gives up one out of this many operations before the answer arrives. The store may still
/// complete such an operation.
const GIVES_UP: u64 = 10;

/// Records histories and checks each of them. Panics with the whole history if it is not linearizable.
pub async fn check<S: Subject>(stores: &Stores) {
    for number in 0..stores.histories {
        let mut history = record::<S>(stores, number).await;
        history.sort_by_key(|event| event.called);
        let told = |event: &Event<S::Op, S::Answer>| format!("{event:?}");
        let story = || history.iter().map(told).collect::<Vec<_>>().join("\n");
        assert!(
            is_linearizable::<S>(&history, stores.is_dynamodb),
            "history {number} is not linearizable:\n{}",
            story()
        );
        let answered = history.iter().filter(|event| event.returned.is_some()).count();
        assert!(answered * 2 > history.len(), "most operations got no answer:\n{}", story());
    }
}

async fn record<S: Subject>(stores: &Stores, number: u32) -> Vec<Event<S::Op, S::Answer>> {
    S::prepare(&*stores.each[0], number).await;
    let (clients, each) = S::SIZE;
    let (time, start) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(clients)));
    let run = |client: usize| {
        let store = stores.each[client % stores.each.len()].clone();
        let (time, start) = (time.clone(), start.clone());
        tokio::spawn(async move {
            let tick = || time.fetch_add(1, Ordering::SeqCst);
            let mut dice = Dice(u64::from(number) << 32 | client as u64);
            let (mut events, mut seen) = (Vec::new(), 0);
            start.wait().await;
            for one in 0..each {
                let unique = u32::try_from(client * each + one + 1).unwrap();
                let op = S::draw(&mut dice, unique, seen);
                let gives_up = dice.below(GIVES_UP) == 0;
                let called = tick();
                let answer = given_up_if(gives_up, S::perform(&*store, number, &op)).await;
                let returned = answer.and_then(Result::ok).map(|answer| (tick(), answer));
                seen = returned.as_ref().and_then(|(_, answer)| S::version(answer)).unwrap_or(seen);
                events.push(Event { client, op, called, returned });
            }
            events
        })
    };
    let running: Vec<_> = (0..clients).map(run).collect();
    let mut events = Vec::new();
    for client in running {
        events.extend(client.await.unwrap());
    }
    events
}

/// Performs the operation. With `gives_up`, starts it but does not wait for the answer, like a client whose time has
/// run out.
async fn given_up_if<T>(gives_up: bool, operation: impl Future<Output = T>) -> Option<T> {
    let mut operation = std::pin::pin!(operation);
    if !gives_up {
        return Some(operation.await);
    }
    std::future::poll_fn(|context| match operation.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Whether two answers are the same.
pub fn same<T: PartialEq + Debug>(recorded: &T, expected: &T) -> bool {
    recorded == expected
}
