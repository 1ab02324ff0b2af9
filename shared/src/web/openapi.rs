//! The shared parts of the OpenAPI document: problem documents, the bearer token, and the header `x-request-id`.
//!
//! The code of each route lists the route's possible problems. The statuses and examples in the document come from that
//! list.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::{Operation, Parameter};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::problem::{Kind, kinds};

/// The possible problems of a route that sends requests to an upstream service.
pub const UPSTREAM: &[&Kind] = &[kinds::INTERNAL, kinds::UPSTREAM_INVALID, kinds::UNAVAILABLE, kinds::TIMEOUT];

/// The possible problems of a route with a JSON body.
pub const BODY: &[&Kind] =
    &[kinds::BODY_MALFORMED, kinds::FIELDS_INVALID, kinds::TOO_LARGE, kinds::UNSUPPORTED_MEDIA_TYPE];

/// Adds problems to an operation: each status, with an example for each code. Does nothing if there is no such
/// operation.
pub fn problems(api: &mut OpenApi, method: &str, path: &str, kinds: &[&[&'static Kind]]) {
    let Some(operation) = operation(api, method, path) else { return };
    let mut by_status = BTreeMap::<u16, Vec<&Kind>>::new();
    for kind in kinds.iter().copied().flatten() {
        by_status.entry(kind.status.as_u16()).or_default().push(kind);
    }
    for (status, kinds) in by_status {
        operation.responses.responses.insert(status.to_string(), RefOr::T(response(&kinds)));
    }
}

/// Finds the operation with this method (GET, POST or DELETE) and path.
fn operation<'a>(api: &'a mut OpenApi, method: &str, path: &str) -> Option<&'a mut Operation> {
    let item = api.paths.paths.get_mut(path)?;
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

/// Adds a parameter to an operation.
pub fn parameter(api: &mut OpenApi, method: &str, path: &str, parameter: impl Into<Parameter>) {
    if let Some(operation) = operation(api, method, path) {
        operation.parameters.get_or_insert_default().push(RefOr::T(parameter.into()));
    }
}

/// Adds an OpenAPI link to the response with this method, path and status. The link leads to the operation
/// `operation_id`. The value of each parameter is a runtime expression.
pub fn link(
    api: &mut OpenApi,
    (method, path, status): (&str, &str, &str),
    operation_id: &str,
    parameters: &[(&str, &str)],
) {
    let answer = operation(api, method, path).and_then(|operation| operation.responses.responses.get_mut(status));
    if let Some(RefOr::T(response)) = answer {
        let link = LinkBuilder::new().operation_id(operation_id);
        let link = parameters.iter().fold(link, |link, (name, expression)| link.parameter(*name, *expression));
        response.links.insert(operation_id.to_owned(), RefOr::T(link.build()));
    }
}

/// Adds a security scheme with this name.
pub fn security(api: &mut OpenApi, name: &str, scheme: SecurityScheme) {
    api.components.get_or_insert_default().security_schemes.insert(name.to_owned(), scheme.into());
}

/// Marks an operation's body as optional.
pub fn body_may_be_absent(api: &mut OpenApi, method: &str, path: &str) {
    if let Some(RefOr::T(body)) = operation(api, method, path).and_then(|operation| operation.request_body.as_mut()) {
        body.required = Some(Required::False);
    }
}

/// The schema of [`crate::domain::Username`] and [`crate::domain::FullName`].
#[derive(Debug)]
pub struct Name;

/// The schema of [`crate::domain::Email`].
#[derive(Debug)]
pub struct Email;

/// White space except control characters, written for use in a character class of a regular expression.
const SPACE: &str = r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// All white space, written for use in a character class of a regular expression.
pub const ANY_SPACE: &str = r"\u0009-\u000d\u0085\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000";
/// Characters that are not allowed in a name: control, bidirectional-formatting and zero-width characters.
pub const INVISIBLE: &str = r"\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff";

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        let edge = format!("[^{SPACE}{INVISIBLE}]");
        name(&format!("^{edge}([^{INVISIBLE}]*{edge})?$"), "1 to 256 visible characters, no surrounding white space.")
    }
}

impl PartialSchema for Email {
    fn schema() -> RefOr<Schema> {
        let any = format!("{SPACE}{INVISIBLE}");
        name(&format!("^[^{any}]+@[^@{any}]+$"), "An e-mail address.")
    }
}

impl ToSchema for Name {}

impl ToSchema for Email {}

fn name(pattern: &str, description: &str) -> RefOr<Schema> {
    let text = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(256));
    RefOr::T(text.pattern(Some(pattern)).description(Some(description)).build().into())
}

fn response(kinds: &[&Kind]) -> Response {
    let examples = kinds.iter().map(|kind| {
        let example = ExampleBuilder::new().summary(kind.title).value(Some(example(kind)));
        (kind.code, RefOr::T(example.build()))
    });
    let content =
        ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).examples_from_iter(examples).build();
    let codes: Vec<_> = kinds.iter().map(|kind| format!("`{}`", kind.code)).collect();
    let mut response =
        ResponseBuilder::new().description(codes.join(", ")).content("application/problem+json", content);
    if [kinds::TOKEN_INVALID, kinds::SIGNED_OUT].iter().any(|kind| kinds.contains(kind)) {
        response = response.header("www-authenticate", header("`Bearer`", Type::String));
    }
    response.build()
}

fn example(kind: &Kind) -> Value {
    let mut document = json!({
        "type": kind.uri(),
        "title": kind.title,
        "status": kind.status.as_u16(),
        "detail": "What to do about the problem.",
        "code": kind.code,
        "request_id": "5f1c7d0e8a9b4c3d2e1f0a9b8c7d6e5f",
    });
    if [kinds::FIELDS_INVALID, kinds::QUERY_INVALID].contains(&kind) {
        document["errors"] = json!([{ "field": "username", "detail": "is required" }]);
    }
    document
}

fn header(description: &str, kind: Type) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(kind))).description(Some(description)).build()
}

/// Completes the document: adds the schema of problems, the bearer token, and the header `x-request-id` of every
/// answer.
pub fn complete(api: &mut OpenApi) {
    let components = api.components.get_or_insert_with(Default::default);
    components.schemas.insert("Problem".to_owned(), problem_schema());
    components.schemas.insert("Name".to_owned(), Name::schema());
    components.schemas.insert("Email".to_owned(), Email::schema());
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("A token from an issuer in FLEXGATE_ISSUERS, with the scope that the route needs."))
        .build();
    components.security_schemes.insert("bearer".to_owned(), SecurityScheme::Http(bearer).into());
    for item in api.paths.paths.values_mut() {
        let operations = [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().flatten() {
            for response in operation.responses.responses.values_mut() {
                if let RefOr::T(response) = response {
                    let id = header("The request's id, which is also in the log.", Type::String);
                    response.headers.insert("x-request-id".to_owned(), RefOr::T(id));
                }
            }
        }
    }
}

fn problem_schema() -> RefOr<Schema> {
    let text = |description: &str| ObjectBuilder::new().schema_type(Type::String).description(Some(description));
    let codes = kinds::ALL.iter().map(|kind| kind.code);
    let error = ObjectBuilder::new()
        .property("field", text("The field's or parameter's name."))
        .property("detail", text("What is wrong with it."))
        .required("field")
        .required("detail");
    let errors =
        utoipa::openapi::schema::ArrayBuilder::new().items(error).description(Some("The fields that are wrong."));
    let mut problem = ObjectBuilder::new()
        .description(Some("A problem document (RFC 9457). Decide on `code`."))
        .property("type", text("`urn:flexgate:problem:{code}`"))
        .property("title", text("A short description of the problem."))
        .property("status", ObjectBuilder::new().schema_type(Type::Integer).description(Some("The HTTP status.")))
        .property("detail", text("What to do about the problem."))
        .property("code", text("Stable; docs/status-codes.md lists all codes.").enum_values(Some(codes)))
        .property("request_id", text("Also in the header `x-request-id` and in the log."))
        .property("error", text("The error code of RFC 6749, only in answers to a token exchange."))
        .property("errors", errors);
    for name in ["type", "title", "status", "detail", "code", "request_id"] {
        problem = problem.required(name);
    }
    RefOr::T(problem.build().into())
}
