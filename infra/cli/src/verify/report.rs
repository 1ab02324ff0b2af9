//! What `flexgate verify` has observed. The report is printed as text or as JSON. It can also be exported as switches,
//! which are the settings with which the simulator imitates this Twilio account.

use std::fmt::Display;

use flexgate_simulator::{QUESTIONS, Question};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::terminal::{Paint, harmless, paint, say};

/// The verdict about one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The documented behaviour or, for an open question, the most likely answer.
    Expected,
    /// Another answer that the simulator can give.
    Known,
    /// An answer that the simulator cannot give, or one that contradicts the documentation.
    Unknown,
    /// There is no answer.
    NotAsked,
}

/// What was observed at Twilio. Every open question has a switch in the simulator. If this question's switch has the
/// value `value`, the simulator behaves as observed. `value` is null if the simulator cannot imitate the behaviour.
pub struct Observed {
    value: Value,
    text: String,
}

impl Observed {
    /// An observation with the value `value` for the question's switch. If the switch has no such value, the answer
    /// counts as unknown.
    pub fn new(value: impl Into<Value>, text: impl Display) -> Self {
        Self { value: value.into(), text: text.to_string() }
    }

    /// An observation that the simulator cannot imitate.
    pub fn strange(text: impl Display) -> Self {
        Self::new(Value::Null, text)
    }
}

/// A line of the report: a check of documented behaviour, or an open question.
#[derive(Debug, Serialize)]
struct Line {
    asks: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    switch: Option<&'static str>,
    documented: &'static str,
    /// What was observed, or why nothing was.
    observed: String,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    means: Option<&'static str>,
}

/// All observations of a run.
#[derive(Debug)]
pub struct Report {
    /// Whether each observation is printed at once.
    aloud: bool,
    contract: Vec<Line>,
    questions: Vec<Line>,
}

impl Report {
    pub fn new(aloud: bool) -> Self {
        Self { aloud, contract: Vec::new(), questions: Vec::new() }
    }

    /// Adds the result of a check against Twilio's documentation. `observed` is `Ok((true, …))` if Twilio behaves as
    /// documented, and an error if there is no answer.
    pub fn step(
        &mut self,
        asks: &'static str,
        documented: &'static str,
        observed: Result<(bool, String), String>,
    ) -> std::io::Result<()> {
        let (verdict, observed) = match observed {
            Ok((true, text)) => (Verdict::Expected, text),
            Ok((false, text)) => (Verdict::Unknown, text),
            Err(text) => (Verdict::NotAsked, text),
        };
        self.contract.push(Line { asks, switch: None, documented, observed, verdict, position: None, means: None });
        self.contract.last().filter(|_| self.aloud).map_or(Ok(()), Line::print)
    }

    /// Adds the answer to the question that belongs to this switch. If `observed` is an error, the error says why there
    /// is no answer.
    pub fn answer(&mut self, switch: &str, observed: Result<Observed, String>) -> std::io::Result<()> {
        let Some(question) = QUESTIONS.iter().find(|question| question.switch == switch) else { return Ok(()) };
        self.questions.push(Line::answer(question, observed));
        self.questions.last().filter(|_| self.aloud).map_or(Ok(()), Line::print)
    }

    /// Adds every question that has no answer yet. `reason` says why it was not asked.
    pub fn close(&mut self, reason: &str) -> std::io::Result<()> {
        for question in QUESTIONS.iter().filter(|question| question.by_hand.is_none()) {
            if !self.questions.iter().any(|line| line.switch == Some(question.switch)) {
                self.answer(question.switch, Err(reason.to_owned()))?;
            }
        }
        Ok(())
    }

    /// Whether Twilio behaves as documented in every step, and every question has an answer that the simulator can
    /// give.
    pub fn is_good(&self) -> bool {
        let mut lines = self.contract.iter().chain(&self.questions);
        lines.all(|line| matches!(line.verdict, Verdict::Expected | Verdict::Known))
    }

    /// Returns the switches with which a simulator answers like this Twilio account.
    pub fn switches(&self) -> Value {
        let positions =
            self.questions.iter().filter_map(|line| Some((line.switch?.to_owned(), line.position.clone()?)));
        Value::Object(positions.collect::<Map<_, _>>())
    }

    /// Prints the summary, or the whole report as JSON. `left` names the users that are still active.
    pub fn print(&self, simulated: bool, left: &[String]) -> std::io::Result<()> {
        let by_hand = QUESTIONS.iter().filter_map(|question| Some((question, question.by_hand?)));
        if !self.aloud {
            let by_hand: Vec<_> = by_hand
                .map(|(question, how)| json!({ "switch": question.switch, "asks": question.asks, "by_hand": how }))
                .collect();
            let document = json!({
                "flexgate": env!("CARGO_PKG_VERSION"), "simulator": simulated, "good": self.is_good(),
                "contract": self.contract, "questions": self.questions, "not_asked": by_hand, "left_behind": left,
            });
            return say(&serde_json::to_string_pretty(&document)?);
        }
        say("Not asked, because verify cannot ask them alone:\n")?;
        for (question, how) in by_hand {
            say(&format!("{} ({})\n  by hand     {how}", question.asks, question.switch))?;
        }
        let count =
            |verdict| self.contract.iter().chain(&self.questions).filter(|line| line.verdict == verdict).count();
        say(&format!(
            "\n{} as expected, {} with another known answer, {} unknown, {} without an answer",
            count(Verdict::Expected),
            count(Verdict::Known),
            count(Verdict::Unknown),
            count(Verdict::NotAsked)
        ))
    }
}

impl Line {
    fn answer(question: &'static Question, observed: Result<Observed, String>) -> Self {
        let (text, value) = observed.map_or_else(|why| (why, None), |observed| (observed.text, Some(observed.value)));
        let position = value.as_ref().and_then(|value| question.position(value));
        let is_default = |value: &Value| question.positions.first().is_some_and(|first| first.value() == *value);
        let verdict = match (&value, position) {
            (None, _) => Verdict::NotAsked,
            (Some(_), None) => Verdict::Unknown,
            (Some(value), Some(_)) if is_default(value) => Verdict::Expected,
            (Some(_), Some(_)) => Verdict::Known,
        };
        Self {
            asks: question.asks,
            switch: Some(question.switch),
            documented: question.documented,
            observed: text,
            verdict,
            position: value.filter(|_| position.is_some()),
            means: position.map(|position| position.means),
        }
    }

    fn print(&self) -> std::io::Result<()> {
        let switch = self.switch.map(|switch| format!(" ({switch})")).unwrap_or_default();
        let (verdict, colour) = match (self.verdict, self.switch) {
            (Verdict::Expected, None) => ("as documented", Paint::Green),
            (Verdict::Expected, Some(_)) => ("as expected", Paint::Green),
            (Verdict::Known, _) => ("another known answer", Paint::Green),
            (Verdict::Unknown, None) => ("NOT AS DOCUMENTED", Paint::Red),
            (Verdict::Unknown, Some(_)) => ("UNKNOWN ANSWER", Paint::Red),
            (Verdict::NotAsked, _) => ("could not be asked", Paint::Yellow),
        };
        let position = match (self.switch, &self.position, self.means) {
            (Some(switch), Some(value), Some(means)) => format!(": {switch} = {value}. {means}"),
            _ => String::new(),
        };
        say(&format!(
            "{}{switch}\n  documented  {}\n  observed    {}\n  verdict     {}{position}\n",
            self.asks,
            self.documented,
            harmless(&self.observed),
            paint(verdict, colour)
        ))
    }
}
