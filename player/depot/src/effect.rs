//! What to do, as a fetch asks.

use std::fmt;

use orchestra_model::{ByteSize, HostName, bundle::BundlePart};

use crate::input::LinkNumber;

/// What the driver does next, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reach a source, then say `Opened`, `Busy`, `Refused` or `Closed`. There is one link at most.
    Dial { link: LinkNumber, source: HostName },
    /// Ask for a part; it comes, or the link ends.
    Ask { link: LinkNumber, part: BundlePart },
    /// End a link. Nothing is expected of it any more.
    HangUp { link: LinkNumber },
    /// Hash the manifest as it was written, sync it and put it in its place; then say
    /// `ManifestJudged`.
    JudgeManifest,
    /// Sync the content, and say so in the journal; then say `Synced`. There is one sync at most.
    Sync,
    /// Everything is here and synced: put the bundle among the whole ones, then say `Settled`.
    Settle,
    /// Tell the conductor that a source is not asked again for this bundle.
    Complain { source: HostName, fault: SourceFault },
    /// The bundle is here. It is the last effect.
    Done,
    /// The bundle will not be here. It is the last effect; what has arrived stays.
    Fail(FetchFailure),
}

/// Why a source is never asked again for a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceFault {
    /// So many chunks were not what was published, this one last.
    BadChunks { count: u32, last: u32 },
    /// The manifest that it gave is another one.
    WrongManifest,
    /// It said what no source says.
    Breach(String),
}

/// Why a bundle will not be here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchFailure {
    /// The disk is full.
    NoSpace {
        /// How much is still to come.
        needed: ByteSize,
        /// How much of the disk is free.
        free: ByteSize,
    },
    /// The disk does not do what it is asked.
    Disk(String),
    /// No source is left that may be asked: each with its fault.
    NoSource(Vec<(HostName, SourceFault)>),
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadChunks { count, last } => {
                // People count from 1, as `orc bundle verify` does.
                let last = u64::from(*last) + 1;
                write!(f, "{count} chunks of it were not what was published, chunk {last} the last")
            }
            Self::WrongManifest => f.write_str("its manifest is another one"),
            Self::Breach(what) => write!(f, "it broke the protocol: {what}"),
        }
    }
}

impl fmt::Display for FetchFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { needed, free } => write!(
                f,
                "the disk of the depot is full: {needed} are still to come, and {free} are free; \
                 what has arrived is kept"
            ),
            Self::Disk(why) => write!(f, "the depot cannot be written: {why}"),
            Self::NoSource(faults) if faults.is_empty() => {
                f.write_str("no source of the bundle was named")
            }
            Self::NoSource(faults) => {
                f.write_str("no source of the bundle is left")?;
                faults.iter().try_for_each(|(source, fault)| write!(f, "; {source}: {fault}"))
            }
        }
    }
}
