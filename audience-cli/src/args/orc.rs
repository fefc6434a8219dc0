//! `orc` and its verbs.

use std::path::Path;

use orchestra_document::Format;
use orchestra_model::{
    ids::{FlowId, Reference},
    limits,
    names::ScoreName,
};

use super::{CONNECTION_HELP, Shared, Waiting, references, whole_flows};
use crate::{error::Failure, input::Inputs, sandbox};

const EXAMPLES: &str = "
Examples:
  orc wait last --wait-timeout 10m
  orc logs 42.1.1@db3";

/// Everything else that an operator asks of Orchestra
#[derive(Debug, clap::Parser)]
#[command(name = "orc", version, after_help = format!("{CONNECTION_HELP}\n{EXAMPLES}"),
          disable_help_subcommand = true)]
pub struct OrcArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Ask the conductor, or tell it something.
    #[command(flatten)]
    Asking(Asking),
    /// Run a whole fleet on this machine, to try things out
    #[command(subcommand)]
    Sandbox(sandbox::Args),
}

/// What the conductor is asked or told.
#[derive(Debug, clap::Subcommand)]
pub enum Asking {
    /// Wait for flows to end; the exit code tells the verdict
    Wait(WaitArgs),
    /// Cancel flows
    Cancel(CancelArgs),
    /// List flows, newest first
    Flows(FlowsArgs),
    /// List players
    Players(PlayersArgs),
    /// List scores: who holds which version
    Scores(ScoresArgs),
    /// Show what a task wrote, attempt by attempt
    Logs(LogsArgs),
    /// Expand, fold or count a host set
    Hostset(HostsetArgs),
    /// Deployments: apps, environments, and what may happen to them at once
    Deployment(DeploymentArgs),
    /// Ask or tell the conductor itself
    Conductor(ConductorArgs),
}

impl Asking {
    /// What every command takes.
    pub fn shared(&self) -> &Shared {
        match self {
            Asking::Wait(args) => &args.shared,
            Asking::Cancel(args) => &args.shared,
            Asking::Flows(args) => &args.shared,
            Asking::Players(args) => &args.shared,
            Asking::Scores(args) => &args.shared,
            Asking::Logs(args) => &args.shared,
            Asking::Hostset(args) => &args.shared,
            Asking::Deployment(args) => match &args.verb {
                DeploymentVerb::Check(args) => &args.shared,
            },
            Asking::Conductor(args) => match &args.verb {
                ConductorVerb::Status { shared }
                | ConductorVerb::Reload { shared, .. }
                | ConductorVerb::Recover { shared } => shared,
            },
        }
    }
}

/// `orc wait`.
#[derive(Debug, clap::Args)]
pub struct WaitArgs {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// How to wait.
    #[command(flatten)]
    pub waiting: Waiting,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl WaitArgs {
    /// Which flows; `None` is `last`.
    pub fn flows(&self) -> Result<Vec<Option<FlowId>>, Failure> {
        whole_flows(&self.ids, "orc wait")
    }
}

/// `orc cancel`.
#[derive(Debug, clap::Args)]
pub struct CancelArgs {
    /// 42 or last; several: 1,3,5-8
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl CancelArgs {
    /// Which flows; `None` is `last`.
    pub fn flows(&self) -> Result<Vec<Option<FlowId>>, Failure> {
        whole_flows(&self.ids, "orc cancel")
    }
}

/// `orc flows`.
#[derive(Debug, clap::Args)]
pub struct FlowsArgs {
    /// Only those that have not ended
    #[arg(long)]
    pub alive: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: u32,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// `orc players`.
#[derive(Debug, clap::Args)]
pub struct PlayersArgs {
    /// Only these
    #[arg(value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// Only those that are attached
    #[arg(long)]
    pub attached: bool,
    /// Only those that are not
    #[arg(long, conflicts_with = "attached")]
    pub absent: bool,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// `orc scores`.
#[derive(Debug, clap::Args)]
pub struct ScoresArgs {
    /// Only this one
    #[arg(value_name = "SCORE")]
    pub score: Option<ScoreName>,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    pub hosts: Option<String>,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// `orc logs`.
#[derive(Debug, clap::Args)]
pub struct LogsArgs {
    /// A task: 42.1.2@db3, 42/NAME@db3, or 42@db3
    #[arg(value_name = "ID")]
    id: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl LogsArgs {
    /// Which task.
    pub fn reference(&self) -> Result<Reference, Failure> {
        match &mut references(std::slice::from_ref(&self.id))?[..] {
            [reference] => Ok(reference.clone()),
            _ => Err(Failure::usage("orc logs takes one task, like 42.1.2@db3")),
        }
    }
}

/// `orc hostset`.
#[derive(Debug, clap::Args)]
pub struct HostsetArgs {
    /// A host set; several words are one expression. @… is looked up by the conductor
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Expand: a host a line
    #[arg(short = 'e', long, group = "form")]
    expand: bool,
    /// Fold (the default)
    #[arg(short = 'f', long, group = "form")]
    fold: bool,
    /// Count
    #[arg(short = 'c', long, group = "form")]
    count: bool,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

/// What is told of a host set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostsetForm {
    /// A host a line.
    Expanded,
    /// One line.
    Folded,
    /// The number of hosts.
    Count,
}

impl HostsetArgs {
    /// The expression.
    pub fn expression(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
        let words = self.hosts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(words.join(" "))
    }

    /// What is told of it.
    pub fn form(&self) -> HostsetForm {
        if self.expand {
            HostsetForm::Expanded
        } else if self.count {
            HostsetForm::Count
        } else {
            HostsetForm::Folded
        }
    }
}

/// `orc deployment`.
#[derive(Debug, clap::Args)]
pub struct DeploymentArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: DeploymentVerb,
}

/// What is done with deployments.
#[derive(Debug, clap::Subcommand)]
pub enum DeploymentVerb {
    /// Read files here, without the conductor, and tell what they mean or what is wrong
    Check(DeploymentCheckArgs),
}

/// `orc deployment check`.
#[derive(Debug, clap::Args)]
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

/// `orc conductor`.
#[derive(Debug, clap::Args)]
pub struct ConductorArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: ConductorVerb,
}

/// What the conductor is asked or told.
#[derive(Debug, clap::Subcommand)]
pub enum ConductorVerb {
    /// How it is
    Status {
        /// What every command takes.
        #[command(flatten)]
        shared: Shared,
    },
    /// Read the configuration anew, as SIGHUP does
    Reload {
        /// Accept that a large part of the fleet goes
        #[arg(long)]
        allow_removal: bool,
        /// What every command takes.
        #[command(flatten)]
        shared: Shared,
    },
    /// Take up a store that was restored from a copy
    Recover {
        /// What every command takes.
        #[command(flatten)]
        shared: Shared,
    },
}
