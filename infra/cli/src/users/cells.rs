//! Protects the cells of a CSV file, because a spreadsheet program evaluates a cell that begins like a formula.
//!
//! The writer puts an apostrophe in front of such a cell. It also does this if the cell already has apostrophes in
//! front of such a beginning, so that the reader can always remove exactly one apostrophe.

use std::borrow::Cow;

/// The columns of the CSV files that `import` reads and `export` writes.
pub(super) const COLUMNS: [&str; 4] = ["username", "email", "full_name", "roles"];

/// The characters with which a formula can begin (see OWASP on CSV injection).
const FORMULA: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn would_be_a_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(FORMULA)
}

/// Escapes a cell for writing.
pub(super) fn written(cell: &str) -> Cow<'_, str> {
    if would_be_a_formula(cell) { format!("'{cell}").into() } else { cell.into() }
}

/// Undoes [`written`].
pub(super) fn read(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|_| would_be_a_formula(cell)).unwrap_or(cell)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(cell in "['=+@\\t\\ra-]{0,4}[\\PC\\t\\r]{0,8}") {
            let file = written(&cell);
            prop_assert_eq!(read(&file), cell.as_str());
            prop_assert!(!file.starts_with(FORMULA));
        }
    }

    #[test]
    fn only_what_begins_like_a_formula_is_touched() {
        for plain in ["ada", "O'Hara", "'tis", "a=b", ""] {
            assert_eq!(written(plain), plain);
            assert_eq!(read(plain), plain);
        }
        assert_eq!(written("=1+1"), "'=1+1");
        assert_eq!(written("'=1+1"), "''=1+1");
        assert_eq!(read("=1+1"), "=1+1", "a file of somebody else's is read as it is");
    }
}
