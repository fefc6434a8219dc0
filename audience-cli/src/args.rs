//! Command lines: what clap reads, and what it means once validated.
//!
//! The structs that derive clap's traits are the definitions of the programs: help, and later
//! manual pages and completions, come from them. Each turns into a validated command with a
//! method of its own, which reads files and standard input where the words ask for it.

mod flows;
mod ids;
mod ledger;
mod orc;
mod status;
mod submit;
mod what;

use std::path::PathBuf;

use orchestra_model::{limits, time::Millis};

pub use flows::{CancelArgs, ExplainArgs, PromoteArgs, Retry, RetryArgs, SteerArgs, WaitArgs};
pub use ids::{folded, references, whole_flows};
pub use ledger::{
    DeploymentArgs, DeploymentCheckArgs, DeploymentFile, DeploymentVerb, LedgerArgs, LedgerVerb,
    ReleaseArgs,
};
pub use orc::{
    Asking, ConductorArgs, ConductorVerb, DrainArgs, FlowsArgs, GroupsArgs, HostsetArgs,
    HostsetForm, LogsArgs, OrcArgs, PlayersArgs, PlayersVerb, ReleasePlayersArgs, ScoresArgs,
    UndrainArgs, Verb,
};
pub use status::{Shape, StatusArgs};
pub use submit::{PlanArgs, Submit, SubmitArgs, Task};

use crate::{config::Settings, error::Failure, input::Inputs, targets};

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

impl ConnectionArgs {
    /// What was given, for whoever connects.
    pub fn settings(&self) -> Settings {
        let Self { conductor, conductor_name, domain, cert, key, ca, connect_timeout } =
            self.clone();
        let conductors = conductor;
        Settings { conductors, conductor_name, domain, cert, key, ca, connect_timeout }
    }
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

impl Waiting {
    /// How to wait, where `--wait` asks for it; else these must not be given.
    fn only_with(self, wait: bool) -> Result<Option<Self>, Failure> {
        if !wait && (self.wait_timeout.is_some() || self.jsonl) {
            return Err(
                Failure::usage("--wait-timeout and --jsonl say how to wait").hint("add --wait")
            );
        }
        Ok(wait.then_some(self))
    }
}

/// Hosts that a verb is about, with words joined to one expression.
fn hosts(words: &[String], inputs: &mut Inputs<'_>) -> Result<String, Failure> {
    let read = |word: &String| inputs.hosts(word, "the host set", limits::HOSTSET_BYTES);
    let expression = words.iter().map(read).collect::<Result<Vec<_>, _>>()?.join(" ");
    targets::without(&expression, &[])
}

/// Why an operator does something; others will read it.
fn reason(text: &str) -> Result<String, &'static str> {
    match text.trim() {
        "" => Err("a reason is needed: others will read it"),
        text if text.len() > limits::REASON_BYTES => Err("a reason has at most 1000 bytes"),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests;
