//! Reads the file with the parameters, a JSON object. A value may be a string, a number, a boolean or a list. A setting
//! that is JSON may be written directly as JSON instead of as a string.

use std::path::Path;

use flexgate::base::strict_json;
use serde_json::{Map, Value};

use super::template::Parameter;

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Given {
    /// The value as text, exactly as the functions read it from their settings. Column numbers in their error messages
    /// refer to this text.
    pub(super) text: String,
    /// The value as text that SAM CLI passes on unchanged. This text is deployed.
    pub(super) deployed: String,
    /// Whether the file contains the value as a JSON object or list instead of a string. If so, the user has never seen
    /// `text`, so error messages must not contain its column numbers.
    pub(super) is_structured: bool,
}

/// Reads the file. The error completes the sentence "the file …".
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    // Some editors write a byte order mark.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    // Parse with serde_json first, because its error messages are better. Then find repeated members with the strict
    // parser.
    serde_json::from_slice::<Value>(bytes).map_err(|error| format!("is not JSON: {error}"))?;
    match strict_json::parse(bytes).map_err(|error| format!("is {error}"))? {
        Value::Object(parameters) => Ok(parameters),
        _ => Err("must be a JSON object, like {\"TwilioAccountSid\": \"AC…\"}".to_owned()),
    }
}

/// Returns the text of a value. The error completes the sentence "the parameter …".
pub(super) fn given(parameter: &Parameter, value: &Value) -> Result<Given, String> {
    match value {
        Value::String(text) if parameter.is_json && !text.trim().is_empty() => {
            let document: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
            Ok(Given { text: text.clone(), deployed: compact(&document), is_structured: false })
        }
        document @ (Value::Array(_) | Value::Object(_)) if parameter.is_json => {
            Ok(Given { text: document.to_string(), deployed: compact(document), is_structured: true })
        }
        Value::Array(items) => plain(list(items, &parameter.default)?),
        value => plain(scalar(value).ok_or("must be a text, a number, true, false or a list of these")?),
    }
}

/// Refuses a value with a double quote, a backslash or a control character, because SAM CLI might change it.
fn plain(text: String) -> Result<Given, String> {
    if text.contains(['"', '\\']) || text.contains(char::is_control) {
        return Err("contains a double quote, a backslash or a line break, which SAM CLI cannot pass on".to_owned());
    }
    Ok(Given { deployed: text.clone(), text, is_structured: false })
}

fn list(items: &[Value], default: &str) -> Result<String, String> {
    if items.is_empty() && !default.is_empty() {
        return Err(format!(
            "is an empty list, which would mean the default ({default}): write \"none\" or leave it out"
        ));
    }
    let item = |item: &Value| scalar(item).filter(|text| !text.is_empty() && !text.contains(','));
    let items: Option<Vec<_>> = items.iter().map(item).collect();
    Ok(items.ok_or("must be a list of texts without commas")?.join(","))
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes a document on one line. Writes `\u0022` for `\"` and `\u005c` for `\\`, because SAM CLI would change the
/// shorter forms.
fn compact(document: &Value) -> String {
    let json = document.to_string();
    let (mut text, mut rest) = (String::with_capacity(json.len()), json.chars());
    while let Some(character) = rest.next() {
        match character {
            '\\' => match rest.next() {
                Some('"') => text.push_str("\\u0022"),
                Some('\\') => text.push_str("\\u005c"),
                other => text.extend(std::iter::once('\\').chain(other)),
            },
            '\u{7f}' => text.push_str("\\u007f"),
            other => text.push(other),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_keeps_its_meaning_without_escapes_that_sam_changes() {
        let document = json!([{ "a\"b": "c\\d\"e\\\"\n\u{1}\u{7f} ü \u{1f511}' $x `y` \\ " }]);
        let text = compact(&document);
        assert!(!text.contains("\\\"") && !text.contains("\\\\") && !text.contains("\\ "), "{text}");
        assert!(!text.contains(char::is_control));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), document);
    }
}
