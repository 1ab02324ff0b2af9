//! Reads the subject of a signal (RFC 9493).

use flexgate::domain::{Subject, SubjectId, Username};
use serde_json::Value;

/// The person whom a signal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPerson {
    pub(crate) subject: Subject,
    /// The e-mail address, if the signal names the person by one. Flexgate treats it as the username.
    pub(crate) username: Option<Username>,
}

impl NamedPerson {
    /// The strings that identify the person: the id, the issuer and the username. A missing string is empty.
    /// An e-mail address has no issuer, so its strings differ from those of an id with the same text.
    pub(crate) fn identifiers(&self) -> [&str; 3] {
        let username = self.username.as_ref().map(Username::as_str);
        [self.subject.id.as_str(), self.subject.issuer.as_deref().unwrap_or_default(), username.unwrap_or_default()]
    }
}

/// Why a subject cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SubjectFault {
    #[error("the subject is missing or malformed")]
    Malformed,
    #[error("the format of the subject names no person whom Flexgate can find")]
    Format,
    #[error("the subject belongs to another issuer")]
    OtherIssuer,
}

/// The issuers of the ids by which a transmitter may name people.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespace<'a> {
    pub(crate) transmitter: &'a str,
    /// The issuer whose tokens use the same ids for people as the transmitter.
    pub(crate) issuer: Option<&'a str>,
}

/// Reads a subject identifier. A transmitter can name a person by an e-mail address or by an id. Such an id must belong
/// to the transmitter itself or to the configured issuer.
pub(crate) fn read(identifier: &Value, namespace: Namespace<'_>) -> Result<NamedPerson, SubjectFault> {
    match format(identifier)?.as_str() {
        // A complex identifier names the person, and perhaps also the device, the session or the tenant (SSF 1.0).
        "complex" => simple(identifier.get("user").ok_or(SubjectFault::Format)?, namespace),
        _ => simple(identifier, namespace),
    }
}

fn simple(identifier: &Value, Namespace { transmitter, issuer }: Namespace<'_>) -> Result<NamedPerson, SubjectFault> {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str).ok_or(SubjectFault::Malformed);
    let own_issuer = || Some(issuer.unwrap_or(transmitter).into());
    let (id, issuer, username) = match format(identifier)?.as_str() {
        "iss_sub" => {
            let named = text("iss")?;
            if named != transmitter && Some(named) != issuer {
                return Err(SubjectFault::OtherIssuer);
            }
            (text("sub")?, own_issuer(), None)
        }
        "opaque" => (text("id")?, own_issuer(), None),
        "email" => {
            let email = text("email")?.trim();
            (email, None, Some(email.parse().map_err(|_| SubjectFault::Malformed)?))
        }
        _ => return Err(SubjectFault::Format),
    };
    let id: SubjectId = id.parse().map_err(|_| SubjectFault::Malformed)?;
    Ok(NamedPerson { subject: Subject { id, issuer }, username })
}

/// Returns the value of the identifier's member `format`. Drafts of the Shared Signals Framework called this member
/// `subject_type`, and wrote its values with hyphens.
fn format(identifier: &Value) -> Result<String, SubjectFault> {
    let text = |name: &str| identifier.get(name).and_then(Value::as_str);
    let format = text("format").or_else(|| text("subject_type")).ok_or(SubjectFault::Malformed)?;
    Ok(format.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: Namespace<'_> = Namespace { transmitter: "https://idp.example", issuer: None };

    fn named(identifier: &Value) -> Result<(String, Option<String>, Option<String>), SubjectFault> {
        let NamedPerson { subject, username } = read(identifier, OURS)?;
        Ok((
            subject.id.to_string(),
            subject.issuer.map(String::from),
            username.map(|username| username.as_str().to_owned()),
        ))
    }

    #[test]
    fn a_person_is_named_by_an_id_or_an_email_address() {
        let by_id = Ok(("u1".to_owned(), Some("https://idp.example".to_owned()), None));
        let plain = json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "u1" });
        assert_eq!(named(&plain), by_id);
        assert_eq!(named(&json!({ "format": "opaque", "id": "u1" })), by_id);
        let draft = json!({ "subject_type": "iss-sub", "iss": "https://idp.example", "sub": "u1" });
        assert_eq!(named(&draft), by_id);
        let complex = json!({ "format": "complex", "user": plain, "session": { "format": "opaque", "id": "s" } });
        assert_eq!(named(&complex), by_id);
        let email = json!({ "format": "email", "email": "ada@example.com" });
        assert_eq!(named(&email), Ok(("ada@example.com".into(), None, Some("ada@example.com".into()))));
    }

    #[test]
    fn an_issuer_with_the_same_ids_replaces_the_transmitter() {
        let ours = Namespace { issuer: Some("https://idp.example/oauth2/default"), ..OURS };
        for issuer in ["https://idp.example", "https://idp.example/oauth2/default"] {
            let subject = read(&json!({ "format": "iss_sub", "iss": issuer, "sub": "u1" }), ours).unwrap().subject;
            assert_eq!(subject.issuer.as_deref(), Some("https://idp.example/oauth2/default"));
        }
    }

    #[test]
    fn other_subjects_are_refused() {
        for (identifier, fault) in [
            (json!(null), SubjectFault::Malformed),
            (json!("u1"), SubjectFault::Malformed),
            (json!({ "iss": "https://idp.example", "sub": "u1" }), SubjectFault::Malformed),
            (json!({ "format": "iss_sub", "iss": "https://idp.example" }), SubjectFault::Malformed),
            (json!({ "format": "iss_sub", "iss": "https://idp.example", "sub": "" }), SubjectFault::Malformed),
            (json!({ "format": "iss_sub", "iss": "https://idp.example/", "sub": "u1" }), SubjectFault::OtherIssuer),
            (json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "u1" }), SubjectFault::OtherIssuer),
            (json!({ "format": "email", "email": 7 }), SubjectFault::Malformed),
            (json!({ "format": "phone_number", "phone_number": "+12065550100" }), SubjectFault::Format),
            (json!({ "format": "complex", "session": { "format": "opaque", "id": "s" } }), SubjectFault::Format),
            (json!({ "format": "complex", "user": { "format": "complex" } }), SubjectFault::Format),
        ] {
            assert_eq!(read(&identifier, OURS), Err(fault), "{identifier}");
        }
    }
}
