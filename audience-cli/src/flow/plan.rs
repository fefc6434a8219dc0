//! `orc plan` and `submitjob --plan`: what a submission would do. Nothing is sent to players.

use std::io::{self, Write as _};

use orchestra_proto::Planned;

use crate::{
    args::PlanArgs,
    client::{Client, Wanted},
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    view::{flow::plan as view, one_line},
};

/// `orc plan`.
pub(crate) fn plan(args: PlanArgs, program: &mut Program) -> Result<Exit, Failure> {
    let digest = args.digest;
    let wanted = args.validate(&mut Inputs::new(&mut io::stdin().lock()))?;
    show(&wanted, digest, program)
}

/// Plans, and tells the plan, or its digest alone. A submission that would be refused is a
/// failure: of what would never be, a person is told no waves.
pub(super) fn show(wanted: &Wanted, digest: bool, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let planned = Client::connect(connection).await?.plan(wanted).await?;
        let style = program.console.style;
        let out = &mut program.console.out;
        let written = if program.shared.json {
            view::json(out, &planned)
        } else if planned.refusal.is_some() {
            Ok(())
        } else if digest {
            writeln!(out, "{}", planned.digest)
        } else {
            view::text(out, &planned, &wanted.submission.spec, style)
        };
        written.map_err(unwritten)?;
        out.finish()?;
        verdict(&planned)
    })
}

fn verdict(planned: &Planned) -> Result<Exit, Failure> {
    match &planned.refusal {
        None => Ok(Exit::Ok),
        Some(refusal) => {
            let refusal = one_line(refusal);
            Err(Failure::broken(format!("submitted now, it would be refused: {refusal}")))
        }
    }
}
