//! Reads a search request, from a query string or from the body of `.search`.

use flexgate::base::clock_rng::ClockRng;
use flexgate::web::Query;
use serde_json::Value;

use super::failure::Failure;
use crate::scim::protocol::{Document, Paging, Projection, ProtocolError, Test};

/// A parsed search request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) test: Option<Test>,
    pub(super) paging: Paging,
    pub(super) shown: Projection,
}

impl Asked {
    pub(super) fn of_query(query: &Query, clock_rng: &ClockRng) -> Result<Self, Failure> {
        let test = query.once("filter")?.map(Test::read).transpose()?;
        let (start, count) = (query.once("startIndex")?, query.once("count")?);
        let paging = Paging::read(start, count, query.once("cursor")?, clock_rng.now())?;
        Ok(Self { test, paging, shown: projection(query)? })
    }

    /// Reads the body of a `.search` request (RFC 7644 §3.4.3).
    pub(super) fn of_body(body: &Document, clock_rng: &ClockRng) -> Result<Self, Failure> {
        let wrong =
            |name: &str, must: &str| Failure::from(ProtocolError::InvalidValue(format!("{name} must be {must}.")));
        let said = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(name, "a string")),
        };
        let number = |name: &str| match body.get(name) {
            Some(Value::Number(number)) => Ok(Some(whole(number))),
            _ => said(name).map_err(|_| wrong(name, "a whole number")),
        };
        let names = |name: &str| match body.get(name) {
            Some(Value::Array(names)) => {
                let names: Option<Vec<_>> = names.iter().map(Value::as_str).collect();
                Ok(Some(names.ok_or_else(|| wrong(name, "a list of names"))?.join(",")))
            }
            _ => said(name).map_err(|_| wrong(name, "a list of names")),
        };
        let test = said("filter")?.as_deref().map(Test::read).transpose()?;
        let (start, count, cursor) = (number("startIndex")?, number("count")?, said("cursor")?);
        let paging = Paging::read(start.as_deref(), count.as_deref(), cursor.as_deref(), clock_rng.now())?;
        let (only, without) = (names("attributes")?, names("excludedAttributes")?);
        Ok(Self { test, paging, shown: Projection::new(only.as_deref(), without.as_deref()) })
    }
}

/// Formats a whole number without ".0". In JSON, a client may write the number 3 as 3.0.
fn whole(number: &serde_json::Number) -> String {
    let text = number.to_string();
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

pub(super) fn projection(query: &Query) -> Result<Projection, Failure> {
    Ok(Projection::new(query.once("attributes")?, query.once("excludedAttributes")?))
}
