//! The audience's tools: `submitjob`, `getstatus` and `orc`, three thin programs over one
//! library.
//!
//! ```text
//! programs   entry points: environment in, exit code out
//! program    what a verb works with
//! flow, task, player, score, ledger, deployment, hosts, conductor
//!            a folder a noun: asks the conductor, hands data to a view
//! sandbox    a whole fleet on this machine: `orc sandbox`
//! console    standard output and standard error
//! view       data as text or JSON, by noun
//! args       command lines: clap's structs, and the validated commands they become
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

mod conductor;
mod console;
mod deployment;
mod error;
mod flow;
mod hosts;
mod input;
mod ledger;
pub mod orc;
mod player;
mod program;
pub mod programs;
mod sandbox;
mod score;
mod shared;
mod targets;
mod task;
mod verb;
mod view;
mod words;
