//! Microsoft Graph change notifications. A delivery contains one or more items, each with a secret (`clientState`) and
//! a person's id. For a deleted account, Flexgate deactivates the person. For any other change, the function `apply`
//! looks the person up at Graph.
//!
//! To find the person's Flex user, Flexgate needs a binding. It makes a binding when it accepts a person's token: the
//! binding says that the person's identity at the token's issuer belongs to the Flex user. So the source's `issuer`
//! must be the issuer of the tenant.

use flexgate::base::strict_json;
use flexgate::domain::PersonProfile;
use flexgate::web::{Problem, Query};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::catalogue;
use crate::proof::{Unproven, same};
use crate::reading::{Draft, Reading};
use crate::settings::EventMeaning;
use crate::source::{Challenged, Delivery, Source};

#[derive(Debug)]
pub(super) struct Graph;

fn proven(item: &Value, secrets: &[SecretString]) -> bool {
    let state = item["clientState"].as_str().unwrap_or_default();
    secrets.iter().any(|secret| same(state.as_bytes(), secret.expose_secret().as_bytes()))
}

impl Source for Graph {
    fn takes(&self, secret: &SecretString) -> Result<(), &'static str> {
        if secret.expose_secret().len() > 128 { Err("is longer than the 128 characters Graph takes") } else { Ok(()) }
    }

    /// Accepts a delivery if at least one of its items contains the secret. Later, `read` drops the items without the
    /// secret.
    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        let unverified = strict_json::parse(delivery.body).map_err(|_| Unproven::Body)?;
        let items = unverified["value"].as_array().ok_or(Unproven::Body)?;
        if items.iter().any(|item| proven(item, delivery.secrets)) { Ok(()) } else { Err(Unproven::Wrong) }
    }

    fn read(&self, delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        for item in document["value"].as_array().into_iter().flatten() {
            if !proven(item, delivery.secrets) {
                reading.drop_item();
                continue;
            }
            let meaning = match item["changeType"].as_str() {
                Some("created" | "updated") => EventMeaning::LookUp,
                Some("deleted") => EventMeaning::Deactivate,
                _ => {
                    let lifecycle = item["lifecycleEvent"].as_str().unwrap_or_default();
                    match catalogue::find(catalogue::GRAPH, lifecycle) {
                        Some(row) => reading.ignore_relevant(lifecycle, row),
                        None => reading.ignore(),
                    }
                    continue;
                }
            };
            let person = item.pointer("/resourceData/id").and_then(Value::as_str);
            // A person's id is unique only within one Entra tenant, so the subject contains the tenant's id too.
            let subject = match (reading.issuer(), item["tenantId"].as_str(), person) {
                (Some(_), Some(tenant), Some(person)) => Some(format!("{tenant}:{person}")),
                (_, _, person) => person.map(str::to_owned),
            };
            let draft = Draft {
                // If the item has no id, use a random one. A digest of the content would not do, because two different
                // changes to the same person can have the same content.
                id: item["id"].as_str().map_or_else(|| Some(reading.fresh_id()), |id| Some(id.to_owned())),
                occurred_at: Some(delivery.now),
                subject,
                meaning,
                membership: None,
                directory: None,
                profile: Ok(PersonProfile::default()),
            };
            // `clientState` is the secret, and must not get into dead letters.
            let mut said = item.clone();
            if let Some(members) = said.as_object_mut() {
                members.remove("clientState");
            }
            reading.say(&draft, &said);
        }
    }

    fn challenge(&self, _headers: &HeaderMap, query: &Query) -> Result<Option<Challenged>, Problem> {
        Ok(query.once("validationToken")?.map(|token| Challenged::Text(token.to_owned())))
    }
}
