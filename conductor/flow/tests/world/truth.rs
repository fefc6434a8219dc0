//! Who holds cells in truth: by what runs on the players, and how it ended there.
//!
//! A host is busy while an attempt runs there that changes it and whose job is not `unthrottled`, and
//! down once such an attempt ended otherwise than ok, until a later change ended ok or somebody
//! released it. The engine may count more hosts, for it learns of ends later, but never fewer; and
//! however it counts, no cell has more than its limit, or than it had when a reload lowered that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_flow::{Answer, Command, Effect, answer};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet,
    delivery::{AttemptKey, OrderNumber},
    deployment::CellKey,
    flow::JobSpec,
    record::{Op, Record},
};

use super::{World, disk, player::FakePlayer};

/// What is known beside the engine.
#[derive(Default)]
pub struct Truth {
    /// The store was put back to an older state, so that the engine cannot know what was.
    pub forgotten: bool,
    /// Whether an attempt's score changed its host, by what the player had said when it was ordered.
    changes: BTreeMap<(HostName, AttemptKey), bool>,
    /// The newest order that was sent to each.
    ordered: BTreeMap<HostName, OrderNumber>,
    /// Whatever these hosts ran up to this order holds no more: an operator said so.
    released: BTreeMap<HostName, OrderNumber>,
    /// Units were told of that are not well, so that cells may hold more than their limits.
    pub units_told: bool,
    /// The deployments that the bounds are of.
    deployments: Arc<Deployments>,
    /// The most hosts that may hold each cell now.
    bounds: BTreeMap<CellKey, usize>,
    /// The last change of each flow that was to be written.
    numbers: BTreeMap<FlowId, u64>,
}

impl World {
    /// Checks who holds cells. To be called whenever anything happened.
    pub fn check_holds(&mut self) {
        let busy = self.truly_held();
        let counted: BTreeSet<HostName> = self.engine.holders().map(|holder| holder.host).collect();
        if self.truth.forgotten {
            return;
        }
        let forgotten: HostSet = busy.difference(&counted).cloned().collect();
        let runs =
            || self.players.values().filter(|p| forgotten.contains(&p.host)).map(|p| &p.runs);
        assert!(
            forgotten.is_empty(),
            "{forgotten} run or are down, and the engine forgot it: {:#?}",
            runs().collect::<Vec<_>>()
        );
        let deployments = Arc::clone(self.engine.deployments());
        let is_reloaded = deployments != self.truth.deployments;
        let told = std::mem::take(&mut self.truth.units_told);
        for (_, cell) in deployments.cells().iter() {
            let Some(limit) = cell.limit else { continue };
            let held = cell.hosts.iter().filter(|host| counted.contains(*host)).count();
            let limit = limit as usize;
            let bound = self.truth.bounds.entry(cell.key.clone()).or_insert(limit);
            if is_reloaded || told {
                *bound = held.max(limit);
            }
            assert!(held <= *bound, "{} has {held} of {bound}", cell.key);
            // What is not on disk may still be undone.
            if self.pending.is_empty() {
                *bound = held.max(limit);
            }
        }
        self.truth.deployments = deployments;
    }

    /// Hosts on which a change runs, or has left the host down.
    pub fn truly_held(&self) -> BTreeSet<HostName> {
        let holds = |(name, player): &(&HostName, &FakePlayer)| {
            let is_change = |key: &AttemptKey| self.truth.changes.get(&((*name).clone(), *key));
            let changes = player.runs.iter().filter(|(key, _)| is_change(key) != Some(&false));
            let well = changes.clone().filter(|(_, run)| run.ok == Some(true)).map(|(_, run)| run);
            let released = self.truth.released.get(*name).copied();
            let over = well.map(|run| run.order).chain(released).max();
            changes.filter(|(key, _)| self.is_throttled(**key)).any(|(key, run)| {
                let counts = run.ok != Some(true);
                let runs = run.ok.is_none() && self.is_awaited(*key, name);
                let stays = !self.is_about_unit(*key) && over.is_none_or(|over| run.order > over);
                counts && (runs || stays)
            })
        };
        self.players.iter().filter(holds).map(|(name, _)| name.clone()).collect()
    }

    fn is_throttled(&self, key: AttemptKey) -> bool {
        self.spec_of(key).is_some_and(|spec| !spec.unthrottled)
    }

    /// Whether it leaves no host down, for its unit says how that is.
    fn is_about_unit(&self, key: AttemptKey) -> bool {
        self.spec_of(key).is_some_and(|spec| spec.unit.is_some())
    }

    fn spec_of(&self, key: AttemptKey) -> Option<JobSpec> {
        self.disk.flow(key.job.flow)?;
        let slot =
            self.disk.spec_of(key.job.flow).slots.get(usize::from(key.job.slot) - 1)?.clone();
        slot.jobs.into_iter().nth(usize::from(key.job.job) - 1)
    }

    /// Whether the engine has the attempt in flight.
    fn is_awaited(&self, key: AttemptKey, host: &HostName) -> bool {
        assert_eq!(key.store, disk::STORE);
        let tasks = self.engine.tasks(key.job, 0, u32::MAX).unwrap_or_default();
        tasks.iter().any(|task| {
            let this = task.host.as_ref() == Some(host) && task.attempt == key.attempt;
            this && task.state.is_in_flight()
        })
    }

    /// The conductor starts anew: orders that were never written may be decided again, otherwise.
    pub(super) fn forget_unwritten(&mut self) {
        let disk = &self.disk;
        self.truth.changes.retain(|(host, key), _| disk.has_attempt(key.job, host, key.attempt));
        self.truth.numbers = disk.last_changes();
    }

    /// Each change of a flow has a number of its own, above those before it, also those before a
    /// crash; and what is published has the last number that was written.
    fn note_change(&mut self, effect: &Effect) {
        let (flow, change) = match effect {
            Effect::Persist(Op::Put(Record::Task(task))) => (task.job.flow, task.change),
            Effect::Persist(Op::Put(Record::Job(job))) if job.state.is_final() => {
                (job.id.flow, job.change)
            }
            Effect::Publish(event) => {
                if let Some(change) = event.change() {
                    let last = self.truth.numbers.get(&event.flow()).copied();
                    assert_eq!(change, last.unwrap_or_default(), "{event:?}");
                }
                return;
            }
            _ => return,
        };
        let last = self.truth.numbers.insert(flow, change);
        assert!(
            last.is_none_or(|last| change > last),
            "change {change} after {last:?}: {effect:?}"
        );
    }

    /// Takes note of what an operator released: whatever was ordered so far, also what is still on
    /// its way and was given up as lost.
    pub(super) fn note_effect(&mut self, effect: &Effect) {
        self.note_change(effect);
        match effect {
            Effect::Send { player, command: Command::Order(order), .. } => {
                let host = self.engine.roster().host(*player).clone();
                let score = self.engine.job_part(order.key.job).map(|part| part.score);
                let is_change = score.is_none_or(|score| self.players[&host].said_change(&score));
                self.truth.changes.entry((host.clone(), order.key)).or_insert(is_change);
                let newest = self.truth.ordered.entry(host).or_default();
                *newest = order.number.max(*newest);
            }
            Effect::Answer {
                answer: Answer::ReleasedHolds(answer::ReleasedHolds { hosts }),
                ..
            } => {
                for host in hosts {
                    let newest = self.truth.ordered.get(host).copied().unwrap_or_default();
                    self.truth.released.insert(host.clone(), newest);
                }
            }
            _ => {}
        }
    }
}
