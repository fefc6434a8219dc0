//! What a verb is: its flags, and what it does with them.

use orchestra_client::{Exit, config::Environment};

use crate::{error::Failure, program::Program, shared::Shared};

/// A verb. Its flags are the fields of the struct that it is.
pub(crate) trait Verb {
    /// Does what the flags say. The exit code tells how that went.
    fn run(self, program: &mut Program) -> Result<Exit, Failure>;
}

/// A verb together with what every verb takes.
#[derive(Debug, clap::Args)]
pub(crate) struct With<V: clap::Args> {
    #[command(flatten)]
    pub(crate) verb: V,
    #[command(flatten)]
    shared: Shared,
}

impl<V: clap::Args + Verb> With<V> {
    /// Runs the verb as this process. Returns the exit code once the answer is out.
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        let mut program = Program::new(self.shared, environment);
        let exit = self.verb.run(&mut program);
        program.finish(exit)
    }
}
