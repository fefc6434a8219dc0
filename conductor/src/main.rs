//! The `conductor` program: arguments, logging, exit code.
//!
//! Exit codes: 0 it was asked to stop, 1 it failed, 64 it was called wrongly (sysexits(3)).

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use conductor::{Options, check, config::DEFAULT_DIR, serve};
use orchestra_daemon::{cores, lifeline, limits, log, manual, program::answer, signals};

const USAGE: &str = "\
Holds the flows and the players' sessions of a fleet.

Usage: conductor [--config-dir DIR] [--new-store] [--allow-removal] [--take-over]
                 [--lifeline FD]
       conductor --check [--config-dir DIR] [--new-store]

Options:
      --config-dir DIR   Where conductor.toml, players, groups.toml, deployments.d and
                         services.d are [default: /etc/orchestra]
      --new-store        Make a store where there never was one; without this, a state directory
                         that is empty is an error. A store that is there is opened as ever
      --allow-removal    Start although the players file lacks a large part of the known fleet, or
                         the files lack limits that were in force
      --take-over        Start although files of services.d name services that somebody applied;
                         they belong to their files from then on
      --lifeline FD      Stop when this descriptor reaches its end
      --check            Read the whole configuration and start nothing: each mistake is told with
                         what mends it. Exit code 0 if there is none, else 1
      --man              Print this as a man page, for man(1)
  -h, --help             Print this
  -V, --version          Print the version

Signals: HUP reloads players, groups, deployments, limits and certificates; TERM and INT stop in order.
The address that it listens on is printed, and written to the state directory's `address`.
";

fn main() -> ExitCode {
    let _log = log::start();
    if let Err(error) = signals::outlive_strays() {
        log::say(format_args!("conductor: catching signals: {error}"));
        return ExitCode::FAILURE;
    }
    let options = match parse(env::args_os().skip(1)) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Check { directory, new_store }) => return check(&directory, new_store).print(),
        Ok(Parsed::Help) => return answer("conductor", USAGE),
        Ok(Parsed::Man) => {
            return answer(
                "conductor",
                &manual::page("conductor", env!("CARGO_PKG_VERSION"), USAGE),
            );
        }
        Ok(Parsed::Version) => {
            return answer("conductor", concat!("conductor ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(why) => {
            log::say(format_args!("conductor: {why}\n\n{USAGE}"));
            return ExitCode::from(64);
        }
    };
    limits::tell();
    cores::forbid();
    match serve(*options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(format_args!("conductor: {}", orchestra_model::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

enum Parsed {
    Run(Box<Options>),
    /// `--check` of a directory, and whether there need not be a store yet.
    Check {
        directory: PathBuf,
        new_store: bool,
    },
    Help,
    Man,
    Version,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut options = Options { config_dir: PathBuf::from(DEFAULT_DIR), ..Options::default() };
    let mut is_check = false;
    while let Some(arg) = args.next() {
        let (flag, attached) = match arg.to_str().and_then(|arg| arg.split_once('=')) {
            Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
            None => (arg.to_string_lossy().into_owned(), None),
        };
        let mut value =
            || attached.clone().or_else(|| args.next()).ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "-h" | "--help" => return Ok(Parsed::Help),
            "--man" => return Ok(Parsed::Man),
            "-V" | "--version" => return Ok(Parsed::Version),
            "--config-dir" => options.config_dir = PathBuf::from(value()?),
            "--new-store" => options.new_store = true,
            "--allow-removal" => options.allow_removal = true,
            "--take-over" => options.take_over = true,
            "--check" => is_check = true,
            "--lifeline" => options.lifeline = Some(lifeline::open(&value()?)?),
            _ => return Err(format!("unexpected argument {:?}", arg.to_string_lossy())),
        }
    }
    if !is_check {
        return Ok(Parsed::Run(Box::new(options)));
    }
    if options.allow_removal || options.take_over || options.lifeline.is_some() {
        return Err("--check goes with --config-dir and --new-store alone".to_owned());
    }
    Ok(Parsed::Check { directory: options.config_dir, new_store: options.new_store })
}
