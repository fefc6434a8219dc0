//! The `relay` program: arguments, logging, exit code.
//!
//! Exit codes: 0 it was asked to stop, 1 it failed, 64 it was called wrongly (sysexits(3)).

use std::{env, ffi::OsString, path::PathBuf, process::ExitCode};

use orchestra_daemon::{lifeline, limits, log, manual, program::answer, signals};
use relay::{RelayOptions, check, config::DEFAULT_FILE, serve};

const USAGE: &str = "\
Serves the bundles of this host's depot to players that the conductor sends here.

Usage: relay [--config FILE] [--lifeline FD]
       relay --check [--config FILE]

Options:
      --config FILE   Configuration [default: /etc/orchestra/relay.toml]
      --lifeline FD   Stop when this descriptor reaches its end
      --check         Read the whole configuration and start nothing: each mistake is told with what
                      mends it. Exit code 0 if there is none, else 1
      --man           Print this as a man page, for man(1)
  -h, --help          Print this
  -V, --version       Print the version

Signals: HUP reads certificates and revocation list again; TERM and INT stop.
";

/// Called wrongly: `EX_USAGE` of sysexits(3).
const USAGE_CODE: u8 = 64;

fn main() -> ExitCode {
    let _log = log::start();
    if let Err(error) = signals::outlive_strays() {
        log::say(format_args!("relay: catching signals: {error}"));
        return ExitCode::FAILURE;
    }
    let options = match parse(env::args_os().skip(1)) {
        Ok(Parsed::Run(options)) => options,
        Ok(Parsed::Check(config)) => return check::check(&config).print(),
        Ok(Parsed::Help) => return answer("relay", USAGE),
        Ok(Parsed::Man) => {
            return answer("relay", &manual::page("relay", env!("CARGO_PKG_VERSION"), USAGE));
        }
        Ok(Parsed::Version) => {
            return answer("relay", concat!("relay ", env!("CARGO_PKG_VERSION"), "\n"));
        }
        Err(why) => {
            log::say(format_args!("relay: {why}\n\n{USAGE}"));
            return ExitCode::from(USAGE_CODE);
        }
    };
    limits::tell();
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::say(format_args!("relay: {}", orchestra_model::chain(&error)));
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug)]
enum Parsed {
    Run(RelayOptions),
    /// `--check` of this file.
    Check(PathBuf),
    Help,
    Man,
    Version,
}

fn parse(mut args: impl Iterator<Item = OsString>) -> Result<Parsed, String> {
    let mut options = RelayOptions { config: PathBuf::from(DEFAULT_FILE), lifeline: None };
    let mut is_check = false;
    while let Some(arg) = args.next() {
        // `--flag=VALUE` is the same as `--flag VALUE`.
        let (flag, attached) = match arg.to_str().and_then(|arg| arg.split_once('=')) {
            Some((flag, value)) => (flag.to_owned(), Some(OsString::from(value))),
            None => (arg.to_string_lossy().into_owned(), None),
        };
        let mut value =
            || attached.clone().or_else(|| args.next()).ok_or(format!("{flag} needs a value"));
        match flag.as_str() {
            "-h" | "--help" => return Ok(Parsed::Help),
            "-V" | "--version" => return Ok(Parsed::Version),
            "--man" => return Ok(Parsed::Man),
            "--config" => options.config = PathBuf::from(value()?),
            "--check" => is_check = true,
            "--lifeline" => options.lifeline = Some(lifeline::open(&value()?)?),
            _ => return Err(format!("unexpected argument {:?}", arg.to_string_lossy())),
        }
    }
    match (is_check, options.lifeline.is_some()) {
        (true, true) => Err("--check goes with --config alone".to_owned()),
        (true, false) => Ok(Parsed::Check(options.config)),
        (false, _) => Ok(Parsed::Run(options)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Parsed, String> {
        super::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn arguments_are_read_in_both_spellings() {
        let run = |args: &[&str]| match parse(args) {
            Ok(Parsed::Run(options)) => options.config,
            other => panic!("{other:?}"),
        };
        assert_eq!(run(&[]), PathBuf::from(DEFAULT_FILE));
        assert_eq!(run(&["--config", "a"]), PathBuf::from("a"));
        assert_eq!(run(&["--config=a=b"]), PathBuf::from("a=b"));
        assert!(matches!(parse(&["--check", "--config", "a"]), Ok(Parsed::Check(_))));
        assert!(matches!(parse(&["-h"]), Ok(Parsed::Help)));
        assert!(matches!(parse(&["--man"]), Ok(Parsed::Man)));
        assert!(matches!(parse(&["-V"]), Ok(Parsed::Version)));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [&["x"][..], &["--config"], &["--lifeline", "2"], &["--lifeline", "x"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
