//! Which resources are asked for, and what of them: in the address, or in the body of `.search`.

use flexgate::ambient::Ambient;
use flexgate::http::Query;
use flexgate::scim::{Document, Paging, Projection, Refusal, Test};
use serde_json::Value;

use super::problem::Failure;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) test: Option<Test>,
    pub(super) paging: Paging,
    pub(super) shown: Projection,
}

impl Asked {
    pub(super) fn of_query(query: &Query, ambient: &Ambient) -> Result<Self, Failure> {
        let test = query.once("filter")?.map(Test::read).transpose()?;
        let (start, count) = (query.once("startIndex")?, query.once("count")?);
        let paging = Paging::read(start, count, query.once("cursor")?, ambient.now())?;
        Ok(Self { test, paging, shown: projection(query)? })
    }

    /// RFC 7644 §3.4.3.
    pub(super) fn of_body(body: &Document, ambient: &Ambient) -> Result<Self, Failure> {
        let member = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Array(names)) => Ok(Some(names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","))),
            Some(_) => Err(Refusal::InvalidValue(format!("{name} must be a string, a number or a list of names."))),
        };
        let test = member("filter")?.as_deref().map(Test::read).transpose()?;
        let (start, count, cursor) = (member("startIndex")?, member("count")?, member("cursor")?);
        let paging = Paging::read(start.as_deref(), count.as_deref(), cursor.as_deref(), ambient.now())?;
        let (only, without) = (member("attributes")?, member("excludedAttributes")?);
        Ok(Self { test, paging, shown: Projection::new(only.as_deref(), without.as_deref()) })
    }
}

pub(super) fn projection(query: &Query) -> Result<Projection, Failure> {
    Ok(Projection::new(query.once("attributes")?, query.once("excludedAttributes")?))
}
