//! Submits a score over hosts, or a flow from a file.

use std::process::ExitCode;

fn main() -> ExitCode {
    audience_cli::programs::submitjob()
}
