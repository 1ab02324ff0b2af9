//! Tasks that a test offers to a worker. Each task has one reservation, which the worker accepts or rejects. The
//! simulator has neither queues nor workflows, so a rejected task goes to nobody else. Tasks do not survive a restart.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::TwilioError;
use super::bridge::WorkerEvent;
use crate::random;
use crate::world::{State, World};

pub(super) mod channels;
mod payload;
pub(super) mod reservations;

/// The channel for calls. Each task on this channel has a conference with the caller and the worker.
const VOICE: &str = "voice";

/// Every task since the last reset, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Tasks(Vec<Reservation>);

#[derive(Debug)]
struct Reservation {
    sid: String,
    worker_sid: String,
    status: Status,
    created: i64,
    updated: i64,
    version: u64,
    task: Task,
}

#[derive(Debug)]
struct Task {
    sid: String,
    channel: String,
    attributes: Map<String, Value>,
    /// The call of a voice task.
    conference: Option<Conference>,
}

/// Who takes part in a call. The simulator has no audio and no phones.
#[derive(Debug)]
struct Conference {
    sid: String,
    /// The call's channel in the task's interaction.
    channel_sid: String,
    customer: Participant,
    /// The worker, once the worker has accepted the task.
    agent: Option<Participant>,
}

#[derive(Debug)]
struct Participant {
    sid: String,
    call_sid: String,
    on_hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Pending,
    Accepted,
    Rejected,
    Wrapping,
    Completed,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Wrapping => "wrapping",
            Self::Completed => "completed",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Accepted, Self::Rejected, Self::Wrapping, Self::Completed].into_iter().find(|one| one.name() == name)
    }

    /// Whether the worker still has the task.
    fn is_active(self) -> bool {
        matches!(self, Self::Pending | Self::Accepted | Self::Wrapping)
    }

    fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::Accepted | Self::Rejected)
                | (Self::Accepted, Self::Wrapping | Self::Completed)
                | (Self::Wrapping, Self::Completed)
        )
    }
}

impl Participant {
    fn new() -> Self {
        Self { sid: random::sid("UT"), call_sid: random::sid("CA"), on_hold: false }
    }
}

/// A request to offer a task to the worker of the user with this username.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offer {
    username: String,
    #[serde(default = "voice")]
    channel: String,
    #[serde(default)]
    attributes: Map<String, Value>,
}

fn voice() -> String {
    VOICE.to_owned()
}

/// Offers a task to a worker, and sends an event to the worker's websockets. Returns the reservation, or the reason why
/// the task cannot be offered.
pub(crate) fn offer(world: &World, offer: Offer) -> Result<Value, String> {
    let Offer { username, channel, attributes } = offer;
    let mut state = world.state();
    let now = state.now();
    let user = state.lasting.directory.by_username(&username);
    let worker = user.and_then(|user| user.worker.as_ref());
    let worker = worker.ok_or_else(|| format!("username: {username} has no worker"))?;
    if !worker.activity().2 {
        return Err(format!("username: {username} is not available, so TaskRouter offers no task"));
    }
    let conference = (channel == VOICE).then(|| Conference {
        sid: random::sid("CF"),
        channel_sid: random::sid("UO"),
        customer: Participant::new(),
        agent: None,
    });
    let reservation = Reservation {
        sid: random::sid("WR"),
        worker_sid: worker.sid.clone(),
        status: Status::Pending,
        created: now,
        updated: now,
        version: 0,
        task: Task { sid: random::sid("WT"), channel, attributes, conference },
    };
    let payload = reservation.payload(now);
    tell(world, &reservation, "reservation.created", payload.clone());
    state.tasks.0.push(reservation);
    Ok(payload)
}

/// Shows every task with its participants, for the control API.
pub(crate) fn everything(state: &State) -> Vec<Value> {
    let now = state.now();
    let one = |reservation: &Reservation| {
        let mut payload = reservation.payload(now);
        payload["participants"] = json!(reservation.participants());
        payload
    };
    state.tasks.0.iter().map(one).collect()
}

impl Tasks {
    /// Returns this worker's reservation that fulfils the condition `selected`. A worker cannot find other workers'
    /// tasks.
    fn find(
        &mut self,
        worker: &str,
        what: &str,
        selected: impl Fn(&Reservation) -> bool,
    ) -> Result<&mut Reservation, TwilioError> {
        let own = self.0.iter_mut().find(|one| one.worker_sid == worker && selected(one));
        own.ok_or_else(|| TwilioError::not_found(what))
    }
}

/// Sends an event to the websockets of the reservation's worker.
fn tell(world: &World, reservation: &Reservation, event_type: &'static str, payload: Value) {
    // `send` fails only if no websocket is open. Then nobody needs the event.
    let _ = world.events.send(WorkerEvent { worker_sid: reservation.worker_sid.clone(), event_type, payload });
}
