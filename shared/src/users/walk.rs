//! Reads all Flex users page by page. Also adds the fields that Twilio left out when it listed or found a user.

use std::collections::BTreeSet;

use crate::base::outbound::Deadline;
use crate::domain::FlexUser;
use crate::twilio::{Flex, TwilioError};

/// The largest page size that Twilio allows.
const PAGE: u16 = 1_000;

/// An iterator over all Flex users, including deactivated ones.
#[derive(Debug)]
pub struct Pages<'f> {
    flex: &'f Flex,
    next: Option<String>,
    asked: BTreeSet<String>,
    ended: bool,
}

impl<'f> Pages<'f> {
    /// Makes an iterator that starts with the first page.
    #[must_use]
    pub fn of(flex: &'f Flex) -> Self {
        Self { flex, next: None, asked: BTreeSet::new(), ended: false }
    }

    /// Returns the next page, or `None` after the last page. Returns an error if Twilio repeats a page token, because
    /// otherwise the iteration would never end.
    pub async fn next(&mut self, deadline: Deadline) -> Result<Option<Vec<FlexUser>>, TwilioError> {
        if self.ended {
            return Ok(None);
        }
        let page = self.flex.list(PAGE, self.next.as_deref(), deadline).await?;
        match page.next_page_token {
            None => self.ended = true,
            Some(token) if self.asked.insert(token.clone()) => self.next = Some(token),
            Some(_) => return Err(TwilioError::Malformed("its list of users goes round in circles")),
        }
        Ok(Some(page.users))
    }
}

/// Returns the user with all fields. Reads the user by SID if `found` lacks a field that a comparison needs.
pub async fn in_full(flex: &Flex, found: FlexUser, deadline: Deadline) -> Result<FlexUser, TwilioError> {
    if found.is_complete() { Ok(found) } else { flex.get(&found.flex_user_sid, deadline).await }
}
