//! Bundles that attempts wait for. An attempt that is durably *starting* may need a bundle which is not in
//! this host's depot: then the agent is asked to fetch it, and the attempt's process is asked for once it
//! is there.
//!
//! ```text
//! start ──▶ is it in the depot? ──yes──▶ process
//!               │ no                        ▲
//!               └──▶ Fetch ──▶ agent ──▶ Fetched
//! ```
//!
//! What an agent says of a bundle is believed in nothing but that it is worth a look: the process of the
//! attempt hashes what it reads. Until there is a process nothing has begun, so whatever ends the wait, the
//! attempt is refused and never lost; after a crash too (`LocalPlaces::has_not_begun`).

use std::collections::BTreeMap;

use bytes::Bytes;
use orchestra_link::ipc::FetchNumber;
use orchestra_model::delivery::{AttemptKey, Refusal};
use orchestra_proto::v1;
use orchestra_spool::{Input, Plan};
use prost::Message as _;

use super::{Sitter, clock::BootMillis, start::Admitted};

/// Longest reason of an agent that is told on, in characters.
const REASON_CHARS: usize = 500;

/// Attempts that wait for bundles.
#[derive(Debug, Default)]
pub(super) struct Deliveries(BTreeMap<AttemptKey, Delivery>);

/// An attempt that waits for a bundle.
#[derive(Debug)]
struct Delivery {
    fetch: FetchNumber,
    plan: Plan,
    admitted: Admitted,
    /// Then it waits no longer.
    deadline: BootMillis,
}

impl Deliveries {
    /// When the first wait ends.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        self.0.values().map(|delivery| delivery.deadline).min()
    }
}

impl Sitter {
    /// Has an attempt wait for a bundle. It may wait for as long as it may run afterwards.
    pub(super) fn await_bundle(&mut self, key: AttemptKey, plan: Plan, admitted: Admitted) {
        let fetch = FetchNumber(self.fresh_id());
        let deadline = BootMillis::now().after(plan.timeout.0);
        tracing::info!(attempt = %key, "a bundle is not in the depot; the agent fetches it");
        let delivery = Delivery { fetch, plan, admitted, deadline };
        self.agent.fetch(fetch, delivery.order(key));
        self.deliveries.0.insert(key, delivery);
    }

    /// Asks a new agent for every bundle that is waited for.
    pub(super) fn ask_for_bundles(&mut self) {
        for (key, delivery) in &self.deliveries.0 {
            self.agent.fetch(delivery.fetch, delivery.order(*key));
        }
    }

    /// Takes the agent's answer.
    pub(super) fn bundle_answered(&mut self, fetch: FetchNumber, answer: Result<(), Bytes>) {
        let mut waiting = self.deliveries.0.iter();
        let Some(key) = waiting.find(|(_, it)| it.fetch == fetch).map(|(key, _)| *key) else {
            return;
        };
        match answer {
            Ok(()) => {
                if let Some(Delivery { plan, mut admitted, .. }) = self.deliveries.0.remove(&key) {
                    admitted.has_fetched = true;
                    self.admitted.insert(key, admitted);
                    self.starts.push_back((key, plan));
                }
            }
            Err(why) => {
                let why: String =
                    String::from_utf8_lossy(&why).chars().take(REASON_CHARS).collect();
                tracing::warn!(attempt = %key, why, "a bundle could not be fetched");
                self.end_delivery(key, Refusal::Source(why));
            }
        }
    }

    /// Ends an attempt's wait for a bundle. Returns whether it waited.
    pub(super) fn end_delivery(&mut self, key: AttemptKey, refusal: Refusal) -> bool {
        let Some(delivery) = self.deliveries.0.remove(&key) else { return false };
        self.agent.stop_fetch(delivery.fetch);
        self.spool.handle(Input::StartFailed { key, refusal });
        true
    }

    /// Ends every wait; their attempts may be ordered again.
    pub(super) fn end_deliveries(&mut self, refusal: &Refusal) {
        let waiting: Vec<AttemptKey> = self.deliveries.0.keys().copied().collect();
        for key in waiting {
            self.end_delivery(key, refusal.clone());
        }
    }

    /// Ends waits that have lasted too long.
    pub(super) fn expire_deliveries(&mut self, now: BootMillis) {
        let over = self.deliveries.0.iter().filter(|(_, it)| it.deadline <= now);
        let over: Vec<_> = over.map(|(key, it)| (*key, it.plan.timeout)).collect();
        for (key, timeout) in over {
            let why = format!("it did not arrive within {timeout}, the attempt's timeout");
            self.end_delivery(key, Refusal::Source(why));
        }
    }
}

impl Delivery {
    /// What the agent is told.
    fn order(&self, key: AttemptKey) -> Bytes {
        let seal = self.admitted.seal().map(orchestra_model::bundle::Seal::encode);
        let seal = seal.unwrap_or_default().into();
        v1::FetchOrder { key: Some(key.into()), seal }.encode_to_vec().into()
    }
}
