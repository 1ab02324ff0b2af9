//! Replaces the module `terminal` of `infra/cli` in the fuzz tests. It contains only the two functions that the modules
//! for CSV files call.

pub(crate) fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

pub(crate) fn remark(_text: &str) {}
