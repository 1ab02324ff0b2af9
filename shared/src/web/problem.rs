//! Problem documents (RFC 9457): the refusals and failures that a caller can see.
//!
//! A handler returns a [`Problem`]. The layer around all routes (the edge) adds the request's id and renders the
//! problem. `detail` is the text for the caller, and `fault` is the text for the log.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Serialize;

use super::page_words::PageWords;
use crate::base::error_chain::with_causes;

/// A kind of problem. Its code never changes between versions.
#[derive(Debug, PartialEq, Eq)]
pub struct Kind {
    /// The stable code, in snake case.
    pub code: &'static str,
    /// The HTTP status of the answer.
    pub status: StatusCode,
    /// A short description.
    pub title: &'static str,
}

/// Declares every kind of problem, and a list of them. `tests/check.py` compares the codes with `docs/status-codes.md`.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:ident $code:literal $title:literal;)*) => {
        /// Every kind of problem.
        pub mod kinds {
            use super::{Kind, StatusCode};
            $(
                $(#[$doc])*
                pub const $name: &Kind = &Kind { code: $code, status: StatusCode::$status, title: $title };
            )*
            /// All kinds.
            pub const ALL: &[&Kind] = &[$($name),*];
        }
    };
}

kinds! {
    /// There is no such route.
    ROUTE_UNKNOWN = NOT_FOUND "route_unknown" "There is nothing at this address";
    /// The route does not support this method.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED "method_not_allowed" "This address does not support this method";
    /// The request's content type is not JSON.
    UNSUPPORTED_MEDIA_TYPE = UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body must be JSON";
    /// The body or the token is too large.
    TOO_LARGE = PAYLOAD_TOO_LARGE "too_large" "The request is too large";
    /// A token exchange (RFC 8693) is not valid. `error` says what is wrong.
    EXCHANGE_INVALID = BAD_REQUEST "exchange_invalid" "The token exchange is not valid";
    /// The body is not a JSON object.
    BODY_MALFORMED = BAD_REQUEST "body_malformed" "The body is not a JSON object";
    /// Fields are missing or wrong. `errors` lists them.
    FIELDS_INVALID = BAD_REQUEST "fields_invalid" "Fields are missing or wrong";
    /// Query parameters are missing, wrong or repeated.
    QUERY_INVALID = BAD_REQUEST "query_invalid" "Query parameters are missing or wrong";
    /// There is no valid bearer token.
    TOKEN_INVALID = UNAUTHORIZED "token_invalid" "A valid bearer token is required";
    /// The caller's identity system has ended the person's sessions after it issued this token.
    SIGNED_OUT = UNAUTHORIZED "signed_out" "You have been signed out: sign in again";
    /// The token lacks a scope.
    SCOPE_MISSING = FORBIDDEN "scope_missing" "The token lacks a scope";
    /// The policy does not allow this caller to mint this token.
    MINT_REFUSED = FORBIDDEN "mint_refused" "This token may not be minted";
    /// The settings do not allow the caller's issuer to use this username.
    USERNAME_FORBIDDEN = FORBIDDEN "username_forbidden" "The username is not allowed";
    /// The policy does not allow anybody to have this role, or does not allow this caller to ask for it.
    ROLE_FORBIDDEN = FORBIDDEN "role_forbidden" "The role is not allowed";
    /// Twilio has several users with this name, or another person has the name.
    USER_AMBIGUOUS = CONFLICT "user_ambiguous" "The username is ambiguous or taken";
    /// There is no such user.
    USER_UNKNOWN = NOT_FOUND "user_unknown" "There is no such Flex user";
    /// A source other than the caller has reported the person as inactive.
    USER_INACTIVE = CONFLICT "user_inactive" "Another source says that the person is inactive";
    /// The change would leave Flex without an administrator.
    LAST_ADMIN = CONFLICT "last_admin" "The last administrator cannot be removed";
    /// `page_token` does not belong to a page of the list.
    PAGE_UNKNOWN = NOT_FOUND "page_unknown" "There is no such page";
    /// There is no such SSO profile.
    PROFILE_UNKNOWN = NOT_FOUND "profile_unknown" "There is no such SSO profile";
    /// The sign-in began in another browser, or too long ago.
    LOGIN_INVALID = BAD_REQUEST "login_invalid" "This sign-in was started in another browser, or too long ago";
    /// The identity provider refused the person, the person cancelled, or a source has reported the person as inactive.
    LOGIN_REFUSED = FORBIDDEN "login_refused" "You were not signed in";
    /// Twilio did not accept the code.
    LOGIN_REJECTED = UNAUTHORIZED "login_rejected" "Twilio did not accept this sign-in";
    /// The browser is not signed in.
    NOT_SIGNED_IN = UNAUTHORIZED "not_signed_in" "You are not signed in";
    /// The session has ended.
    REAUTHENTICATE = UNAUTHORIZED "reauthenticate" "Your session has ended: sign in again";
    /// The person has signed in again elsewhere, and the settings allow one sign-in at a time.
    SIGNED_IN_ELSEWHERE = UNAUTHORIZED "signed_in_elsewhere" "You have signed in elsewhere";
    /// An operator has stopped all sign-ins and the issuing of tokens.
    SIGN_IN_LOCKED = FORBIDDEN "sign_in_locked" "Nobody can sign in at the moment";
    /// The settings do not allow this profile from the client's network.
    NETWORK_FORBIDDEN = FORBIDDEN "network_forbidden" "You cannot sign in from this network";
    /// There is no such session, or it has ended.
    SESSION_UNKNOWN = NOT_FOUND "session_unknown" "There is no such session";
    /// The Flex token is not valid for this account and instance.
    FLEX_TOKEN_INVALID = UNAUTHORIZED "flex_token_invalid" "The Flex token is not valid here";
    /// The request comes from another site, or lacks a required header.
    CROSS_SITE = FORBIDDEN "cross_site" "The request comes from another site";
    /// The settings require requests to come through the CDN, but this one did not.
    CDN_REQUIRED = FORBIDDEN "cdn_required" "This address does not answer directly";
    /// The caller sent more requests than are allowed. `Retry-After` says when to try again.
    TOO_MANY_REQUESTS = TOO_MANY_REQUESTS "too_many_requests" "Too many requests";
    /// There is no such webhook source.
    SOURCE_UNKNOWN = NOT_FOUND "source_unknown" "There is no such webhook source";
    /// A webhook delivery lacks a valid proof that its source sent it.
    DELIVERY_UNPROVEN = UNAUTHORIZED "delivery_unproven" "The delivery does not prove that it comes from its source";
    /// A GET request to a webhook lacks the challenge that this source sends to verify the webhook.
    CHALLENGE_INVALID = BAD_REQUEST "challenge_invalid" "The request contains no challenge of this source";
    /// A request to end sessions names a person who belongs to another issuer.
    SUBJECT_FORBIDDEN = FORBIDDEN "subject_forbidden" "The token may not name this person";
    /// A request to end sessions names nobody whom Flexgate knows.
    SUBJECT_UNKNOWN = NOT_FOUND "subject_unknown" "Nobody is known under this subject";
    /// A request to end sessions names the person in a way that Flexgate does not support.
    SUBJECT_UNSUPPORTED = UNPROCESSABLE_ENTITY "subject_unsupported" "Flexgate does not support this kind of subject";
    /// Twilio refused what the caller requested.
    TWILIO_REFUSED = UNPROCESSABLE_ENTITY "twilio_refused" "Twilio refused the request";
    /// SCIM: the body is not valid for this request.
    SCIM_INVALID_SYNTAX = BAD_REQUEST "scim_invalid_syntax" "The body does not have the required form";
    /// SCIM: an attribute has an invalid value.
    SCIM_INVALID_VALUE = BAD_REQUEST "scim_invalid_value" "An attribute has an invalid value";
    /// SCIM: the path does not name an attribute that can be patched.
    SCIM_INVALID_PATH = BAD_REQUEST "scim_invalid_path" "The path names no attribute that can be patched";
    /// SCIM: the filter cannot be read or used.
    SCIM_INVALID_FILTER = BAD_REQUEST "scim_invalid_filter" "The filter cannot be used";
    /// SCIM: the path is missing or selects nothing.
    SCIM_NO_TARGET = BAD_REQUEST "scim_no_target" "The operation has no target";
    /// SCIM: the attribute cannot be changed.
    SCIM_MUTABILITY = BAD_REQUEST "scim_mutability" "The attribute cannot be changed";
    /// SCIM: Flexgate would have to read too many users to answer in time.
    SCIM_TOO_MANY = BAD_REQUEST "scim_too_many" "Too many users must be read to answer";
    /// SCIM: the cursor was not issued by Flexgate.
    SCIM_INVALID_CURSOR = BAD_REQUEST "scim_invalid_cursor" "The cursor is not valid";
    /// SCIM: the cursor is too old.
    SCIM_EXPIRED_CURSOR = BAD_REQUEST "scim_expired_cursor" "The cursor has expired";
    /// SCIM: the name is taken.
    SCIM_UNIQUENESS = CONFLICT "scim_uniqueness" "Another resource has this name";
    /// SCIM: there is no such resource.
    SCIM_UNKNOWN = NOT_FOUND "scim_unknown" "There is no such resource";
    /// SCIM: the resource has changed since the version in If-Match.
    SCIM_STALE = PRECONDITION_FAILED "scim_stale" "The resource has changed";
    /// SCIM: Flex would be left without an administrator.
    SCIM_LAST_ADMIN = CONFLICT "scim_last_admin" "Flex would be left without an administrator";
    /// SCIM: the user would be left without a role.
    SCIM_NO_ROLE = CONFLICT "scim_no_role" "The user would have no role";
    /// SCIM: the request uses something that Flexgate does not support.
    SCIM_UNSUPPORTED = NOT_IMPLEMENTED "scim_unsupported" "This is not supported";
    /// The request needs something that is not configured.
    NOT_CONFIGURED = NOT_IMPLEMENTED "not_configured" "This is not configured here";
    /// Flexgate itself failed.
    INTERNAL = INTERNAL_SERVER_ERROR "internal" "Something went wrong here";
    /// Twilio's answer cannot be used, or is about a user other than the requested one.
    UPSTREAM_INVALID = BAD_GATEWAY "upstream_invalid" "An upstream service gave an unusable answer";
    /// A service that Flexgate needs is down or busy, or another request is changing the same user or session.
    UNAVAILABLE = SERVICE_UNAVAILABLE "unavailable" "A service that is needed is unavailable";
    /// A service that Flexgate needs did not answer in time.
    TIMEOUT = GATEWAY_TIMEOUT "timeout" "An upstream service did not answer in time";
}

impl Kind {
    /// The URI of this kind of problem.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("urn:flexgate:problem:{}", self.code)
    }
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// The field's name.
    pub field: String,
    /// What it must be.
    pub detail: String,
}

/// A refusal or a failure, returned by a handler.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
pub(super) struct Parts {
    pub(super) kind: &'static Kind,
    pub(super) detail: Cow<'static, str>,
    pub(super) errors: Vec<FieldError>,
    pub(super) oauth_error: Option<&'static str>,
    pub(super) retry_after: Option<Duration>,
    pub(super) fault: Option<String>,
    pub(super) link: Option<Link>,
    pub(super) words: Option<&'static PageWords>,
}

/// A link on the problem's HTML page.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) url: String,
    pub(super) text: &'static str,
}

impl Problem {
    /// Creates a problem of this kind. `detail` tells the caller what to do.
    #[must_use]
    pub fn new(kind: &'static Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Parts {
            kind,
            detail: detail.into(),
            errors: Vec::new(),
            oauth_error: None,
            retry_after: None,
            fault: None,
            link: None,
            words: None,
        }))
    }

    /// Creates a problem of this kind with a list of wrong fields.
    #[must_use]
    pub fn fields(kind: &'static Kind, errors: Vec<FieldError>) -> Self {
        let names: Vec<_> = errors.iter().map(|error| error.field.as_str()).collect();
        let detail = format!("Correct {} and send the request again.", names.join(", "));
        let mut problem = Self::new(kind, detail);
        problem.0.errors = errors;
        problem
    }

    /// Adds an error and its causes for the log.
    #[must_use]
    pub fn because(mut self, fault: &dyn std::error::Error) -> Self {
        self.0.fault = Some(with_causes(fault));
        self
    }

    /// Adds a note to the text for the log, unless the note is empty.
    #[must_use]
    pub fn noting(mut self, note: impl fmt::Display) -> Self {
        let note = note.to_string();
        if !note.is_empty() {
            self.0.fault = Some(match self.0.fault.take() {
                Some(fault) => format!("{fault}; {note}"),
                None => note,
            });
        }
        self
    }

    /// Adds the member `error` from RFC 6749 §5.2, unless the problem already has one.
    #[must_use]
    pub fn or_oauth_error(mut self, error: &'static str) -> Self {
        self.0.oauth_error.get_or_insert(error);
        self
    }

    /// Sets how long the caller should wait before another attempt.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.0.retry_after = wait;
        self
    }

    /// Returns the problem with another text for the caller.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into().into();
        self
    }

    /// Adds a link for the HTML page. A problem document does not contain the link.
    #[must_use]
    pub fn offering(mut self, url: String, text: &'static str) -> Self {
        self.0.link = Some(Link { url, text });
        self
    }

    /// Replaces the text of the HTML page. A handler does this if the usual text for this kind of problem does not fit
    /// the particular case. A problem document does not contain the new text.
    #[must_use]
    pub fn worded(mut self, words: &'static PageWords) -> Self {
        self.0.words = Some(words);
        self
    }

    /// The text for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// How long the caller should wait, in whole seconds, rounded up and at least one. `None` if unknown.
    #[must_use]
    pub fn wait_seconds(&self) -> Option<u64> {
        self.0.retry_after.map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static Kind {
        self.0.kind
    }

    pub(super) fn parts(&self) -> &Parts {
        &self.0
    }
}

/// A problem that appears only in the log. A handler attaches it to a response whose body has another error format,
/// such as SCIM's.
#[derive(Debug, Clone)]
pub struct LoggedProblem(pub Problem);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.kind.title, self.0.kind.code)
    }
}

/// Adds the problem to the response's extensions. The layer around all routes (the edge) renders it later.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// The problem document in JSON.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    #[serde(rename = "type")]
    uri: String,
    title: &'static str,
    status: u16,
    detail: &'a str,
    code: &'static str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl<'a> Document<'a> {
    pub(super) fn of(problem: &'a Problem, request_id: &'a str) -> Self {
        let Parts { kind, detail, errors, oauth_error, .. } = problem.parts();
        Self {
            uri: kind.uri(),
            title: kind.title,
            status: kind.status.as_u16(),
            detail,
            code: kind.code,
            request_id,
            error: *oauth_error,
            errors,
        }
    }
}
