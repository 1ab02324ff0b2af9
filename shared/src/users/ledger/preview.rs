//! Computes what a statement would change, for an operator who wants to see the change first.

use super::groups::adopt;
use super::state::{Addressee, Change, OfNew};
use super::{Ledger, LedgerError, News};
use crate::base::outbound::Deadline;
use crate::domain::ledger::{Person, Plan, Step};
use crate::domain::{FlexUser, Username};

/// The effect that [`Ledger::state`] would have.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The person's username, as Flex or the ledger spells it. `None` if the user is new.
    pub known_as: Option<Username>,
    /// The user in Flex. `None` if there is no such user, or if the ledger did not have to read it.
    pub user: Option<FlexUser>,
    /// The requests that Flexgate would send to Twilio.
    pub plan: Plan,
}

impl Ledger {
    /// Computes what [`Ledger::state`] would change, or why it would refuse the statement. Reads the ledger and Flex,
    /// and writes nothing. Does not check whether the identity in `news` can be bound.
    pub async fn preview(&self, news: &News, deadline: Deadline) -> Result<Preview, LedgerError> {
        let (change, known_as) = match self.addressee(news, deadline).await? {
            Addressee::Nobody => return Ok(Preview::nothing(None)),
            Addressee::Settled(person) => return Ok(Preview::nothing(Some(person.username))),
            Addressee::Known(person) => self.change_of_known(person, news, deadline).await?,
            Addressee::New(person, instead_of) => {
                match self.change_of_new(&person, instead_of.is_some(), news, deadline).await? {
                    OfNew::Change(change) => (*change, None),
                    OfNew::Known(known) => self.change_of_known(*known, news, deadline).await?,
                }
            }
        };
        let leaving = change.observed.as_ref().filter(|user| self.takes_an_admin(Some(user), &change.desired));
        if let Some(user) = leaving {
            self.another_admin(user, deadline).await?;
        }
        let Change { observed, plan, .. } = change;
        let known_as = observed.as_ref().map(|user| user.username.clone()).or(known_as);
        Ok(Preview { known_as, user: observed, plan })
    }

    /// Computes the effect of the statement on a person whom the ledger knows. Also returns the person's username.
    async fn change_of_known(
        &self,
        mut person: Person,
        news: &News,
        deadline: Deadline,
    ) -> Result<(Change, Option<Username>), LedgerError> {
        for (source, statement) in self.due(&person, &self.kept(&person).await?, None) {
            adopt(&mut person, source, statement);
        }
        let change = self.change(&person, news, deadline).await?;
        Ok((change, Some(person.username)))
    }
}

impl Preview {
    fn nothing(known_as: Option<Username>) -> Self {
        Self { known_as, user: None, plan: Plan { step: Step::Nothing, locale: None, blocked: Vec::new() } }
    }
}
