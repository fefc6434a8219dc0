//! What askers are told while the store cannot be written. There are three cases:
//!
//! - What came before that was noticed is *held*: the engine has taken it, and it takes effect once
//!   its records are on disk, unless the conductor ends before. The asker is told so at once, and
//!   may ask again by the request's id.
//! - What comes later is refused before the engine sees it, so nothing has changed.
//! - A question whose answer is not on disk yet is not answered.

use orchestra_model::FlowId;

use crate::declined::{Declined, Ground};

/// Declines a change that was not begun.
pub(crate) fn not_begun(trouble: &str) -> Declined {
    let message = format!("nothing was changed, try again later: {trouble}");
    Declined::new(Ground::Unchanged, message)
}

/// Declines a change that was taken and is not on disk.
pub(crate) fn held(trouble: &str) -> Declined {
    Declined::new(Ground::Held, format!("held, not yet taken: {trouble}"))
}

/// Declines a question whose answer is not on disk.
pub(super) fn not_told(trouble: &str) -> Declined {
    Declined::new(
        Ground::NotNow,
        format!("what happened last is not on disk, try again later: {trouble}"),
    )
}

/// Declines a request id that belongs to another submission.
pub(crate) fn other_submission(flow: FlowId) -> Declined {
    Declined::new(
        Ground::Prevented,
        format!(
            "flow {flow} was submitted with this request id, and it is another submission; one that is \
             new needs a request id of its own"
        ),
    )
}
