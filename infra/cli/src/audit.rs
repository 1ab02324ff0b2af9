//! The audit trail of the operator's commands, in the format of the gateway's audit events.
//!
//! A command opens the trail before it changes anything, and fails if it cannot open the trail. So the trail contains
//! every change. On Unix, the operator's name comes from the operating system and not from an environment variable,
//! because anybody can change an environment variable.

use std::error::Error;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;

use flexgate::base::clock_rng::ClockRng;
use flexgate::domain::FlexUserSid;
use flexgate::telemetry::{self, Audit, Decision, RequestId};

/// The `issuer` in the audit events of every command.
const ISSUER: &str = "operator";
const VARIABLE: &str = "FLEXGATE_AUDIT_FILE";

/// The open audit trail of one command.
#[derive(Debug, Clone)]
pub struct Trail {
    request_id: RequestId,
    subject: String,
}

impl Trail {
    /// Opens `FLEXGATE_AUDIT_FILE`, or else `flexgate/audit.jsonl` in the user's state folder. If there is no such
    /// folder, for example in a container, events go to standard error.
    pub fn open() -> Result<Self, Box<dyn Error>> {
        match place() {
            Some(path) => {
                let file = appended(&path).map_err(|error| {
                    format!("audit events cannot be written to {} ({error}): set {VARIABLE}", path.display())
                })?;
                telemetry::start_audit(std::sync::Mutex::new(file));
            }
            None => telemetry::start_audit(std::io::stderr),
        }
        Ok(Self { request_id: RequestId::new(&ClockRng::system()), subject: whoami() })
    }

    /// Records that the operator's action succeeded.
    pub fn allowed(&self, action: &str, user: Option<&FlexUserSid>, reason: &str) {
        self.write(action, user, reason, Decision::Allowed);
    }

    /// Records that the operator's action was refused or failed.
    pub fn refused(&self, action: &str, user: Option<&FlexUserSid>, reason: &str) {
        self.write(action, user, reason, Decision::Refused);
    }

    fn write(&self, action: &str, user: Option<&FlexUserSid>, reason: &str, decision: Decision) {
        Audit {
            action,
            issuer: Some(ISSUER),
            subject: Some(&self.subject),
            flex_user_sid: user.map(FlexUserSid::as_str),
            reason: Some(reason),
        }
        .write(&self.request_id, decision);
    }
}

fn place() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let in_state = |folder: OsString| PathBuf::from(folder).join("flexgate/audit.jsonl");
    let at_home = |home: OsString| PathBuf::from(home).join(".local/state").into_os_string();
    set(VARIABLE)
        .map(PathBuf::from)
        .or_else(|| set("XDG_STATE_HOME").or_else(|| set("HOME").map(at_home)).map(in_state))
}

fn appended(path: &std::path::Path) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = File::options();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the name of this process's user from `/etc/passwd`, or the numeric user id.
#[cfg(unix)]
fn whoami() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
        (number == uid).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("uid:{uid}"))
}

#[cfg(not(unix))]
fn whoami() -> String {
    std::env::var("USERNAME").unwrap_or_else(|_| "unknown".to_owned())
}
