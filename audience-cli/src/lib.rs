//! The audience's tools: `submitjob`, `getstatus` and `orc`, three thin programs over one
//! library.
//!
//! ```text
//! programs   entry points: environment in, exit code out
//! commands   a file per command: asks the conductor, hands data to a view
//! sandbox    a whole fleet on this machine: `orc sandbox`
//! console    standard output and standard error
//! view       data as text or JSON
//! args       command lines: clap's structs, and the validated commands they become
//! flowfile   flow files in JSON, YAML and TOML
//! job_limits what a job may ask for, by flag or by field
//! targets    host set expressions as far as they can be checked here
//! input      values from files and standard input
//! ```
//!
//! Below all of them is `orchestra-client`, the audience as a library: connection, verbs,
//! configuration, failures and the table of exit codes.
//!
//! Imports point downwards in this list; only the sandbox defines its own command line, which
//! `args` takes in. Answers go to standard output, everything else to standard error; exit codes
//! are a contract. Nothing runs before it is needed: a command that does not ask the conductor
//! starts no runtime.

pub mod args;
mod commands;
pub mod console;
pub mod flowfile;
pub mod input;
pub mod job_limits;
pub mod programs;
pub mod sandbox;
pub mod targets;
pub mod view;

use orchestra_client::{self as client, config, error, exit};
