//! The `player` program: reads its arguments and its configuration, and becomes sitter or agent.
//!
//! Exit codes: 0 it was asked to stop, 1 it failed, 64 it was called wrongly.

use std::{
    env,
    error::Error,
    ffi::OsString,
    io::{self, Write as _},
    os::fd::RawFd,
    path::{Path, PathBuf},
    process::ExitCode,
};

use orchestra_daemon::{lifeline, limits, log, manual, program::answer, signals};
use player::{
    agent, changer,
    config::{self, Config},
    guard, prober, sitter,
};

const USAGE: &str = "\
Runs the scores of this host as a conductor asks.

Usage: player [--config FILE] [--lifeline FD]
       player --check [--config FILE]

Options:
      --config FILE   Configuration [default: /etc/orchestra/player.toml]
      --lifeline FD   When this descriptor reaches its end: kill every attempt, and exit
      --check         Read the whole configuration, scores and users included, and start nothing:
                      each mistake is told with what mends it. Exit code 0 if there is none, else 1
      --man           Print this as a man page, for man(1)
  -h, --help          Print this
  -V, --version       Print the version

Signals: HUP rescans the scores, USR1 restarts the agent, USR2 executes the sitter anew in place,
TERM stops.
";

/// Called wrongly: `EX_USAGE` of sysexits(3).
const USAGE_CODE: u8 = 64;

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.peek().is_some_and(|first| first == "launcher") {
        return launch();
    }
    if arguments.peek().is_some_and(|first| first == "prober") {
        return probe();
    }
    if arguments.peek().is_some_and(|first| first == "guard") {
        return stand_guard();
    }
    if arguments.peek().is_some_and(|first| first == "change") {
        return change();
    }
    let _log = sitter::start_log();
    if let Err(error) = signals::outlive_strays() {
        log::say(format_args!("player: catching signals: {error}"));
        return ExitCode::FAILURE;
    }
    let ended = match Args::parse(arguments) {
        Ok(Parsed::Run(args)) => run(&args),
        Ok(Parsed::Check { config }) => return sitter::check(&config).print(),
        Ok(Parsed::Help) => return answer("player", USAGE),
        Ok(Parsed::Man) => {
            return answer("player", &manual::page("player", env!("CARGO_PKG_VERSION"), USAGE));
        }
        Ok(Parsed::Version) => {
            return answer("player", concat!("player ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(why) => {
            log::say(format_args!("player: {why}\n\n{USAGE}"));
            return ExitCode::from(USAGE_CODE);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(format_args!("player: {}", orchestra_model::chain(error.as_ref())));
            ExitCode::FAILURE
        }
    }
}

/// `player launcher`, which only a sitter calls. It does nothing else, and has no thread for a log.
fn launch() -> ExitCode {
    match sitter::launcher::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The launcher makes no process any more, so there may be a second thread.
            let _log = sitter::start_log();
            log::say(format_args!("player: {}", orchestra_model::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// `player prober`, which only a sitter calls.
fn probe() -> ExitCode {
    match prober::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _log = sitter::start_log();
            log::say(format_args!("player: {}", orchestra_model::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

/// `player change`, which only a sitter calls. What it tells is the output of an attempt.
fn change() -> ExitCode {
    match changer::run() {
        Ok(told) => {
            // Whoever reads it may have gone; what was done is done.
            let _ = writeln!(io::stdout(), "{told}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            let _log = sitter::start_log();
            log::say(why);
            ExitCode::FAILURE
        }
    }
}

/// `player guard`, which only a sitter calls.
fn stand_guard() -> ExitCode {
    match guard::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _log = sitter::start_log();
            log::say(format_args!("player: {}", orchestra_model::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&args.config)?;
    match args.role {
        Role::Agent => Ok(agent::run(&config)?),
        Role::Sitter { lifeline } => {
            // The agent has the same limits, and shares this log.
            limits::tell();
            Ok(sitter::run(config, lifeline)?)
        }
    }
}

/// What the program is to do.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Run(Args),
    /// `--check` of this file.
    Check {
        config: PathBuf,
    },
    Help,
    Man,
    Version,
}

#[derive(Debug, PartialEq, Eq)]
struct Args {
    role: Role,
    config: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Role {
    Sitter {
        lifeline: Option<RawFd>,
    },
    /// `player agent`, which only a sitter calls.
    Agent,
}

impl Args {
    fn parse(args: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
        let mut args = args.peekable();
        let agent = args.next_if(|first| first == "agent").is_some();
        let mut config = None;
        let mut lifeline = None;
        let mut is_check = false;
        while let Some(arg) = args.next() {
            // `--flag=VALUE` is the same as `--flag VALUE`.
            let (flag, attached) = match arg.to_str().and_then(|arg| arg.split_once('=')) {
                Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
                None => (arg.to_string_lossy().into_owned(), None),
            };
            let value = |args: &mut dyn Iterator<Item = OsString>| {
                attached.clone().or_else(|| args.next()).ok_or(format!("{flag} needs a value"))
            };
            match flag.as_str() {
                "-h" | "--help" => return Ok(Parsed::Help),
                "--man" => return Ok(Parsed::Man),
                "-V" | "--version" => return Ok(Parsed::Version),
                "--config" => config = Some(PathBuf::from(value(&mut args)?)),
                "--check" if !agent => is_check = true,
                "--lifeline" if !agent => {
                    lifeline = Some(lifeline::descriptor(&value(&mut args)?)?);
                }
                _ => return Err(format!("unexpected argument {:?}", arg.to_string_lossy())),
            }
        }
        let config = config.unwrap_or_else(|| Path::new(config::DEFAULT_FILE).to_owned());
        if is_check {
            return match lifeline {
                None => Ok(Parsed::Check { config }),
                Some(_) => Err("--check goes with --config alone".to_owned()),
            };
        }
        let role = if agent { Role::Agent } else { Role::Sitter { lifeline } };
        Ok(Parsed::Run(Args { role, config }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Parsed, String> {
        Args::parse(args.iter().map(OsString::from))
    }

    fn sitter(config: &str, lifeline: Option<RawFd>) -> Result<Parsed, String> {
        Ok(Parsed::Run(Args { role: Role::Sitter { lifeline }, config: config.into() }))
    }

    #[test]
    fn arguments_are_read_in_both_spellings() {
        assert_eq!(parse(&[]), sitter(config::DEFAULT_FILE, None));
        assert_eq!(parse(&["--config", "a"]), sitter("a", None));
        assert_eq!(parse(&["--lifeline=7", "--config=a=b"]), sitter("a=b", Some(7)));
        let agent = Args { role: Role::Agent, config: "a".into() };
        assert_eq!(parse(&["agent", "--config", "a"]), Ok(Parsed::Run(agent)));
        assert_eq!(parse(&["--check", "--config=a"]), Ok(Parsed::Check { config: "a".into() }));
        assert_eq!(parse(&["--help"]), Ok(Parsed::Help));
        assert_eq!(parse(&["--man"]), Ok(Parsed::Man));
        assert_eq!(parse(&["agent", "-V"]), Ok(Parsed::Version));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            &["x"][..],
            &["--config"],
            &["--lifeline", "2"],
            &["--lifeline", "x"],
            &["agent", "--lifeline", "7"],
            &["agent", "--check"],
            &["--check", "--lifeline", "7"],
            &["--config", "a", "agent"],
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn causes_follow_their_error() {
        let error = Config::load(Path::new("/nonexistent/player.toml")).unwrap_err();
        let text = orchestra_model::chain(&error);
        assert!(text.starts_with("reading configuration /nonexistent/player.toml: "), "{text}");
    }
}
