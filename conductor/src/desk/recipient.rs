//! Lists, and what happens to a flow, go out piece by piece to somebody who reads them.

use crate::declined::Declined;

/// The end of somebody who reads, at the reader's own pace.
pub(crate) trait Recipient<T>: Send + Sync {
    /// Gives the reader the next piece, and waits while the reader is behind.
    fn give(&self, piece: T) -> impl Future<Output = Result<(), Stopped>> + Send;

    /// Whether nobody reads any more. A filter may leave nothing to give for long.
    fn is_gone(&self) -> bool;

    /// Returns when nobody reads any more.
    fn gone(&self) -> impl Future<Output = ()> + Send;
}

/// Why nothing more goes out before everything has.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// Nobody reads any more.
    Gone,
    /// The rest cannot be told.
    Declined(Declined),
}

impl From<Declined> for Stopped {
    fn from(declined: Declined) -> Self {
        Self::Declined(declined)
    }
}
