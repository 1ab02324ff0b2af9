//! The authorization endpoint and its sign-in page, on which a person chooses an account or cancels.

use std::fmt::Write as _;

use axum::http::StatusCode;
use axum::response::Response;

use super::clients::{self, Client};
use super::people::Person;
use crate::call::Call;
use crate::world::{State, World};
use crate::{random, web};

const REQUEST_SECONDS: i64 = 600;
const CODE_SECONDS: i64 = 60;

/// An authorization request that waits for the person's decision.
#[derive(Clone, Debug)]
pub(super) struct Request {
    id: String,
    client_id: &'static str,
    redirect_uri: String,
    scope: String,
    state: Option<String>,
    nonce: Option<String>,
    challenge: Option<String>,
    expires: i64,
}

#[derive(Clone, Debug)]
pub(super) struct Code {
    value: String,
    pub(super) client_id: &'static str,
    pub(super) redirect_uri: String,
    pub(super) scope: String,
    pub(super) nonce: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) username: String,
    pub(super) expires: i64,
}

/// Removes and returns the code, because a code works only once.
pub(super) fn take_code(state: &mut State, value: &str) -> Option<Code> {
    let index = state.idp.codes.iter().position(|code| code.value == value)?;
    Some(state.idp.codes.remove(index))
}

pub(super) fn begin(world: &World, call: &Call) -> Response {
    // Until the client and its redirect URI are validated, answer with an error page instead of a redirect. A redirect
    // to an unknown address would be unsafe (RFC 6749, 4.1.2.1).
    let Some(client) = call.query("client_id").and_then(clients::find).filter(|client| client.may_use_codes) else {
        return stop("The application is not registered here (client_id).");
    };
    let Some(redirect_uri) = call.query("redirect_uri").filter(|uri| client.may_redirect_to(uri)) else {
        return stop("The application may not send you there (redirect_uri).");
    };
    let caller_state = call.query("state").map(str::to_owned);
    if let Err((error, description)) = acceptable(call, client) {
        return web::see_other(&denial(world, redirect_uri, caller_state.as_deref(), error, description));
    }
    let mut state = world.state();
    let now = state.now();
    let request = Request {
        id: random::text(24),
        client_id: client.id,
        redirect_uri: redirect_uri.to_owned(),
        scope: call.query("scope").unwrap_or("openid").to_owned(),
        state: caller_state,
        nonce: call.query("nonce").map(str::to_owned),
        challenge: call.query("code_challenge").map(str::to_owned),
        expires: now + REQUEST_SECONDS,
    };
    let page = page(StatusCode::OK, &request, &state.idp.people, None, call.query("login_hint").unwrap_or_default());
    state.idp.requests.retain(|request| request.expires > now);
    state.idp.requests.push(request);
    page
}

fn acceptable(call: &Call, client: &Client) -> Result<(), (&'static str, &'static str)> {
    if call.query("response_type") != Some("code") {
        return Err(("unsupported_response_type", "only response_type=code"));
    }
    if call.query("prompt").is_some_and(|prompt| prompt.split(' ').any(|word| word == "none")) {
        return Err(("login_required", "nobody is signed in here"));
    }
    match (call.query("code_challenge"), call.query("code_challenge_method")) {
        (None, _) if client.secret.is_none() => Err(("invalid_request", "a public client needs PKCE")),
        (Some(_), Some("S256")) | (None, _) => Ok(()),
        (Some(_), _) => Err(("invalid_request", "only code_challenge_method=S256")),
    }
}

pub(super) fn decide(world: &World, call: &Call) -> Response {
    let form = call.form();
    let mut state = world.state();
    let now = state.now();
    let id = form.get("request").unwrap_or_default();
    let Some(index) = state.idp.requests.iter().position(|request| request.id == id && request.expires > now) else {
        return stop("This page is too old or was already used. Start again from the application.");
    };
    if form.get("deny").is_some() {
        let request = state.idp.requests.remove(index);
        return web::see_other(&denial(
            world,
            &request.redirect_uri,
            request.state.as_deref(),
            "access_denied",
            "The person declined to sign in",
        ));
    }
    let username = form.get("username").map(str::trim).unwrap_or_default().to_owned();
    let known = state.idp.people.iter().find(|person| person.username == username || person.email == username);
    let Some(username) = known.map(|person| person.username.clone()) else {
        let complaint = format!("There is nobody called \u{201c}{username}\u{201d} here.");
        let request = &state.idp.requests[index];
        return page(StatusCode::UNAUTHORIZED, request, &state.idp.people, Some(&complaint), &username);
    };
    let request = state.idp.requests.remove(index);
    let code = Code {
        value: random::text(32),
        client_id: request.client_id,
        redirect_uri: request.redirect_uri.clone(),
        scope: request.scope,
        nonce: request.nonce,
        challenge: request.challenge,
        username,
        expires: now + CODE_SECONDS,
    };
    let issuer = world.issuer();
    let mut parameters = vec![("code", code.value.as_str()), ("iss", issuer.as_str())];
    if let Some(caller_state) = &request.state {
        parameters.insert(1, ("state", caller_state));
    }
    let location = web::with_query(&request.redirect_uri, &parameters);
    state.idp.codes.retain(|code| code.expires > now);
    state.idp.codes.push(code);
    web::see_other(&location)
}

fn denial(world: &World, redirect_uri: &str, state: Option<&str>, error: &str, description: &str) -> String {
    let issuer = world.issuer();
    let mut parameters = vec![("error", error), ("error_description", description), ("iss", issuer.as_str())];
    if let Some(state) = state {
        parameters.push(("state", state));
    }
    web::with_query(redirect_uri, &parameters)
}

fn stop(why: &str) -> Response {
    let body = format!("<h1 class=\"title\">Sign-in is not possible</h1>\n<p role=\"alert\">{}</p>", web::escape(why));
    web::page(StatusCode::BAD_REQUEST, "Sign-in is not possible", &body)
}

fn page(status: StatusCode, request: &Request, people: &[Person], complaint: Option<&str>, typed: &str) -> Response {
    let mut body = String::from(
        "<h1 class=\"title\">Sign in to Example Company</h1>\n\
         <p class=\"quiet\">Choose who you are. You need no password, because this is a simulation.</p>\n",
    );
    if let Some(complaint) = complaint {
        let _ = writeln!(
            body,
            "<p role=\"alert\" class=\"card notice\" data-tone=\"warn\" id=\"complaint\">{}</p>",
            web::escape(complaint)
        );
    }
    let _ = writeln!(
        body,
        "<form method=\"post\" action=\"/idp/authorize/decision\">\n<input type=\"hidden\" name=\"request\" value=\"{}\">\n\
         <ul class=\"people\">",
        web::escape(&request.id)
    );
    for person in people {
        let roles = if person.roles.is_empty() { "no Flex role".to_owned() } else { person.roles.join(", ") };
        let _ = writeln!(
            body,
            "<li><button name=\"username\" value=\"{}\">{}<small>{} \u{b7} {}</small></button></li>",
            web::escape(&person.username),
            web::escape(&person.name),
            web::escape(&person.email),
            web::escape(&roles)
        );
    }
    let _ = write!(
        body,
        "</ul>\n</form>\n\
         <form method=\"post\" action=\"/idp/authorize/decision\">\n<input type=\"hidden\" name=\"request\" value=\"{}\">\n\
         <label for=\"username\">Or type a username</label>\n\
         <input type=\"text\" id=\"username\" name=\"username\" value=\"{}\" autocomplete=\"username\" autocapitalize=\"none\" spellcheck=\"false\"{}>\n\
         <button class=\"primary\">Sign in</button>\n\
         <button class=\"plain\" name=\"deny\" value=\"1\">Cancel</button>\n</form>",
        web::escape(&request.id),
        web::escape(typed),
        if complaint.is_some() { " aria-invalid=\"true\" aria-describedby=\"complaint\"" } else { "" }
    );
    web::page(status, "Sign in", &body)
}
