//! What every verb takes: the form of its answer, and how to reach the conductor.

use std::path::PathBuf;

use orchestra_client::config::ClientSettings;
use orchestra_model::time::Millis;

use crate::console::Colour;

/// Ends the help of every program: how it finds the conductor.
pub(crate) const CONNECTION_HELP: &str = "\
Connection: --conductor HOST:PORT (repeatable), --conductor-name, --domain, --ca, --cert, --key,
--connect-timeout; else ORCHESTRA_CONDUCTOR …; else ~/.config/orchestra/audience.toml";

/// How to reach the conductor; `config` fills in the rest. Hidden in help but for one line.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct ConnectionArgs {
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
    /// Returns the settings that were given, for the connection.
    pub(crate) fn settings(&self) -> ClientSettings {
        let Self { conductor, conductor_name, domain, cert, key, ca, connect_timeout } =
            self.clone();
        let conductors = conductor;
        ClientSettings { conductors, conductor_name, domain, cert, key, ca, connect_timeout }
    }
}

/// What every command takes.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Shared {
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
