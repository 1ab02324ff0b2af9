//! Authenticates the caller, mints, and writes the audit event. JSON requests and forms share this code.

use std::fmt::Display;

use flexgate::base::error_chain::with_causes;
use flexgate::domain::policy::MintRequest;
use flexgate::domain::{Caller, FlexUserSid, Scope};
use flexgate::telemetry::{self, Audit, Decision};
use flexgate::web::{Context, Problem};
use http::HeaderMap;

use crate::app::App;
use crate::minting::{DISCARDED, Failed, MintError, Minted};
use crate::problem;

/// Verifies the bearer token of the request.
pub(super) async fn authenticate(app: &App, headers: &HeaderMap, context: &Context) -> Result<Caller, Problem> {
    app.verifier.verify(headers, context.deadline).await.map_err(|error| {
        audit(None, None, &Act(None), Decision::Refused, &with_causes(&error), context);
        Problem::from(&error)
    })
}

/// Mints a token for the caller, and writes the audit event.
pub(super) async fn mint_for(
    app: &App,
    caller: &Caller,
    act: Act,
    asked: MintRequest,
    context: &Context,
) -> Result<Minted, Problem> {
    let unused = &caller.unused;
    let act = act.or_for(caller, &asked);
    let minted = app.minting.mint(caller, asked, context.deadline).await.map_err(|Failed { error, discarded }| {
        let note = error.may_come_from_claims().then(|| unused.to_string());
        let reason = with_causes(&error) + if discarded { DISCARDED } else { "" };
        let reason = with_note(&reason, note.clone());
        audit(Some(caller), error.user(), &act, Decision::Refused, &reason, context);
        if let MintError::WrongToken(wrong) = &error {
            telemetry::alarm(&context.request_id, "wrong_token", wrong);
        }
        problem::of(&error).noting(note.unwrap_or_default())
    })?;
    let reason = with_note(&minted, unused.dropped_roles());
    audit(Some(caller), Some(&minted.token.info.flex_user_sid), &act, Decision::Allowed, &reason, context);
    Ok(minted)
}

fn with_note(reason: &dyn Display, note: Option<String>) -> String {
    match note.filter(|note| !note.is_empty()) {
        Some(note) => format!("{reason}; {note}"),
        None => reason.to_string(),
    }
}

/// The actor of a mint (RFC 8693 §4.1): the subject of the service that acts for another person. `None` if no service
/// acts for anybody.
#[derive(Debug, Clone)]
pub(super) struct Act(pub(super) Option<Box<str>>);

impl Act {
    /// Reads the actor from the caller's own token.
    pub(super) fn of(caller: Option<&Caller>) -> Self {
        Self(caller.and_then(|caller| caller.acts.clone()))
    }

    /// Returns this actor. If there is none, and the caller is a service that mints for another user, returns the
    /// caller.
    fn or_for(self, caller: &Caller, asked: &MintRequest) -> Self {
        let another = asked.username.as_ref().filter(|named| Some(*named) != caller.username.as_ref());
        let acts = another.is_some() && caller.scopes.grant(Scope::TokenAny);
        Self(self.0.or_else(|| acts.then(|| caller.identity.subject.clone())))
    }
}

pub(super) fn audit(
    caller: Option<&Caller>,
    user: Option<&FlexUserSid>,
    act: &Act,
    decision: Decision,
    reason: &dyn Display,
    context: &Context,
) {
    Audit {
        action: "mint",
        issuer: caller.map(|caller| &*caller.identity.issuer),
        subject: caller.map(|caller| &*caller.identity.subject),
        flex_user_sid: user.map(FlexUserSid::as_str),
        reason: Some(&reason.to_string()),
    }
    .write_with_actor(act.0.as_deref(), &context.request_id, decision);
}
