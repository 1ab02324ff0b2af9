//! The command line.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use flexgate::base::error_chain::with_causes;

use crate::activity::Activity;
use crate::doctor::Doctor;
use crate::events::Events;
use crate::manual::{Completions, Man};
use crate::serve::Serve;
use crate::sessions::Sessions;
use crate::token::Token;
use crate::users::Users;
use crate::verify::Verify;
use crate::{activity, demo, doctor, events, manual, scim, serve, sessions, token, users, verify};

/// The back end that signs people in to the Twilio Flex SDK.
#[derive(Debug, Parser)]
#[command(
    name = "flexgate",
    version,
    after_help = "Examples:\n  \
        flexgate                 try it: gateway, simulated Twilio and a sign-in page, without configuration\n  \
        flexgate demo            run every flow once and print what happened\n  \
        flexgate serve --live    serve real Twilio, configured by the environment (docs/configuration.md)\n  \
        flexgate doctor          check that configuration, and suggest fixes\n  \
        flexgate verify          find out what that Twilio account does, with a user of its own\n  \
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
    /// Serve the gateway (the default command)
    Serve(Serve),
    /// Run every flow end to end against the simulator and print one line for each; fails if any flow fails
    Demo,
    /// List, show and retry identity events that could not be applied
    Events(Events),
    /// List what Flexgate refused or ignored in the last seven days, and why
    Activity(Activity),
    /// Credentials for identity systems that provision through SCIM
    #[command(subcommand)]
    Scim(Scim),
    /// Check this set-up, one line per check, and suggest fixes
    Doctor(Doctor),
    /// Show, provision and import Flex users
    Users(Users),
    /// List who is signed in, end sessions, and block all sign-ins
    Sessions(Sessions),
    /// Mint a Flex token, or check one
    Token(Token),
    /// Check that the configured account behaves as Twilio documents, and find out what the documentation leaves open
    Verify(Verify),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page of one command, or of the whole program
    Man(Man),
}

#[derive(Debug, Subcommand)]
enum Scim {
    /// Make a token. Prints the token, which is shown only once, and the document to store as the secret
    Token {
        /// The token's name in audit events
        #[arg(long, default_value = "scim", value_name = "NAME")]
        id: String,
    },
}

impl Cli {
    /// Parses the command line. Refuses options of `serve` with any other command, because they would have no effect.
    pub fn parse_strictly() -> Self {
        let mut command = Self::command();
        let matches = command.get_matches_mut();
        if let Some(name) = matches.subcommand_name() {
            let serve = Serve::augment_args(clap::Command::new("serve"));
            let given = serve.get_arguments().find(|argument| {
                matches.value_source(argument.get_id().as_str()) == Some(clap::parser::ValueSource::CommandLine)
            });
            if let Some(option) = given.and_then(clap::Arg::get_long) {
                let hint = if name == "serve" {
                    format!("write flexgate serve --{option} …")
                } else {
                    format!(
                        "flexgate {name} reads its settings from the environment (docs/configuration.md); for a simulated \
                         set-up run . .flexgate/environment first"
                    )
                };
                let text = format!("--{option} is an option of flexgate serve and means nothing to {name}: {hint}");
                command.error(clap::error::ErrorKind::ArgumentConflict, text).exit();
            }
        }
        Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
    }

    /// Runs the command.
    pub async fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        match self.command {
            Some(Command::Doctor(options)) => return doctor::run(&options).await,
            Some(Command::Users(options)) => return users::run(&options).await,
            Some(Command::Token(options)) => return token::run(&options).await,
            Some(Command::Verify(options)) => return verify::run(&options).await,
            Some(Command::Completions(options)) => manual::completions(&options, Self::command()),
            Some(Command::Man(options)) => manual::page(&options, Self::command()),
            Some(Command::Demo) => demo::run().await,
            Some(Command::Events(options)) => events::run(&options).await,
            Some(Command::Activity(options)) => activity::run(&options).await,
            Some(Command::Sessions(options)) => sessions::run(&options).await,
            Some(Command::Scim(Scim::Token { id })) => scim::token(&id),
            Some(Command::Serve(options)) => serve::run(&options).await,
            None => serve::run(&self.serve).await,
        }?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Reports the error and its causes on standard error, and returns the exit code. A broken pipe does not count as a
/// failure, because programs such as `head` close the pipe early.
pub fn failed(error: &(dyn Error + 'static)) -> ExitCode {
    let mut chain = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    let is_broken_pipe = |error: &(dyn Error + 'static)| {
        let of_csv = error.downcast_ref::<csv::Error>().and_then(|error| match error.kind() {
            csv::ErrorKind::Io(error) => Some(error),
            _ => None,
        });
        let error = error.downcast_ref::<std::io::Error>().or(of_csv);
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    };
    if chain.any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let text = format!("flexgate: {}", with_causes(error));
    let _nowhere_left_to_complain = writeln!(std::io::stderr(), "{text}");
    ExitCode::FAILURE
}
