//! Tests that docs/verify.md lists all questions of `flexgate verify`. With UPDATE=1, updates the page.

use std::fmt::Write as _;

use flexgate_simulator::{QUESTIONS, Question};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/verify.md");
const TABLE: &str = "<!-- The table of infra/simulator/src/switches. `UPDATE=1 cargo test -p flexgate-cli --test verify page` writes it. -->";
const BY_HAND: &str = "<!-- by hand -->";
const END: &str = "<!-- end -->";

/// The known answers, each with its meaning.
fn positions(question: &Question) -> String {
    let known = question.positions.iter().map(|position| format!("`{}` {}", position.value(), position.means));
    known.collect::<Vec<_>>().join("<br>")
}

fn table() -> String {
    let mut text = "| question | what is documented | known answers |\n|---|---|---|\n".to_owned();
    for question in QUESTIONS.iter().filter(|question| question.by_hand.is_none()) {
        let (asks, documented) = (question.asks, question.documented);
        writeln!(text, "| {asks} `{}` | {documented} | {} |", question.switch, positions(question)).unwrap();
    }
    text
}

fn by_hand() -> String {
    let mut text = "| question | known answers | how to ask it |\n|---|---|---|\n".to_owned();
    for question in QUESTIONS {
        if let Some(how) = question.by_hand {
            writeln!(text, "| {} `{}` | {} | {how} |", question.asks, question.switch, positions(question)).unwrap();
        }
    }
    text
}

/// Replaces the lines between the marker `begin` and the next end marker.
fn replaced(page: &str, begin: &str, lines: &str) -> String {
    let (before, rest) = page.split_once(begin).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    format!("{before}{begin}\n\n{lines}\n{END}{after}")
}

#[test]
fn the_page_shows_every_question() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let written = replaced(&replaced(&page, TABLE, &table()), BY_HAND, &by_hand());
    if std::env::var_os("UPDATE").is_some_and(|value| value == "1") {
        std::fs::write(PAGE, &written).unwrap();
    }
    let page = std::fs::read_to_string(PAGE).unwrap();
    assert!(page == written, "docs/verify.md is out of date: UPDATE=1 cargo test -p flexgate-cli --test verify page");
}
