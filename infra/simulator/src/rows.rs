//! A map from text keys to rows. The map remembers the changes since the last save.

use std::collections::HashMap;

#[derive(Debug)]
pub(crate) struct Rows<T> {
    rows: HashMap<String, T>,
    changed: Vec<String>,
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), changed: Vec::new() }
    }
}

impl<T> Rows<T> {
    pub(crate) fn get(&self, key: &str) -> Option<&T> {
        self.rows.get(key)
    }

    pub(crate) fn contains(&self, key: &str) -> bool {
        self.rows.contains_key(key)
    }

    pub(crate) fn put(&mut self, key: String, row: T) {
        self.changed.push(key.clone());
        self.rows.insert(key, row);
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<T> {
        let row = self.rows.remove(key)?;
        self.changed.push(key.to_owned());
        Some(row)
    }

    /// Adds a row from storage, without marking it as changed.
    pub(crate) fn load(&mut self, key: String, row: T) {
        self.rows.insert(key, row);
    }

    /// Returns the changed keys, each with its row, or with `None` for a removed row.
    pub(crate) fn changed(&self) -> impl Iterator<Item = (&str, Option<&T>)> {
        self.changed.iter().map(|key| (key.as_str(), self.rows.get(key)))
    }

    pub(crate) fn is_saved(&self) -> bool {
        self.changed.is_empty()
    }

    pub(crate) fn mark_saved(&mut self) {
        self.changed.clear();
    }
}
