//! The interaction that belongs to a voice task: its channel, its participants, and the end of the call.

use serde_json::{Map, Value, json};

use super::{Reservation, Status, VOICE, reservations};
use crate::twilio::TwilioError;
use crate::world::World;

/// Answers a request below `v1/Interactions`.
pub(in crate::twilio) fn route(
    world: &World,
    worker: &str,
    method: &str,
    path: &[&str],
    params: &Map<String, Value>,
) -> Result<Value, TwilioError> {
    let (&interaction, rest) = path.split_first().ok_or_else(|| TwilioError::not_found("Interaction"))?;
    let mut state = world.state();
    let now = state.now();
    let reservation = state.tasks.find(worker, interaction, |one| one.task.interaction_sid() == interaction)?;
    match (method, rest) {
        ("GET", ["Channels"]) => Ok(json!({ "channels": reservation.channel().into_iter().collect::<Vec<_>>() })),
        ("GET", ["Channels", channel, "Participants"]) => {
            own_channel(reservation, channel)?;
            Ok(json!({ "channel_type": VOICE, "participants": reservation.participants() }))
        }
        ("POST", ["Channels", channel]) => {
            own_channel(reservation, channel)?;
            if params.get("status").is_none_or(|status| status != "closed") {
                return Err(TwilioError::new(400, 20001, "status must be closed"));
            }
            reservations::become_status(world, reservation, Status::Wrapping, now)?;
            Ok(json!(reservation.channel()))
        }
        _ => Err(TwilioError::not_found(&path.join("/"))),
    }
}

fn own_channel(reservation: &Reservation, sid: &str) -> Result<(), TwilioError> {
    let is_own = reservation.task.conference.as_ref().is_some_and(|conference| conference.channel_sid == sid);
    if is_own { Ok(()) } else { Err(TwilioError::not_found(sid)) }
}
