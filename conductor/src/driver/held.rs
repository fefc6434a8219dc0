//! What people are told while the store cannot be written. It is true in each case:
//!
//! - What came before that was noticed is *held*: the engine has taken it in, and it takes effect
//!   once its records are on disk, unless the conductor ends before. Who asked is told so at once,
//!   and may ask again by the request's id.
//! - What comes later is refused before the engine sees it: nothing was changed.
//! - A question whose answer is not on disk yet is not answered.

use orchestra_model::FlowId;
use orchestra_proto::Reason;
use tonic::Status;

/// For what would change the store, and did not.
pub(crate) fn not_begun(trouble: &str) -> Status {
    let message = format!("nothing was changed, try again later: {trouble}");
    Reason::Unchanged.beside(Status::unavailable(message))
}

/// For what was taken in and is not on disk.
pub(crate) fn held(trouble: &str) -> Status {
    Reason::Held.beside(Status::unavailable(format!("held, not yet taken: {trouble}")))
}

/// For questions whose answer is not on disk.
pub(super) fn not_told(trouble: &str) -> Status {
    Status::unavailable(format!("what happened last is not on disk, try again later: {trouble}"))
}

/// Says more of what is held, to whoever is told so; other statuses stay as they are.
pub(crate) fn with_more(status: Status, more: impl FnOnce() -> String) -> Status {
    match Reason::of(&status) {
        Some(Reason::Held) => {
            let message = format!("{}{}", status.message(), more());
            Reason::Held.beside(Status::unavailable(message))
        }
        _ => status,
    }
}

/// A request id that belongs to another submission.
pub(crate) fn other_submission(flow: FlowId) -> Status {
    Status::failed_precondition(format!(
        "flow {flow} was submitted with this request id, and it is another submission; one that is \
         new needs a request id of its own"
    ))
}
