//! Microsoft Graph change notifications. A delivery contains several items, and each item proves its origin with a
//! `clientState`. An item names the person whose account has changed. If the account was deleted, Flexgate deactivates
//! the person. For any other change, the item does not say what has changed. The function `apply` then looks the person
//! up at Graph, if it has a credential for Graph.
//!
//! To find the person's Flex user, Flexgate uses the binding that the person's earlier tokens made. The source's
//! `issuer` must therefore be the issuer of the tenant.

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

    /// Accepts a delivery if at least one of its items is proven. Afterwards, `read` checks each item again and drops
    /// the unproven ones.
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
            // Person ids are unique only within an Entra tenant, so the subject contains the tenant's id too.
            let subject = match (reading.issuer(), item["tenantId"].as_str(), person) {
                (Some(_), Some(tenant), Some(person)) => Some(format!("{tenant}:{person}")),
                (_, _, person) => person.map(str::to_owned),
            };
            let draft = Draft {
                // Two different changes of one person can look the same. So an item without an id gets a random id, not
                // one derived from its content.
                id: item["id"].as_str().map_or_else(|| Some(reading.fresh_id()), |id| Some(id.to_owned())),
                occurred_at: Some(delivery.now),
                subject,
                meaning,
                membership: None,
                directory: None,
                profile: Ok(PersonProfile::default()),
            };
            // The member `clientState` is the secret, so remove it before the item can reach a dead letter.
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
