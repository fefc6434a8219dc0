//! What a verb works with, and which verb of `orc` is which function.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestra_client::Client;
use orchestra_model::time::Timestamp;

use crate::{
    args::{Asking, Shared},
    config::{Connection, Environment},
    console::Console,
    error::Failure,
    exit::Exit,
    flow::{explain, list as flows, plan, retry, steer, wait},
};

/// Runs a verb of `orc` that asks the conductor.
pub(crate) fn ask(verb: Asking, program: &mut Program) -> Result<Exit, Failure> {
    match verb {
        Asking::Plan(args) => plan::plan(args, program),
        Asking::Explain(args) => explain::explain(&args, program),
        Asking::Wait(args) => wait::wait(&args, program),
        Asking::Pause(args) => steer::pause(&args, program),
        Asking::Resume(args) => steer::resume(&args, program),
        Asking::Promote(args) => steer::promote(&args, program),
        Asking::Retry(args) => retry::retry(&args, program),
        Asking::Cancel(args) => steer::cancel(&args, program),
        Asking::Flows(args) => flows::flows(args.limit, args.alive, program),
    }
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
    /// With the process's own outputs.
    pub(crate) fn new(shared: Shared, environment: Environment) -> Self {
        let console = Console::of_process(shared.color, shared.json);
        Self { console, shared, environment }
    }

    /// How to reach the conductor.
    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        Connection::resolve(&self.shared.connection.settings(), &self.environment)
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

    /// Connects to the conductor, and does there what is to be done.
    pub(crate) fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client, &mut Console) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = self.connection()?;
        self.block_on(async move |program: &mut Program| {
            let mut client = Client::connect(connection).await?;
            work(&mut client, &mut program.console).await
        })
    }

    /// The clock, for people: how long something has taken.
    pub(crate) fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// Sees to it that the answer is out before the exit code tells of it.
    pub(crate) fn finish(mut self, exit: Result<Exit, Failure>) -> Result<u8, Failure> {
        let finished = self.console.out.finish();
        let exit = exit?;
        finished.map(|()| exit.code())
    }
}
