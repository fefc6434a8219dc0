//! `orc deployment`: files of deployments, here and without the conductor.

use std::io::{self, Write as _};

use orchestra_document::deployment::{Source, parse_all, show};
use orchestra_model::hostset::NoGroups;

use super::Program;
use crate::{
    args::{DeploymentCheckArgs, DeploymentVerb},
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    view::{self, json},
};

/// Does what the verb says.
pub(crate) fn deployment(verb: &DeploymentVerb, program: &mut Program) -> Result<Exit, Failure> {
    match verb {
        DeploymentVerb::Check(args) => check(args, program),
    }
}

/// Tells what files mean together. Whether their hosts exist, and which hosts a group has, is
/// known to the conductor alone.
fn check(args: &DeploymentCheckArgs, program: &mut Program) -> Result<Exit, Failure> {
    let files = args.read(&mut Inputs::new(&mut io::stdin().lock()))?;
    let sources =
        files.iter().map(|file| Source { name: &file.name, format: file.format, text: &file.text });
    let deployments = parse_all(sources, &NoGroups)
        .map_err(|problems| Failure::usage("checking deployments").because(problems))?;
    for conflict in deployments.cells().conflicts(&deployments.hosts()) {
        let warning = "warning: a slot that has all of these hosts is refused";
        program.console.narrate(format_args!("{warning}: {conflict}"));
    }
    let out = &mut program.console.out;
    let written = if program.shared.json {
        json::document(out, "deployments", &view::deployment::all(&deployments))
    } else if let Some(format) = args.show() {
        out.write_all(show(deployments.iter(), format).as_bytes())
    } else {
        view::deployment::write(out, &deployments)
    };
    written.map(|()| Exit::Ok).map_err(unwritten)
}
