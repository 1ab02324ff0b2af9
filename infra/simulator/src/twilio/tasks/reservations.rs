//! The worker's requests about its reservations: list, accept, reject, wrap up and complete them, and hold a call.

use serde_json::{Map, Value, json};

use super::{Participant, Reservation, Status, VOICE, tell};
use crate::twilio::TwilioError;
use crate::world::World;

/// Lists the worker's reservations in the format of the event bridge. With `Active`, lists only reservations that have
/// not ended.
pub(in crate::twilio) fn list(world: &World, worker: &str, params: &Map<String, Value>) -> Value {
    let state = world.state();
    let now = state.now();
    let only_active = params.get("Active").is_some_and(|active| active == "true");
    let own = state.tasks.0.iter().filter(|one| one.worker_sid == worker);
    let shown = own.filter(|one| !only_active || one.status.is_active());
    let contents: Vec<Value> = shown.map(|one| one.payload(now)).collect();
    json!({ "total": contents.len(), "contents": contents, "after_sid": null })
}

/// Changes a reservation's status. If the parameter `Instruction` is `conference`, accepts the reservation and connects
/// the worker to the call.
pub(in crate::twilio) fn update(
    world: &World,
    worker: &str,
    sid: &str,
    params: &Map<String, Value>,
) -> Result<Value, TwilioError> {
    let text = |name: &str| params.get(name).and_then(Value::as_str);
    let mut state = world.state();
    let now = state.now();
    let reservation = state.tasks.find(worker, sid, |one| one.sid == sid)?;
    match (text("Instruction"), text("ReservationStatus").and_then(Status::from_name)) {
        (Some("conference"), _) if reservation.task.channel == VOICE => {
            become_status(world, reservation, Status::Accepted, now)?;
        }
        (None, Some(status)) => become_status(world, reservation, status, now)?,
        _ => return Err(TwilioError::new(400, 20001, "The instruction or status is not one of the simulator's")),
    }
    Ok(reservation.answer())
}

/// Moves a reservation to its next status, and sends an event to the worker's websockets.
pub(super) fn become_status(
    world: &World,
    reservation: &mut Reservation,
    next: Status,
    now: i64,
) -> Result<(), TwilioError> {
    if !reservation.status.may_become(next) {
        let message = format!("A reservation that is {} cannot become {}", reservation.status.name(), next.name());
        return Err(TwilioError::new(400, 20001, message));
    }
    reservation.status = next;
    touch(reservation, now);
    if next == Status::Accepted
        && let Some(conference) = &mut reservation.task.conference
    {
        // The simulator has no phones, so it answers the worker's call at once.
        conference.agent = Some(Participant::new());
        reservation.task.record_conference();
    }
    let (of_reservation, of_task) = match next {
        Status::Pending => return Ok(()),
        Status::Accepted => ("reservation.accepted", None),
        Status::Rejected => ("reservation.rejected", None),
        Status::Wrapping => ("reservation.wrapup", Some("task.wrapup")),
        Status::Completed => ("reservation.completed", Some("task.completed")),
    };
    tell(world, reservation, of_reservation, reservation.payload(now));
    if let Some(of_task) = of_task {
        tell(world, reservation, of_task, reservation.task_payload(now));
    }
    Ok(())
}

/// The participant that a request puts on hold or takes off hold.
pub(in crate::twilio) enum Target {
    Customer,
    Worker,
}

/// Puts a participant of the call on hold, or takes them off hold.
pub(in crate::twilio) fn hold(
    world: &World,
    worker: &str,
    target: &Target,
    params: &Map<String, Value>,
) -> Result<Value, TwilioError> {
    let text = |name: &str| params.get(name).and_then(Value::as_str).unwrap_or_default();
    let on_hold = params.get("Hold").and_then(Value::as_bool);
    let on_hold = on_hold.ok_or_else(|| TwilioError::new(400, 20001, "Hold must be true or false"))?;
    let task = text("TaskSid");
    let mut state = world.state();
    let now = state.now();
    let reservation = state.tasks.find(worker, task, |one| one.task.sid == task)?;
    let is_accepted = reservation.status == Status::Accepted;
    let own = reservation.worker_sid.clone();
    let conference = reservation.task.conference.as_mut().filter(|_| is_accepted);
    let participant = conference.and_then(|conference| match target {
        Target::Customer => Some(&mut conference.customer),
        Target::Worker => conference.agent.as_mut().filter(|_| text("TargetWorkerSid") == own),
    });
    let participant = participant.ok_or_else(|| TwilioError::new(400, 20001, "The task has no such call"))?;
    participant.on_hold = on_hold;
    let sid = participant.sid.clone();
    touch(reservation, now);
    let mut participants = reservation.participants().into_iter();
    if let Some(mut event) = participants.find(|one| one["sid"] == sid.as_str()) {
        event["participant_sid"] = sid.into();
        event["channel_type"] = VOICE.into();
        tell(world, reservation, "participant.modified", event);
    }
    Ok(reservation.task_payload(now))
}

fn touch(reservation: &mut Reservation, now: i64) {
    reservation.updated = now;
    reservation.version += 1;
}
