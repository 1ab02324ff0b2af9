//! The command line.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::doctor::Doctor;
use crate::events::Events;
use crate::manual::{Completions, Man};
use crate::serve::Serve;
use crate::token::Token;
use crate::users::Users;
use crate::{demo, doctor, events, manual, scim, serve, token, users};

/// The back end that signs people in to the Twilio Flex SDK.
#[derive(Debug, Parser)]
#[command(
    name = "flexgate",
    version,
    after_help = "Examples:\n  \
        flexgate                 try it: gateway, simulated Twilio and a sign-in page, nothing to configure\n  \
        flexgate demo            run every flow once and print what happened\n  \
        flexgate serve --live    serve real Twilio, configured by the environment (docs/configuration.md)\n  \
        flexgate doctor          check that configuration, and say what to mend\n  \
        flexgate users import people.csv --dry-run\n  \
        flexgate token mint --user ada | flexgate token check"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the gateway (what happens without any command)
    Serve(Serve),
    /// Run every flow end to end against the simulator, a line each; fails if one fails
    Demo,
    /// Identity events that could not be applied: look at them, try them again
    Events(Events),
    /// Credentials for identity systems that provision through SCIM
    #[command(subcommand)]
    Scim(Scim),
    /// Check this set-up, a line each, and say what to do about what is wrong
    Doctor(Doctor),
    /// Look at Flex users, provision them, import them from a file
    Users(Users),
    /// Mint a Flex token, or see what one is good for
    Token(Token),
    /// Write completions for a shell
    Completions(Completions),
    /// Write the manual page, of one command or of all
    Man(Man),
}

#[derive(Debug, Subcommand)]
enum Scim {
    /// Make a token; prints it, once, and the document to store as its secret
    Token {
        /// What the token is called in audit events
        #[arg(long, default_value = "scim", value_name = "NAME")]
        id: String,
    },
}

impl Cli {
    /// Runs the command.
    pub async fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.command {
            Some(Command::Doctor(options)) => return doctor::run(&options).await,
            Some(Command::Users(options)) => return users::run(&options).await,
            Some(Command::Token(options)) => return token::run(&options).await,
            Some(Command::Completions(options)) => manual::completions(&options, Self::command()),
            Some(Command::Man(options)) => manual::page(&options, Self::command()),
            Some(Command::Demo) => demo::run().await,
            Some(Command::Events(options)) => events::run(&options).await,
            Some(Command::Scim(Scim::Token { id })) => scim::token(&id),
            Some(Command::Serve(options)) => serve::run(&options).await,
            None => serve::run(&self.serve).await,
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says why, with every cause, on standard error. Whoever reads no further, like `head`, has what they
/// wanted.
pub fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe) {
        return ExitCode::SUCCESS;
    }
    let mut text = format!("flexgate: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    let _nowhere_left_to_complain = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
