//! Tells where flows stand.

use std::process::ExitCode;

fn main() -> ExitCode {
    audience_cli::programs::getstatus()
}
