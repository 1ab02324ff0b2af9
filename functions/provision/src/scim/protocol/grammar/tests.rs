//! Compares this parser with the parser of the crate `scim_v2`. Both must return the same results, with the exceptions
//! that [`agree`] describes. In the names of functions and tests, `judge` means the parser of `scim_v2`.

use proptest::prelude::*;
use scim_v2::filter as judge;

use super::*;

fn judged_path(path: &judge::AttrPath) -> AttrPath {
    AttrPath { uri: path.uri.clone(), name: path.name.clone(), sub_attr: path.sub_attr.clone() }
}

fn judged_expression(expression: &judge::AttrExp) -> Filter {
    Filter::Attr(match expression {
        judge::AttrExp::Present(path) => AttrExp::Present(judged_path(path)),
        judge::AttrExp::Comparison(path, op, value) => {
            let op = match op {
                judge::CompareOp::Eq => CompareOp::Eq,
                judge::CompareOp::Ne => CompareOp::Ne,
                judge::CompareOp::Co => CompareOp::Co,
                judge::CompareOp::Sw => CompareOp::Sw,
                judge::CompareOp::Ew => CompareOp::Ew,
                judge::CompareOp::Gt => CompareOp::Gt,
                judge::CompareOp::Lt => CompareOp::Lt,
                judge::CompareOp::Ge => CompareOp::Ge,
                judge::CompareOp::Le => CompareOp::Le,
            };
            let value = match value {
                judge::CompValue::True => CompValue::True,
                judge::CompValue::False => CompValue::False,
                judge::CompValue::Null => CompValue::Null,
                judge::CompValue::Number(number) => CompValue::Number(number.clone()),
                judge::CompValue::Str(text) => CompValue::Str(text.clone()),
            };
            AttrExp::Comparison(judged_path(path), op, value)
        }
    })
}

fn judged(filter: &judge::Filter) -> Filter {
    match filter {
        judge::Filter::Attr(expression) => judged_expression(expression),
        judge::Filter::ValuePath(value) => {
            Filter::ValuePath(judged_path(&value.attr), Box::new(judged_values(&value.filter)))
        }
        judge::Filter::Not(inner) => Filter::Not(Box::new(judged(inner))),
        judge::Filter::And(all) => Filter::And(all.iter().map(judged).collect()),
        judge::Filter::Or(all) => Filter::Or(all.iter().map(judged).collect()),
    }
}

fn judged_values(filter: &judge::ValFilter) -> Filter {
    match filter {
        judge::ValFilter::Attr(expression) => judged_expression(expression),
        judge::ValFilter::Not(inner) => Filter::Not(Box::new(judged_values(inner))),
        judge::ValFilter::And(all) => Filter::And(all.iter().map(judged_values).collect()),
        judge::ValFilter::Or(all) => Filter::Or(all.iter().map(judged_values).collect()),
    }
}

fn judge_filter(text: &str) -> Option<Filter> {
    text.parse::<judge::Filter>().ok().map(|filter| judged(&filter))
}

fn judge_path(text: &str) -> Option<PatchPath> {
    Some(match text.parse::<judge::PatchPath>().ok()? {
        judge::PatchPath::Attr(attr) => PatchPath { attr: judged_path(&attr), filter: None, sub_attr: None },
        judge::PatchPath::Value(value) => PatchPath {
            attr: judged_path(&value.attr),
            filter: Some(judged_values(&value.filter)),
            sub_attr: value.sub_attr,
        },
    })
}

fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-zA-Z0-9_-]{0,8}",
        "[a-zA-Z]{1,5}\\.[a-zA-Z]{1,5}",
        "urn:ietf:params:scim:schemas:core:2\\.0:User:[a-zA-Z]{1,8}(\\.[a-z]{1,4})?",
        prop::sample::select(vec!["and", "or", "pr", "eq", "nothing", "order", "andy", "trueName"])
            .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        any::<i64>().prop_map(|number| number.to_string()),
        (-1e9_f64..1e9).prop_map(|number| number.to_string()),
        prop::sample::select(vec!["true", "false", "null", "1e5", "-0", "\"a\\u0062\""]).prop_map(str::to_owned),
    ]
}

fn expression() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "EQ", "Sw"]);
    let space = prop::sample::select(vec![" ", "  ", "\t"]);
    prop_oneof![
        (attribute(), space, operator, value())
            .prop_map(|(attr, space, op, value)| format!("{attr}{space}{op}{space}{value}")),
        attribute().prop_map(|attr| format!("{attr} pr")),
    ]
}

fn any_filter() -> impl Strategy<Value = String> {
    let inner = expression();
    let simple = inner.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and {b}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} OR {b}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.prop_map(|a| format!("not ({a})")),
        ]
    });
    let listed = (attribute(), simple.clone()).prop_map(|(attr, filter)| format!("{attr}[{filter}]")).boxed();
    prop_oneof![3 => simple.clone(), 1 => listed.clone(), 1 => (listed, simple).prop_map(|(a, b)| format!("{a} and {b}"))]
}

/// Whether the name is a keyword. The parser of `scim_v2` rejects some keywords as attribute names, although RFC 7644
/// reserves none.
fn is_word(name: &&str) -> bool {
    let words =
        ["not", "true", "false", "null", "and", "or", "pr", "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le"];
    words.iter().any(|word| name.eq_ignore_ascii_case(word))
}

fn names(filter: &Filter) -> Vec<&str> {
    match filter {
        Filter::Attr(AttrExp::Present(path) | AttrExp::Comparison(path, ..)) => vec![&path.name],
        Filter::ValuePath(path, inner) => [vec![path.name.as_str()], names(inner)].concat(),
        Filter::Not(inner) => names(inner),
        Filter::And(all) | Filter::Or(all) => all.iter().flat_map(names).collect(),
    }
}

fn has_word(path: &PatchPath) -> bool {
    let subs = path.sub_attr.as_deref();
    let filter = path.filter.as_ref().map(names).unwrap_or_default();
    [path.attr.name.as_str()].into_iter().chain(subs).chain(filter).any(|name| is_word(&name))
}

/// Whether both parsers return the same result for a path, apart from the exceptions that [`agree`] describes.
fn agree_on_path(text: &str) -> bool {
    let (ours, judged) = (path(text).ok(), judge_path(text));
    let more = ours.as_ref().is_some_and(|path| text.to_lowercase().contains("not(") || has_word(path));
    ours == judged || (judged.is_none() && more)
}

/// Whether both parsers return the same result for a filter. In two cases, a refusal by the parser of `scim_v2` counts
/// as the same result: the filter contains `not(` without a space, or an attribute's name is a keyword.
fn agree(text: &str) -> bool {
    let (ours, judged) = (filter(text).ok(), judge_filter(text));
    // RFC 7644 writes `not(` without a space, but the parser of `scim_v2` needs one.
    let spelt = text.to_lowercase().contains("not(");
    let more = ours.as_ref().is_some_and(|filter| spelt || names(filter).iter().any(is_word));
    ours == judged || (judged.is_none() && more)
}

/// Returns the text with one character removed, replaced or inserted.
fn mutated(text: &str, at: usize, how: usize, with: char) -> String {
    let mut all: Vec<char> = text.chars().collect();
    let at = at % (all.len() + 1);
    match how {
        0 if at < all.len() => drop(all.remove(at)),
        1 if at < all.len() => all[at] = with,
        _ => all.insert(at, with),
    }
    all.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_filter_is_read_as_the_judge_reads_it(text in any_filter()) {
        prop_assert!(agree(&text), "{}: {:?}, {:?}", text, filter(&text), judge_filter(&text));
    }

    #[test]
    fn a_path_is_read_as_the_judge_reads_it(text in any_filter(), attr in attribute(), sub in prop::option::of("[a-z]{1,5}")) {
        for text in [attr.clone(), format!("{attr}[{text}]{}", sub.map(|sub| format!(".{sub}")).unwrap_or_default())] {
            prop_assert!(agree_on_path(&text), "{}: {:?}, {:?}", text, path(&text), judge_path(&text));
        }
    }

    #[test]
    fn what_is_nearly_a_filter_is_refused_by_both_or_read_alike(
        text in any_filter(), at in any::<usize>(), how in 0_usize..3,
        with in prop::sample::select(vec!['(', ')', '[', ']', '"', '\\', ' ', '.', ':', 'a', '1', '-', 'é', '\u{0}']),
    ) {
        let text = mutated(&text, at, how, with);
        prop_assert!(agree(&text), "{}: {:?}, {:?}", text, filter(&text), judge_filter(&text));
    }

    #[test]
    fn what_is_nearly_a_path_is_refused_by_both_or_read_alike(
        text in any_filter(), attr in attribute(), sub in prop::option::of("[a-z]{1,5}"),
        at in any::<usize>(), how in 0_usize..3,
        with in prop::sample::select(vec!['(', ')', '[', ']', '"', '\\', ' ', '.', ':', 'a', '1', '-', 'é', '\u{0}']),
    ) {
        let text = format!("{attr}[{text}]{}", sub.map(|sub| format!(".{sub}")).unwrap_or_default());
        let text = mutated(&text, at, how, with);
        prop_assert!(agree_on_path(&text), "{}: {:?}, {:?}", text, path(&text), judge_path(&text));
    }

    #[test]
    fn nothing_makes_it_panic(text in any::<String>()) {
        let _ = (filter(&text), path(&text));
    }
}

#[test]
fn nesting_has_an_end_and_so_have_terms() {
    for (open, close) in [("(", ")"), ("not (", ")")] {
        let nested = |depth: usize| format!("{}a pr{}", open.repeat(depth), close.repeat(depth));
        assert!(filter(&nested(60)).is_ok());
        assert_eq!(filter(&nested(100_000)), Err(Unreadable));
    }
    let terms = |count: usize| vec!["a pr"; count].join(" or ");
    assert!(filter(&terms(1_000)).is_ok());
    assert_eq!(filter(&terms(2_000)), Err(Unreadable));
}

#[test]
fn a_word_of_the_grammar_is_also_the_name_of_an_attribute() {
    // RFC 7644 figure 1 reserves no keyword: an attribute's name is a letter, then letters, digits, "-" and "_".
    for text in ["true pr", "not pr", "null eq 1"] {
        assert!(filter(text).is_ok() && judge_filter(text).is_none(), "{text}");
    }
    assert!(agree_on_path("emails[type pr].true"));
    for text in ["true", "emails[type pr].true", "emails[type pr].null"] {
        assert!(path(text).is_ok() && judge_path(text).is_none(), "{text}");
    }
}

#[test]
fn not_needs_no_space_before_its_parenthesis() {
    // RFC 7644 figure 1 requires no space after `not`: `*1"not" "(" FILTER ")"`.
    let spaced = filter("not (a pr)");
    assert!(spaced.is_ok());
    assert_eq!(filter("not(a pr)"), spaced);
    assert_eq!(judge_filter("not(a pr)"), None);
}

#[test]
fn the_operators_are_ascii() {
    // RFC 5234 §2.3 ignores case only for ASCII letters. The parser of `scim_v2` also accepts U+017F (long s) as an
    // "s".
    let text = "a \u{17f}w \"b\"";
    assert!(judge_filter(text).is_some());
    assert_eq!(filter(text), Err(Unreadable));
}
