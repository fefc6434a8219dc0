//! Entry points of the three programs: the environment comes in here, the exit code goes out.

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, error::ErrorKind};
use orchestra_client::{Exit, config::Environment};

use crate::{
    console::{Colour, Console, tell},
    error::{Failure, Render as _},
    flow::{status::StatusArgs, submit::SubmitArgs},
    manual::short,
    orc::OrcArgs,
    view::{Style, json},
};

/// `submitjob`: submits a score over hosts, or a flow from a file.
pub fn submitjob() -> ExitCode {
    run(|args: SubmitArgs, environment| args.submit.run(environment))
}

/// `getstatus`: tells where flows stand.
pub fn getstatus() -> ExitCode {
    run(|args: StatusArgs, environment| args.status.run(environment))
}

/// `orc`: everything else.
pub fn orc() -> ExitCode {
    run(|args: OrcArgs, environment| args.noun.run(environment))
}

fn run<A: Parser>(command: impl FnOnce(A, Environment) -> Result<u8, Failure>) -> ExitCode {
    let code = match A::try_parse() {
        Ok(args) => match command(args, Environment::read()) {
            Ok(code) => code,
            Err(failure) => {
                let mut message = failure.render();
                if failure.exit == Exit::Hosts {
                    message.extend(of_the_first(env::args().skip(1)).map(hint));
                }
                tell(&message, Style::default());
                failure.exit.code()
            }
        },
        Err(error) if error.use_stderr() => {
            let message = error.to_string();
            let told = told(&message, of_the_first(env::args().skip(1)));
            tell(&told.text, Style::default());
            misused(&told);
            Exit::Usage.code()
        }
        Err(error) => match asked_for::<A>(&error) {
            Ok(()) => Exit::Ok.code(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.code(),
            Err(_) => Exit::Broken.code(),
        },
    };
    ExitCode::from(code)
}

/// What helps whoever types as for the first Orchestra, whose options had one dash, and whose `--all-of` came
/// before the score.
fn of_the_first(words: impl Iterator<Item = String>) -> Option<&'static str> {
    for (place, word) in words.enumerate() {
        if word.trim_start_matches('-').starts_with("audience-sock") {
            return Some(
                "the conductor is asked over TLS and by no socket: orc doctor tells whether and how it is reached",
            );
        }
        if word.starts_with("-all-of") || (place == 0 && word == "--all-of") {
            return Some(
                "what was `submitjob -all-of SCORE PLAYER... ! KEY VALUE` is `submitjob SCORE KEY=VALUE \
                 --all-of PLAYER,...`; orc import - reads such lines",
            );
        }
    }
    None
}

/// A command line that does not parse.
struct Misuse<'a> {
    what: &'a str,
    hint: Option<&'a str>,
    /// All of it, as a person is told.
    text: String,
}

/// Returns what is told of a command line that does not parse. Of the parser's text the first paragraph says what
/// is wrong, and a tip what may have been meant, unless we know better.
fn told<'a>(message: &'a str, better: Option<&'a str>) -> Misuse<'a> {
    let (what, rest) = message.split_once("\n\n").unwrap_or((message, ""));
    let tip = || rest.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let text =
        better.map_or_else(|| message.to_owned(), |better| format!("{what}\n{}", hint(better)));
    let what = what.strip_prefix("error: ").unwrap_or(what).trim_end();
    Misuse { what, hint: better.or_else(tip), text }
}

fn hint(words: &str) -> String {
    format!("hint: {words}\n")
}

/// Prints help or version, which were asked for.
fn asked_for<A: Parser>(asked: &clap::Error) -> io::Result<()> {
    let words = || env::args().skip(1);
    if asked.kind() != ErrorKind::DisplayHelp {
        return asked.print();
    }
    let mut command = short::named(&A::command(), words());
    let help = match short::is_asked(words()) {
        true => short::help(command),
        // One screen: the parser's own would show what is hidden there.
        false => command.render_help().to_string(),
    };
    io::stdout().write_all(help.as_bytes())
}

/// Answers a program that asked for a document with a command line that does not parse.
fn misused(misuse: &Misuse<'_>) {
    if !env::args_os().take_while(|word| word != "--").any(|word| word == "--json") {
        return;
    }
    let mut console = Console::of_process(Colour::default(), true);
    // The exit code says the same, if nobody can read it.
    let _ = console.answer_failure(&json::Error {
        kind: Exit::Usage.kind(),
        exit: Exit::Usage.code(),
        message: misuse.what,
        hint: misuse.hint,
        request_id: None,
    });
}
