//! `orc ledger` and `orc deployment`: what limits flows together.

use std::path::Path;

use orchestra_document::Format;
use orchestra_model::{limits, names::DeploymentName};

use super::{Shared, hosts, reason};
use crate::{error::Failure, input::Inputs};

/// `orc ledger`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  orc ledger --deployment shop --all
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'"
)]
pub struct LedgerArgs {
    /// What to do instead of showing it.
    #[command(subcommand)]
    pub verb: Option<LedgerVerb>,
    /// Only the cells of this one
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<DeploymentName>,
    /// Also cells that nobody holds or waits for
    #[arg(long)]
    pub all: bool,
    /// What every command takes.
    #[command(flatten)]
    shared: Shared,
}

impl LedgerArgs {
    /// What every command takes.
    pub fn shared(&self) -> &Shared {
        match &self.verb {
            Some(LedgerVerb::Release(args)) => &args.shared,
            None => &self.shared,
        }
    }
}

/// What is done with the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum LedgerVerb {
    /// Let hosts that count as down hold their cells no more
    Release(ReleaseArgs),
}

/// `orc ledger release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'
  orc ledger release 'fe[1-6]' --reason 'taken out of the load balancer'")]
pub struct ReleaseArgs {
    /// Which; those that are not down stay as they are
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    pub reason: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl ReleaseArgs {
    /// Which hosts.
    pub fn hosts(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        hosts(&self.hosts, inputs)
    }
}

/// `orc deployment`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  orc deployment show shop
  orc deployment check shop.yaml"
)]
pub struct DeploymentArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DeploymentVerb,
}

/// What is done with deployments.
#[derive(Debug, clap::Subcommand)]
pub enum DeploymentVerb {
    /// List those in force
    #[command(after_help = "Examples:\n  orc deployment list\n  orc deployment list --json")]
    List {
        /// What every command takes.
        #[command(flatten)]
        shared: Shared,
    },
    /// Show one in its canonical form
    #[command(
        after_help = "Examples:\n  orc deployment show shop\n  orc deployment show shop --json"
    )]
    Show {
        /// Which
        #[arg(value_name = "NAME")]
        name: DeploymentName,
        /// What every command takes.
        #[command(flatten)]
        shared: Shared,
    },
    /// Read files here, without the conductor, and tell what they mean or what is wrong
    Check(DeploymentCheckArgs),
}

/// `orc deployment check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc deployment check /etc/orchestra/deployments.d/*.yaml
  orc deployment check shop.toml --show=yaml")]
pub struct DeploymentCheckArgs {
    /// Files that hold together, in YAML, TOML or JSON; - is standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<String>,
    /// Print the canonical form: yaml (the default), toml or json
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true,
          default_missing_value = "yaml", hide_possible_values = true, conflicts_with = "json",
          value_enum)]
    show: Option<FileFormat>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// A format of files, by its name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum FileFormat {
    Yaml,
    Toml,
    Json,
}

/// A file of deployments.
#[derive(Debug)]
pub struct DeploymentFile {
    /// As it was given.
    pub name: String,
    /// By its name, else by its first line.
    pub format: Format,
    /// All of it.
    pub text: String,
}

impl DeploymentCheckArgs {
    /// The files, read.
    pub fn read(&self, inputs: &mut Inputs<'_>) -> Result<Vec<DeploymentFile>, Failure> {
        let (what, most) = ("deployments", limits::DEPLOYMENT_FILE_BYTES);
        let read = |name: &String| {
            let (name, text) = if name == "-" {
                ("standard input", inputs.standard_input(what, most)?)
            } else {
                (name.as_str(), inputs.file(Path::new(name), what, most)?)
            };
            let format = Format::of_path(Path::new(name)).unwrap_or_else(|| Format::sniff(&text));
            Ok(DeploymentFile { name: name.to_owned(), format, text })
        };
        self.files.iter().map(read).collect()
    }

    /// In which format the canonical form is wanted, if it is.
    pub fn show(&self) -> Option<Format> {
        self.show.map(|format| match format {
            FileFormat::Yaml => Format::Yaml,
            FileFormat::Toml => Format::Toml,
            FileFormat::Json => Format::Json,
        })
    }
}
