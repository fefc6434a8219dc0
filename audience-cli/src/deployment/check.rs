//! `orc deployment check`: what files mean together. Whether their hosts exist, and which hosts a
//! group has, only the conductor knows.

use std::{io, path::Path};

use orchestra_client::Exit;
use orchestra_document::{
    Format,
    deployment::{SourceText, parse_all},
};
use orchestra_model::{hostset::NoGroups, limits};

use crate::{
    error::Failure, import, input::Inputs, program::Program, verb::Verb, view::deployment::Checked,
};

/// `orc deployment check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc deployment check /etc/orchestra/deployments.d/*.yaml
  orc deployment check shop.toml --show=yaml")]
pub(crate) struct Check {
    /// Files that hold together, in YAML, TOML or JSON; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Print the canonical form: yaml (the default), toml or json
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "yaml", hide_possible_values = true, conflicts_with = "json",
          value_enum)]
    show: Option<FileFormat>,
}

/// A format of files, by its name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FileFormat {
    Yaml,
    Toml,
    Json,
}

impl FileFormat {
    fn format(self) -> Format {
        match self {
            FileFormat::Yaml => Format::Yaml,
            FileFormat::Toml => Format::Toml,
            FileFormat::Json => Format::Json,
        }
    }
}

impl Verb for Check {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let files = self.read()?;
        let sources = files.iter().map(|file| SourceText {
            name: &file.name,
            format: file.format,
            text: &file.text,
        });
        let deployments = parse_all(sources, &NoGroups)
            .map_err(|problems| {
                let failure = Failure::usage("checking deployments").because(problems);
                match files.iter().find_map(|file| import::hint(&file.text)) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?
            .deployments;
        for conflict in deployments.cells().conflicts(&deployments.hosts()) {
            let warning = "warning: a slot that has all of these hosts is refused";
            program.console.narrate(format_args!("{warning}: {conflict}"));
        }
        let canonical = self.show.map(FileFormat::format);
        program.console.answer(Checked { deployments: &deployments, canonical })?;
        Ok(Exit::Ok)
    }
}

/// A file of deployments, read.
struct File {
    /// As it was given.
    name: String,
    /// By its name, else by its first line.
    format: Format,
    text: String,
}

impl Check {
    fn read(&self) -> Result<Vec<File>, Failure> {
        let mut stdin = io::stdin().lock();
        let mut inputs = Inputs::new(&mut stdin);
        self.files.iter().map(|name| read(name, &mut inputs)).collect()
    }
}

fn read(given: &str, inputs: &mut Inputs<'_>) -> Result<File, Failure> {
    let (what, most) = ("deployments", limits::DEPLOYMENT_FILE_BYTES);
    let (name, text) = inputs.document(given, what, most)?;
    let format = Format::of_path(Path::new(name)).unwrap_or_else(|| Format::sniff(&text));
    Ok(File { name: name.to_owned(), format, text })
}
