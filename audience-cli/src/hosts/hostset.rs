//! `orc hostset`: here, and without the conductor unless the set has groups or labels.

use std::io::{self, Write as _};

use orchestra_model::hostset::HostSet;
use serde::Serialize;

use crate::{
    args::{HostsetArgs, HostsetForm},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    targets::{check_syntax, needs_conductor},
    view::json,
};

#[derive(Serialize)]
struct Hostset<'a> {
    folded: String,
    count: usize,
    hosts: &'a [orchestra_model::HostName],
}

/// Expands, folds or counts. An empty set is told like any other, and its exit code says so.
pub(crate) fn hostset(args: &HostsetArgs, program: &mut Program) -> Result<Exit, Failure> {
    let expression = args.expression(&mut Inputs::new(&mut io::stdin().lock()))?;
    let wrong = |error| Failure::usage("reading the host set").because(error);
    let set = if needs_conductor(&expression) {
        check_syntax(&expression).map_err(wrong)?;
        let folded = resolve(expression, program)?;
        HostSet::parse_plain(&folded)
            .map_err(|error| Failure::broken("reading the conductor's answer").because(error))?
    } else {
        HostSet::parse_plain(&expression).map_err(wrong)?
    };
    let out = &mut program.console.out;
    let written = if program.shared.json {
        let (folded, count) = (set.to_string(), set.len());
        json::document(out, "hostset", &Hostset { folded, count, hosts: set.as_slice() })
    } else {
        match args.form() {
            HostsetForm::Expanded => set.iter().try_for_each(|host| writeln!(out, "{host}")),
            HostsetForm::Folded => writeln!(out, "{set}"),
            HostsetForm::Count => writeln!(out, "{}", set.len()),
        }
    };
    written.map_err(unwritten)?;
    Ok(if set.is_empty() { Exit::Hosts } else { Exit::Ok })
}

fn resolve(expression: String, program: &mut Program) -> Result<String, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |_: &mut Program| {
        Client::connect(connection).await?.resolve(&expression).await
    })
}
