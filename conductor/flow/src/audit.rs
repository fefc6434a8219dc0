//! Every invariant, over the whole state. Tests and the simulation call it after each step.

use std::{collections::BTreeMap, fmt};

use orchestra_model::{JobState, TaskState, status::Counts};

use crate::{
    Engine,
    job::Job,
    roster::PlayerIx,
    task::{Parked, TaskRef},
};

/// A broken invariant: our bug.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

/// Fails with a formatted violation unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err(Violation(format!($($text)+)));
        }
    };
}

impl Engine {
    /// Checks every invariant over the whole state. Takes time in proportion to it.
    pub fn audit(&self) -> Result<(), Violation> {
        let mut flying: BTreeMap<PlayerIx, Vec<TaskRef>> = BTreeMap::new();
        for flow in self.flows.values() {
            ensure!(flow.id < self.next_flow, "flow {} is not issued", flow.id);
            ensure!(!flow.state.is_final(), "flow {} has ended and is still here", flow.id);
            ensure!(
                flow.state == flow.derived_state(),
                "flow {} is {} but its jobs say {}",
                flow.id,
                flow.state,
                flow.derived_state()
            );
            for (slot, job) in flow
                .slots
                .iter()
                .enumerate()
                .flat_map(|(ix, slot)| slot.iter().map(move |j| (ix, j)))
            {
                ensure!(
                    (slot <= flow.slot) == job.started_at.is_some() || job.state.is_final(),
                    "job {} of slot {slot} has begun though the flow is at {}",
                    job.id,
                    flow.slot
                );
                self.audit_job(job, &mut flying)?;
            }
        }
        for player in self.roster.indices() {
            let mut theirs: Vec<TaskRef> =
                self.roster[player].in_flight.iter().map(|flying| flying.task).collect();
            theirs.sort_unstable();
            let mut ours = flying.remove(&player).unwrap_or_default();
            ours.sort_unstable();
            let host = self.roster.host(player);
            ensure!(theirs == ours, "player {host} has {theirs:?} in flight, jobs say {ours:?}");
            let (running, most) = self.roster.load(player);
            ensure!(
                running <= most || !self.roster[player].attached(),
                "player {host} has {running} orders and takes {most}"
            );
        }
        Ok(())
    }

    fn audit_job(
        &self,
        job: &Job,
        flying: &mut BTreeMap<PlayerIx, Vec<TaskRef>>,
    ) -> Result<(), Violation> {
        let id = job.id;
        let mut counts = Counts::default();
        let mut absent = 0;
        for index in 0..job.total() {
            let task = job.task(index);
            let state = match task.state {
                TaskState::Waiting => job.untouched,
                state => state,
            };
            counts.set(state, counts.get(state) + 1);
            let player = job.player_of(index);
            if state.is_in_flight() {
                ensure!(player.is_some(), "task {index} of {id} is in flight on nobody");
                if let Some(player) = player {
                    flying.entry(player).or_default().push(TaskRef::new(id, index));
                    ensure!(
                        task.order <= self.roster[player].last_order,
                        "task {index} of {id} has an order that was not issued"
                    );
                }
            }
            if state != TaskState::Waiting {
                continue;
            }
            ensure!(
                job.ready.contains(&index) == (task.parked == Parked::Ready),
                "task {index} of {id} is {:?} and in `ready`: {}",
                task.parked,
                job.ready.contains(&index)
            );
            ensure!(
                index >= job.cursor || task.parked != Parked::No,
                "task {index} of {id} waits before the cursor and nobody will look at it"
            );
            if let (Parked::Player, Some(player), false) = (task.parked, player, job.is_one_of()) {
                let parked = TaskRef::new(id, index);
                ensure!(
                    self.roster[player].parked().any(|task| task == parked),
                    "task {index} of {id} is parked on {} and not in its queue",
                    self.roster.host(player)
                );
                absent += u32::from(!self.roster[player].attached());
            }
        }
        ensure!(counts == job.counts, "job {id} counts {:?}, has {counts:?}", job.counts);
        if !job.untouched.is_final() {
            ensure!(absent == job.absent, "job {id} counts {} absent, has {absent}", job.absent);
        }
        ensure!(
            job.counts.in_flight() <= job.window,
            "job {id} has {} in flight and a window of {}",
            job.counts.in_flight(),
            job.window
        );
        if job.state.is_final() {
            ensure!(
                job.counts.finished() == job.total(),
                "job {id} has ended and not all of its tasks have"
            );
        } else if job.state == JobState::Running && !job.untouched.is_final() {
            ensure!(!job.is_doomed(), "job {id} is doomed and does not say so");
            let kept_full = job.queued || !job.window_is_open() || self.stale.is_some();
            let unseen = job.cursor < job.total() || !job.ready.is_empty();
            ensure!(kept_full || !unseen, "job {id} has room in its window and looks at nothing");
        }
        Ok(())
    }
}
