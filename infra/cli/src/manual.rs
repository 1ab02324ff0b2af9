//! `flexgate completions` and `flexgate man`, both generated from the definition of the command line.

use std::error::Error;
use std::io::Write as _;

use clap::{Args, Command};
use clap_complete::Shell;

/// For which shell.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    flexgate completions bash > ~/.local/share/bash-completion/completions/flexgate\n  \
    flexgate completions zsh > ~/.zfunc/_flexgate")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Of which command.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    flexgate man | man -l -\n  \
    flexgate man users import > flexgate-users-import.1")]
pub struct Man {
    /// The command, such as "users import"; by default, the whole program
    command: Vec<String>,
}

/// Writes the completions.
pub fn completions(options: &Completions, mut program: Command) -> Result<(), Box<dyn Error>> {
    // The generator panics if the reader closes the pipe early. So generate the script in memory first.
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut program, "flexgate", &mut script);
    Ok(std::io::stdout().write_all(&script)?)
}

/// Writes the manual page.
pub fn page(options: &Man, mut program: Command) -> Result<(), Box<dyn Error>> {
    program.build();
    let mut chosen = &program;
    for name in &options.command {
        chosen = chosen.find_subcommand(name).ok_or("there is no such command: see flexgate --help")?;
    }
    let name = chosen.get_display_name().unwrap_or(chosen.get_name()).to_owned();
    let mut text = Vec::new();
    clap_mangen::Man::new(chosen.clone()).title(name).render(&mut text)?;
    Ok(std::io::stdout().write_all(&text)?)
}
