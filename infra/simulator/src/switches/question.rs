//! Defines the switches: an enum for each question about Twilio, and the table of all questions.

use serde_json::Value;

/// A question that Twilio's documentation leaves open, with the answers that the simulator can give.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The name of the switch.
    pub switch: &'static str,
    /// The question.
    pub asks: &'static str,
    /// What Twilio documents, or how Twilio behaves according to public code.
    pub documented: &'static str,
    /// The plausible answers. The first one is the most likely, and the switch's default.
    pub positions: &'static [Position],
    /// How somebody can find out the answer by hand. `None` if `flexgate verify` can find it out.
    pub by_hand: Option<&'static str>,
}

/// A plausible answer to a question. It is one of the positions (the possible values) of the question's switch.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    /// What the position means.
    pub means: &'static str,
    pub(super) json: fn() -> Value,
}

impl Position {
    /// The position's value in JSON: an HTTP status, a string, true or false.
    #[must_use]
    pub fn value(&self) -> Value {
        (self.json)()
    }
}

impl Question {
    /// Returns the plausible answer with this value, or `None` if there is no such answer.
    #[must_use]
    pub fn position(&self, value: &Value) -> Option<&'static Position> {
        self.positions.iter().find(|position| position.value() == *value)
    }
}

/// Converts a switch's position to a number, such as an HTTP status. A position that is not a number becomes 0.
pub(crate) trait Numeric: Copy {
    fn json(self) -> Value;

    fn number(self) -> u64 {
        self.json().as_u64().unwrap_or_default()
    }

    fn status(self) -> u16 {
        u16::try_from(self.number()).unwrap_or_default()
    }
}

macro_rules! switches {
    (
        questions { $(
            $question:ident: $type:ident, asks $asks:literal, documented $documented:literal,
            $(by_hand $by_hand:literal,)?
            positions { $($variant:ident = $json:literal, $means:literal;)+ }
        )+ }
        others { $($(#[$meta:meta])+ $other:ident: $other_type:ty = $default:expr;)+ }
    ) => {
        $(
            #[doc = $asks]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $type { $(#[doc = $means] $variant,)+ }

            impl Numeric for $type {
                fn json(self) -> Value {
                    match self { $(Self::$variant => json!($json),)+ }
                }
            }

            impl Default for $type {
                fn default() -> Self {
                    let [first, ..] = [$(Self::$variant),+];
                    first
                }
            }

            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.json().serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let given = Value::deserialize(deserializer)?;
                    let known = [$(Self::$variant),+];
                    known.into_iter().find(|position| position.json() == given).ok_or_else(|| {
                        let known = known.map(|position| position.json().to_string()).join(", ");
                        D::Error::custom(format!("{} must be one of {known}", stringify!($question)))
                    })
                }
            }
        )+

        /// All questions.
        pub static QUESTIONS: &[Question] = &[$(Question {
            switch: stringify!($question),
            asks: $asks,
            documented: $documented,
            positions: &[$(Position { means: $means, json: || json!($json) }),+],
            by_hand: [$(Some($by_hand),)? None][0],
        }),+];

        /// All switches. `GET /__sim/switches` shows them, and `POST` changes the switches in its body.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Switches {
            $(#[doc = $asks] pub $question: $type,)+
            $($(#[$meta])+ pub $other: $other_type,)+
        }

        impl Default for Switches {
            fn default() -> Self {
                Self { $($question: $type::default(),)+ $($other: $default,)+ }
            }
        }
    };
}

pub(super) use switches;
