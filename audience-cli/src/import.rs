//! What people wrote for other tools, as files of ours: `orc import` here, `orc service import` beside
//! its noun. Only reads and prints; nothing that stands in such a file is run.

pub(crate) mod cerebro;
mod first_orchestra;
mod griforkfile;
mod pogo;
mod roadrunner;

use std::{io, path::Path};

use orchestra_client::Exit;
use orchestra_model::{
    foreign,
    names::{DeploymentName, ScoreName},
};

use self::{
    first_orchestra::{Carried, Kind},
    griforkfile::Griforkfile,
    pogo::Namespaces,
    roadrunner::JobFlow,
};
use crate::{error::Failure, input::Inputs, program::Program, verb::Verb, view::import::Imported};

/// Longest file that is read, in bytes.
const FILE_BYTES: usize = 1 << 20;

/// `orc import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc import Griforkfile --root build1 >pull.yaml
  orc import job_flow.json >flow.yaml && submitjob --flow flow.yaml --plan")]
pub(crate) struct Import {
    /// A Griforkfile, of which the literal settings are read; a job flow of roadrunner's; pogo's
    /// constraints; of the first Orchestra a score's .conf, its players, or lines of its submitjob;
    /// - is standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// Hosts that have the files already: where grifork was run, as a player
    #[arg(long, value_name = "HOSTS")]
    root: Option<String>,
    /// Of a job flow: the score that stands for every command [default: one named as its job]
    #[arg(long, value_name = "SCORE", conflicts_with = "root")]
    score: Option<ScoreName>,
}

impl Verb for Import {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (name, text) = read(&self.file, "the file")?;
        if let Some(kind) = Kind::of(&text) {
            self.without_root(kind.name())?;
            return first_orchestra(kind, name, &text, program);
        }
        if JobFlow::is_likely(&text) {
            return self.job_flow(name, &text, program);
        }
        if Namespaces::is_likely(&text) {
            return self.namespaces(name, &text, program);
        }
        let read = Griforkfile::read(&text).map_err(|problems| {
            Failure::usage(format!("reading {name} as a Griforkfile")).because(problems)
        })?;
        program.console.answer(Imported {
            written: read.flow(self.root.as_deref()),
            notes: read.notes,
            next: "submitjob --flow FILE --plan tells what it would do",
        })?;
        Ok(Exit::Ok)
    }
}

impl Import {
    /// Refuses `--root` for what has no tree.
    fn without_root(&self, what: &str) -> Result<(), Failure> {
        match &self.root {
            None => Ok(()),
            Some(_) => {
                Err(Failure::usage(format!("--root is for a Griforkfile: {what} has no tree")))
            }
        }
    }

    fn namespaces(&self, name: &str, text: &str, program: &mut Program) -> Result<Exit, Failure> {
        self.without_root("a file of constraints")?;
        let attempt = format!("reading {name} as constraints of pogo's");
        // What has no name in its file is named as the file is.
        let stem = Path::new(&self.file).file_stem().and_then(|stem| stem.to_str());
        let stem = stem.filter(|stem| *stem != "-").unwrap_or("pogo");
        let named = DeploymentName::new(stem)
            .map_err(|error| Failure::usage(attempt.clone()).because(error))?;
        let read = Namespaces::read(text, &named)
            .map_err(|problems| Failure::usage(attempt).because(problems))?;
        program.console.answer(Imported {
            written: read.file(),
            notes: read.notes,
            next: "orc deployment check FILE tells what it means; it goes into deployments.d",
        })?;
        Ok(Exit::Ok)
    }

    fn job_flow(&self, name: &str, text: &str, program: &mut Program) -> Result<Exit, Failure> {
        self.without_root("a job flow")?;
        let read = JobFlow::read(text, self.score.as_ref()).map_err(|problems| {
            Failure::usage(format!("reading {name} as a job flow of roadrunner's"))
                .because(problems)
        })?;
        program.console.answer(Imported {
            written: read.flow(),
            notes: read.notes,
            next: "submitjob --flow FILE --plan tells what it would do",
        })?;
        Ok(Exit::Ok)
    }
}

/// What helps whoever gave a file of another tool where one of ours belongs.
pub(crate) fn hint(text: &str) -> Option<String> {
    let whose = match Kind::of(text) {
        Some(kind @ Kind::Request) => kind.name(),
        _ if JobFlow::is_one(text) => "a job flow of roadrunner's",
        _ if Namespaces::is_one(text) => "constraints of pogo's",
        _ => return None,
    };
    Some(format!("this looks like {whose}, of which orc import FILE makes one of ours"))
}

/// Answers with what a text of the first Orchestra is here.
fn first_orchestra(
    kind: Kind,
    name: &str,
    text: &str,
    program: &mut Program,
) -> Result<Exit, Failure> {
    let Carried { written, notes, next } = kind.read(text).map_err(|problems| {
        Failure::usage(format!("reading {name} as {}", kind.name())).because(problems)
    })?;
    program.console.answer(Imported { written, notes, next })?;
    Ok(Exit::Ok)
}

/// Reads a file of another tool, or standard input where `-` is given. Returns its name, too.
pub(crate) fn read<'a>(given: &'a str, what: &str) -> Result<(&'a str, String), Failure> {
    let mut stdin = io::stdin().lock();
    Inputs::new(&mut stdin).document(given, what, FILE_BYTES)
}

/// A text in quotes as YAML reads it, whatever is in it; what a terminal might obey is escaped.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if foreign::is_plain(c) => quoted.push(c),
            c => quoted.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}
