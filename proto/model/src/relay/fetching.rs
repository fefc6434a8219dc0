//! What a player says of a bundle that it fetches, and what it is told.

use super::SignedTicket;
use crate::{
    bundle::BundleId,
    delivery::AttemptKey,
    ids::FlowId,
    limits,
    names::HostName,
    size::ByteSize,
    time::{Millis, Timestamp},
};

/// What a player says of a bundle that it fetches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReport {
    /// The attempt that waits for it.
    pub attempt: AttemptKey,
    pub bundle: BundleId,
    pub stage: FetchStage,
    /// How much of the content is here.
    pub here: ByteSize,
    /// From whom it comes at the moment.
    pub source: Option<HostName>,
    /// Whether sources are to be named.
    pub wants_sources: bool,
    /// Whether nothing has come for a while, whoever was asked.
    pub is_stalled: bool,
    /// Sources that are not asked again for this bundle; at most [`limits::FETCH_SOURCES`].
    pub faulty: Vec<HostName>,
    /// Why the source that was left last was left, for people; at most [`FetchReport::LEFT_BYTES`].
    pub left: String,
}

/// How far a fetch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchStage {
    Fetching,
    /// All of it is here, verified and on disk.
    Arrived,
    /// It is not fetched any more: nobody wants it, or it cannot be had.
    Ended,
}

/// From whom a bundle may be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSources {
    /// The hosts, the best first, and where the relay of each listens (`ADDRESS:PORT`); at most
    /// [`limits::FETCH_SOURCES`].
    pub relays: Vec<(HostName, String)>,
    /// What the conductor says of the player to all of them.
    pub ticket: SignedTicket,
    /// Why nobody can be named, as long as nobody changes the conductor's files.
    pub hopeless: Option<String>,
}

/// How far a bundle is that a host fetches, as its player told last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchStatus {
    pub host: HostName,
    pub bundle: BundleId,
    /// The flow that delivers it.
    pub flow: FlowId,
    pub stage: FetchStage,
    /// How much of the content is there, and how much content it has.
    pub here: ByteSize,
    pub content: ByteSize,
    /// How much came within the last second or so, in bytes a second.
    pub rate: u64,
    /// From whom it comes.
    pub source: Option<HostName>,
    /// Why the source that was left last was left; empty where none was.
    pub left: String,
    /// When it was told.
    pub at: Timestamp,
}

impl FetchStatus {
    /// How long it is until all of it is there, at the present rate; `None` where nothing comes.
    pub fn time_left(&self) -> Option<Millis> {
        let left = self.content.0.saturating_sub(self.here.0);
        left.saturating_mul(1_000).checked_div(self.rate).map(Millis)
    }
}

impl FetchReport {
    /// Longest [`FetchReport::left`], in bytes.
    pub const LEFT_BYTES: usize = 300;
}

/// Longest address of a relay, in bytes: a host name, a colon, and a port.
pub const RELAY_ADDRESS_BYTES: usize = limits::HOST_NAME_BYTES + 6;
