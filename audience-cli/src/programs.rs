//! Entry points of the three programs: the environment comes in here, the exit code goes out.

use std::{io, process::ExitCode};

use clap::Parser;

use crate::{
    args::{OrcArgs, StatusArgs, SubmitArgs, Verb},
    config::Environment,
    console::tell,
    error::Failure,
    exit::Exit,
    flow,
    input::Inputs,
    program::{self, Program},
    sandbox,
    view::Style,
};

/// `submitjob`: submits a score over hosts, or a flow from a file.
pub fn submitjob() -> ExitCode {
    run(|args: SubmitArgs, environment| {
        let mut stdin = io::stdin().lock();
        let command = args.validate(&mut Inputs::new(&mut stdin))?;
        // Released, because whoever is asked whether to cancel answers on it.
        drop(stdin);
        let mut program = Program::new(command.shared.clone(), environment);
        let exit = flow::submit::submit(command, &mut program);
        program.finish(exit)
    })
}

/// `getstatus`: tells where flows stand.
pub fn getstatus() -> ExitCode {
    run(|args: StatusArgs, environment| {
        let mut program = Program::new(args.shared.clone(), environment);
        let exit = flow::status::status(&args, &mut program);
        program.finish(exit)
    })
}

/// `orc`: everything else.
pub fn orc() -> ExitCode {
    run(|args: OrcArgs, environment| match args.verb {
        Verb::Asking(verb) => {
            let mut program = Program::new(verb.shared().clone(), environment);
            let exit = program::ask(verb, &mut program);
            program.finish(exit)
        }
        Verb::Player(verb) => verb.run(environment),
        Verb::Score(verb) => verb.run(environment),
        Verb::Task(verb) => verb.run(environment),
        Verb::Ledger(ledger) => ledger.run(environment),
        Verb::Deployment(deployment) => deployment.run(environment),
        Verb::Hosts(verb) => verb.run(environment),
        Verb::Conductor(conductor) => conductor.run(environment),
        Verb::Sandbox(args) => Ok(sandbox::run(args)),
    })
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
