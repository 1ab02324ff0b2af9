//! Metrics in the embedded metric format of `CloudWatch`. Flexgate prints lines on standard output, and `CloudWatch`
//! extracts the metrics from them.
//!
//! Metrics for alarms have no dimensions, so that one alarm covers every function. Other metrics have dimensions such
//! as the function or the outcome. A dimension never contains data about a person.

use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use super::request::RequestLine;

static NAMESPACE: OnceLock<String> = OnceLock::new();

pub(super) fn start(namespace: &str) {
    let _already_started = NAMESPACE.set(namespace.to_owned());
}

/// The name, the unit and the value of a metric.
type Metric = (&'static str, &'static str, f64);

/// Metrics that share the same dimensions.
struct Group<'a> {
    dimensions: &'a [(&'static str, &'a str)],
    metrics: &'a [Metric],
}

/// Counts an attempt to refresh something. `what` is `secret`, `keys` (an issuer's keys) or `session`.
pub fn refreshed(what: &'static str, succeeded: bool) {
    let outcome = if succeeded { "ok" } else { "failed" };
    let dimensions = [("what", what), ("outcome", outcome)];
    write(&[Group { dimensions: &dimensions, metrics: &[("refreshes", "Count", 1.0)] }]);
}

/// Counts a secret that Flexgate could not read, or a credential that Twilio rejected.
pub fn credential_failed() {
    write(&[Group { dimensions: &[], metrics: &[("credential_failures", "Count", 1.0)] }]);
}

/// Counts an event that became a dead letter.
pub fn dead_letter() {
    write(&[Group { dimensions: &[], metrics: &[("dead_letters", "Count", 1.0)] }]);
}

/// Reports the age of a message that could not be applied at this attempt. SQS's own metric for the oldest message is
/// not enough, because it leaves out messages that have failed several times.
pub fn try_failed(age: std::time::Duration) {
    write(&[Group { dimensions: &[], metrics: &[("failing_for", "Seconds", age.as_secs_f64())] }]);
}

/// Counts an event that Flexgate ignored although it may change who has access.
pub fn ignored_event() {
    write(&[Group { dimensions: &[], metrics: &[("ignored_events", "Count", 1.0)] }]);
}

/// Counts a sweep, and reports two of its results: how many users are active although a source says "inactive", and
/// how many users Flexgate no longer repairs because earlier repairs did not last.
pub fn swept(inactive_but_active: usize, contested: usize) {
    let (inactive_but_active, contested) = (number(inactive_but_active), number(contested));
    write(&[
        Group { dimensions: &[], metrics: &[("sweeps", "Count", 1.0)] },
        Group { dimensions: &[], metrics: &[("inactive_but_active", "Count", inactive_but_active)] },
        Group { dimensions: &[], metrics: &[("contested", "Count", contested)] },
    ]);
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(super) fn request(line: &RequestLine<'_>, cold_start: bool) {
    let millis = |duration: std::time::Duration| duration.as_secs_f64() * 1_000.0;
    let mut own = vec![
        ("duration", "Milliseconds", millis(line.duration)),
        ("cold_starts", "Count", f64::from(u8::from(cold_start))),
    ];
    if line.meter.calls > 0 {
        own.push(("upstream_latency", "Milliseconds", millis(line.meter.time)));
    }
    let outcome = match line.status {
        ..400 => "ok",
        400..500 | 501 => "refused",
        500 => "fault",
        502.. => "upstream",
    };
    let failed = f64::from(u8::from(line.status >= 502));
    write(&[
        Group { dimensions: &[], metrics: &[("upstream_failures", "Count", failed)] },
        Group { dimensions: &[("function", line.function)], metrics: &own },
        Group {
            dimensions: &[("function", line.function), ("route", line.route), ("outcome", outcome)],
            metrics: &[("requests", "Count", 1.0)],
        },
    ]);
}

fn write(groups: &[Group<'_>]) {
    let Some(namespace) = NAMESPACE.get() else { return };
    #[expect(clippy::disallowed_methods, reason = "CloudWatch stores a metric under its wall-clock time")]
    let now = time::OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000;
    let document = document(namespace, i64::try_from(now).unwrap_or_default(), groups);
    // A metric that cannot be written must not make the request fail.
    let _not_written = writeln!(std::io::stdout().lock(), "{document}");
}

fn document(namespace: &str, millis: i64, groups: &[Group<'_>]) -> Value {
    let mut members = Map::new();
    let mut directives = Vec::new();
    for group in groups {
        let names: Vec<_> = group.dimensions.iter().map(|(name, _)| name).collect();
        let metrics: Vec<_> =
            group.metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        directives.push(json!({ "Namespace": namespace, "Dimensions": [names], "Metrics": metrics }));
        members.extend(group.dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())));
        members.extend(group.metrics.iter().map(|(name, _, value)| ((*name).to_owned(), (*value).into())));
    }
    members.insert("_aws".to_owned(), json!({ "Timestamp": millis, "CloudWatchMetrics": directives }));
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_and_dimension_that_is_declared_is_a_member() {
        let groups = [
            Group { dimensions: &[], metrics: &[("dead_letters", "Count", 1.0)] },
            Group { dimensions: &[("function", "sso")], metrics: &[("duration", "Milliseconds", 1.5)] },
        ];
        let document = document("Flexgate/test", 1_767_258_000_000, &groups);
        assert_eq!(
            document,
            json!({
                "_aws": { "Timestamp": 1_767_258_000_000_i64, "CloudWatchMetrics": [
                    { "Namespace": "Flexgate/test", "Dimensions": [[]],
                      "Metrics": [{ "Name": "dead_letters", "Unit": "Count" }] },
                    { "Namespace": "Flexgate/test", "Dimensions": [["function"]],
                      "Metrics": [{ "Name": "duration", "Unit": "Milliseconds" }] },
                ] },
                "dead_letters": 1.0, "function": "sso", "duration": 1.5,
            })
        );
    }
}
