//! `orc explain`: why something waits, down to who holds what.

use crate::{
    args::ExplainArgs, client::Client, console::unwritten, error::Failure, exit::Exit,
    program::Program, view::flow::explain,
};

/// Explains a flow, or a part of it.
pub(crate) fn explain(args: &ExplainArgs, program: &mut Program) -> Result<Exit, Failure> {
    let reference = args.reference()?;
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let explained = Client::connect(connection).await?.explain(&reference).await?;
        let style = program.console.style;
        let out = &mut program.console.out;
        let written = match program.shared.json {
            true => explain::json(out, &explained),
            false => explain::text(out, &explained, style),
        };
        written.map_err(unwritten)?;
        out.finish()?;
        if explained.explanations.is_empty() && !program.shared.json {
            program.console.narrate("nothing of it waits");
        }
        Ok(Exit::Ok)
    })
}
