//! Entry points of the three programs: the environment comes in here, the exit code goes out.

use std::{
    io,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use orchestra_model::time::Timestamp;

use crate::{
    args::{OrcArgs, Shared, StatusArgs, SubmitArgs, Verb},
    commands,
    config::{Connection, Environment},
    console::Console,
    error::Failure,
    exit::Exit,
    input::Inputs,
    sandbox,
};

/// `submitjob`: submits a score over hosts, or a flow from a file.
pub fn submitjob() -> ExitCode {
    run(|args: SubmitArgs, environment| {
        let mut stdin = io::stdin().lock();
        let command = args.validate(&mut Inputs::new(&mut stdin))?;
        // Released, because whoever is asked whether to cancel answers on it.
        drop(stdin);
        let mut program = Program::new(command.shared.clone(), environment);
        let exit = commands::submit(command, &mut program);
        program.finish(exit)
    })
}

/// `getstatus`: tells where flows stand.
pub fn getstatus() -> ExitCode {
    run(|args: StatusArgs, environment| {
        let mut program = Program::new(args.shared.clone(), environment);
        let exit = commands::status(&args, &mut program);
        program.finish(exit)
    })
}

/// `orc`: everything else.
pub fn orc() -> ExitCode {
    run(|args: OrcArgs, environment| match args.verb {
        Verb::Asking(verb) => {
            let mut program = Program::new(verb.shared().clone(), environment);
            let exit = commands::ask(verb, &mut program);
            program.finish(exit)
        }
        Verb::Sandbox(args) => Ok(sandbox::run(args)),
    })
}

/// What a command works with.
pub(crate) struct Program {
    /// Where it writes.
    pub(crate) console: Console,
    /// What every command takes.
    pub(crate) shared: Shared,
    environment: Environment,
}

impl Program {
    fn new(shared: Shared, environment: Environment) -> Self {
        let console = Console::of_process(shared.color, environment.no_color);
        Self { console, shared, environment }
    }

    /// How to reach the conductor.
    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        Connection::resolve(&self.shared.connection, &self.environment)
    }

    /// Runs what talks to the conductor.
    pub(crate) fn block_on<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Program) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::broken("starting the runtime").because(error))?;
        let result = runtime.block_on(work(self));
        // Somebody may still be looked up by name, or asked whether to cancel.
        runtime.shutdown_background();
        result
    }

    /// The clock, for people: how long something has taken.
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Sees to it that the answer is out before the exit code tells of it.
    fn finish(mut self, exit: Result<Exit, Failure>) -> Result<u8, Failure> {
        let finished = self.console.out.finish();
        let exit = exit?;
        finished.map(|()| exit.code())
    }
}

fn run<A: Parser>(command: impl FnOnce(A, Environment) -> Result<u8, Failure>) -> ExitCode {
    let code = match A::try_parse() {
        Ok(args) => match command(args, Environment::read()) {
            Ok(code) => code,
            Err(failure) => {
                complain(&failure.render());
                failure.exit.code()
            }
        },
        Err(error) if error.use_stderr() => {
            complain(&error.to_string());
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

/// That nobody can read it is no reason for another failure.
fn complain(text: &str) {
    use io::Write as _;
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
