//! Everything else an operator asks of Orchestra.

use std::process::ExitCode;

fn main() -> ExitCode {
    audience_cli::programs::orc()
}
