//! Builds the discovery documents (RFC 7643 §5 to §7), with only what Flexgate supports.

use serde_json::{Value, json};

use super::filter::MAX_FILTER;
use super::paging::{CURSOR_TIME, DEFAULT_PAGE, MAX_PAGE};
use super::schema::{Attribute, Kind, Mutability, Schema};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

/// `/ServiceProviderConfig`.
#[must_use]
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": [CONFIG],
        "documentationUri": "https://datatracker.ietf.org/doc/html/rfc7644",
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MAX_PAGE },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": true },
        "pagination": {
            "cursor": true, "index": true, "defaultPaginationMethod": "index",
            "defaultPageSize": DEFAULT_PAGE, "maxPageSize": MAX_PAGE, "cursorTimeout": CURSOR_TIME.whole_seconds(),
        },
        "authenticationSchemes": [{
            "type": "oauthbearertoken", "name": "Bearer token", "primary": true,
            "description": "A token made by flexgate scim token, in the Authorization header.",
            "specUri": "https://datatracker.ietf.org/doc/html/rfc6750",
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

/// `/ResourceTypes`.
#[must_use]
pub fn resource_types(schemas: &[&Schema], base: &str) -> Vec<Value> {
    let resource_type = |schema: &&Schema| {
        let name = schema.name;
        let extensions: Vec<_> =
            schema.extension.iter().map(|(id, _)| json!({ "schema": id, "required": false })).collect();
        let mut shown = json!({
            "schemas": [RESOURCE_TYPE], "id": name, "name": name, "endpoint": format!("/{name}s"), "schema": schema.id,
            "description": format!("{name}s of Flex"),
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
        });
        if let (Some(shown), false) = (shown.as_object_mut(), extensions.is_empty()) {
            shown.insert("schemaExtensions".to_owned(), extensions.into());
        }
        shown
    };
    schemas.iter().map(resource_type).collect()
}

/// Builds the documents of `/Schemas`, with only the supported attributes.
#[must_use]
pub fn schemas(schemas: &[&Schema], base: &str) -> Vec<Value> {
    let document = |id: &str, name: &str, attributes: &[Attribute]| {
        json!({
            "schemas": [SCHEMA], "id": id, "name": name, "description": format!("{name} as Flexgate has it"),
            "attributes": attributes.iter().map(attribute).collect::<Vec<_>>(),
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
        })
    };
    let mut all = Vec::new();
    for schema in schemas {
        all.push(document(schema.id, schema.name, &schema.attributes));
        all.extend(schema.extension.iter().map(|(id, fields)| document(id, "FlexUser", fields)));
    }
    all
}

fn attribute(attribute: &Attribute) -> Value {
    let (kind, subs, references) = match &attribute.kind {
        Kind::Text => ("string", None, None),
        Kind::Boolean => ("boolean", None, None),
        Kind::Integer => ("integer", None, None),
        Kind::DateTime => ("dateTime", None, None),
        Kind::Reference(types) => ("reference", None, Some(types)),
        Kind::Complex(subs) => ("complex", Some(subs.iter().map(self::attribute).collect::<Vec<_>>()), None),
    };
    let mut shown = json!({
        "name": attribute.name, "type": kind, "multiValued": attribute.multi_valued,
        "description": attribute.description, "required": attribute.required, "caseExact": attribute.case_exact,
        "mutability": match attribute.mutability {
            Mutability::ReadWrite => "readWrite",
            Mutability::Immutable => "immutable",
            Mutability::ReadOnly => "readOnly",
        },
        "returned": "default", "uniqueness": if attribute.unique { "server" } else { "none" },
    });
    if let Some(shown) = shown.as_object_mut() {
        shown.extend(subs.map(|subs| ("subAttributes".to_owned(), subs.into())));
        shown.extend(references.map(|types| ("referenceTypes".to_owned(), json!(types))));
        if !attribute.canonical.is_empty() {
            shown.insert("canonicalValues".to_owned(), json!(attribute.canonical));
        }
    }
    shown
}

const _: () = assert!(MAX_FILTER < 64 * 1024, "a filter must fit in an address");
