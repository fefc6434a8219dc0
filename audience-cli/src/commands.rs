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

use crate::{args::Verb, error::Failure, exit::Exit, programs::Program};

pub(crate) use status::status;
pub(crate) use submit::submit;

/// Runs a verb of `orc`.
pub(crate) fn orc(verb: Verb, program: &mut Program) -> Result<Exit, Failure> {
    match verb {
        Verb::Wait(args) => wait::wait(&args, program),
        Verb::Cancel(args) => cancel::cancel(&args, program),
        Verb::Flows(args) => flows::flows(args.limit, args.alive, program),
        Verb::Players(args) => players::players(&args, program),
        Verb::Scores(args) => scores::scores(&args, program),
        Verb::Logs(args) => logs::logs(&args, program),
        Verb::Hostset(args) => hostset::hostset(&args, program),
        Verb::Conductor(args) => conductor::conductor(&args.verb, program),
    }
}
