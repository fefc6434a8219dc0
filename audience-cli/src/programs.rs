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
                tell(&failure.render(), Style::default());
                failure.exit.code()
            }
        },
        Err(error) if error.use_stderr() => {
            let mut message = error.to_string();
            message.extend(of_the_first(env::args().skip(1)));
            tell(&message, Style::default());
            misused(&message);
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

/// What helps whoever types as for the first Orchestra, whose options had one dash.
fn of_the_first(mut words: impl Iterator<Item = String>) -> Option<&'static str> {
    let is_of_it = |word: String| {
        word.starts_with("-all-of") || word.trim_start_matches('-').starts_with("audience-sock")
    };
    words.any(is_of_it).then_some(
        "\nhint: what was `submitjob -all-of SCORE PLAYER... ! KEY VALUE` is `submitjob SCORE KEY=VALUE \
         --all-of PLAYER,...`; orc import - reads such lines\n",
    )
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

/// Answers a program that asked for a document with a command line that does not parse. Of the parser's
/// text the first paragraph says what is wrong, and a tip what may have been meant.
fn misused(message: &str) {
    if !env::args_os().take_while(|word| word != "--").any(|word| word == "--json") {
        return;
    }
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let (what, rest) = message.split_once("\n\n").unwrap_or((message, ""));
    let tip = rest.lines().find_map(|line| line.trim_start().strip_prefix("tip: "));
    let mut console = Console::of_process(Colour::default(), true);
    // The exit code says the same, if nobody can read it.
    let _ = console.answer_failure(&json::Error {
        kind: Exit::Usage.kind(),
        exit: Exit::Usage.code(),
        message: what.trim_end(),
        hint: tip,
        request_id: None,
    });
}
