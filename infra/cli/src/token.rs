//! `flexgate token`: mints or checks a token. It reads tokens only from standard input, because other processes can
//! read command-line arguments.

use std::error::Error;
use std::io::{IsTerminal as _, Read as _};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use flexgate::authn::{CallerError, TokenFault};
use flexgate::domain::{Caller, TokenTtl, role_names};
use flexgate::twilio::{TokenInfo, TwilioError};
use secrecy::{ExposeSecret as _, SecretString};
use time::format_description::well_known::Rfc3339;

use crate::operator::{Operator, deadline};
use crate::terminal::{harmless, remark, say};

/// The maximum length of standard input, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// What to do.
#[derive(Debug, Args)]
#[command(after_help = "Reads the same environment variables as flexgate serve --live.\n\n\
    Examples:\n  \
    flexgate token mint --user ada --ttl 600\n  \
    flexgate token mint --user ada | flexgate token check\n  \
    flexgate token claims < token.txt")]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Mint a token for a Flex user; prints only the token to standard output
    Mint {
        /// The username, or the SID (FU…)
        #[arg(long, value_name = "NAME")]
        user: String,
        /// The token's lifetime in seconds, from 60 to the configured maximum [default: that maximum, but at most an
        /// hour]
        #[arg(long, value_name = "SECONDS")]
        ttl: Option<u64>,
    },
    /// Ask Twilio what the token on standard input is valid for; prints JSON
    Claims,
    /// Check whether the token on standard input is valid; exits 1 if not. It may be a Flex token, or a caller's token
    /// from a trusted issuer. If a claim makes a caller's token invalid, names the claim
    Check,
}

pub async fn run(options: &Token) -> Result<ExitCode, Box<dyn Error>> {
    let operator = Operator::from_environment()?;
    match &options.action {
        Action::Mint { user, ttl } => mint(&operator, user, *ttl).await,
        Action::Claims => {
            let info = operator.sso().token_info(&read_token()?, deadline()).await?;
            say(&serde_json::to_string_pretty(&info)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Check => check(&operator, &read_token()?).await,
    }
}

async fn mint(operator: &Operator, user: &str, ttl: Option<u64>) -> Result<ExitCode, Box<dyn Error>> {
    let longest = operator.policy.max_ttl;
    let ttl = match ttl {
        None => TokenTtl::DEFAULT.min(longest),
        Some(seconds) => TokenTtl::from_seconds(seconds)
            .ok()
            .filter(|ttl| *ttl <= longest)
            .ok_or_else(|| format!("--ttl must be from 60 to {} (FLEXGATE_MAX_TTL_SECONDS)", longest.seconds()))?,
    };
    let user = operator.user(user).await?;
    let refused = |reason: &str| operator.trail.refused("mint", Some(&user.flex_user_sid), reason);
    if user.deactivated != Some(false) {
        refused("the user is deactivated, or Twilio does not say");
        return Err("the user is deactivated, or Twilio does not say: no token".into());
    }
    if user.roles.as_ref().is_none_or(|roles| roles.exceed(&operator.policy.allowed_roles)) {
        refused("role_forbidden");
        return Err("the user has roles that are not among FLEXGATE_ALLOWED_ROLES: no token".into());
    }
    let minted = operator.flex().mint(&user.flex_user_sid, ttl, deadline()).await;
    let minted = minted.inspect_err(|error| refused(&error.to_string()))?;
    if minted.info.flex_user_sid != user.flex_user_sid || minted.info.expiration <= operator.clock_rng().now() {
        refused("Twilio minted another token than was asked for");
        return Err("Twilio minted another token than was asked for; it was thrown away".into());
    }
    operator.trail.allowed("mint", Some(&user.flex_user_sid), &format!("{} s", ttl.seconds()));
    remark(&describe(&minted.info)?);
    say(minted.access_token.expose_secret())?;
    Ok(ExitCode::SUCCESS)
}

async fn check(operator: &Operator, token: &SecretString) -> Result<ExitCode, Box<dyn Error>> {
    let fault = match operator.verifier()?.verify_token(token.expose_secret(), deadline()).await {
        Ok(caller) => {
            say(&format!("good: {}", describe_caller(&caller)?))?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(CallerError::Invalid(fault)) if is_of_no_issuer(&fault) => Some(fault),
        Err(CallerError::NotConfigured | CallerError::TooLarge | CallerError::Missing) => None,
        Err(CallerError::Invalid(fault)) => {
            say(&format!("not good: it is a caller's token, and {fault}"))?;
            return Ok(ExitCode::FAILURE);
        }
        Err(error @ CallerError::Unavailable { .. }) => return Err(error.into()),
    };
    let refusal = match operator.sso().token_info(token, deadline()).await {
        Ok(info) if info.expiration > operator.clock_rng().now() => {
            say(&format!("good: {}", describe(&info)?))?;
            return Ok(ExitCode::SUCCESS);
        }
        Ok(info) => format!("it expired at {}", info.expiration.format(&Rfc3339)?),
        Err(TwilioError::Foreign) => "it is of another account or instance than the configured one".to_owned(),
        Err(TwilioError::Refused(error)) => match error.code {
            Some(20104) => "it has expired (20104)".to_owned(),
            Some(code) => format!("Twilio does not accept it ({code}): only tokens that Twilio minted for Flex are"),
            None => "Twilio does not accept it".to_owned(),
        },
        Err(error) => return Err(error.into()),
    };
    // A token with one of these faults is a JWT, so it is probably a caller's token. Therefore also print why it is not
    // a valid caller's token.
    let as_callers = match fault {
        Some(fault @ (TokenFault::IssuerUnknown | TokenFault::IssuerMissing)) => {
            format!("; as a caller's token: {fault}")
        }
        _ => String::new(),
    };
    say(&format!("not good: {refusal}{as_callers}"))?;
    Ok(ExitCode::FAILURE)
}

/// Returns true if the fault shows that the token comes from no issuer in `FLEXGATE_ISSUERS`. The token may then be a
/// Flex token.
fn is_of_no_issuer(fault: &TokenFault) -> bool {
    matches!(
        fault,
        TokenFault::Shape
            | TokenFault::Encoding(_)
            | TokenFault::Json { .. }
            | TokenFault::NotAnObject(_)
            | TokenFault::IssuerMissing
            | TokenFault::IssuerUnknown
    )
}

/// Describes a caller: the username, the roles, and the unusable claims.
fn describe_caller(caller: &Caller) -> Result<String, time::error::Format> {
    let username = caller.username.as_ref().map_or("no Flex user", |username| username.as_str());
    let roles = if caller.roles.is_empty() { "none".to_owned() } else { role_names(&caller.roles) };
    let unused = if caller.unused.is_empty() { String::new() } else { format!(" ({})", caller.unused) };
    Ok(format!(
        "a caller's token of {}, for {}, scopes {}, roles {roles}, until {}{}",
        harmless(&caller.identity.issuer),
        harmless(username),
        caller.scopes,
        caller.expires_at.format(&Rfc3339)?,
        harmless(&unused),
    ))
}

fn describe(info: &TokenInfo) -> Result<String, time::error::Format> {
    let name = info.username.as_deref().map_or_else(|| info.flex_user_sid.to_string(), harmless);
    Ok(format!(
        "{name}, roles {}, until {}",
        harmless(&info.roles.names().join(" ")),
        info.expiration.format(&Rfc3339)?
    ))
}

fn read_token() -> Result<SecretString, Box<dyn Error>> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        remark("Paste the token and end with Enter and Ctrl-D:");
    }
    let mut text = String::new();
    stdin.lock().take(MAX_TOKEN).read_to_string(&mut text).map_err(|_| "standard input is not text")?;
    let token = text.trim();
    let plain = !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
    if plain { Ok(token.into()) } else { Err("standard input must hold one token".into()) }
}
