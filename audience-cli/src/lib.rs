//! The audience's tools: `submitjob`, `getstatus` and `orc`, three thin programs over one
//! library.
//!
//! ```text
//! programs   entry points: environment in, exit code out
//! orc        the list of orc's nouns
//! flow, task, player, score, ledger, service, brake, deployment, bundle, hosts, conductor, manual, sandbox
//!            a folder a noun, a file a verb: its flags, and what it does
//! import     files of other tools as files of ours
//! verb       what a verb is; what every verb takes is flattened beside its flags
//! program    what a verb works with: a console, and the way to a conductor
//! shared     the flags that every verb takes
//! words      words of command lines that mean the same for every verb
//! targets    what can be checked of host set expressions without the conductor
//! input      values from files and standard input
//! console    standard output and standard error
//! view       what a person and a program read, by noun
//! error      failures in words
//! ```
//!
//! Imports point downwards in this list. Below all of it is `orchestra-client`, the audience as a
//! library: connection, verbs, configuration, failures and the table of exit codes.
//!
//! Answers go to standard output, everything else to standard error; exit codes are a contract.
//! Nothing runs before it is needed: a verb that does not ask the conductor starts no runtime.
//!
//! A new verb is a file in its noun's folder, a variant and an arm in the noun's list of verbs, and
//! `Output`, `Listing` or `Streamed` of its answer (`view/output.rs`, `console/answer.rs`). An
//! answer without text or without JSON does not compile, and nothing else reaches standard output
//! but what `orc sandbox` tells a shell.

mod audit;
mod brake;
mod bundle;
mod conductor;
mod console;
mod deployment;
mod doctor;
mod error;
mod flow;
mod hosts;
mod import;
mod input;
mod ledger;
mod manual;
pub mod orc;
mod place;
mod player;
mod policy;
mod program;
pub mod programs;
mod sandbox;
mod score;
mod service;
mod shared;
mod targets;
mod task;
mod top;
mod verb;
mod view;
mod words;
mod zones;
