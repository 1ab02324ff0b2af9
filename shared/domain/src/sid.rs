//! Twilio's identifiers (SIDs): two letters for the kind, then 32 hexadecimal digits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The string is not an identifier of the expected kind. The error never contains the string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {prefix} followed by 32 hexadecimal digits")]
pub struct SidError {
    /// The two letters of the expected kind.
    pub prefix: &'static str,
}

macro_rules! sids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            /// The two letters at the start of every identifier of this kind.
            pub const PREFIX: &'static str = $prefix;

            /// Returns the identifier unchanged.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = SidError;

            fn from_str(text: &str) -> Result<Self, SidError> {
                match text.strip_prefix(Self::PREFIX) {
                    Some(digits) if digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
                        Ok(Self(text.into()))
                    }
                    _ => Err(SidError { prefix: Self::PREFIX }),
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = SidError;

            fn try_from(text: String) -> Result<Self, SidError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(sid: $name) -> Self {
                sid.0.into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

sids! {
    /// A Twilio account, `AC…`.
    AccountSid = "AC";
    /// An API key, `SK…`.
    ApiKeySid = "SK";
    /// A Flex instance, `GO…`.
    InstanceSid = "GO";
    /// A Flex user, `FU…`.
    FlexUserSid = "FU";
    /// A `TaskRouter` worker, `WK…`.
    WorkerSid = "WK";
    /// A `TaskRouter` workspace, `WS…`.
    WorkspaceSid = "WS";
    /// A Flex team, `QO…`.
    TeamSid = "QO";
    /// An SSO profile, which Twilio also calls a connection, `JQ…`.
    SsoProfileSid = "JQ";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_well_formed_sid_survives_the_round_trip(digits in "[0-9a-fA-F]{32}") {
            let text = format!("FU{digits}");
            let sid: FlexUserSid = text.parse().unwrap();
            prop_assert_eq!(sid.to_string(), text.clone());
            let json = serde_json::to_string(&sid).unwrap();
            prop_assert_eq!(serde_json::from_str::<FlexUserSid>(&json).unwrap(), sid);
        }

        #[test]
        fn nothing_else_is_a_sid(text in any::<String>()) {
            let expected = text.len() == 34 && text.starts_with("AC")
                && text[2..].bytes().all(|b| b.is_ascii_hexdigit());
            prop_assert_eq!(text.parse::<AccountSid>().is_ok(), expected);
        }

        #[test]
        fn a_sid_of_one_kind_is_not_of_another(digits in "[0-9a-f]{32}") {
            let parsed: Result<AccountSid, _> = format!("FU{digits}").parse();
            prop_assert_eq!(parsed, Err(SidError { prefix: "AC" }));
        }
    }
}
