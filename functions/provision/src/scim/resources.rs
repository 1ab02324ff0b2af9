//! The SCIM schemas of Flex users and groups.

use flexgate::domain::RoleSet;

use super::protocol::{Attribute, GROUP, Kind, Mutability, Schema, USER};
use super::settings::WorkerFields;

/// Flexgate's extension: the worker's attributes.
pub const FLEX_USER: &str = "urn:flexgate:params:scim:schemas:extension:flex:2.0:User";

/// Returns the schema of users. `worker` lists the writable worker attributes, and `allowed_roles` the allowed roles.
#[must_use]
pub fn user_schema(worker: &WorkerFields, allowed_roles: &RoleSet) -> Schema {
    use Attribute as A;
    let name = vec![
        A::new("formatted", Kind::Text, "The full name, as colleagues see it."),
        A::new("familyName", Kind::Text, "The family name."),
        A::new("givenName", Kind::Text, "The given name."),
    ];
    let emails = vec![
        A::new("value", Kind::Text, "The address.").required(),
        A::new("type", Kind::Text, "The kind of address.").among(["work", "home", "other"]),
        A::new("primary", Kind::Boolean, "Whether Flex uses this address."),
    ];
    let roles = vec![
        A::new("value", Kind::Text, "The Flex role.")
            .required()
            .or_json_text()
            .among(allowed_roles.iter().map(|role| role.as_str())),
        A::new("primary", Kind::Boolean, "Ignored: it has no meaning in Flex."),
    ];
    let groups = vec![
        A::new("value", Kind::Text, "The group's id.").exact().only(Mutability::ReadOnly),
        A::new("$ref", Kind::Reference(&["Group"]), "The group's address.").exact().only(Mutability::ReadOnly),
        A::new("display", Kind::Text, "The group's name.").only(Mutability::ReadOnly),
    ];
    let attributes = vec![
        A::new("userName", Kind::Text, "Twilio's key for the user. It never changes.")
            .required()
            .unique()
            .only(Mutability::Immutable),
        A::new("name", Kind::Complex(name), "The parts of the name."),
        A::new("displayName", Kind::Text, "The full name, as colleagues see it. Takes precedence over name.formatted."),
        A::new("locale", Kind::Text, "The locale, such as en-US."),
        A::new("active", Kind::Boolean, "False deprovisions the user, true provisions it again.").required(),
        A::new("emails", Kind::Complex(emails), "E-mail addresses. Flex uses the primary one.").many().required(),
        A::new("roles", Kind::Complex(roles), "Flex roles, including those that groups give.").many().required(),
        A::new("groups", Kind::Complex(groups), "The user's groups.").many().only(Mutability::ReadOnly),
    ];
    let fields = worker.attributes();
    let extension = (!fields.is_empty()).then_some((FLEX_USER, fields));
    Schema { id: USER, name: "User", attributes, extension, optional_extension: FLEX_USER }
}

/// The schema of groups.
#[must_use]
pub fn group_schema() -> Schema {
    use Attribute as A;
    let members = vec![
        A::new("value", Kind::Text, "The user's id.").exact().only(Mutability::Immutable),
        A::new("$ref", Kind::Reference(&["User"]), "The user's address.").exact().only(Mutability::Immutable),
    ];
    let attributes = vec![
        A::new("displayName", Kind::Text, "The group's name, which may give a Flex role.").required().unique(),
        A::new("members", Kind::Complex(members), "The group's members.").many(),
    ];
    Schema { id: GROUP, name: "Group", attributes, extension: None, optional_extension: FLEX_USER }
}
