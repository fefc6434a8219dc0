//! The audience as a library: connects to a conductor, asks, and turns answers into the model.
//!
//! What is promised here:
//!
//! - It tries for the first connection as long as the caller says, every conductor in turn, with
//!   backoff. A refusal that another attempt cannot change ends this at once.
//! - A submission that may have been lost is sent again with the same request id, so that it
//!   becomes one flow.
//! - Lists come page by page and are not collected here.
//! - It prints nothing, reads no command line and starts no runtime. An error is a [`Failure`]: an
//!   exit code, a sentence with its causes, and a [`FailureRemedy`] that the caller spells.
//!
//! Left to callers: what to do when a stream breaks ([`Unheard`]).

mod answers;
mod audit;
mod backoff;
mod bundles;
mod client;
mod conductor;
pub mod config;
mod connect;
mod exit;
mod failure;
mod fleet;
mod flows;
mod limits;
mod logs;
mod output;
mod pages;
mod policy;
mod refusal;
mod services;
mod standing;
mod submit;
mod watch;

pub use answers::{
    DeploymentChanges, DeploymentSummary, Drained, Group, GroupKind, RecoveredStore, RecoveryPlan,
    ReleasedHolds, ReleasedPlayers, Reloaded, Retried, Submitted,
};
pub use audit::AuditQuery;
pub use backoff::Backoff;
pub use client::Client;
pub use conductor::Allowed;
pub use exit::Exit;
pub use failure::{Failure, FailureRemedy};
pub use flows::{Explained, RetryOf, TaskFilter};
pub use logs::{LogChunks, ServiceInstance};
pub use output::{Execution, OutputPart, OutputParts};
pub use pages::{AttemptLog, Attempts, ListPage, Pages, Tasks};
pub use policy::{AllowedHosts, PolicyDifference, PolicyRule, RightAnswer, RightQuestion, WhoAmI};
pub use services::{AppliedVersion, ServiceAnswer, ServiceAsk};
pub use standing::{Awaited, ServiceState, ready_hosts, wanted_hosts};
pub use submit::{ConditionalSubmission, FlowToSubmit};
pub use watch::{Cursor, Heard, Hears, Unheard, WatchStream};
