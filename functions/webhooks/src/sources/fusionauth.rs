//! `FusionAuth` webhooks. A header contains a JWT with the digest of the body. The JWT is signed with a shared secret
//! (HS256, HS384 or HS512) or a private key. The configured secret, and never the JWT, decides which kind of key is
//! valid.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flexgate::base::{jws, strict_json};
use jsonwebtoken::{Algorithm, DecodingKey};
use ring::digest;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use crate::catalogue::{self, Effect};
use crate::mapping::{Mapping, ProfileFields};
use crate::proof::{Unproven, one, same};
use crate::reading::{Draft, Reading};
use crate::settings::{EventMeaning, ProfileField, SourceSettings};
use crate::source::{Delivery, Source};

const HEADER: &str = "x-fusionauth-signature-jwt";
const MALFORMED: Unproven = Unproven::Malformed(HEADER);

const PLACES: ProfileFields = &[
    (ProfileField::Type, &["/event/type"]),
    (ProfileField::Subject, &["/event/user/id", "/event/userId"]),
    (ProfileField::OccurredAt, &["/event/createInstant"]),
    (ProfileField::Username, &["/event/user/username"]),
    (ProfileField::Email, &["/event/user/email"]),
    (ProfileField::EmailVerified, &["/event/user/verified"]),
    (ProfileField::FullName, &["/event/user/fullName"]),
    (ProfileField::GivenName, &["/event/user/firstName"]),
    (ProfileField::FamilyName, &["/event/user/lastName"]),
];

#[derive(Debug)]
pub(super) struct FusionAuth {
    members_of: BTreeSet<String>,
    mapping: Mapping,
}

impl FusionAuth {
    pub(super) fn new(settings: &SourceSettings) -> Self {
        Self { members_of: settings.members_of.clone(), mapping: Mapping::new(PLACES, settings) }
    }

    /// Returns the meaning of an event. If applications are configured, only users who are registered in one of them
    /// become Flex users. Otherwise, every active user of `FusionAuth` becomes a Flex user.
    fn meaning(&self, kind: &str, event: &Value) -> Option<EventMeaning> {
        let everybody = self.members_of.is_empty();
        let inactive = event.pointer("/user/active") == Some(&Value::Bool(false));
        let application = application(event);
        let ours = || application.is_some_and(|application| self.members_of.contains(application));
        match kind {
            "user.deactivate" | "user.delete" | "user.delete.complete" => Some(EventMeaning::Deactivate),
            "user.create.complete" | "user.update.complete" | "user.reactivate" if inactive => {
                Some(EventMeaning::Deactivate)
            }
            "user.create.complete" | "user.update.complete" | "user.reactivate" if everybody => {
                Some(EventMeaning::Upsert)
            }
            "user.reactivate" => Some(EventMeaning::Upsert).filter(|_| self.registrations(event).next().is_some()),
            "user.create.complete" | "user.update.complete" => Some(EventMeaning::Refresh),
            "user.registration.create" | "user.registration.create.complete" if inactive => None,
            "user.registration.create" | "user.registration.create.complete" => {
                Some(EventMeaning::Upsert).filter(|_| ours())
            }
            "user.registration.update" | "user.registration.update.complete" => {
                Some(EventMeaning::Refresh).filter(|_| ours())
            }
            "user.registration.delete" | "user.registration.delete.complete" => {
                Some(EventMeaning::Deactivate).filter(|_| ours())
            }
            _ => None,
        }
    }

    /// The user's registrations in the configured applications.
    fn registrations<'v>(&'v self, event: &'v Value) -> impl Iterator<Item = &'v Value> {
        // A registration event contains the registration twice: in `registration`, and in the user's list of all
        // registrations. The copy in the list is older, so skip it.
        let own = event.get("registration");
        let is_older = move |one: &&Value| own.is_none_or(|own| own["applicationId"] != one["applicationId"]);
        let all = event.pointer("/user/registrations").and_then(Value::as_array).into_iter().flatten();
        let all = all.filter(is_older).chain(own);
        all.filter(|one| one["applicationId"].as_str().is_some_and(|id| self.members_of.contains(id)))
    }

    /// Returns the roles in the user's registrations, or `None` if no registration lists roles.
    fn roles(&self, event: &Value) -> Option<Vec<String>> {
        let lists: Vec<_> = self.registrations(event).filter_map(|one| one["roles"].as_array()).collect();
        let names: BTreeSet<&str> = lists.iter().copied().flatten().filter_map(Value::as_str).collect();
        (!lists.is_empty()).then(|| self.mapping.renamed(names))
    }
}

impl Source for FusionAuth {
    fn takes(&self, secret: &SecretString) -> Result<(), &'static str> {
        let text = secret.expose_secret();
        if is_pem(text) && public_keys(text).is_empty() { Err("is a PEM that holds no public key") } else { Ok(()) }
    }

    fn verify(&self, delivery: &Delivery<'_>) -> Result<(), Unproven> {
        let claims = verified(one(delivery.headers, HEADER)?, delivery.secrets)?;
        let said = claims.get("request_body_sha256").and_then(Value::as_str).ok_or(MALFORMED)?;
        let said = STANDARD.decode(said).map_err(|_| MALFORMED)?;
        let is = digest::digest(&digest::SHA256, delivery.body);
        if !same(&said, is.as_ref()) {
            return Err(Unproven::Wrong);
        }
        let now = delivery.now.unix_timestamp();
        let expired = claims.get("exp").is_some_and(|exp| exp.as_i64().is_none_or(|exp| exp < now - 60));
        if expired { Err(Unproven::Time) } else { Ok(()) }
    }

    fn read(&self, _delivery: &Delivery<'_>, document: &Value, reading: &mut Reading<'_>) {
        let Some(kind) = self.mapping.text(ProfileField::Type, document) else {
            return reading.misshapen("the event has no type", document);
        };
        let event = &document["event"];
        match catalogue::find(catalogue::FUSIONAUTH, &kind) {
            None => return reading.ignore(),
            Some(row) if row.effect != Effect::Person => return reading.ignore_relevant(&kind, row),
            Some(_) => {}
        }
        let Some(meaning) = self.meaning(&kind, event) else { return reading.ignore() };
        let about_one = kind.starts_with("user.registration.");
        let membership = application(event).filter(|_| about_one).map(str::to_owned);
        let mut profile = self.mapping.profile(document);
        if let (Ok(profile), Some(roles)) = (&mut profile, self.roles(event)) {
            profile.unverified_roles = Some(roles);
        }
        reading.say(
            &Draft {
                id: event["id"].as_str().map(str::to_owned),
                occurred_at: self.mapping.instant(ProfileField::OccurredAt, document),
                subject: self.mapping.text(ProfileField::Subject, document),
                meaning,
                membership,
                directory: None,
                profile,
            },
            document,
        );
    }
}

/// Returns the application id of a registration event.
fn application(event: &Value) -> Option<&str> {
    event.pointer("/registration/applicationId").or_else(|| event.get("applicationId")).and_then(Value::as_str)
}

/// Returns the claims of a JWT that one of the keys has signed (RFC 7515 §5.2). Tries only keys for the algorithm in
/// the JWT's header.
fn verified(unverified_token: &str, secrets: &[SecretString]) -> Result<Map<String, Value>, Unproven> {
    let (signed, signature) = unverified_token.rsplit_once('.').ok_or(MALFORMED)?;
    let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
    let decode = |segment: &str| URL_SAFE_NO_PAD.decode(segment).map_err(|_| MALFORMED);
    let object = |segment: &str| match strict_json::parse(&decode(segment)?) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(MALFORMED),
    };
    let (header, signature) = (object(header)?, decode(signature)?);
    if header.contains_key("crit") {
        return Err(MALFORMED);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(algorithm).ok_or(Unproven::Wrong)?;
    let right = secrets
        .iter()
        .flat_map(|secret| keys(secret.expose_secret(), algorithm))
        .any(|key| jws::signed(&key, algorithm, signed.as_bytes(), &signature));
    if right { object(claims) } else { Err(Unproven::Wrong) }
}

fn algorithm(name: &str) -> Option<Algorithm> {
    match name {
        "HS256" => Some(Algorithm::HS256),
        "HS384" => Some(Algorithm::HS384),
        "HS512" => Some(Algorithm::HS512),
        "RS256" => Some(Algorithm::RS256),
        "RS384" => Some(Algorithm::RS384),
        "RS512" => Some(Algorithm::RS512),
        "ES256" => Some(Algorithm::ES256),
        "ES384" => Some(Algorithm::ES384),
        "EdDSA" | "Ed25519" => Some(Algorithm::EdDSA),
        _ => None,
    }
}

/// Returns the keys in a secret that fit the algorithm. A public key never becomes an HMAC secret.
fn keys(secret: &str, algorithm: Algorithm) -> Vec<DecodingKey> {
    let candidates =
        if is_pem(secret) { public_keys(secret) } else { vec![DecodingKey::from_secret(secret.as_bytes())] };
    candidates.into_iter().filter(|key| key.family() == algorithm.family()).collect()
}

fn is_pem(secret: &str) -> bool {
    secret.trim_start().starts_with("-----BEGIN")
}

fn public_keys(pem: &str) -> Vec<DecodingKey> {
    let pem = pem.as_bytes();
    let parsed = [DecodingKey::from_rsa_pem(pem), DecodingKey::from_ec_pem(pem), DecodingKey::from_ed_pem(pem)];
    parsed.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_token_makes_it_panic(token in "\\PC{0,80}", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,40}", 3)) {
            let secrets = ["k3J9x7Qp2LmN8vRt".into()];
            prop_assert!(verified(&token, &secrets).is_err());
            prop_assert!(verified(&parts.join("."), &secrets).is_err());
        }
    }
}
