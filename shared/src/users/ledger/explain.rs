//! Explains why a person is active, and why they have each role. The explanation contains no values of profile
//! fields.

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use super::{Ledger, LedgerError};
use crate::domain::FlexUser;
use crate::domain::ledger::{FieldReason, Person, PersonId, RoleReason, Said, Source, Statement};

/// Why a person is active or inactive, and why they have each role and field.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Explained {
    /// The Flex user.
    #[schema(example = "FU00000000000000000000000000000001")]
    pub flex_user_sid: String,
    /// Whether the person should be active. It is `false` if any source says that they are inactive.
    pub active: bool,
    /// The sources that say that the person is active.
    #[schema(example = json!(["scim"]))]
    pub active_by: Vec<String>,
    /// The sources that say that the person is inactive.
    pub inactive_by: Vec<String>,
    /// Whether Flex shows the desired state. If not, the next job, sweep or change repairs it.
    pub in_step: bool,
    /// Every role that a source names, that Flex shows, or that Flexgate has taken back.
    pub roles: Vec<ExplainedRole>,
    /// Where each profile field comes from.
    pub fields: Vec<ExplainedField>,
    /// What each source says. If no source has said anything, the list is empty and Flexgate does not change the user.
    pub sources: Vec<ExplainedSource>,
}

/// A role, and why the person has or lacks it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExplainedRole {
    /// The role's name.
    #[schema(example = "agent")]
    pub role: String,
    /// Whether the person should have it.
    pub has: bool,
    /// Why: `stated`, `default`, `made_by_hand`, `unspellable`, `taken_back`, `forbidden`, `unknown`, `claims_only`,
    /// `not_restored` or `previous_owner`.
    #[schema(example = "stated")]
    pub reason: &'static str,
    /// The sources that name the role.
    #[schema(example = json!(["scim-group:fggrp_0123"]))]
    pub by: Vec<String>,
}

/// A profile field, and where its value comes from.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExplainedField {
    /// `email`, `full_name`, `locale` or `attributes`.
    #[schema(example = "email")]
    pub field: &'static str,
    /// `stated`, `as_in_flex` or `username`.
    #[schema(example = "stated")]
    pub reason: &'static str,
    /// The source that states the value, if any.
    #[schema(required, example = "scim")]
    pub by: Option<String>,
}

/// What one source says.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ExplainedSource {
    /// The source's name.
    #[schema(example = "webhook:okta")]
    pub source: String,
    /// When the source last said something, RFC 3339.
    #[schema(required, example = "2026-11-24T07:00:00Z")]
    pub at: Option<String>,
    /// Whether the source says that the person is active; null if it says neither.
    #[schema(required)]
    pub active: Option<bool>,
    /// How many memberships in the source the person still has.
    pub memberships: usize,
    /// The roles that the source names; null if it says nothing about roles.
    #[schema(required, example = json!(["agent"]))]
    pub roles: Option<Vec<String>>,
    /// The profile fields for which the source states a value.
    #[schema(example = json!(["email", "full_name"]))]
    pub fields: Vec<&'static str>,
}

impl Ledger {
    /// Explains why the person of a Flex user is active, and why they have each role.
    pub async fn explain(&self, user: &FlexUser) -> Result<Explained, LedgerError> {
        let nobody = Person::new(PersonId::of(self.clock_rng.random()), user.username.clone());
        let kept = self.kept(&Person { flex_user_sid: Some(user.flex_user_sid.clone()), ..nobody }).await?;
        let view = self.view(user, kept.entry.as_ref(), &kept.memberships).await?;
        let explanation = view.explanation.unwrap_or_default();
        let names = |sources: &std::collections::BTreeSet<Source>| sources.iter().map(Source::to_string).collect();
        let field = |(field, reason): (&&'static str, &FieldReason)| {
            let (reason, by) = match reason {
                FieldReason::Stated { by } => ("stated", Some(by.to_string())),
                FieldReason::AsInFlex => ("as_in_flex", None),
                FieldReason::Username => ("username", None),
            };
            ExplainedField { field, reason, by }
        };
        let statements = view.person.iter().flat_map(|person| &person.statements);
        Ok(Explained {
            flex_user_sid: user.flex_user_sid.to_string(),
            active: view.active,
            active_by: names(&explanation.active_by),
            inactive_by: names(&explanation.inactive_by),
            in_step: view.in_step,
            roles: explanation
                .roles
                .iter()
                .map(|(role, why)| {
                    let (reason, by) = described(why);
                    ExplainedRole { role: role.to_string(), has: why.holds(), reason, by }
                })
                .collect(),
            fields: explanation.fields.iter().map(field).collect(),
            sources: statements.map(|(source, statement)| shown(source, statement)).collect(),
        })
    }
}

fn described(reason: &RoleReason) -> (&'static str, Vec<String>) {
    let (name, by) = match reason {
        RoleReason::Stated { by } => ("stated", Some(by)),
        RoleReason::Default => ("default", None),
        RoleReason::MadeByHand => ("made_by_hand", None),
        RoleReason::Unspellable => ("unspellable", None),
        RoleReason::TakenBack => ("taken_back", None),
        RoleReason::Forbidden { by } => ("forbidden", Some(by)),
        RoleReason::Unknown { by } => ("unknown", Some(by)),
        RoleReason::ClaimsOnly { by } => ("claims_only", Some(by)),
        RoleReason::NotRestored => ("not_restored", None),
        RoleReason::PreviousOwner => ("previous_owner", None),
    };
    (name, by.into_iter().flatten().map(Source::to_string).collect())
}

fn shown(source: &Source, statement: &Statement) -> ExplainedSource {
    fn says<T>(said: Option<&Said<T>>, name: &'static str) -> Option<&'static str> {
        said.map(|_| name)
    }
    let at = |at: OffsetDateTime| at.format(&Rfc3339).ok();
    let fields = [
        says(statement.email.as_ref(), "email"),
        says(statement.full_name.as_ref(), "full_name"),
        says(statement.given_name.as_ref(), "given_name"),
        says(statement.family_name.as_ref(), "family_name"),
        says(statement.locale.as_ref(), "locale"),
        says(statement.attributes.as_ref(), "attributes"),
    ];
    ExplainedSource {
        source: source.to_string(),
        at: statement.latest().and_then(|moment| at(moment.at)),
        active: statement.says_active(),
        memberships: statement.memberships.values().filter(|said| said.value).count(),
        roles: statement.roles.as_ref().map(|said| said.value.iter().map(ToString::to_string).collect()),
        fields: fields.into_iter().flatten().collect(),
    }
}
