//! `TaskRouter`'s expressions, which select workers by their attributes, such as
//! `routing.skills HAS "billing" AND (level >= 3 OR team IN ["a", "b"])`.

use serde_json::Value;

/// An expression.
#[derive(Debug, PartialEq)]
pub(super) enum Expression {
    Any(Vec<Self>),
    All(Vec<Self>),
    Not(Box<Self>),
    Compare { left: Operand, operator: &'static str, right: Operand },
}

#[derive(Debug, PartialEq)]
pub(super) enum Operand {
    /// The name of an attribute. A dot leads to a member of an object.
    Attribute(String),
    Literal(Value),
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Literal(Value),
    Sign(&'static str),
}

/// Longer signs come first, so that `==` is not read as two `=`.
const SIGNS: [&str; 12] = ["==", "!=", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ","];
const COMPARISONS: [&str; 7] = ["==", "!=", "<=", ">=", "=", "<", ">"];

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let expression = parser.any()?;
        match parser.peek() {
            None => Ok(expression),
            Some(token) => Err(format!("unexpected {token:?}")),
        }
    }

    /// Whether the expression selects a worker with these attributes. A missing attribute has the value null.
    pub(super) fn holds(&self, attributes: &Value) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.holds(attributes)),
            Self::All(parts) => parts.iter().all(|part| part.holds(attributes)),
            Self::Not(part) => !part.holds(attributes),
            Self::Compare { left, operator, right } => {
                compare(left.value(attributes), operator, right.value(attributes))
            }
        }
    }
}

impl Operand {
    fn value<'a>(&'a self, attributes: &'a Value) -> &'a Value {
        match self {
            Self::Literal(value) => value,
            Self::Attribute(name) => {
                let member = |value: Option<&'a Value>, part: &str| value.and_then(|value| value.get(part));
                name.split('.').fold(Some(attributes), member).unwrap_or(&Value::Null)
            }
        }
    }
}

fn compare(left: &Value, operator: &str, right: &Value) -> bool {
    let contains = |list: &Value, item: &Value| list.as_array().is_some_and(|list| list.contains(item));
    let order = || match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    match operator {
        "=" | "==" => left == right || order().is_some_and(std::cmp::Ordering::is_eq),
        "!=" => left != right,
        "<" => order().is_some_and(std::cmp::Ordering::is_lt),
        "<=" => order().is_some_and(std::cmp::Ordering::is_le),
        ">" => order().is_some_and(std::cmp::Ordering::is_gt),
        ">=" => order().is_some_and(std::cmp::Ordering::is_ge),
        "HAS" => contains(left, right),
        "IN" => contains(right, left),
        "CONTAINS" => match (left, right) {
            (Value::String(left), Value::String(right)) => left.contains(right.as_str()),
            _ => contains(left, right),
        },
        _ => false,
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    /// Skips a keyword, in upper or lower case. Returns whether the keyword was there.
    fn skip(&mut self, keyword: &str) -> bool {
        let is_next = matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.skip("OR") {
            parts.push(self.all()?);
        }
        Ok(Expression::Any(parts))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.one()?];
        while self.skip("AND") {
            parts.push(self.one()?);
        }
        Ok(Expression::All(parts))
    }

    fn one(&mut self) -> Result<Expression, String> {
        if self.skip("NOT") {
            return Ok(Expression::Not(Box::new(self.one()?)));
        }
        if self.peek() == Some(&Token::Sign("(")) {
            self.at += 1;
            let inner = self.any()?;
            return if self.next() == Some(Token::Sign(")")) { Ok(inner) } else { Err("a ) is missing".to_owned()) };
        }
        let left = self.operand()?;
        let is_negated = self.skip("NOT");
        let keyword = ["HAS", "IN", "CONTAINS"].into_iter().find(|keyword| self.skip(keyword));
        let operator = match (keyword, self.peek()) {
            (Some(keyword), _) => keyword,
            (None, Some(Token::Sign(sign))) if COMPARISONS.contains(sign) && !is_negated => {
                let sign = *sign;
                self.at += 1;
                sign
            }
            _ => return Err("an operator is missing".to_owned()),
        };
        let compare = Expression::Compare { left, operator, right: self.operand()? };
        Ok(if is_negated { Expression::Not(Box::new(compare)) } else { compare })
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next() {
            Some(Token::Word(name)) => Ok(Operand::Attribute(name)),
            Some(Token::Literal(value)) => Ok(Operand::Literal(value)),
            Some(Token::Sign("[")) => self.list(),
            _ => Err("an attribute or a value is missing".to_owned()),
        }
    }

    fn list(&mut self) -> Result<Operand, String> {
        let mut items = Vec::new();
        while let Some(Token::Literal(item)) = self.next() {
            items.push(item);
            match self.next() {
                Some(Token::Sign(",")) => {}
                Some(Token::Sign("]")) => return Ok(Operand::Literal(items.into())),
                _ => break,
            }
        }
        Err("a list is not complete".to_owned())
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if let Some(sign) = SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else if first == '"' || first == '\'' {
            let inside = rest.get(1..).unwrap_or_default();
            let end = inside.find(first).ok_or("a quote is not closed")?;
            tokens.push(Token::Literal(inside.get(..end).unwrap_or_default().into()));
            end + 2
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "()[],=!<>\"'".contains(c)).unwrap_or(rest.len());
            let word = rest.get(..end).filter(|word| !word.is_empty()).ok_or_else(|| format!("unexpected {first}"))?;
            let literal = serde_json::from_str(word).ok();
            tokens.push(literal.map_or_else(|| Token::Word(word.to_owned()), Token::Literal));
            end
        };
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_expression_selects_by_every_operator() {
        let worker = json!({ "routing": { "skills": ["billing", "sales"], "levels": { "billing": 4 } }, "team": "blue",
            "vip": true, "email": "ada@example.com" });
        for text in [
            "routing.skills HAS \"billing\"",
            "routing.skills has 'sales' and team = 'blue'",
            "routing.levels.billing >= 4 AND routing.levels.billing < 4.5",
            "team IN ['red', 'blue']",
            "team NOT IN [\"red\"] AND NOT team == 'red'",
            "email CONTAINS '@example' OR team == 'red'",
            "(team == 'red' OR vip == true) AND team != 'red'",
            "1 == 1",
            "routing.levels.billing == 4.0",
        ] {
            assert!(Expression::parse(text).unwrap().holds(&worker), "{text}");
            assert!(!Expression::parse(&format!("NOT ({text})")).unwrap().holds(&worker), "{text}");
        }
        for text in
            ["missing.level > 1", "team > 1", "routing.skills HAS 'x'", "team == 'red' AND vip == true OR 1 == 2"]
        {
            assert!(!Expression::parse(text).unwrap().holds(&worker), "{text}");
        }
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for text in [
            "team",
            "team ==",
            "== 'x'",
            "(team == 'x'",
            "team == 'x' team",
            "team == 'x",
            "team IN ['a'",
            "team NOT == 1",
            "a ! b",
            "é = \"é",
        ] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
