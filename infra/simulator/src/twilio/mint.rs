//! Mints a token for a Flex user. The caller needs the account's credentials.

use serde_json::{Value, json};

use super::directory::FlexUser;
use super::jwe::Claims;
use super::{Outcome, TwilioError, provision};
use crate::call::Call;
use crate::switches::{Deactivated, Numeric as _, OverTtl, ShortTtl, Switches};
use crate::world::World;
use crate::{random, web};

const DEFAULT_TTL: i64 = 3600;
/// The shortest TTL, unless [`ShortTtl::Mint`] is chosen.
const SHORTEST_TTL: i64 = 60;

pub(super) fn mint(world: &World, call: &Call, sid: &str) -> Outcome {
    let state = world.state();
    let switches = &state.switches;
    let user = state.lasting.directory.by_sid(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    let ttl = ttl(call, switches)?;
    if user.deactivated && switches.mint_deactivated == Deactivated::Reject {
        return Err(TwilioError::new(400, 45008, "The Flex user is deactivated"));
    }
    let now = state.now();
    let mut claims = Claims::new(user, now, now + ttl);
    if switches.mint_for_other_user {
        let other = FlexUser { sid: random::sid("FU"), username: "somebody-else".to_owned(), ..user.clone() };
        claims = Claims::new(&other, now, now + ttl);
    }
    if switches.mint_wider_roles && !claims.roles.iter().any(|role| role == "admin") {
        claims.roles.push("admin".to_owned());
    }
    Ok(web::json(
        web::status(switches.mint_status.status()),
        &json!({ "access_token": world.token_key.seal(&claims), "token_info": claims.token_info(switches.are_sparse()) }),
    ))
}

fn ttl(call: &Call, switches: &Switches) -> Result<i64, TwilioError> {
    if call.body.is_empty() {
        return Ok(DEFAULT_TTL);
    }
    let wanted = match provision::object(call)?.get("ttl") {
        None | Some(Value::Null) => return Ok(DEFAULT_TTL),
        Some(value) => {
            value.as_i64().filter(|ttl| *ttl > 0).ok_or_else(|| TwilioError::body("ttl must be a positive integer"))?
        }
    };
    let wanted = match switches.short_ttl {
        ShortTtl::Reject if wanted < SHORTEST_TTL => {
            return Err(TwilioError::body(format!("ttl must be at least {SHORTEST_TTL}")));
        }
        ShortTtl::Raise => wanted.max(SHORTEST_TTL),
        ShortTtl::Mint | ShortTtl::Reject => wanted,
    };
    match switches.over_max_ttl {
        _ if wanted <= switches.max_ttl_seconds => Ok(wanted),
        OverTtl::Mint => Ok(wanted),
        OverTtl::Clamp => Ok(switches.max_ttl_seconds),
        OverTtl::Reject => Err(TwilioError::body(format!("ttl must be at most {}", switches.max_ttl_seconds))),
    }
}
