//! Command lines: what clap reads, and what it means once validated.
//!
//! The structs that derive clap's traits are the definitions of the programs: help, and later
//! manual pages and completions, come from them. Each turns into a validated command with a
//! method of its own, which reads files and standard input where the words ask for it.

mod ids;
mod orc;
mod status;
mod submit;

use std::path::PathBuf;

use orchestra_model::time::Millis;

pub use ids::{references, whole_flows};
pub use orc::{
    Asking, CancelArgs, ConductorArgs, ConductorVerb, DeploymentArgs, DeploymentCheckArgs,
    DeploymentFile, DeploymentVerb, FlowsArgs, HostsetArgs, HostsetForm, LogsArgs, OrcArgs,
    PlayersArgs, ScoresArgs, Verb, WaitArgs,
};
pub use status::{Shape, StatusArgs};
pub use submit::{Submit, SubmitArgs};

/// Ends the help of every program: how it finds the conductor.
pub const CONNECTION_HELP: &str = "\
Connection: --conductor HOST:PORT (repeatable), --conductor-name, --domain, --ca, --cert, --key,
--connect-timeout; else ORCHESTRA_CONDUCTOR …; else ~/.config/orchestra/audience.toml";

/// How to reach the conductor; `config` fills in the rest. Hidden in help but for one line.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConnectionArgs {
    /// HOST:PORT of a conductor
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    pub conductor: Vec<String>,
    /// The conductor's name in its certificate
    #[arg(long, value_name = "NAME", hide = true)]
    pub conductor_name: Option<String>,
    /// The domain of all certificates
    #[arg(long, hide = true)]
    pub domain: Option<String>,
    /// Our certificate
    #[arg(long, value_name = "FILE", hide = true)]
    pub cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", hide = true)]
    pub key: Option<PathBuf>,
    /// The certificate of the CA
    #[arg(long, value_name = "FILE", hide = true)]
    pub ca: Option<PathBuf>,
    /// How long the first connection is tried for
    #[arg(long, value_name = "DURATION", hide = true, default_value = "3s")]
    pub connect_timeout: Millis,
}

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Shared {
    /// Answer with one JSON document
    #[arg(long)]
    pub json: bool,
    /// Colour states
    #[arg(
        long,
        value_enum,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help = "Colour states: auto, always or never"
    )]
    pub color: Colour,
    /// How to reach the conductor.
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// How to wait, for `submitjob --wait` and `orc wait`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Waiting {
    /// Stop waiting after this; the flow goes on (exit 124)
    #[arg(long, value_name = "DURATION")]
    pub wait_timeout: Option<Millis>,
    /// While waiting, a line of JSON per change on standard output
    #[arg(long, conflicts_with = "json")]
    pub jsonl: bool,
}

#[cfg(test)]
mod tests;
