//! The OpenAPI schemas of request and response bodies.

use flexgate::web::openapi::{ANY_SPACE, INVISIBLE};
use utoipa::openapi::schema::{AnyOfBuilder, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Ref, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema as Described};

use crate::scim::protocol::{Attribute, Kind as Values, Mutability, Schema};

fn any_of(schemas: impl IntoIterator<Item = RefOr<Described>>) -> Described {
    schemas.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).build().into()
}

fn or_null(kind: Type) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([kind, Type::Null]))
}

fn anything() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue)
}

fn text_list() -> Described {
    let list = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String)).build();
    any_of([RefOr::T(list.into()), RefOr::T(or_null(Type::String).build().into())])
}

pub(super) fn shared_schemas() -> Vec<(String, RefOr<Described>)> {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let integer = || ObjectBuilder::new().schema_type(Type::Integer);
    let schemas = || ArrayBuilder::new().items(text()).build();
    let error = ObjectBuilder::new()
        .description(Some("A SCIM error (RFC 7644 §3.12)."))
        .property("schemas", schemas())
        .property("status", text())
        .property("detail", text())
        .property("scimType", text());
    let document = ObjectBuilder::new().property("schemas", schemas());
    let resource = ObjectBuilder::new()
        .description(Some("A user or a group, with the attributes that `/Schemas` lists."))
        .property("schemas", schemas())
        .property("id", text())
        .property("meta", ObjectBuilder::new().property("version", text()).property("location", text()));
    let list = ObjectBuilder::new()
        .property("schemas", schemas())
        .property("totalResults", integer())
        .property("startIndex", integer())
        .property("itemsPerPage", integer())
        .property("nextCursor", text())
        .property("Resources", ArrayBuilder::new().items(ObjectBuilder::new()));
    let number = || {
        let digits = text().pattern(Some(r"^-?[0-9]{1,38}$")).build();
        any_of([RefOr::T(or_null(Type::Integer).build().into()), RefOr::T(digits.into())])
    };
    let search = ObjectBuilder::new()
        .description(Some("A search (RFC 7644 §3.4.3): a list's query parameters, as a body."))
        .property("schemas", anything())
        .property("filter", or_null(Type::String))
        .property("startIndex", number())
        .property("count", number())
        .property("cursor", or_null(Type::String))
        .property("attributes", text_list())
        .property("excludedAttributes", text_list());
    let op = |names: &[&'static str]| text().enum_values(Some(names.to_vec())).description(Some("Case-insensitive."));
    let where_to = "A path (RFC 7644 §3.5.2), such as `emails[type eq \"work\"].value`.";
    let adds = ObjectBuilder::new()
        .property("op", op(&["add", "replace"]))
        .property("path", or_null(Type::String).description(Some(where_to)))
        .property("value", anything())
        .required("op")
        .required("value");
    let removes = ObjectBuilder::new()
        .property("op", op(&["remove"]))
        .property("path", text().description(Some(where_to)))
        .property("value", anything())
        .required("op")
        .required("path");
    let operation = OneOfBuilder::new().item(adds).item(removes);
    let operations = ArrayBuilder::new().items(operation).min_items(Some(1)).max_items(Some(1_000));
    let patch =
        ObjectBuilder::new().property("schemas", anything()).property("Operations", operations).required("Operations");
    [
        ("ScimError", error.required("schemas").required("status").required("detail")),
        ("ScimDocument", document.required("schemas")),
        ("ScimResource", resource.required("schemas").required("id")),
        ("ScimList", list.required("schemas").required("itemsPerPage").required("Resources")),
        ("ScimSearch", search),
        ("ScimPatch", patch),
    ]
    .into_iter()
    .map(|(name, schema)| (name.to_owned(), RefOr::T(schema.build().into())))
    .collect()
}

/// Returns the schema of a resource in a request, with only the writable attributes. `given` overrides the schema of
/// some attributes.
fn written(schema: &Schema, given: impl Fn(&Attribute) -> Option<RefOr<Described>>) -> ObjectBuilder {
    let resource = ObjectBuilder::new()
        .property("schemas", anything().description(Some("Ignored.")))
        .property("externalId", or_null(Type::String).description(Some("The client's own key for the resource.")));
    let writable = schema.attributes.iter().filter(|attribute| attribute.mutability != Mutability::ReadOnly);
    writable.fold(resource, |resource, attribute| {
        let described = given(attribute).unwrap_or_else(|| value(attribute));
        resource.property(attribute.name.clone(), described)
    })
}

fn value(attribute: &Attribute) -> RefOr<Described> {
    if !attribute.multi_valued {
        return RefOr::T(one(attribute));
    }
    let list = ArrayBuilder::new().items(RefOr::T(one(attribute))).build();
    RefOr::T(any_of([RefOr::T(list.into()), RefOr::T(one(attribute))]))
}

fn one(attribute: &Attribute) -> Described {
    // Null removes an attribute. A required attribute cannot be removed, so it cannot be null.
    let typed = |kind| if attribute.required { ObjectBuilder::new().schema_type(kind) } else { or_null(kind) };
    let plain = |kind| typed(kind).description(Some(attribute.description)).build();
    match &attribute.kind {
        Values::Text | Values::DateTime | Values::Reference(_) => plain(Type::String).into(),
        Values::Integer => plain(Type::Integer).into(),
        Values::Boolean => {
            let named = ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(Some("^([Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee])$"));
            any_of([RefOr::T(plain(Type::Boolean).into()), RefOr::T(named.build().into())])
        }
        Values::Complex(subs) => {
            let writable = subs.iter().filter(|sub| sub.mutability != Mutability::ReadOnly);
            let object =
                writable.fold(typed(Type::Object), |object, sub| object.property(sub.name.clone(), value(sub)));
            let object = RefOr::T(object.description(Some(attribute.description)).build().into());
            // Entra may send strings instead of objects in a list of complex values.
            if attribute.multi_valued && attribute.sub("value").is_some() {
                any_of([object, RefOr::T(ObjectBuilder::new().schema_type(Type::String).build().into())])
            } else {
                any_of([object])
            }
        }
    }
}

/// Returns the schema of an optional name: null, only white space, or a name of at most `longest` characters. White
/// space around the name is allowed.
fn name_or_nothing(longest: usize) -> RefOr<Described> {
    let (space, visible) = (format!("[{ANY_SPACE}]*"), format!("[^{ANY_SPACE}{INVISIBLE}]"));
    let pattern = format!("^{space}({visible}([^{INVISIBLE}]{{0,{}}}{visible})?)?{space}$", longest - 2);
    RefOr::T(or_null(Type::String).pattern(Some(pattern)).build().into())
}

/// Returns the schema of a list whose items have a `value`. An item is an object, or only its `value`. A client may
/// send one item instead of a list. Unless `needed` is true, an item may be empty.
fn several(attribute: &Attribute, value_is: &RefOr<Described>, needed: bool) -> RefOr<Described> {
    let subs = match &attribute.kind {
        Values::Complex(subs) => subs.as_slice(),
        _ => &[],
    };
    let writable: Vec<_> = subs.iter().filter(|sub| sub.mutability != Mutability::ReadOnly).collect();
    let object = ObjectBuilder::new().property("value", value_is.clone()).required("value");
    let others = writable.iter().filter(|sub| sub.name != "value");
    let object = others.fold(object, |object, sub| object.property(sub.name.clone(), value(sub)));
    let null = || ObjectBuilder::new().schema_type(Type::Null);
    let nothing =
        writable.iter().fold(or_null(Type::Object), |nothing, sub| nothing.property(sub.name.clone(), null()));
    let nothing = (!needed).then(|| RefOr::T(nothing.build().into()));
    let one = any_of([RefOr::T(object.build().into()), value_is.clone()].into_iter().chain(nothing));
    let list = ArrayBuilder::new().items(RefOr::T(one.clone())).min_items(needed.then_some(1));
    RefOr::T(any_of([RefOr::T(list.build().into()), RefOr::T(one)]))
}

pub(super) fn written_user(schema: &Schema) -> Object {
    let given = |attribute: &Attribute| match attribute.name.as_str() {
        "userName" => Some(Ref::from_schema_name("Name").into()),
        "displayName" => Some(name_or_nothing(256)),
        "name" => {
            let part = |object: ObjectBuilder, (name, longest)| object.property(name, name_or_nothing(longest));
            let parts = [("formatted", 256), ("givenName", 127), ("familyName", 127)];
            Some(RefOr::T(parts.into_iter().fold(or_null(Type::Object), part).build().into()))
        }
        "locale" => {
            let tag = or_null(Type::String).pattern(Some("^[A-Za-z0-9_-]{2,64}$"));
            Some(RefOr::T(tag.build().into()))
        }
        "emails" => Some(several(attribute, &Ref::from_schema_name("Email").into(), true)),
        "roles" => {
            let roles =
                ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["agent", "supervisor", "admin"]));
            Some(several(attribute, &RefOr::T(roles.build().into()), false))
        }
        _ => None,
    };
    written(schema, given).required("userName").required("emails").build()
}

pub(super) fn written_group(schema: &Schema) -> Object {
    let given = |attribute: &Attribute| match attribute.name.as_str() {
        "displayName" => {
            let controls = r"\u0000-\u001f\u007f-\u009f";
            let pattern = format!("^[^{controls}]*[^{ANY_SPACE}{controls}][^{controls}]*$");
            let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
            Some(RefOr::T(name.max_length(Some(256)).build().into()))
        }
        "members" => {
            let sid = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^FU[0-9a-fA-F]{32}$"));
            Some(several(attribute, &RefOr::T(sid.build().into()), false))
        }
        _ => None,
    };
    written(schema, given).required("displayName").build()
}
