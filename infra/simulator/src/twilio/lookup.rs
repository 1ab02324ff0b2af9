//! The operations that read Flex users: find, get, list.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::directory::FlexUser;
use super::{Outcome, TwilioError};
use crate::call::Call;
use crate::switches::{FindCase, FindDeactivated};
use crate::world::World;
use crate::{ACCOUNT_SID, INSTANCE_SID, random, web};

/// Finds a user by `Username`, which is required (Twilio's v4 API). By default, the name must match exactly.
pub(super) fn find(world: &World, call: &Call) -> Outcome {
    let wanted = call.query("Username").filter(|name| !name.is_empty());
    let wanted = wanted.ok_or_else(|| TwilioError::new(400, 45004, "Missing required query parameter Username"))?;
    let state = world.state();
    let switches = &state.switches;
    let directory = &state.lasting.directory;
    let folded =
        || directory.by_folded_username(wanted).filter(|_| switches.find_case_sensitive == FindCase::Insensitive);
    let found = directory.by_username(wanted).or_else(folded);
    let found = found.filter(|user| switches.find_returns_deactivated == FindDeactivated::Found || !user.deactivated);
    let mut users: Vec<Value> = found.iter().map(|user| user.found(switches.are_sparse())).collect();
    if let (true, Some(user)) = (switches.find_returns_two, found) {
        let twin = FlexUser { sid: random::sid("FU"), ..user.clone() };
        users.push(twin.found(switches.are_sparse()));
    }
    Ok(web::json(
        StatusCode::OK,
        &json!({
            "account_sid": ACCOUNT_SID, "instance_sid": INSTANCE_SID, "users": users,
            "meta": { "direct_token": true, "list_key": "users", "next_token": null, "page_size": 50, "previous_token": null },
        }),
    ))
}

pub(super) fn get(world: &World, sid: &str) -> Outcome {
    let state = world.state();
    let user = state.lasting.directory.by_sid(sid).ok_or_else(|| TwilioError::not_found(sid))?;
    Ok(web::json(StatusCode::OK, &user.flat(state.switches.are_sparse())))
}

/// Lists all users page by page, including deactivated ones (Twilio's v1 API).
pub(super) fn list(world: &World, call: &Call) -> Outcome {
    let (size, page, start) = page_asked_for(call)?;
    let state = world.state();
    let all = state.lasting.directory.users();
    let sparse = state.switches.are_sparse();
    let users: Vec<Value> =
        all.get(start..).unwrap_or_default().iter().take(size).map(|user| user.flat(sparse)).collect();
    Ok(web::json(
        StatusCode::OK,
        &json!({
            "users": users, "meta": page_meta(call, "users", (size, page, start), all.len()),
        }),
    ))
}

/// Returns the page size, the page's number and the index of its first item, from `PageSize` and `PageToken`.
pub(super) fn page_asked_for(call: &Call) -> Result<(usize, usize, usize), TwilioError> {
    let size = match call.query("PageSize").filter(|text| !text.is_empty()) {
        None => 50,
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|size| (1..=1000).contains(size))
            .ok_or_else(|| TwilioError::new(400, 20001, "PageSize must be 1 to 1000"))?,
    };
    let (page, start) = match call.query("PageToken").filter(|text| !text.is_empty()) {
        None => (0, 0),
        Some(token) => read_token(token).ok_or_else(|| TwilioError::new(400, 20001, "PageToken is not valid"))?,
    };
    Ok((size, page, start))
}

/// Returns the `meta` object of a v1 list.
pub(super) fn page_meta(call: &Call, key: &str, (size, page, start): (usize, usize, usize), count: usize) -> Value {
    let link = |page: usize, start: usize| {
        let base = format!("{}{}?PageSize={size}&Page={page}", call.own_url, call.path);
        if start == 0 { base } else { format!("{base}&PageToken={}", write_token(page, start)) }
    };
    let next = (start + size < count).then(|| link(page + 1, start + size));
    let previous = (start > 0).then(|| link(page.saturating_sub(1), start.saturating_sub(size)));
    json!({
        "first_page_url": link(0, 0), "key": key, "next_page_url": next, "page": page, "page_size": size,
        "previous_page_url": previous, "url": link(page, start),
    })
}

fn write_token(page: usize, start: usize) -> String {
    format!("PT{}", web::b64url(format!("{page}:{start}")))
}

fn read_token(token: &str) -> Option<(usize, usize)> {
    let text = String::from_utf8(web::unb64url(token.strip_prefix("PT")?)?).ok()?;
    let (page, start) = text.split_once(':')?;
    Some((page.parse().ok()?, start.parse().ok()?))
}
