//! Lists users. Many SCIM clients request pages by index, but Twilio offers only a token for the next page.
//!
//! Flexgate stores each page token with the index of the page's first user. So if a client reads page by page, Flexgate
//! reads Twilio's list only once. The total comes from a separate count, which reads the largest possible pages. An
//! interrupted count continues where it stopped.

use flexgate::base::outbound::Deadline;
use flexgate::domain::FlexUser;
use flexgate::store::scim::{Entry, Mark, folded};
use flexgate::twilio::UserPage;
use flexgate::users::ledger::View;

use super::person::Person;
use super::protocol::{Cursor, Document, Page, Paging, ProtocolError, Test};
use super::refusal::Refusal;
use super::users::Users;

/// The largest page that Twilio returns.
const LARGEST: u16 = 1_000;

/// How long Flexgate uses the stored page tokens and the stored count. Creating or deleting a user through SCIM
/// discards both.
const TRUSTED: time::Duration = time::Duration::minutes(5);

/// If a request has less time left than this, Flexgate reads no more users from Twilio. This limits three tasks:
/// counting the users, filtering them, and filling a page that begins at a cursor.
const PAGE_TIME: std::time::Duration = std::time::Duration::from_secs(2);

impl Users {
    /// Returns a page of the users that match the filter, or of all users.
    pub(super) async fn page(&self, paging: &Paging, test: Option<&Test>, deadline: Deadline) -> Result<Page, Refusal> {
        match (paging, test) {
            (Paging::Index { start, count }, None) => self.by_index(*start, *count, deadline).await,
            (Paging::Index { start, count }, Some(test)) => self.filtered(*start, *count, test, deadline).await,
            (Paging::Cursor { at, count }, test) => self.by_cursor(at.as_ref(), *count, test, deadline).await,
        }
    }

    async fn by_index(&self, start: u64, count: u64, deadline: Deadline) -> Result<Page, Refusal> {
        let (now, until) = (self.clock_rng.now(), self.clock_rng.now() + TRUSTED);
        let mark = if count == 0 { None } else { self.scim.mark_before(start, now).await? };
        let (mut index, mut token) = mark.map_or((1, None), |mark| (mark.index, Some(mark.token)));
        let mut resources: Vec<Document> = Vec::new();
        let mut seen_all = false;
        while (resources.len() as u64) < count {
            let size = if start.saturating_sub(index) >= count { LARGEST } else { small(count) };
            let UserPage { users, next_page_token } =
                self.provisioning.flex().list(size, token.as_deref(), deadline).await?;
            for person in self.visible(users).await? {
                if index >= start && (resources.len() as u64) < count {
                    resources.push(self.show(&person));
                }
                index += 1;
            }
            let Some(next) = next_page_token else {
                seen_all = true;
                self.scim.put_total(index - 1, until).await?;
                break;
            };
            self.scim.put_mark(&Mark { index, token: next.clone() }, until).await?;
            token = Some(next);
        }
        let total = if seen_all { index - 1 } else { self.count(deadline).await?.max(index - 1) };
        Ok(Page { resources, total: Some(total), start: Some(start), next: None })
    }

    /// Counts the users. If time runs out, returns one more than the number counted so far, so that the client requests
    /// the next page.
    async fn count(&self, deadline: Deadline) -> Result<u64, Refusal> {
        let (now, until) = (self.clock_rng.now(), self.clock_rng.now() + TRUSTED);
        if let Some(total) = self.scim.total(now).await? {
            return Ok(total);
        }
        let mark = self.scim.mark_before(u64::MAX >> 1, now).await?;
        let (mut index, mut token) = mark.map_or((1, None), |mark| (mark.index, Some(mark.token)));
        while deadline.remaining() > PAGE_TIME {
            let page = self.provisioning.flex().list(LARGEST, token.as_deref(), deadline).await?;
            index += self.visible_count(&page.users).await?;
            let Some(next) = page.next_page_token else {
                self.scim.put_total(index - 1, until).await?;
                return Ok(index - 1);
            };
            self.scim.put_mark(&Mark { index, token: next.clone() }, until).await?;
            token = Some(next);
        }
        Ok(index)
    }

    /// Returns a page of the matching users. Reads all users, because the response contains the total number of
    /// matches.
    async fn filtered(&self, start: u64, count: u64, test: &Test, deadline: Deadline) -> Result<Page, Refusal> {
        let (mut found, mut resources, mut token) = (0_u64, Vec::new(), None);
        loop {
            if deadline.remaining() < PAGE_TIME {
                return Err(Refusal::TooMany);
            }
            let page = self.provisioning.flex().list(LARGEST, token.as_deref(), deadline).await?;
            for person in self.visible(page.users).await? {
                let shown = self.show(&person);
                if test.matches(&self.schema, &shown) {
                    found += 1;
                    if found >= start && (resources.len() as u64) < count {
                        resources.push(shown);
                    }
                }
            }
            match page.next_page_token {
                Some(next) => token = Some(next),
                None => return Ok(Page { resources, total: Some(found), start: Some(start), next: None }),
            }
        }
    }

    /// Returns the page that begins at the cursor. If time runs out, the page has fewer users than requested.
    async fn by_cursor(
        &self,
        at: Option<&Cursor>,
        count: u64,
        test: Option<&Test>,
        deadline: Deadline,
    ) -> Result<Page, Refusal> {
        let (mut token, mut skip) = at.map_or((None, 0), |at| (Some(at.token.clone()), at.skip));
        token = token.filter(|token| !token.is_empty());
        let mut resources = Vec::new();
        let size = if test.is_some() { LARGEST } else { small(count) };
        loop {
            let page = match self.provisioning.flex().list(size, token.as_deref(), deadline).await {
                Err(flexgate::twilio::TwilioError::Refused(_)) if at.is_some() => {
                    return Err(ProtocolError::InvalidCursor.into());
                }
                page => page?,
            };
            for (position, person) in (0_u64..).zip(self.visible(page.users).await?) {
                if position < skip {
                    continue;
                }
                if resources.len() as u64 >= count {
                    let next = Cursor::new(token.unwrap_or_default(), position, self.clock_rng.now());
                    return Ok(Page { resources, next: Some(next), ..Page::default() });
                }
                let shown = self.show(&person);
                if test.is_none_or(|test| test.matches(&self.schema, &shown)) {
                    resources.push(shown);
                }
            }
            skip = 0;
            let full = resources.len() as u64 >= count || deadline.remaining() < PAGE_TIME;
            match page.next_page_token {
                Some(next) if full => {
                    let next = Cursor::new(next, 0, self.clock_rng.now());
                    return Ok(Page { resources, next: Some(next), ..Page::default() });
                }
                Some(next) => token = Some(next),
                None => return Ok(Page { resources, ..Page::default() }),
            }
        }
    }

    /// Returns the users that SCIM shows. Leaves out users who were deleted through SCIM. If Twilio has reactivated a
    /// person under a new SID, also leaves out the person's old Flex user.
    pub(super) async fn visible(&self, users: Vec<FlexUser>) -> Result<Vec<Person>, Refusal> {
        let sids: Vec<_> = users.iter().map(|user| user.flex_user_sid.clone()).collect();
        let entries = self.scim.entries(&sids).await?;
        let mut people: Vec<Person> = Vec::with_capacity(users.len());
        for user in users {
            if replaced(&user, &entries) {
                continue;
            }
            let entry = entries.iter().find(|entry| entry.current == user.flex_user_sid).cloned();
            let person = Person { view: View::of_flex(&user), user, entry, memberships: Vec::new() };
            if !person.is_gone() {
                self.note_spelling(&person).await;
                people.push(person);
            }
        }
        let ids: Vec<_> = people.iter().filter_map(|person| person.id().parse().ok()).collect();
        let memberships = self.scim.memberships(&ids).await?;
        if !memberships.is_empty() {
            for person in &mut people {
                person.memberships =
                    memberships.iter().filter(|membership| membership.user.as_str() == person.id()).cloned().collect();
            }
        }
        Ok(people)
    }

    async fn visible_count(&self, users: &[FlexUser]) -> Result<u64, Refusal> {
        // Check only inactive users, because active users have been neither deleted nor replaced.
        let perhaps: Vec<FlexUser> = users.iter().filter(|user| !user.is_active()).cloned().collect();
        let sids: Vec<_> = perhaps.iter().map(|user| user.flex_user_sid.clone()).collect();
        let entries = self.scim.entries(&sids).await?;
        let gone = perhaps.into_iter().filter(|user| {
            let deleted = |entry: &Entry| entry.current == user.flex_user_sid && entry.deleted;
            replaced(user, &entries) || entries.iter().any(deleted)
        });
        Ok((users.len() - gone.count()) as u64)
    }

    /// Stores a username's exact spelling, because Twilio's search needs it and SCIM clients may use another case. A
    /// username that is all in lower case need not be stored, because Flexgate also searches for the lower-case
    /// spelling.
    async fn note_spelling(&self, person: &Person) {
        let username = &person.user.username;
        if person.entry.is_none() && folded(username.as_str()) != username.as_str() {
            let entry = Entry {
                id: person.user.flex_user_sid.clone(),
                current: person.user.flex_user_sid.clone(),
                username: username.clone(),
                external_id: None,
                asserted: Document::new(),
                deleted: false,
                version: 0,
                updated_at: self.clock_rng.now(),
            };
            if let Err(error) = self.scim.put_entry(&entry, None).await {
                tracing::warn!(error = %error, "a username's spelling was not remembered");
            }
        }
    }
}

/// Whether another Flex user has replaced this one, because Twilio reactivated the person under a new SID.
fn replaced(user: &FlexUser, entries: &[Entry]) -> bool {
    entries.iter().any(|entry| entry.id == user.flex_user_sid && entry.current != entry.id)
}

fn small(count: u64) -> u16 {
    u16::try_from(count).unwrap_or(LARGEST).clamp(1, LARGEST)
}
