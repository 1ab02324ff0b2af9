//! `flexgate scim`: credentials for identity systems.

use std::error::Error;
use std::io::Write as _;

use flexgate::base::clock_rng::SystemRng;
use flexgate_provision::NewToken;
use secrecy::ExposeSecret as _;

use crate::audit::Trail;

/// Generates a token and prints it. Flexgate stores only the token's hash.
pub fn token(id: &str) -> Result<(), Box<dyn Error>> {
    if !(1..=32).contains(&id.len()) || !id.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("--id must have 1 to 32 letters, digits or signs".into());
    }
    let trail = Trail::open()?;
    let made = NewToken::generate(id, &SystemRng);
    trail.allowed("make_scim_token", None, id);
    let mut out = std::io::stdout();
    writeln!(out, "Token, shown this once; give it to the identity system:\n\n  {}\n", made.token.expose_secret())?;
    writeln!(
        out,
        "Document for the secret SCIM_TOKENS_SECRET_ID. To rotate, add the new entry beside the old one,\n\
         switch the identity system over, then remove the old entry:\n\n  {}",
        serde_json::to_string(&made.hashes)?
    )?;
    Ok(out.flush()?)
}
