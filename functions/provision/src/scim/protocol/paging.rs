//! Reads which page of a list a client requests: by index (RFC 7644 §3.4.2.4) or by cursor (RFC 9865).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::{Document, ProtocolError};

/// The maximum number of resources per page.
pub const MAX_PAGE: u64 = 200;
/// The page size if the client requests none.
pub const DEFAULT_PAGE: u64 = 100;
/// How long a cursor is valid.
pub const CURSOR_TIME: Duration = Duration::hours(1);

/// Where a page begins, and its maximum number of resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paging {
    /// At the 1-based index `start`.
    Index {
        /// Starts at 1.
        start: u64,
        /// From 0 to [`MAX_PAGE`].
        count: u64,
    },
    /// At a cursor; `None` means the beginning.
    Cursor {
        /// Where the previous page ended.
        at: Option<Cursor>,
        /// From 0 to [`MAX_PAGE`].
        count: u64,
    },
}

/// Where a page ended. A cursor needs no signature. A client that changes a cursor only gets another part of the list,
/// and the client may read the whole list anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// In a list of users, Twilio's token for the page that contains the next user. In a list of groups, the `id` of
    /// the last group that Flexgate has returned.
    #[serde(rename = "t")]
    pub token: String,
    /// The number of users to skip at the beginning of Twilio's page, because earlier answers to the client cover them.
    /// In a list of groups, zero.
    #[serde(rename = "s")]
    pub skip: u64,
    #[serde(rename = "e")]
    expires: i64,
}

impl Cursor {
    /// Creates a cursor that is valid for `CURSOR_TIME`.
    #[must_use]
    pub fn new(token: String, skip: u64, now: OffsetDateTime) -> Self {
        Self { token, skip, expires: (now + CURSOR_TIME).unix_timestamp() }
    }

    fn read(text: &str, now: OffsetDateTime) -> Result<Self, ProtocolError> {
        let bytes = if text.len() > 2_048 { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let cursor: Self =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).ok_or(ProtocolError::InvalidCursor)?;
        if cursor.expires <= now.unix_timestamp() { Err(ProtocolError::ExpiredCursor) } else { Ok(cursor) }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let json = serde_json::to_vec(self).map_err(|_| std::fmt::Error)?;
        f.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

impl Paging {
    /// Reads the parameters. `start` is at least 1, and `count` is between 0 and [`MAX_PAGE`] (RFC 7644 §3.4.2.4).
    pub fn read(
        start: Option<&str>,
        count: Option<&str>,
        cursor: Option<&str>,
        now: OffsetDateTime,
    ) -> Result<Self, ProtocolError> {
        let number = |name: &str, text: &str| {
            text.trim().parse::<i128>().map_err(|_| super::error::value(name, "must be a whole number"))
        };
        let start = start.map(|text| number("startIndex", text)).transpose()?;
        let count = count.map(|text| number("count", text)).transpose()?;
        let count = count
            .map_or(DEFAULT_PAGE, |count| u64::try_from(count.clamp(0, i128::from(MAX_PAGE))).unwrap_or(DEFAULT_PAGE));
        match (start, cursor) {
            (Some(_), Some(_)) => Err(super::error::value("cursor", "cannot be used together with startIndex")),
            (start, None) => {
                let start = start.map_or(1, |start| u64::try_from(start.clamp(1, 1 << 40)).unwrap_or(1));
                Ok(Self::Index { start, count })
            }
            (None, Some("")) => Ok(Self::Cursor { at: None, count }),
            (None, Some(cursor)) => Ok(Self::Cursor { at: Some(Cursor::read(cursor, now)?), count }),
        }
    }

    /// The maximum number of resources on the page.
    #[must_use]
    pub fn count(&self) -> u64 {
        match self {
            Self::Index { count, .. } | Self::Cursor { count, .. } => *count,
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The resources.
    pub resources: Vec<Document>,
    /// The total number of resources. A response with a cursor may omit it (RFC 9865 §2.1).
    pub total: Option<u64>,
    /// The index of the page's first resource. `None` if the client pages by cursor.
    pub start: Option<u64>,
    /// Where the next page begins.
    pub next: Option<Cursor>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-01-01 09:00 UTC);

    proptest! {
        #[test]
        fn any_numbers_make_a_page_that_can_be_given(start in any::<i64>(), count in any::<i64>()) {
            let read = Paging::read(Some(&start.to_string()), Some(&count.to_string()), None, NOW).unwrap();
            let Paging::Index { start, count } = read else { panic!("by index") };
            prop_assert!(start >= 1 && count <= MAX_PAGE);
        }

        #[test]
        fn nothing_but_a_cursor_is_read_as_one(text in any::<String>()) {
            if let Ok(Paging::Cursor { at: Some(cursor), .. }) = Paging::read(None, None, Some(&text), NOW) {
                prop_assert_eq!(Cursor::read(&cursor.to_string(), NOW).unwrap(), cursor);
            }
        }
    }

    #[test]
    fn a_cursor_comes_back_until_it_expires() {
        let text = Cursor::new("PT1".to_owned(), 3, NOW).to_string();
        let read = |now| Paging::read(None, None, Some(&text), now);
        assert!(matches!(read(NOW), Ok(Paging::Cursor { at: Some(cursor), .. }) if cursor.skip == 3));
        assert!(matches!(read(NOW + CURSOR_TIME), Err(ProtocolError::ExpiredCursor)));
        assert!(matches!(Paging::read(Some("1"), None, Some(&text), NOW), Err(ProtocolError::InvalidValue(_))));
    }
}
