//! Which sandbox a verb is about.

use std::path::PathBuf;

use super::place::DIRECTORY;

// Flattened into the verbs that look for a sandbox, whose help this is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The sandbox's directory
    #[arg(long, value_name = "D", env = DIRECTORY)]
    pub(super) dir: PathBuf,
}
