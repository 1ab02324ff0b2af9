//! Random choices from a seed.

use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};
use serde_json::{Map, Value, json};

/// The operation of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    Add,
    Replace,
    Remove,
}

/// Makes random choices. The same seed gives the same choices.
pub struct Dice(TestRng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Self(TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.next_u64() % u64::try_from(limit).unwrap()).unwrap()
    }

    /// Returns true in `percent` of 100 cases on average.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.below(among.len())].clone()
    }

    /// Sometimes changes the case of a name, because SCIM ignores case.
    pub fn cased(&mut self, name: &str) -> String {
        match self.below(8) {
            0 => name.to_ascii_uppercase(),
            1 => name.to_ascii_lowercase(),
            _ => name.to_owned(),
        }
    }

    /// Returns the path of an attribute, sometimes with the schema's URN.
    pub fn path(&mut self, schema: &str, name: &str) -> String {
        let name = self.cased(name);
        if self.percent(20) { format!("{schema}:{name}") } else { name }
    }

    /// Returns an operation in one of the forms that clients send. The case of the operator varies, and some operations
    /// have unknown members.
    pub fn operation(&mut self, op: Op, path: Option<&str>, value: Option<Value>) -> Value {
        let names: &[&str] = match op {
            Op::Add => &["add", "Add", "ADD"],
            Op::Replace => &["replace", "Replace", "REPLACE"],
            Op::Remove => &["remove", "Remove", "REMOVE"],
        };
        let mut operation = Map::from_iter([("op".to_owned(), json!(self.pick(names)))]);
        match path {
            Some(path) if self.percent(5) => drop(operation.insert("path".to_owned(), format!(" {path} ").into())),
            Some(path) => drop(operation.insert("path".to_owned(), path.into())),
            None if self.percent(10) => drop(operation.insert("path".to_owned(), Value::Null)),
            None => {}
        }
        operation.extend(value.map(|value| ("value".to_owned(), value)));
        if self.percent(5) {
            operation.insert("name".to_owned(), "change".into());
        }
        operation.into()
    }

    /// Returns a value that is not an operation.
    pub fn malformed(&mut self) -> Value {
        self.pick(&[
            json!({}),
            json!("replace"),
            json!({ "op": "move", "path": "displayName", "value": "x" }),
            json!({ "op": "replace", "path": "displayName" }),
            json!({ "op": "replace", "path": 7, "value": "x" }),
            json!({ "op": "remove" }),
            json!({ "op": null, "path": "displayName", "value": "x" }),
        ])
    }

    /// Returns a value that is not a string.
    pub fn no_text(&mut self) -> Value {
        self.pick(&[json!(7), json!(true), json!({ "value": "x" }), json!(["x"]), json!(1.5)])
    }
}
