//! The reader of a list or of a flow's events, which gets them piece by piece.

use crate::declined::Declined;

/// A reader, who takes pieces at its own pace.
pub(crate) trait Recipient<T>: Send + Sync {
    /// Gives the reader the next piece, and waits while the reader is behind.
    fn give(&self, piece: T) -> impl Future<Output = Result<(), Stopped>> + Send;

    /// Returns whether the reader is gone. That matters while a filter leaves nothing to give for
    /// long.
    fn is_gone(&self) -> bool;

    /// Returns when the reader is gone.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// Why a list ends early.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The reader is gone.
    Gone,
    /// The rest cannot be told.
    Declined(Declined),
}

impl From<Declined> for Stopped {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}
