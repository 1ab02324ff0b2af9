//! Parses filters (RFC 7644 §3.4.2.2, figure 1) and the paths of a `PATCH` (§3.5.2, figure 7).
//!
//! Flexgate does not use the parser of the crate `scim_v2`, because that crate needs regular expressions and is twice
//! as large as the rest of Flexgate's SCIM code. The tests compare the results of both parsers.

use serde_json::Number;

/// The maximum nesting depth of parentheses and brackets.
const MAX_DEPTH: usize = 64;

/// The maximum number of comparisons in a filter.
const MAX_TERMS: usize = 1_024;

/// The name of an attribute, with an optional schema URN and an optional sub-attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AttrPath {
    pub(super) uri: Option<String>,
    pub(super) name: String,
    pub(super) sub_attr: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CompareOp {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Lt,
    Ge,
    Le,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum CompValue {
    False,
    Null,
    True,
    Number(Number),
    Str(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum AttrExp {
    Present(AttrPath),
    Comparison(AttrPath, CompareOp, CompValue),
}

/// A filter. `And` and `Or` contain at least two filters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filter {
    Attr(AttrExp),
    /// Matches if any value of the list matches the inner filter. The inner filter tests the values' sub-attributes,
    /// and contains no [`Filter::ValuePath`].
    ValuePath(AttrPath, Box<Filter>),
    Not(Box<Filter>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
}

/// The target of a `PATCH` path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PatchPath {
    pub(super) attr: AttrPath,
    pub(super) filter: Option<Filter>,
    /// The sub-attribute after the brackets.
    pub(super) sub_attr: Option<String>,
}

/// The text is not a valid filter or path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable;

/// Parses a filter.
pub(super) fn filter(text: &str) -> Result<Filter, Unreadable> {
    let mut parser = Parser::new(text);
    let filter = parser.or(Values::Allowed)?;
    parser.space();
    if parser.rest.is_empty() { Ok(filter) } else { Err(Unreadable) }
}

/// Parses a path.
pub(super) fn path(text: &str) -> Result<PatchPath, Unreadable> {
    let mut parser = Parser::new(text);
    let attr = parser.attr_path()?;
    let (mut filter, mut sub_attr) = (None, None);
    if parser.eat_after_space('[') {
        filter = Some(parser.in_brackets()?);
        if parser.eat_after_space('.') {
            parser.space();
            sub_attr = Some(parser.name()?.to_owned());
        }
    }
    parser.space();
    if parser.rest.is_empty() { Ok(PatchPath { attr, filter, sub_attr }) } else { Err(Unreadable) }
}

/// Whether a filter in brackets may follow an attribute's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Values {
    Allowed,
    /// Not allowed: already inside brackets.
    Inside,
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        let mut parser = Self { rest: text, depth: 0, terms: 0 };
        parser.space();
        parser
    }

    fn or(&mut self, values: Values) -> Result<Filter, Unreadable> {
        let mut all = vec![self.and(values)?];
        while self.word_between("or") {
            all.push(self.and(values)?);
        }
        Ok(joined(
            all,
            |filter| match filter {
                Filter::Or(all) => Ok(all),
                other => Err(other),
            },
            Filter::Or,
        ))
    }

    fn and(&mut self, values: Values) -> Result<Filter, Unreadable> {
        let mut all = vec![self.atom(values)?];
        while self.word_between("and") {
            all.push(self.atom(values)?);
        }
        Ok(joined(
            all,
            |filter| match filter {
                Filter::And(all) => Ok(all),
                other => Err(other),
            },
            Filter::And,
        ))
    }

    fn atom(&mut self, values: Values) -> Result<Filter, Unreadable> {
        self.space();
        if self.eat('(') {
            return self.in_parentheses(values);
        }
        let negated = self.rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case("not"));
        if negated && self.rest.get(3..).is_some_and(|rest| rest.trim_start().starts_with('(')) {
            self.rest = self.rest.get(3..).unwrap_or_default().trim_start().get(1..).unwrap_or_default();
            return Ok(Filter::Not(Box::new(self.in_parentheses(values)?)));
        }
        let attr = self.attr_path()?;
        if values == Values::Allowed && self.eat_after_space('[') {
            let selects = self.in_brackets()?;
            if !self.eat('.') {
                return Ok(Filter::ValuePath(attr, Box::new(selects)));
            }
            // Entra writes `emails[type eq "work"].value eq "x"`, which means `emails[type eq "work" and value eq
            // "x"]`.
            let sub = AttrPath { uri: None, name: self.name()?.to_owned(), sub_attr: None };
            let both = vec![selects, self.comparison(sub)?];
            return Ok(Filter::ValuePath(attr, Box::new(Filter::And(both))));
        }
        self.comparison(attr)
    }

    /// Parses the rest of a comparison, after its attribute.
    fn comparison(&mut self, attr: AttrPath) -> Result<Filter, Unreadable> {
        self.terms += 1;
        if self.terms > MAX_TERMS || !self.rest.starts_with(char::is_whitespace) {
            return Err(Unreadable);
        }
        self.space();
        let word = self.name()?;
        if word.eq_ignore_ascii_case("pr") {
            return Ok(Filter::Attr(AttrExp::Present(attr)));
        }
        let op = OPERATORS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).ok_or(Unreadable)?.1;
        if !self.rest.starts_with(char::is_whitespace) {
            return Err(Unreadable);
        }
        self.space();
        Ok(Filter::Attr(AttrExp::Comparison(attr, op, self.value()?)))
    }

    fn in_parentheses(&mut self, values: Values) -> Result<Filter, Unreadable> {
        self.within(')', |parser| parser.or(values))
    }

    fn in_brackets(&mut self) -> Result<Filter, Unreadable> {
        self.within(']', |parser| parser.or(Values::Inside))
    }

    fn within(
        &mut self,
        close: char,
        read: impl FnOnce(&mut Self) -> Result<Filter, Unreadable>,
    ) -> Result<Filter, Unreadable> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Unreadable);
        }
        let filter = read(self)?;
        self.space();
        self.depth -= 1;
        if self.eat(close) { Ok(filter) } else { Err(Unreadable) }
    }

    /// Parses `urn:…:name.sub`. The URN and `sub` are optional. The URN ends at the last colon.
    fn attr_path(&mut self) -> Result<AttrPath, Unreadable> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':' | '.');
        let end = self.rest.find(|c| !allowed(c)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        let (uri, attribute) = match text.rsplit_once(':') {
            Some((uri, attribute)) => (Some(uri), attribute),
            None => (None, text),
        };
        let (name, sub) = match attribute.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (attribute, None),
        };
        let good = is_name(name) && sub.is_none_or(is_name) && uri.is_none_or(is_uri);
        if !good {
            return Err(Unreadable);
        }
        Ok(AttrPath { uri: uri.map(str::to_owned), name: name.to_owned(), sub_attr: sub.map(str::to_owned) })
    }

    fn name(&mut self) -> Result<&'a str, Unreadable> {
        let end = self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-')));
        let (name, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        if is_name(name) { Ok(name) } else { Err(Unreadable) }
    }

    /// Parses a JSON string, number, boolean or null.
    fn value(&mut self) -> Result<CompValue, Unreadable> {
        let end = if self.rest.starts_with('"') {
            end_of_string(self.rest).ok_or(Unreadable)?
        } else {
            self.rest.find(|c: char| c.is_whitespace() || matches!(c, ')' | ']' | '(' | '[')).unwrap_or(self.rest.len())
        };
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        match text {
            "true" => Ok(CompValue::True),
            "false" => Ok(CompValue::False),
            "null" => Ok(CompValue::Null),
            text if text.starts_with('"') => serde_json::from_str(text).map(CompValue::Str).map_err(|_| Unreadable),
            text => serde_json::from_str(text).map(CompValue::Number).map_err(|_| Unreadable),
        }
    }

    /// If `word` comes next, with white space on both sides, consumes `word` and the white space before it. Returns
    /// whether it consumed anything.
    fn word_between(&mut self, word: &str) -> bool {
        let after_space = self.rest.trim_start();
        let is_spaced = after_space.len() < self.rest.len() || self.rest.is_empty();
        let found = after_space.get(..word.len()).is_some_and(|next| next.eq_ignore_ascii_case(word));
        let rest = after_space.get(word.len()..).filter(|rest| rest.starts_with(char::is_whitespace));
        match rest.filter(|_| found && is_spaced) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn eat(&mut self, what: char) -> bool {
        match self.rest.strip_prefix(what) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn eat_after_space(&mut self, what: char) -> bool {
        let rest = self.rest.trim_start().strip_prefix(what);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

const OPERATORS: [(&str, CompareOp); 9] = [
    ("eq", CompareOp::Eq),
    ("ne", CompareOp::Ne),
    ("co", CompareOp::Co),
    ("sw", CompareOp::Sw),
    ("ew", CompareOp::Ew),
    ("gt", CompareOp::Gt),
    ("lt", CompareOp::Lt),
    ("ge", CompareOp::Ge),
    ("le", CompareOp::Le),
];

/// Joins the filters into one, and flattens them: `(a and b) and c` becomes `a and b and c`.
fn joined(
    mut all: Vec<Filter>,
    same: impl Fn(Filter) -> Result<Vec<Filter>, Filter>,
    join: impl Fn(Vec<Filter>) -> Filter,
) -> Filter {
    if all.len() == 1
        && let Some(single) = all.pop()
    {
        return single;
    }
    let mut flat = Vec::with_capacity(all.len());
    for one in all {
        match same(one) {
            Ok(inner) => flat.extend(inner),
            Err(one) => flat.push(one),
        }
    }
    join(flat)
}

/// Returns the index after the closing quote of the JSON string at the start of the text. `None` if the quote is
/// missing.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether the text consists of a URI scheme, a colon and further text. The caller has already checked the characters
/// of the text.
fn is_uri(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| is_name(&scheme.replace('.', "-")) && !scheme.contains('_'))
}

/// Whether the text is an `ATTRNAME`: a letter, then letters, digits, `-` and `_`.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

#[cfg(test)]
mod tests;
