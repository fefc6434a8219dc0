//! The records of one batch, in order, without those that a later one of the same batch makes
//! needless. A row written twice in one transaction is work for nothing.
//!
//! A store may keep a prefix of a long batch (see the crate), so what is left out must be
//! missed nowhere: whatever the prefix, it is what some crash could have left without this. Two
//! cases are so, and are most of what there is to save:
//!
//! - **An attempt that started, and more is known of it.** Its start is left out, and the later
//!   record keeps its own place: behind the hold, release and end that have to be there before it.
//!   A prefix that ends between the two is what a player leaves that reports ends alone: the start
//!   was told to nobody, and the player says it again.
//! - **A further order to a player.** Its number takes the place of the one before, in front of
//!   both tasks: no prefix has an order's task without its number. One that has the number alone
//!   has a gap, as each prefix between a player and its task has. That is so of a player's record
//!   right before the task of the next number, where nothing but the number has changed; every
//!   other one says more (a spool, what a recovery skips), and stays where it is, behind what has
//!   to be there before it.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use orchestra_model::{
    HostName, JobId, TaskState,
    audit::Object,
    bundle::Seal,
    record::{Op, PlayerRecord, Record, TaskRecord},
};

/// Records that belong together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order; `None` for what was left out.
    ops: Vec<Option<Op>>,
    /// About how much memory they take.
    bytes: usize,
    /// Where the newest record of each player is.
    players: HashMap<HostName, usize>,
    /// Where the record is that was the newest of its player before the last operation, if that is
    /// one of a player.
    before: Option<usize>,
    /// Where starts of attempts are, of which nothing more was known.
    starts: HashMap<(JobId, u32), usize>,
}

impl Batch {
    /// Adds an operation.
    pub(crate) fn push(&mut self, op: Op) {
        let place = self.ops.len();
        match &op {
            Op::Put(Record::Player(player)) => {
                self.before = self.players.insert(player.host.clone(), place);
            }
            Op::Put(Record::Task(task)) => {
                self.join_orders(task);
                self.leave_out_start(task);
                if is_start(task) {
                    self.starts.insert((task.job, task.index), self.ops.len());
                }
            }
            _ => {}
        }
        self.bytes += weight(&op);
        self.ops.push(Some(op));
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// About how much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is to be written.
    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.ops.into_iter().flatten().collect()
    }

    /// Moves the number of a task's order to where its player's last one is.
    fn join_orders(&mut self, task: &TaskRecord) {
        let Some(Some(Op::Put(Record::Player(newest)))) = self.ops.last() else { return };
        if newest.host != task.host || newest.last_order != task.order {
            return;
        }
        let Some(place) = self.before.take() else { return };
        let Some(Some(Op::Put(Record::Player(older)))) = self.ops.get(place) else { return };
        if !is_sent(task) || !is_next_order(older, newest) {
            return;
        }
        self.players.insert(task.host.clone(), place);
        let newest = self.ops.pop();
        self.bytes -= newest.iter().flatten().map(weight).sum::<usize>();
        self.ops[place] = newest.flatten();
    }

    /// Leaves out that a task's attempt started, now that more is known of it.
    fn leave_out_start(&mut self, task: &TaskRecord) {
        let Some(place) = self.starts.remove(&(task.job, task.index)) else { return };
        let Some(Some(Op::Put(Record::Task(start)))) = self.ops.get(place) else { return };
        let is_same =
            start.host == task.host && (start.attempt, start.order) == (task.attempt, task.order);
        if is_same {
            let start = self.ops[place].take();
            self.bytes -= start.as_ref().map_or(0, weight);
        }
    }
}

/// Whether it says that its order was sent, and no more.
fn is_sent(task: &TaskRecord) -> bool {
    task.state == TaskState::Sent && task.started_at.is_none()
}

/// Whether it says that its attempt runs, and no more.
fn is_start(task: &TaskRecord) -> bool {
    task.state == TaskState::Sent && task.started_at.is_some()
}

/// Whether the newer record says nothing but that one more order was sent.
fn is_next_order(older: &PlayerRecord, newer: &PlayerRecord) -> bool {
    let PlayerRecord { host, spool, last_order, detached_at, removed, drained } = older;
    let same = (host, spool, detached_at, removed, drained)
        == (&newer.host, &newer.spool, &newer.detached_at, &newer.removed, &newer.drained);
    same && newer.last_order == last_order.next()
}

/// About how much memory a record takes.
fn weight(op: &Op) -> usize {
    /// Names, numbers and boxes.
    const RECORD: usize = 256;
    RECORD
        + match op {
            Op::Put(Record::End(end)) => end.end.as_slice().len(),
            Op::Put(Record::Spec(chunk)) => chunk.bytes.len(),
            Op::Put(Record::Targets(chunk)) => chunk.text.len(),
            Op::Put(Record::Tree(chunk)) => chunk.text.len(),
            Op::Put(Record::Params(record)) => {
                record.params.iter().map(|(key, value)| key.as_str().len() + value.len()).sum()
            }
            Op::Put(Record::Audit(line)) => {
                let on = match &line.entry.on {
                    Object::Hosts(text) | Object::File(text) | Object::Peer(text) => text.len(),
                    _ => 0,
                };
                on + line.entry.answer.len()
            }
            Op::Put(Record::Version(version)) => version.spec.len(),
            Op::Put(Record::Bundle(_)) => Seal::BYTES,
            Op::Put(_)
            | Op::EraseParams(_)
            | Op::PruneFlow(_)
            | Op::Release(_)
            | Op::PruneAudit(_)
            | Op::PruneVersion(..)
            | Op::Displace(..)
            | Op::ForgetBundle(_) => 0,
        }
}
