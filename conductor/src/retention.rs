//! Ended flows are kept for a while, and so many of them; then everything about them goes.
//!
//! Looked at every minute, and after each reload. A few at a time, each few on disk before the
//! next, so that nothing waits long behind them. They are gone for readers at once, whatever their
//! size; the writer removes what is left of them while it has nothing else to do.

use std::{sync::Arc, time::Duration};

use orchestra_model::{FlowId, Timestamp};
use orchestra_store::{ReadError, Reader, Readers};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    config::Retention,
    driver::{Clock, Handle, Request},
    reload::Reloader,
};

/// How often it is looked what may go.
const PERIOD: Duration = Duration::from_secs(60);
/// Flows that are looked at with one question to the store.
const PAGE: usize = 1_000;
/// Flows that go at once.
const AT_ONCE: usize = 16;
/// Most flows that one look finds; the next one finds the others.
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
        let readers = Arc::clone(&readers);
        let look = tokio::task::spawn_blocking(move || expired(&*readers.open()?, rule, now));
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
        for flows in flows.chunks(AT_ONCE) {
            let (reply, pruned) = oneshot::channel();
            let request = Request::Expire { flows: flows.to_vec(), reply };
            if driver.requests.send(request).await.is_err() {
                return;
            }
            match pruned.await {
                Ok(Ok(())) => tracing::debug!(flows = flows.len(), "flows pruned"),
                // Without space: another time.
                Ok(Err(_)) => break,
                Err(_) => return,
            }
        }
        // After the one or the other.
        let _ = timeout(PERIOD, reloader.reloaded()).await;
    }
}

/// Ended flows that are too old, or too many.
fn expired(reader: &dyn Reader, rule: Retention, now: Timestamp) -> Result<Vec<FlowId>, ReadError> {
    let mut kept = 0;
    let mut expired = Vec::new();
    let mut before = None;
    loop {
        let page = reader.flows(PAGE, before, false)?;
        let Some(last) = page.last() else { return Ok(expired) };
        before = Some(last.id);
        for flow in page {
            let Some(ended_at) = flow.ended_at.filter(|_| flow.state.is_final()) else { continue };
            if kept >= rule.finished_flows || ended_at.after(rule.finished_age) <= now {
                expired.push(flow.id);
            } else {
                kept += 1;
            }
            if expired.len() >= MOST {
                return Ok(expired);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        AudienceName, FlowState, Millis,
        delivery::{RequestId, StoreId},
        record::{FlowRecord, Op, Record},
    };
    use orchestra_store::{MemoryDisk, Store as _};

    use super::*;

    fn flow(id: u64, ended_at: Option<u64>) -> Op {
        Op::Put(Record::Flow(FlowRecord {
            id: FlowId(id),
            request: RequestId([1; 16]),
            audience: AudienceName::new("alice").unwrap(),
            name: None,
            state: if ended_at.is_some() { FlowState::Ok } else { FlowState::Running },
            submitted_at: Timestamp(1),
            ended_at: ended_at.map(Timestamp),
            cancelled_by: None,
            paused_by: None,
            retry_of: None,
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
            let rule = Retention { finished_age: Millis(age), finished_flows: most };
            let flows = expired(&*reader, rule, Timestamp(now)).unwrap();
            flows.into_iter().map(|flow| flow.0).collect::<Vec<_>>()
        };
        assert_eq!(expired(1_000, 10, 1_000), [0; 0]);
        assert_eq!(expired(500, 10, 1_000), [3]);
        assert_eq!(expired(1_000, 2, 1_000), [3, 2]);
        assert_eq!(expired(1_000, 0, 1_000), [6, 4, 3, 2]);
        assert_eq!(expired(85, 10, 1_000), [4, 3, 2]);
    }
}
