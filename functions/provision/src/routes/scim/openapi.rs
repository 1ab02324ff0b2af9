//! The OpenAPI description of `/scim/v2`, generated from the schemas that Flexgate publishes at `/Schemas`.
//!
//! The description of the bodies is as lenient as Flexgate's parser. A client may send one value instead of a list, or
//! a boolean as a string. Unknown attributes are ignored (RFC 7644 §3.3).

mod bodies;

use std::collections::BTreeMap;

use flexgate::domain::Role;
use flexgate::web::openapi::{UPSTREAM, security};
use flexgate::web::{Kind, kinds};
use http::StatusCode;
use serde_json::{Value, json};
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Ref, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Components, ContentBuilder, OpenApi, OpenApiBuilder, PathItem, RefOr, Required, Response, ResponseBuilder,
};

use super::failure::{scim_type, status};
use crate::scim::protocol::Schema;
use crate::scim::{BASE, WorkerFields, group_schema, user_schema};
use bodies::{shared_schemas, written_group, written_user};

const MEDIA: &str = "application/scim+json";

/// Describes `If-Match` in an operation's text, and not as a header parameter. A header parameter would need an
/// example, and no example could match a resource's current version.
const IF_MATCH: &str = "Fails if `If-Match` names a version that is not current (`ETag`, `meta.version`).";

/// Problems that any request may get.
const ALWAYS: &[&Kind] = &[kinds::TOKEN_INVALID];
/// Problems of requests that name a resource.
const NAMED: &[&Kind] = &[kinds::SCIM_UNKNOWN];
/// Problems of requests with a body.
const BODY: &[&Kind] =
    &[kinds::BODY_MALFORMED, kinds::TOO_LARGE, kinds::UNSUPPORTED_MEDIA_TYPE, kinds::SCIM_INVALID_VALUE];
/// Problems of searches.
const SEARCH: &[&Kind] = &[
    kinds::SCIM_INVALID_FILTER,
    kinds::SCIM_INVALID_CURSOR,
    kinds::SCIM_EXPIRED_CURSOR,
    kinds::SCIM_TOO_MANY,
    kinds::SCIM_INVALID_VALUE,
];
/// Problems of writes.
const WRITE: &[&Kind] = &[
    kinds::QUERY_INVALID,
    kinds::SCIM_UNIQUENESS,
    kinds::ROLE_FORBIDDEN,
    kinds::SCIM_NO_ROLE,
    kinds::SCIM_LAST_ADMIN,
    kinds::USER_INACTIVE,
    kinds::TWILIO_REFUSED,
];
/// Problems of changes to an existing resource.
const CHANGE: &[&Kind] = &[kinds::SCIM_STALE, kinds::SCIM_MUTABILITY];
/// Problems of patches.
const PATCH: &[&Kind] = &[kinds::SCIM_INVALID_SYNTAX, kinds::SCIM_INVALID_PATH, kinds::SCIM_NO_TARGET];

/// Describes all the SCIM routes.
pub(crate) fn document() -> OpenApi {
    let every_role = [Role::Agent, Role::Supervisor, Role::Admin].into();
    let (users, groups) = (user_schema(&WorkerFields::default(), &every_role), group_schema());
    let mut api = OpenApiBuilder::new().components(Some(Components::new())).build();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("A token made by `flexgate scim token` whose hash is in the secret SCIM_TOKENS_SECRET_ID."))
        .build();
    security(&mut api, "scim", SecurityScheme::Http(token));
    for schema in [&users, &groups] {
        resources(&mut api, schema);
    }
    let everything = operation("scim_search", "Searches users and groups", Some(body("ScimSearch")))
        .response("200", shown("The matches, users first", "ScimList"));
    add(&mut api, "/.search", HttpMethod::Post, everything, &[BODY, SEARCH]);
    let single = [("/ServiceProviderConfig", "scim_config", "Shows which SCIM features Flexgate supports")];
    let lists = [
        ("/ResourceTypes", "scim_resource_types", "Lists the resource types"),
        ("/Schemas", "scim_schemas", "Lists the schemas"),
    ];
    for (path, id, summary) in single {
        let described = operation(id, summary, None).response("200", shown("The document", "ScimDocument"));
        add(&mut api, path, HttpMethod::Get, described, &[]);
    }
    for (path, id, summary) in lists {
        let described = operation(id, summary, None).response("200", shown("All of them", "ScimList"));
        add(&mut api, path, HttpMethod::Get, described, &[]);
        let one = operation(&format!("{id}_one"), "Shows one of them", None)
            .parameter(in_path("its `id`"))
            .response("200", shown("The document", "ScimDocument"));
        add(&mut api, &format!("{path}/{{id}}"), HttpMethod::Get, one, &[NAMED]);
    }
    if let Some(components) = &mut api.components {
        components.schemas.extend(shared_schemas());
        components.schemas.insert("ScimUserWritten".to_owned(), RefOr::T(written_user(&users).into()));
        components.schemas.insert("ScimGroupWritten".to_owned(), RefOr::T(written_group(&groups).into()));
    }
    api
}

/// Adds the routes of one resource type to the description.
fn resources(api: &mut OpenApi, schema: &Schema) {
    let (name, plain) = (schema.name, schema.name.to_lowercase());
    let (all, one) = (format!("/{name}s"), format!("/{name}s/{{id}}"));
    let written = || Some(body(&format!("Scim{name}Written")));
    let resource = |text: &str| shown(text, "ScimResource");

    let listed = listing().into_iter().fold(
        operation(&format!("scim_list_{plain}s"), &format!("Lists or searches {plain}s"), None),
        OperationBuilder::parameter,
    );
    add(
        api,
        &all,
        HttpMethod::Get,
        listed.response("200", shown("Those that match", "ScimList")),
        &[SEARCH, &[kinds::QUERY_INVALID]],
    );
    let searched = operation(&format!("scim_search_{plain}s"), &format!("Searches {plain}s"), Some(body("ScimSearch")));
    add(
        api,
        &format!("{all}/.search"),
        HttpMethod::Post,
        searched.response("200", shown("Those that match", "ScimList")),
        &[BODY, SEARCH],
    );
    let mut created = resource("Created");
    for verb in ["show", "replace", "patch", "delete"] {
        let link =
            LinkBuilder::new().operation_id(format!("scim_{verb}_{plain}")).parameter("id", "$response.body#/id");
        created.links.insert(verb.to_owned(), RefOr::T(link.build()));
    }
    let create = operation(&format!("scim_create_{plain}"), &format!("Creates a {plain}"), written());
    add(api, &all, HttpMethod::Post, projected(create).response("201", created), &[BODY, WRITE]);

    let show =
        operation(&format!("scim_show_{plain}"), &format!("Shows a {plain}"), None).parameter(in_path("its `id`"));
    let show = projected(show).response("200", resource("The resource"));
    add(api, &one, HttpMethod::Get, show, &[NAMED, &[kinds::QUERY_INVALID]]);
    for (method, verb, text, body, more) in [
        (HttpMethod::Put, "replace", "Replaces", written(), &[][..]),
        (HttpMethod::Patch, "patch", "Changes parts of", Some(patch_body(name)), PATCH),
    ] {
        let change = operation(&format!("scim_{verb}_{plain}"), &format!("{text} a {plain}"), body)
            .parameter(in_path("its `id`"))
            .description(Some(IF_MATCH));
        let change = projected(change).response("200", resource("The changed resource"));
        add(api, &one, method, change, &[NAMED, BODY, WRITE, CHANGE, more]);
    }
    let what = if name == "User" { "Deprovisions a user" } else { "Deletes a group and removes the roles it gave" };
    let gone = ResponseBuilder::new().description("Deleted: SCIM no longer shows it").build();
    let delete = operation(&format!("scim_delete_{plain}"), what, None)
        .parameter(in_path("its `id`"))
        .description(Some(IF_MATCH))
        .response("204", gone);
    add(api, &one, HttpMethod::Delete, delete, &[NAMED, &[kinds::SCIM_STALE, kinds::SCIM_LAST_ADMIN]]);
}

fn add(api: &mut OpenApi, path: &str, method: HttpMethod, operation: OperationBuilder, kinds: &[&[&'static Kind]]) {
    let mut operation: Operation = operation.build();
    let mut by_status = BTreeMap::<StatusCode, Vec<&Kind>>::new();
    for kind in kinds.iter().chain(&[ALWAYS, UPSTREAM]).copied().flatten() {
        let listed = by_status.entry(status(kind)).or_default();
        if !listed.contains(kind) {
            listed.push(kind);
        }
    }
    for (status, kinds) in by_status {
        operation.responses.responses.insert(status.as_str().to_owned(), RefOr::T(refusal(status, &kinds)));
    }
    let item = api.paths.paths.entry(format!("{BASE}{path}")).or_default();
    item.merge_operations(PathItem::new(method, operation));
}

fn operation(id: &str, summary: &str, body: Option<RequestBody>) -> OperationBuilder {
    OperationBuilder::new()
        .operation_id(Some(id))
        .summary(Some(summary))
        .tag("scim")
        .security(SecurityRequirement::new("scim", Vec::<String>::new()))
        .request_body(body)
}

fn shown(description: &str, schema: &str) -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    ResponseBuilder::new().description(description).content(MEDIA, content).build()
}

/// Describes an error response (RFC 7644 §3.12). The description contains the problem codes, which also appear in the
/// log.
fn refusal(status: StatusCode, kinds: &[&Kind]) -> Response {
    let texts: Vec<_> = kinds
        .iter()
        .map(|kind| match scim_type(kind) {
            Some(scim_type) => format!("`{}` (`scimType` `{scim_type}`): {}", kind.code, kind.title),
            None => format!("`{}`: {}", kind.code, kind.title),
        })
        .collect();
    let mut example = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
        "status": status.as_str(), "detail": "What to do about it.",
    });
    if let Some(scim_type) = kinds.iter().find_map(|kind| scim_type(kind)) {
        example["scimType"] = scim_type.into();
    }
    let schema = Some(Ref::from_schema_name("ScimError"));
    let content = ContentBuilder::new().schema(schema).example(Some(example)).build();
    ResponseBuilder::new().description(texts.join("; ")).content(MEDIA, content).build()
}

fn body(schema: &str) -> RequestBody {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(schema))).build();
    RequestBodyBuilder::new().content(MEDIA, content).required(Some(Required::True)).build()
}

/// Describes the body of a patch. The example is like the patches that Okta and Entra send.
fn patch_body(name: &str) -> RequestBody {
    let operations = |operations: Value| json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
    let first = match name {
        "User" => json!({ "op": "replace", "path": "active", "value": false }),
        _ => json!({ "op": "remove", "path": "members" }),
    };
    let example = operations(json!([first, { "op": "replace", "value": { "displayName": "Ada King" } }]));
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("ScimPatch"))).example(Some(example)).build();
    RequestBodyBuilder::new().content(MEDIA, content).required(Some(Required::True)).build()
}

fn in_path(description: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1));
    ParameterBuilder::new()
        .name("id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(format!("The resource, by {description}.")))
        .schema(Some(schema))
        .build()
}

fn in_query(name: &str, kind: Type, description: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(ObjectBuilder::new().schema_type(kind)))
        .build()
}

fn projection() -> [Parameter; 2] {
    [
        in_query("attributes", Type::String, "Return only these attributes, separated by commas."),
        in_query("excludedAttributes", Type::String, "Omit these attributes, separated by commas."),
    ]
}

fn projected(operation: OperationBuilder) -> OperationBuilder {
    projection().into_iter().fold(operation, OperationBuilder::parameter)
}

fn listing() -> Vec<Parameter> {
    let own = [
        in_query("filter", Type::String, "A filter (RFC 7644 §3.4.2.2), such as `userName eq \"ada\"`."),
        in_query("startIndex", Type::Integer, "The index of the first result, from 1; not with `cursor`."),
        in_query("count", Type::Integer, "The number of results, at most 200; 100 by default."),
        in_query("cursor", Type::String, "Empty for the first page, then the previous `nextCursor` (RFC 9865)."),
    ];
    own.into_iter().chain(projection()).collect()
}
