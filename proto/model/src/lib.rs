//! The words of Orchestra as types: names, ids, host sets, flow and score specs, states, what
//! travels between conductor and player, what is kept on disk.
//!
//! Everything above this crate speaks in these types. It does no IO, reads no clock and draws no
//! chance but from a seed, so that the engines built on it behave the same in a daemon, a test and a simulation.
//! A value of a type here is valid: parsing happens once, at the border where text or bytes come
//! in, and fails with an error that says what was attempted, on what, and why.

pub mod advice;
pub mod audit;
pub mod bundle;
pub mod chance;
pub mod delivery;
pub mod deployment;
pub mod error;
pub mod failures;
pub mod flow;
pub mod flow_filter;
pub mod foreign;
mod hex;
pub mod hostset;
pub mod ids;
pub mod journal;
pub mod ledger;
pub mod limits;
pub mod names;
mod nearest;
pub mod params;
pub mod policy;
pub mod process;
pub mod proof;
pub mod quantity;
pub mod record;
pub mod relay;
pub mod score;
pub mod service;
pub mod size;
pub mod start;
pub mod state;
pub mod status;
pub mod thresholds;
pub mod time;
pub mod tls;
pub mod tree;
pub mod vitals;
mod whole;

pub use audit::Asker;
pub use deployment::{Deployment, Deployments};
pub use error::chain;
pub use hex::{from_hex, hex};
pub use hostset::HostSet;
pub use ids::{FlowId, JobId, TaskId};
pub use names::{AudienceName, BundleName, HostName, JobName, ParamKey, ScoreName, ServiceName};
pub use nearest::nearest;
pub use params::Params;
pub use quantity::Quantity;
pub use size::ByteSize;
pub use state::{FlowState, JobState, TaskState, Verdict, WaitReason};
pub use thresholds::Thresholds;
pub use time::{Millis, Timestamp};
pub use tls::TlsFiles;
pub use whole::whole;
