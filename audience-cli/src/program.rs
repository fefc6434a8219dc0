//! What a verb works with.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestra_client::{
    Client, Exit,
    config::{Connection, Environment, resolve_domain},
};
use orchestra_model::{HostName, time::Timestamp};
use tokio::runtime::{Builder, Runtime};

use crate::{
    console::Console,
    error::{Describe as _, Failure, unresolved},
    shared::{ConnectionArgs, Shared},
    view::json::Error,
};

/// What a verb works with: a console, and the way to a conductor.
pub(crate) struct Program {
    pub(crate) console: Console,
    connection: ConnectionArgs,
    environment: Environment,
}

impl Program {
    /// Returns a program with the process's own outputs.
    pub(crate) fn new(shared: Shared, environment: Environment) -> Self {
        let console = Console::of_process(shared.color, shared.json);
        Self { console, connection: shared.connection, environment }
    }

    /// Returns the settings that were given, and the environment's.
    pub(crate) fn settings(&self) -> (&ConnectionArgs, &Environment) {
        (&self.connection, &self.environment)
    }

    /// Connects to the conductor, and runs `ask` there. The runtime begins here, so that a verb
    /// that does not ask the conductor starts none.
    pub(crate) fn ask<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Client, &mut Console) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let connection = Connection::resolve(&self.connection.settings(), &self.environment)
            .map_err(unresolved)?;
        let runtime = runtime()?;
        let result = runtime.block_on(async {
            let mut client = Client::connect(connection).await?;
            work(&mut client, &mut self.console).await
        });
        // A name may still be looked up, or a question to the person may be open.
        runtime.shutdown_background();
        result
    }

    /// Returns the domain of the fleet, without asking its conductor.
    pub(crate) fn domain(&self) -> Result<HostName, Failure> {
        resolve_domain(&self.connection.settings(), &self.environment).map_err(unresolved)
    }

    /// Writes out the answer before the exit code is returned. A program that asked for a document
    /// gets one in any case: without an answer it says why there is none.
    pub(crate) fn finish(mut self, exit: Result<Exit, Failure>) -> Result<u8, Failure> {
        let failed = match &exit {
            Err(failure) => failure.describe(|error| self.console.answer_failure(error)),
            Ok(exit) => self.console.answer_failure(&Error {
                kind: exit.kind(),
                exit: exit.code(),
                message: match exit {
                    Exit::WaitTimeout => "the waiting is over, and what is waited for goes on",
                    Exit::NotOver => "it is not over, and nobody waits for it any more",
                    _ => "there is no answer; standard error says why",
                },
                hint: None,
                request_id: None,
            }),
        };
        let finished = failed.and_then(|()| self.console.finish());
        let exit = exit?;
        finished.map(|()| exit.code())
    }
}

/// A runtime of this thread alone.
pub(crate) fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::broken("starting the runtime").because(error))
}

/// Returns the time, to tell people how long something has taken.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
