//! Commands and settings: what is asked of the process, from its arguments and its environment.
//!
//! [`list`] declares every setting once; flags, environment variables, configuration keys, help and
//! defaults all follow from it. A flag wins over the environment, the environment over the default.

pub mod list;
mod resolve;
pub mod serve;
pub mod settings;
mod values;

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::{Arg, ArgAction, ArgMatches};

use list::{Setting, Takes};
use resolve::{Environment, Problem};
use settings::Profile;
pub use settings::Settings;

/// Exit codes of the process.
pub mod exit {
    /// All went well.
    pub const OK: u8 = 0;
    /// Something failed while running.
    pub const FAULT: u8 = 1;
    /// The command line cannot be understood.
    pub const USAGE: u8 = 2;
    /// The configuration or the machine is not fit to run.
    pub const CONFIGURATION: u8 = 78;
}

/// What the process shall do.
#[derive(Debug)]
pub enum Command {
    /// Serve.
    Serve(Box<Settings>),
    /// Print the version.
    Version,
}

/// Text to print instead of running: help, or what is wrong.
#[derive(Debug)]
pub struct Stop {
    /// The text, its last line ended.
    pub text: String,
    /// One of [`exit`]; with [`exit::OK`] the text belongs on standard output.
    pub code: u8,
}

/// Reads the arguments, the program's name first, and the environment.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Command, Stop> {
    let matches = program().try_get_matches_from(arguments)?;
    let flags: &[&ArgMatches] = match matches.subcommand() {
        Some(("version", _)) => return Ok(Command::Version),
        Some(("serve", own)) => &[&matches, own],
        _ => &[&matches],
    };
    let settings = resolve::resolve(flags, Environment::new(environment))?;
    Ok(Command::Serve(Box::new(settings)))
}

/// What `lockstep version` prints.
pub fn version() -> String {
    format!("lockstep {}\n", env!("CARGO_PKG_VERSION"))
}

impl From<clap::Error> for Stop {
    fn from(error: clap::Error) -> Self {
        let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
        Self { text: error.render().to_string(), code }
    }
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self { text: format!("{problem}\n"), code: problem.code }
    }
}

/// The program's commands and flags.
fn program() -> clap::Command {
    let serve = clap::Command::new("serve").about("Serve; what happens without a command as well");
    let version = clap::Command::new("version").about("Print the version");
    with_settings(clap::Command::new("lockstep"))
        .version(env!("CARGO_PKG_VERSION"))
        .about(env!("CARGO_PKG_DESCRIPTION"))
        .after_help(after_help())
        .disable_help_subcommand(true)
        .max_term_width(HELP_COLUMNS)
        .subcommand(with_settings(serve).after_help(after_help()))
        .subcommand(version)
}

const HELP_COLUMNS: usize = 100;

fn with_settings(command: clap::Command) -> clap::Command {
    command.args(list::every().map(argument))
}

fn argument(setting: &'static Setting) -> Arg {
    let variables: Vec<_> = setting.variables().collect();
    let (variables, default) = (variables.join(", "), setting.default_text());
    let argument = Arg::new(setting.flag)
        .long(setting.flag)
        .help_heading(setting.group.title())
        .help(format!("{} [env: {variables}] [default: {default}]", setting.doc));
    let argument = match setting.short {
        Some(short) => argument.short(short),
        None => argument,
    };
    match setting.takes {
        Takes::Nothing => argument.action(ArgAction::SetTrue).overrides_with(setting.flag),
        Takes::One(kind) => argument.value_name(kind).action(ArgAction::Set),
        Takes::Many(kind) => argument.value_name(kind).action(ArgAction::Append),
    }
}

fn after_help() -> String {
    let mut text = "Profiles:\n".to_owned();
    for profile in Profile::every() {
        let (name, port) = (profile.name(), profile.port());
        let summary = match profile {
            Profile::All => "every protocol, each under its prefix",
            Profile::One(_, drop_in) => drop_in.summary,
        };
        let _ = writeln!(text, "  {name:<12} {summary}, port {port}");
    }
    text.push_str(
        "\nA flag wins over the environment, the environment over the default.\n\
         Exit codes: 0 all went well, 1 fault, 2 usage, 78 bad configuration or machine.",
    );
    text
}

#[cfg(test)]
mod tests;
