//! A file per command: asks the conductor, and hands what it answers to a view.

mod cancel;
mod conductor;
mod flows;
mod hostset;
mod logs;
mod players;
mod scores;
mod status;
mod submit;
mod wait;

use crate::{args::Asking, error::Failure, exit::Exit, programs::Program};

pub(crate) use status::status;
pub(crate) use submit::submit;

/// Runs a verb of `orc` that asks the conductor.
pub(crate) fn ask(verb: Asking, program: &mut Program) -> Result<Exit, Failure> {
    match verb {
        Asking::Wait(args) => wait::wait(&args, program),
        Asking::Cancel(args) => cancel::cancel(&args, program),
        Asking::Flows(args) => flows::flows(args.limit, args.alive, program),
        Asking::Players(args) => players::players(&args, program),
        Asking::Scores(args) => scores::scores(&args, program),
        Asking::Logs(args) => logs::logs(&args, program),
        Asking::Hostset(args) => hostset::hostset(&args, program),
        Asking::Conductor(args) => conductor::conductor(&args.verb, program),
    }
}
