//! The text of the HTML page for each kind of problem. Agents read this text, so it must be clear to people who have
//! never heard of Flexgate.

use crate::web::page_words::PageWords;
use crate::web::problem::{Kind, kinds};

/// The words for a kind of problem.
pub(super) fn of(kind: &Kind) -> &'static PageWords {
    // Compare only the code of each kind, because the code is unique and never changes.
    let found = WORDS.iter().find(|(known, _)| known.code == kind.code);
    found.map_or(&OTHER, |(_, words)| words)
}

const OTHER: PageWords = PageWords::fault(
    "This page cannot be shown",
    "This address is not meant for a browser. Open your desktop from the place where you usually open it.",
);

const WORDS: [(&Kind, PageWords); 16] = [
    (kinds::LOGIN_INVALID, PageWords::calm(
        "Please sign in again",
        "Your sign-in took more than ten minutes, was already used, or began in another browser. Your account is fine.",
    )),
    (kinds::LOGIN_REFUSED, PageWords::calm(
        "You are not signed in",
        "If you cancelled, sign in when you are ready. Otherwise, your account may not have access to Flex yet. Ask your \
         administrator for it, or use another account.",
    )),
    (kinds::LOGIN_REJECTED, PageWords::fault(
        "Your sign-in did not work",
        "Please sign in again. If that does not help, tell your administrator.",
    )),
    (kinds::NOT_SIGNED_IN, PageWords::calm("You are not signed in", "Please sign in to continue.")),
    (kinds::REAUTHENTICATE, PageWords::calm("Please sign in again", "Your session has ended.")),
    (kinds::SIGNED_IN_ELSEWHERE, PageWords::calm(
        "You are working on another device",
        "You have signed in somewhere else, and only one sign-in is possible at a time.",
    )),
    (kinds::SIGN_IN_LOCKED, PageWords::calm(
        "Nobody can sign in at the moment",
        "Your administrator has paused all sign-ins. Please try again later.",
    ).reload()),
    (kinds::NETWORK_FORBIDDEN, PageWords::calm(
        "You cannot sign in from this network",
        "Connect to your company's network or VPN. Then try again.",
    )),
    (kinds::PROFILE_UNKNOWN, PageWords::fault(
        "You cannot sign in at this address",
        "The link is wrong or out of date. Open your desktop from the place where you usually open it, or ask your administrator \
         for the right link.",
    )),
    (kinds::ROUTE_UNKNOWN, PageWords::calm(
        "There is no page at this address",
        "Check the address, or open your desktop from the place where you usually open it.",
    )),
    (kinds::QUERY_INVALID, PageWords::fault(
        "This link is not complete",
        "Open your desktop from the place where you usually open it, and sign in there.",
    )),
    (kinds::TOO_MANY_REQUESTS, PageWords::calm(
        "Please wait a moment",
        "Too many sign-ins from your network have failed, so we have paused them.",
    ).reload()),
    (kinds::UNAVAILABLE, PageWords::fault(
        "We cannot sign you in right now",
        "A service that we need is busy or down. Your account is fine.",
    ).reload()),
    (kinds::TIMEOUT, PageWords::fault(
        "This is taking too long",
        "A service that we need did not answer. Your account is fine. Please try again in a minute.",
    ).reload()),
    (kinds::UPSTREAM_INVALID, PageWords::fault(
        "We cannot sign you in right now",
        "Twilio's answer could not be used. Your account is fine. Please try again in a minute, or tell your administrator.",
    ).reload()),
    (kinds::INTERNAL, PageWords::fault(
        "Something went wrong here",
        "It is not your fault. Please try again. If that does not help, give the details below to your administrator.",
    ).reload()),
];
