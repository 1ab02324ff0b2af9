//! Computes what a person's Flex user should be.

use std::collections::{BTreeMap, BTreeSet};

use time::{Duration, OffsetDateTime};

use super::explanation::{Explanation, FieldReason, RoleReason};
use super::person::{Given, Person};
use super::profile::SourcePriority;
use super::source::{Source, SourceKind};
use super::statement::{Said, Statement};
use crate::event::Moment;
use crate::name::{Email, FullName};
use crate::policy::Policy;
use crate::role::{Role, RoleSet};
use crate::user::{FlexUser, WorkerAttributes};

/// How long the claims of a token remain valid after the token was issued, by default.
pub const CLAIMS_LAST: Duration = Duration::days(30);

/// The inputs of [`desired`] other than the person, the policy and the Flex user.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The current time.
    pub now: OffsetDateTime,
    /// The issuer of the token with which the person is minting now. `None` outside a mint. The claims of
    /// an issuer's tokens add a role only while the person is minting with a token from that issuer.
    pub minting_for: Option<&'a str>,
    /// How long the claims of a token remain valid after the token was issued.
    pub claims_last: Duration,
    /// Which kind of source has priority for profile fields.
    pub priority: SourcePriority,
}

impl Occasion<'_> {
    /// Returns the inputs for a computation outside a mint, with the default settings.
    #[must_use]
    pub fn at(now: OffsetDateTime) -> Self {
        Self { now, minting_for: None, claims_last: CLAIMS_LAST, priority: SourcePriority::default() }
    }
}

/// Whether a person should be active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Active {
    /// At least one source says "active", and no source says "inactive".
    Yes,
    /// At least one source says "inactive".
    No,
    /// No source says "active" or "inactive". Flexgate neither activates nor deactivates the Flex user.
    AsInFlex,
}

/// What a person's Flex user should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// Whether the person should be active.
    pub active: Active,
    /// The roles that the person should have, except those in `unspellable`.
    pub roles: RoleSet,
    /// Roles of the person in Flex that Flexgate cannot give, such as `wfo.full_access`. The person keeps these
    /// roles. A provisioning request would remove them, so Flexgate must not send one.
    pub unspellable: BTreeSet<Box<str>>,
    /// The e-mail address. `None` if it is unknown.
    pub email: Option<Email>,
    /// The full name. `None` if it is unknown.
    pub full_name: Option<FullName>,
    /// The locale. `None` if no source mentions a locale, and `Some(None)` if the person should have none.
    pub locale: Option<Option<Box<str>>>,
    /// The worker's attributes. `None` if no source mentions attributes, and `Some(None)` if the person should have
    /// none.
    pub attributes: Option<Option<WorkerAttributes>>,
    /// The new value of [`Given`] for this person. Flexgate stores it before it sends the change to Twilio.
    pub given: Given,
    /// The reason for each part of this result.
    pub explanation: Explanation,
}

/// Computes what the Flex user of `person` should be. `observed` is the current user in Flex, or `None` if there is
/// none.
///
/// Returns `None` if no source has ever made a statement about the person. Flexgate does not change such a user.
#[must_use]
pub fn desired(
    person: &Person,
    policy: &Policy,
    observed: Option<&FlexUser>,
    occasion: &Occasion<'_>,
) -> Option<Desired> {
    if person.statements.is_empty() {
        return None;
    }
    let counting = counting(person, occasion);
    let (active_by, inactive_by) = activity(&counting);
    let active = match (active_by.is_empty(), inactive_by.is_empty()) {
        (_, false) => Active::No,
        (false, true) => Active::Yes,
        (true, true) => Active::AsInFlex,
    };
    let roles = roles(&counting, person, policy, observed, active, occasion);
    let mut explanation = Explanation { active_by, inactive_by, roles: roles.reasons, ..Explanation::default() };
    let fields = &mut explanation.fields;
    let choose = occasion.priority;

    let email = choose.choose(&counting, |one| present(one.email.as_ref()?));
    let email = settle("email", email, observed.and_then(|user| user.email.as_deref()), person, fields);
    let full_name = choose.choose(&counting, Statement::says_full_name);
    let full_name = settle("full_name", full_name, observed.and_then(|user| user.full_name.as_deref()), person, fields);
    let locale = choose.choose(&counting, |one| one.locale.as_ref().map(said));
    let locale = noted("locale", locale, fields);
    let attributes = choose.choose(&counting, |one| one.attributes.as_ref().map(said));
    let attributes = noted("attributes", attributes, fields);

    let unspellable = roles.unspellable;
    Some(Desired {
        active,
        roles: roles.have,
        unspellable,
        email,
        full_name,
        locale,
        attributes,
        given: roles.given,
        explanation,
    })
}

/// Returns all statements except expired ones. Only the claims of a token expire. [`Occasion::claims_last`]
/// says how long they last.
fn counting(person: &Person, occasion: &Occasion<'_>) -> BTreeMap<Source, Statement> {
    let expired = |source: &Source, said: &Statement| {
        source.kind() == SourceKind::Claims
            && said.latest().is_none_or(|moment| moment.at + occasion.claims_last <= occasion.now)
    };
    let live = person.statements.iter().filter(|(source, said)| !expired(source, said));
    live.map(|(source, said)| (source.clone(), said.clone())).collect()
}

/// Returns the sources that say "active" and the sources that say "inactive". SCIM groups and claims can say neither.
fn activity(statements: &BTreeMap<Source, Statement>) -> (BTreeSet<Source>, BTreeSet<Source>) {
    let (mut active, mut inactive) = (BTreeSet::new(), BTreeSet::new());
    for (source, said) in statements {
        if !source.may_say_active() {
            continue;
        }
        match said.says_active() {
            Some(true) => drop(active.insert(source.clone())),
            Some(false) => drop(inactive.insert(source.clone())),
            None => {}
        }
    }
    (active, inactive)
}

struct Roles {
    have: RoleSet,
    unspellable: BTreeSet<Box<str>>,
    given: Given,
    reasons: BTreeMap<Box<str>, RoleReason>,
}

fn roles(
    statements: &BTreeMap<Source, Statement>,
    person: &Person,
    policy: &Policy,
    observed: Option<&FlexUser>,
    active: Active,
    occasion: &Occasion<'_>,
) -> Roles {
    let mut reasons = BTreeMap::new();
    let before = &person.given;
    let deactivated = observed.is_some_and(FlexUser::is_deactivated);
    let reactivates = deactivated && active == Active::Yes;
    let stated = stated(statements, policy, before, deactivated, occasion, &mut reasons);

    let shown = observed.and_then(|user| user.roles.as_ref());
    let (mut by_hand, mut unspellable) = (RoleSet::new(), BTreeSet::new());
    for &role in shown.iter().flat_map(|roles| roles.known()) {
        let reason = if stated.contains(&role) {
            continue;
        } else if before.taking_over {
            RoleReason::PreviousOwner
        } else if before.roles.contains(&role) || before.taken.contains(&role) {
            RoleReason::TakenBack
        } else if reactivates && !policy.allowed_roles.contains(&role) {
            // Reactivation must not restore a role that the policy forbids.
            RoleReason::Forbidden { by: BTreeSet::new() }
        } else {
            by_hand.insert(role);
            RoleReason::MadeByHand
        };
        reasons.insert(role.as_str().into(), reason);
    }
    for name in shown.iter().flat_map(|roles| roles.unknown()) {
        let reason = if before.taking_over {
            RoleReason::PreviousOwner
        } else if reactivates {
            RoleReason::NotRestored
        } else {
            unspellable.insert(name.into());
            RoleReason::Unspellable
        };
        reasons.insert(name.into(), reason);
    }

    let mut given = stated.clone();
    if stated.is_empty() && by_hand.is_empty() && unspellable.is_empty() {
        for &role in policy.default_roles.intersection(&policy.allowed_roles) {
            given.insert(role);
            reasons.insert(role.as_str().into(), RoleReason::Default);
        }
    }
    let have = given.union(&by_hand).copied().collect();
    let taken: RoleSet = before.roles.union(&before.taken).filter(|role| !given.contains(role)).copied().collect();
    for role in &taken {
        reasons.entry(role.as_str().into()).or_insert(RoleReason::TakenBack);
    }
    let given = Given { roles: given, taken, ..before.clone() };
    Roles { have, unspellable, given, reasons }
}

/// Returns the roles that the policy allows and that at least one source names. If a role comes only from the claims of
/// a token, Flexgate adds it only during a mint.
fn stated(
    statements: &BTreeMap<Source, Statement>,
    policy: &Policy,
    before: &Given,
    deactivated: bool,
    occasion: &Occasion<'_>,
    reasons: &mut BTreeMap<Box<str>, RoleReason>,
) -> RoleSet {
    let mut named: BTreeMap<Box<str>, BTreeSet<Source>> = BTreeMap::new();
    for (source, said) in statements {
        for name in said.roles.iter().flat_map(|said| &said.value) {
            named.entry(name.trim().to_lowercase().into()).or_default().insert(source.clone());
        }
    }
    let may_add = |source: &Source, role: Role| match source {
        Source::Claims(issuer) => {
            before.roles.contains(&role) || (!deactivated && occasion.minting_for == Some(&**issuer))
        }
        _ => true,
    };
    let mut stated = RoleSet::new();
    for (name, by) in named {
        let reason = match name.parse::<Role>() {
            Err(_) => RoleReason::Unknown { by },
            Ok(role) if !policy.allowed_roles.contains(&role) => RoleReason::Forbidden { by },
            Ok(role) => {
                let (heard, ignored): (BTreeSet<_>, BTreeSet<_>) =
                    by.into_iter().partition(|source| may_add(source, role));
                if heard.is_empty() {
                    RoleReason::ClaimsOnly { by: ignored }
                } else {
                    stated.insert(role);
                    RoleReason::Stated { by: heard }
                }
            }
        };
        reasons.insert(name, reason);
    }
    stated
}

fn said<T: Clone>(said: &Said<T>) -> (&Moment, T) {
    (&said.moment, said.value.clone())
}

/// Returns the value that a source states, or `None` if the source states that the field is empty. Flex requires an
/// e-mail address, so Flexgate ignores a source that states an empty one.
fn present<T: Clone>(said: &Said<Option<T>>) -> Option<(&Moment, T)> {
    Some((&said.moment, said.value.clone()?))
}

/// Chooses the value of a field that Flex requires: a source's value, else the value in Flex, else the username.
fn settle<T: std::str::FromStr>(
    name: &'static str,
    chosen: Option<(&Source, T)>,
    observed: Option<&str>,
    person: &Person,
    fields: &mut BTreeMap<&'static str, FieldReason>,
) -> Option<T> {
    let (value, reason) = match chosen {
        Some((source, value)) => (Some(value), FieldReason::Stated { by: source.clone() }),
        None => match observed.and_then(|text| text.parse().ok()) {
            Some(value) => (Some(value), FieldReason::AsInFlex),
            None => (person.username.as_str().parse().ok(), FieldReason::Username),
        },
    };
    fields.insert(name, reason);
    value
}

fn noted<T>(
    name: &'static str,
    chosen: Option<(&Source, T)>,
    fields: &mut BTreeMap<&'static str, FieldReason>,
) -> Option<T> {
    let (source, value) = chosen?;
    fields.insert(name, FieldReason::Stated { by: source.clone() });
    Some(value)
}
