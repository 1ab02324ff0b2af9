//! Checks that sweeps run, and that no other program undoes their repairs.

use flexgate::base::error_chain::with_causes;
use flexgate::domain::ledger::Repairs;
use flexgate::platform::Platform;
use flexgate::store::StoreError;
use time::{Duration, OffsetDateTime};

use super::finding::Finding;

/// The doctor warns if the last sweep was longer ago than this. The template's schedule sweeps every six hours, and
/// docs/operations.md asks for one sweep a day.
const LONG_AGO: Duration = Duration::hours(36);

/// The number of people in one read from the store.
const BATCH: u32 = 500;

/// Reports the age of the last sweep, and the number of users whom another program keeps changing back after Flexgate
/// has repaired them.
pub(super) async fn check(platform: &Platform) -> Vec<Finding> {
    match look(platform).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::failure("people", with_causes(&error), "they lie in the store (FLEXGATE_STORE)")],
    }
}

async fn look(platform: &Platform) -> Result<Vec<Finding>, StoreError> {
    let (people, now) = (platform.people(), platform.clock_rng.now());
    let (mut known, mut contested, mut after) = (0, 0, None);
    loop {
        let page = people.page(after, BATCH).await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id);
        known += page.len();
        let is_contested = |repairs: Repairs| repairs.counting(now).count >= Repairs::MOST;
        contested += page.iter().filter(|person| !person.superseded && is_contested(person.given.repairs)).count();
    }
    let mut findings = vec![swept(platform.usernames().last_walk().await?, known, now)];
    if contested > 0 {
        let whom = if contested == 1 { "1 user was".to_owned() } else { format!("{contested} users were") };
        let text = format!("{whom} repaired twice within 30 days; a further difference is only reported");
        let remedy = "flexgate users sweep --dry-run --names shows who differs now: change it where it is set anew \
                      (Twilio's SSO maps names and roles at each login), or what the source says";
        findings.push(Finding::warning("people", text, remedy));
    }
    Ok(findings)
}

fn swept(last: Option<OffsetDateTime>, known: usize, now: OffsetDateTime) -> Finding {
    let remedy = "run flexgate users sweep once a day; on AWS the schedule of the function sweep does";
    match last {
        _ if known == 0 => Finding::ok("sweep", "no source has said anything about anybody yet"),
        None => Finding::warning("sweep", "Flex was never compared with the people ledger", remedy),
        Some(last) => {
            let text = format!("Flex was last compared with the people ledger {} h ago", (now - last).whole_hours());
            if now - last > LONG_AGO { Finding::warning("sweep", text, remedy) } else { Finding::ok("sweep", text) }
        }
    }
}
