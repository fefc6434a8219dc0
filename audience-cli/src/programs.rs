//! Entry points of the three programs: the environment comes in here, the exit code goes out.

use std::{io, process::ExitCode};

use clap::Parser;
use orchestra_client::{Exit, config::Environment};

use crate::{
    console::tell,
    error::{Failure, Render as _},
    flow::{status::StatusArgs, submit::SubmitArgs},
    orc::OrcArgs,
    view::Style,
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
            tell(&error.to_string(), Style::default());
            Exit::Usage.code()
        }
        // Help or version, asked for.
        Err(error) => match error.print() {
            Ok(()) => Exit::Ok.code(),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ok.code(),
            Err(_) => Exit::Broken.code(),
        },
    };
    ExitCode::from(code)
}
