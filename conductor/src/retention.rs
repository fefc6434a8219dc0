//! Ended flows are kept for a time, and up to a number. Then everything about them is removed.
//!
//! This is done every minute and after each reload, a few flows at a time, each few on disk before
//! the next, so that nothing waits long behind them. Readers do not see removed flows any more; the
//! writer removes their data while it has nothing else to do.

use std::{sync::Arc, time::Duration};

use orchestra_model::{FlowId, Millis, Timestamp};
use orchestra_store::{ReadError, Reader, Readers};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    config::Retention,
    driver::{Clock, Handle, Request},
    reload::Reloader,
};

/// The time between two looks.
const PERIOD: Duration = Duration::from_secs(60);
/// Most audit lines that are read at once from the store.
const PAGE: usize = 1_000;
/// Most flows that are removed at once.
const AT_ONCE: usize = 16;
/// Most flows that one look removes; the next look finds the others.
const MOST: usize = 10_000;

/// Prunes until the driver ends.
pub(crate) async fn run(
    driver: Handle,
    readers: Arc<dyn Readers>,
    reloader: Reloader,
    clock: Clock,
) {
    loop {
        let (rule, now) = (reloader.shared().retention, clock.now());
        let from = Arc::clone(&readers);
        let look = tokio::task::spawn_blocking(move || expired(&*from.open()?, rule, now));
        let flows = match look.await {
            Ok(Ok(flows)) => flows,
            Ok(Err(error)) => {
                let error = orchestra_model::chain(&error);
                tracing::warn!(error, "cannot look for flows that were kept long enough");
                Vec::new()
            }
            // The runtime is ending.
            Err(_) => return,
        };
        if !prune_audit(&driver, &readers, rule, now).await {
            return;
        }
        for flows in flows.chunks(AT_ONCE) {
            let (reply, pruned) = oneshot::channel();
            let request = Request::Expire { flows: flows.to_vec(), reply };
            if driver.requests.send(request).await.is_err() {
                return;
            }
            match pruned.await {
                Ok(Ok(())) => tracing::debug!(flows = flows.len(), "flows pruned"),
                // There is no space on the disk; the next look tries again.
                Ok(Err(_)) => break,
                Err(_) => return,
            }
        }
        // The next look is after a minute, or after a reload.
        let _ = timeout(PERIOD, reloader.reloaded()).await;
    }
}

/// Prunes audit lines. Returns `false` once the driver, or the runtime, has ended.
async fn prune_audit(
    driver: &Handle,
    readers: &Arc<dyn Readers>,
    rule: Retention,
    now: Timestamp,
) -> bool {
    let from = Arc::clone(readers);
    let look = tokio::task::spawn_blocking(move || expired_audit(&*from.open()?, rule, now));
    let below = match look.await {
        Ok(Ok(Some(below))) => below,
        Ok(Ok(None)) => return true,
        Ok(Err(error)) => {
            let error = orchestra_model::chain(&error);
            tracing::warn!(error, "cannot look for audit lines that were kept long enough");
            return true;
        }
        Err(_) => return false,
    };
    let (reply, pruned) = oneshot::channel();
    if driver.requests.send(Request::PruneAudit(below, reply)).await.is_err() {
        return false;
    }
    // There is no space on the disk; the next look tries again.
    pruned.await.is_ok()
}

/// Returns the number below which all audit lines are too old; `None` if the oldest line is not yet
/// so by a sixteenth of the age, or a day, because each removal is a line itself.
/// Lines after one that is not too old are kept, so that what is kept has no gap, even if the clock
/// was set back.
fn expired_audit(
    reader: &dyn Reader,
    rule: Retention,
    now: Timestamp,
) -> Result<Option<u64>, ReadError> {
    let oldest = reader.oldest_audit(PAGE)?;
    let slack = Millis((rule.audit_age.0 / 16).min(Millis::days(1).0));
    let is_due = oldest.first().is_some_and(|(_, at)| at.after(rule.audit_age + slack) <= now);
    if !is_due {
        return Ok(None);
    }
    let is_old = |(_, at): &&(u64, Timestamp)| at.after(rule.audit_age) <= now;
    Ok(oldest.iter().take_while(is_old).last().map(|(number, _)| number + 1))
}

/// Returns the ended flows that are too old, or too many, at most [`MOST`].
fn expired(reader: &dyn Reader, rule: Retention, now: Timestamp) -> Result<Vec<FlowId>, ReadError> {
    let mut expired = match now.0.checked_sub(rule.finished_age.0) {
        Some(moment) => reader.ended_by(Timestamp(moment), MOST)?,
        None => Vec::new(),
    };
    let left = MOST - expired.len();
    expired.extend(reader.ended_before_the_last(rule.finished_flows, left)?);
    // Many are both.
    expired.sort_unstable();
    expired.dedup();
    Ok(expired)
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        FlowState,
        audit::{Asker, AuditEntry, AuditRecord, Deed, Object, Verb},
        delivery::{RequestId, StoreId},
        record::{FlowRecord, Op, Record},
    };
    use orchestra_store::{MemoryDisk, Store as _};

    use super::*;

    fn flow(id: u64, ended_at: Option<u64>) -> Op {
        Op::Put(Record::Flow(FlowRecord {
            id: FlowId(id),
            request: RequestId([1; 16]),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            name: None,
            state: if ended_at.is_some() { FlowState::Ok } else { FlowState::Running },
            submitted_at: Timestamp(1),
            ended_at: ended_at.map(Timestamp),
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of: None,
            predecessor: None,
            request_mac: None,
        }))
    }

    #[test]
    fn the_old_and_the_many_go_and_the_living_stay() {
        let mut store = MemoryDisk::new(StoreId([1; 16])).open();
        let flows =
            [(1, None), (2, Some(900)), (3, Some(500)), (4, Some(910)), (5, None), (6, Some(920))];
        store.commit(&flows.map(|(id, ended_at)| flow(id, ended_at))).unwrap();
        let reader = store.reader().unwrap();
        let expired = |age, most, now| {
            let rule =
                Retention { finished_age: Millis(age), finished_flows: most, audit_age: Millis(0) };
            let flows = expired(&*reader, rule, Timestamp(now)).unwrap();
            flows.into_iter().map(|flow| flow.0).collect::<Vec<_>>()
        };
        assert_eq!(expired(1_000, 10, 1_000), [0; 0]);
        assert_eq!(expired(500, 10, 1_000), [3]);
        assert_eq!(expired(1_000, 2, 1_000), [2, 3]);
        assert_eq!(expired(1_000, 0, 1_000), [2, 3, 4, 6]);
        assert_eq!(expired(2_000, 10, 1_000), [0; 0]);
        assert_eq!(expired(85, 10, 1_000), [2, 3, 4]);
        assert_eq!(expired(90, 1, 1_000), [2, 3, 4]);
    }

    #[test]
    fn old_audit_lines_go_from_the_oldest_on() {
        let mut store = MemoryDisk::new(StoreId([1; 16])).open();
        // The clock was set back before the third one.
        let lines = [(1, 100), (2, 500), (3, 90), (4, 600)].map(|(number, at)| {
            Op::Put(Record::Audit(AuditRecord {
                number,
                at: Timestamp(at),
                entry: AuditEntry::new(
                    Asker::Local,
                    Deed::Done(Verb::Reload),
                    Object::Conductor,
                    "",
                ),
                link: None,
            }))
        });
        store.commit(&lines).unwrap();
        let reader = store.reader().unwrap();
        let below = |age, now| {
            let rule =
                Retention { finished_age: Millis(0), finished_flows: 0, audit_age: Millis(age) };
            expired_audit(&*reader, rule, Timestamp(now)).unwrap()
        };
        assert_eq!(below(1_000, 1_000), None);
        assert_eq!(below(900, 1_000), None);
        assert_eq!(below(900, 1_056), Some(2));
        assert_eq!(below(450, 1_000), Some(4));
        assert_eq!(below(100, 1_000), Some(5));
    }
}
