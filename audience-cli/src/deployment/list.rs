//! `orc deployment`: those in force at the conductor, and files of them, here and without it.

use std::io::{self, Write as _};

use orchestra_document::{
    Format,
    deployment::{Source, parse_all, show},
};
use orchestra_model::{hostset::NoGroups, names::DeploymentName};
use orchestra_proto::v1;
use serde::Serialize;

use crate::{
    args::{DeploymentCheckArgs, DeploymentVerb},
    client::Client,
    console::unwritten,
    error::Failure,
    exit::Exit,
    input::Inputs,
    program::Program,
    view::{
        self,
        json::{self, List},
    },
};

/// Does what the verb says.
pub(crate) fn deployment(verb: &DeploymentVerb, program: &mut Program) -> Result<Exit, Failure> {
    match verb {
        DeploymentVerb::List { .. } => list(program),
        DeploymentVerb::Show { name, .. } => show_one(name, program),
        DeploymentVerb::Check(args) => check(args, program),
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    name: &'a str,
    apps: u32,
    envs: u32,
    cells: u32,
    hosts: u32,
}

/// Lists the deployments in force, a line each.
fn list(program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let mut pages = client.deployments(None).await?;
        let out = &mut program.console.out;
        if program.shared.json {
            let mut list = List::begin(out, "deployments").map_err(unwritten)?;
            while let Some(of) = pages.next_item().await? {
                let v1::Deployment { name, apps, envs, cells, hosts, .. } = of;
                list.add(&Listed { name: &name, apps, envs, cells, hosts }).map_err(unwritten)?;
            }
            list.end().map_err(unwritten)?;
            return Ok(Exit::Ok);
        }
        let mut some = false;
        while let Some(of) = pages.next_item().await? {
            if !std::mem::replace(&mut some, true) {
                writeln!(out, "{:>5} {:>5} {:>5} {:>7} NAME", "APPS", "ENVS", "CELLS", "HOSTS")
                    .map_err(unwritten)?;
            }
            let v1::Deployment { name, apps, envs, cells, hosts, .. } = of;
            writeln!(out, "{apps:>5} {envs:>5} {cells:>5} {hosts:>7} {name}").map_err(unwritten)?;
        }
        if !some {
            program.console.narrate("no deployments");
        }
        Ok(Exit::Ok)
    })
}

/// Shows the canonical form of one.
fn show_one(name: &DeploymentName, program: &mut Program) -> Result<Exit, Failure> {
    let connection = program.connection()?;
    program.block_on(async move |program: &mut Program| {
        let mut client = Client::connect(connection).await?;
        let found = client.deployments(Some(name)).await?.next_item().await?;
        let Some(found) = found else {
            return Err(Failure::broken(format!("asking for deployment {name}: there is none"))
                .hint("orc deployment list"));
        };
        let out = &mut program.console.out;
        let written = if program.shared.json {
            let source =
                Source { name: name.as_str(), format: Format::Yaml, text: &found.canonical };
            let parsed = parse_all([source], &NoGroups).map_err(|problems| {
                Failure::broken(format!("reading what the conductor says of deployment {name}"))
                    .because(problems)
            })?;
            json::document(
                out,
                "deployments",
                &view::deployment::in_json(&parsed.deployments, false),
            )
        } else {
            out.write_all(found.canonical.as_bytes())
        };
        written.map(|()| Exit::Ok).map_err(unwritten)
    })
}

/// Tells what files mean together. Whether their hosts exist, and which hosts a group has, is
/// known to the conductor alone.
fn check(args: &DeploymentCheckArgs, program: &mut Program) -> Result<Exit, Failure> {
    let files = args.read(&mut Inputs::new(&mut io::stdin().lock()))?;
    let sources =
        files.iter().map(|file| Source { name: &file.name, format: file.format, text: &file.text });
    let deployments = parse_all(sources, &NoGroups)
        .map_err(|problems| Failure::usage("checking deployments").because(problems))?
        .deployments;
    for conflict in deployments.cells().conflicts(&deployments.hosts()) {
        let warning = "warning: a slot that has all of these hosts is refused";
        program.console.narrate(format_args!("{warning}: {conflict}"));
    }
    let out = &mut program.console.out;
    let written = if program.shared.json {
        json::document(out, "deployments", &view::deployment::in_json(&deployments, true))
    } else if let Some(format) = args.show() {
        out.write_all(show(deployments.iter(), format).as_bytes())
    } else {
        view::deployment::write(out, &deployments)
    };
    written.map(|()| Exit::Ok).map_err(unwritten)
}
