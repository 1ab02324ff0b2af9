//! `flexgate sessions`: lists and ends sessions, and blocks or allows all sign-ins, in the store on this machine or on
//! AWS.

use std::error::Error;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use flexgate::base::clock_rng::ClockRng;
use flexgate::domain::{FlexUserSid, folded};
use flexgate::store::Sessions as SessionStore;
use flexgate::store::{EndingKey, ListedSession, SessionEndings, SessionKey, SessionList, SignInSwitch};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::audit::Trail;
use crate::named_store::{self, NamedStore};
use crate::terminal::{harmless, remark, say};

/// Which store, and what to do.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    flexgate sessions list\n  \
    flexgate sessions end --user ada --reason 'laptop lost'\n  \
    flexgate sessions lock && flexgate sessions end --all     nobody signs in until `flexgate sessions unlock`\n\n\
    Access tokens that pages already have stay valid until they expire, because Twilio cannot revoke them.")]
pub struct Sessions {
    /// The store's file [default: `FLEXGATE_STORE`, or else the store of the simulated set-up]
    #[arg(long, global = true, value_name = "FILE")]
    store: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List who is signed in: id, SID, username, profile, since, last used, ends, network, browser
    List {
        /// List only the sessions of this user: a SID (FU…), or a username
        user: Option<String>,
    },
    /// End one session, all sessions of a user, or all sessions
    #[command(group = clap::ArgGroup::new("which").args(["id", "user", "all"]).required(true))]
    End {
        /// The id of the session, as `list` shows it
        #[arg(allow_hyphen_values = true)]
        id: Option<SessionKey>,
        /// End all sessions of this user: a SID (FU…), or a username
        #[arg(long)]
        user: Option<String>,
        /// End all sessions. A running gateway refuses them within 30 seconds
        #[arg(long)]
        all: bool,
        /// Why, for the audit trail
        #[arg(long, default_value = "ended", value_name = "TEXT")]
        reason: String,
    },
    /// Block sign-in, use of sessions and minting for everybody, until `unlock`. A running gateway obeys within 30
    /// seconds
    Lock {
        /// Why, for the audit trail
        #[arg(long, default_value = "locked", value_name = "TEXT")]
        reason: String,
    },
    /// Let people sign in again. Sessions that have not ended meanwhile become usable again
    Unlock,
}

trait Store: SessionStore + SessionList + SessionEndings + SignInSwitch {}
impl<S: SessionStore + SessionList + SessionEndings + SignInSwitch> Store for S {}

/// Runs the command.
pub async fn run(options: &Sessions) -> Result<(), Box<dyn Error>> {
    let store: Box<dyn Store> = match named_store::open(options.store.as_deref())? {
        NamedStore::Sqlite(store) => Box::new(store),
        NamedStore::DynamoDb(store) => Box::new(store),
    };
    let (store, now) = (store.as_ref(), ClockRng::system().now());
    match &options.action {
        Action::List { user } => list(store, user.as_deref(), now).await,
        Action::End { id: Some(id), reason, .. } => {
            let trail = Trail::open()?;
            let session = store.find(id, now).await?.ok_or("there is no such session, or it has ended")?;
            store.end(id).await?;
            trail.allowed("end_session", Some(&session.flex_user_sid), reason);
            Ok(say("1 session ended")?)
        }
        Action::End { user: Some(user), reason, .. } => end_of_user(store, user, reason, now).await,
        Action::End { reason, .. } => end_all(store, reason, now).await,
        Action::Lock { reason } => {
            let trail = Trail::open()?;
            store.set_lock(Some(now)).await?;
            trail.allowed("lock_sign_in", None, reason);
            Ok(say("nobody can sign in any more, or get a token; flexgate sessions unlock ends that")?)
        }
        Action::Unlock => {
            let trail = Trail::open()?;
            store.set_lock(None).await?;
            trail.allowed("unlock_sign_in", None, "unlocked");
            Ok(say("people can sign in again")?)
        }
    }
}

async fn list(store: &dyn Store, user: Option<&str>, now: OffsetDateTime) -> Result<(), Box<dyn Error>> {
    let sessions = match user {
        Some(user) => of(store, user, now).await?,
        None => all(store, now).await?,
    };
    for session in &sessions {
        say(&harmless(&line(session)))?;
    }
    say(&format!("{} signed in", counted(sessions.len(), "browser")))?;
    if let Some(at) = store.sign_in_state().await?.locked_at {
        say(&format!("nobody can use a session, sign in or get a token: locked since {}", at.format(&Rfc3339)?))?;
    }
    Ok(())
}

async fn end_of_user(store: &dyn Store, user: &str, reason: &str, now: OffsetDateTime) -> Result<(), Box<dyn Error>> {
    let trail = Trail::open()?;
    let mut users: Vec<_> = of(store, user, now).await?.into_iter().map(|session| session.flex_user_sid).collect();
    // The list may lack sessions that began under version 0.2.0. So if the operator named a SID, end that user's
    // sessions even if the list contains none.
    users.extend(user.parse::<FlexUserSid>().ok());
    users.sort();
    users.dedup();
    if users.is_empty() {
        return Err("no session names that user; name the user's SID (FU…) to be sure".into());
    }
    let mut ended = 0;
    for user in &users {
        store.record_ending(&[EndingKey::FlexUser(user.clone())], now).await?;
        ended += store.end_all_of(user).await?;
        trail.allowed("end_sessions", Some(user), reason);
    }
    Ok(say(&format!("{} ended", counted(usize::try_from(ended)?, "session")))?)
}

/// Ends all sessions in two ways. First, this function stores a time. Flexgate then refuses every session that began
/// before this time, even if the list of sessions lacks it. But a running gateway reads the time only every 30 seconds.
/// So this function also ends each listed session individually, which takes effect at once.
async fn end_all(store: &dyn Store, reason: &str, now: OffsetDateTime) -> Result<(), Box<dyn Error>> {
    let trail = Trail::open()?;
    // Read the list before storing the time. The stored time ends every session, and the list leaves out sessions that
    // have ended. If the list cannot be read, continue without it.
    let listed = all(store, now).await;
    // Store the time after the list has been read, so that sessions that began during the reading end too.
    store.end_until(ClockRng::system().now()).await?;
    trail.allowed("end_all_sessions", None, reason);
    let sessions = listed.unwrap_or_else(|error| {
        remark(&format!("the list of sessions cannot be read: {error}"));
        Vec::new()
    });
    let (mut ended, mut failed) = (0, 0);
    for session in &sessions {
        match store.end(&session.key).await {
            Ok(()) => ended += 1,
            Err(error) => {
                failed += 1;
                remark(&format!("{}: {error}", session.key.as_str()));
            }
        }
    }
    let ended = counted(ended, "session");
    say(&format!("{ended} ended at once; gateways refuse every other one within 30 seconds"))?;
    if failed > 0 {
        return Err(format!("{failed} sessions could not be removed: gateways refuse them within 30 seconds").into());
    }
    Ok(())
}

/// Returns a user's sessions. `user` is a SID or a username. This function compares a username with the usernames in
/// the sessions, and ignores case.
async fn of(store: &dyn Store, user: &str, now: OffsetDateTime) -> Result<Vec<ListedSession>, Box<dyn Error>> {
    if let Ok(sid) = user.parse::<FlexUserSid>() {
        return Ok(store.of_user(&sid, now).await?);
    }
    let wanted = folded(user);
    let mut sessions = all(store, now).await?;
    sessions.retain(|session| session.origin.username.as_deref().is_some_and(|name| folded(name) == wanted));
    Ok(sessions)
}

async fn all(store: &dyn Store, now: OffsetDateTime) -> Result<Vec<ListedSession>, Box<dyn Error>> {
    let (mut sessions, mut after) = (Vec::new(), None);
    loop {
        let page = store.page(after.as_ref(), now).await?;
        sessions.extend(page.sessions);
        after = page.next;
        if after.is_none() {
            sessions.sort_by_key(|session: &ListedSession| session.created_at);
            return Ok(sessions);
        }
    }
}

fn line(session: &ListedSession) -> String {
    let at = |time: OffsetDateTime| time.format(&Rfc3339).unwrap_or_default();
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let ListedSession { key, profile, flex_user_sid, created_at, used_at, ends_at, origin } = session;
    let times = format!("{}  {}  {}", at(*created_at), at(*used_at), at(*ends_at));
    let (username, network, browser) = (known(&origin.username), known(&origin.network), known(&origin.browser));
    format!("{}  {flex_user_sid}  {username}  {profile}  {times}  {network}  {browser}", key.as_str())
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
