//! One player: whether it is there, what it takes, and which tasks wait for it.
//!
//! The tasks parked on a player lie in one queue a score, oldest first, so that finding the next
//! that may start looks at each score once, however many wait. An entry whose task waits here no
//! more is dropped when it comes up, or swept out before.

use std::collections::VecDeque;

use orchestra_model::{
    HostName, Millis, ScoreName, Timestamp, WaitReason,
    delivery::{AttemptKey, OrderNumber, SpoolId},
    record::{PlayerRecord, Record},
    score::ScoreOffer,
};

use crate::{input::SessionId, task::TaskRef};

/// One player.
#[derive(Clone, Debug)]
pub struct Player {
    pub(crate) host: HostName,
    /// Whether the players file names it.
    pub(crate) member: bool,
    pub(crate) session: Option<SessionId>,
    /// When the last session ended; `None` while attached, or if it never was.
    pub(crate) detached_at: Option<Timestamp>,
    pub(crate) spool: Option<SpoolId>,
    pub(crate) last_order: OrderNumber,
    /// The highest order that its spool is known to have answered for.
    pub(crate) answered: OrderNumber,
    pub(crate) max_tasks: u32,
    pub(crate) kill_grace: Millis,
    /// What it offers, by name. Empty too where it has not attached since the conductor started.
    pub(crate) scores: Box<[(ScoreName, ScoreLimits)]>,
    /// Orders that are out.
    pub(crate) in_flight: Vec<Flying>,
    /// Attempts that it runs and that no task of ours awaits: they take room all the same.
    pub(crate) strangers: Vec<AttemptKey>,
    /// It said that it is busy; nothing is sent before something ended there, or a pause is over.
    pub(crate) said_busy: bool,
    parked: Vec<(ScoreName, VecDeque<TaskRef>)>,
}

/// What gates know of a score on one player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScoreLimits {
    pub(crate) concurrency: Option<u32>,
    pub(crate) exclusive: bool,
    pub(crate) timeout: Millis,
}

impl ScoreLimits {
    /// Of each score that can run, by name.
    pub(crate) fn of(offers: &[ScoreOffer]) -> Box<[(ScoreName, ScoreLimits)]> {
        let limits = |offer: &ScoreOffer| {
            let spec = offer.spec.as_ref().ok()?;
            let (concurrency, exclusive, timeout) =
                (spec.concurrency, spec.exclusive, spec.timeout);
            Some((offer.name.clone(), ScoreLimits { concurrency, exclusive, timeout }))
        };
        let mut scores: Vec<_> = offers.iter().filter_map(limits).collect();
        scores.sort_by(|(a, _), (b, _)| a.cmp(b));
        scores.dedup_by(|(a, _), (b, _)| a == b);
        scores.into()
    }
}

/// An order that is out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flying {
    pub(crate) task: TaskRef,
    pub(crate) score: ScoreName,
}

impl Player {
    pub(crate) fn new(host: HostName) -> Self {
        Self {
            host,
            member: false,
            session: None,
            detached_at: None,
            spool: None,
            last_order: OrderNumber(0),
            answered: OrderNumber(0),
            max_tasks: 1,
            kill_grace: Millis(0),
            scores: Box::new([]),
            in_flight: Vec::new(),
            strangers: Vec::new(),
            said_busy: false,
            parked: Vec::new(),
        }
    }

    pub(crate) fn attached(&self) -> bool {
        self.session.is_some()
    }

    /// What it said of a score. An order for one that it does not offer is sent all the same, for
    /// the player alone decides what it refuses.
    pub(crate) fn limits(&self, score: &ScoreName) -> Option<ScoreLimits> {
        let at = self.scores.binary_search_by(|(name, _)| name.cmp(score)).ok()?;
        Some(self.scores[at].1)
    }

    fn is_exclusive(&self, score: &ScoreName) -> bool {
        self.limits(score).is_some_and(|limits| limits.exclusive)
    }

    /// How many of its places are taken.
    pub(crate) fn taken(&self) -> usize {
        self.in_flight.len() + self.strangers.len()
    }

    /// The first gate of this player that stops a task of `score`, if any: presence, credit,
    /// exclusiveness, the score's concurrency.
    pub(crate) fn gate(&self, score: &ScoreName) -> Option<WaitReason> {
        if !self.attached() {
            return Some(WaitReason::PlayerAbsent);
        }
        let taken = self.taken();
        if self.said_busy || taken >= self.max_tasks as usize {
            return Some(WaitReason::PlayerBusy);
        }
        let alone = |flying: &Flying| self.is_exclusive(&flying.score);
        if (self.is_exclusive(score) && taken > 0) || self.in_flight.iter().any(alone) {
            return Some(WaitReason::Exclusive);
        }
        let running = self.in_flight.iter().filter(|flying| flying.score == *score).count();
        match self.limits(score).and_then(|limits| limits.concurrency) {
            Some(most) if running >= most as usize => Some(WaitReason::ScoreBusy),
            _ => None,
        }
    }

    /// The same for a task that does not queue here yet. Where an older exclusive one waits for the
    /// player to become empty, newcomers queue behind it, or it would wait for ever.
    pub(crate) fn newcomer_gate(&self, score: &ScoreName, task: TaskRef) -> Option<WaitReason> {
        let is_older = |queue: &VecDeque<TaskRef>| queue.front().is_some_and(|first| *first < task);
        let mut queues = self.parked.iter();
        self.gate(score).or_else(|| {
            let held = queues.any(|(score, queue)| self.is_exclusive(score) && is_older(queue));
            held.then_some(WaitReason::Exclusive)
        })
    }

    /// Puts a task into the queue of its score, once.
    pub(crate) fn park(&mut self, score: &ScoreName, task: TaskRef) {
        let Some((_, queue)) = self.parked.iter_mut().find(|(name, _)| name == score) else {
            return self.parked.push((score.clone(), VecDeque::from([task])));
        };
        if let Err(at) = queue.binary_search(&task) {
            queue.insert(at, task);
        }
    }

    /// Takes a task out of the queue of its score. Whether it was there.
    pub(crate) fn unpark(&mut self, score: &ScoreName, task: TaskRef) -> bool {
        let ix = self.parked.iter().position(|(name, _)| name == score);
        let at = ix.and_then(|ix| Some((ix, self.parked[ix].1.binary_search(&task).ok()?)));
        if let Some((ix, at)) = at {
            self.take(ix, at);
        }
        at.is_some()
    }

    fn take(&mut self, ix: usize, at: usize) -> Option<TaskRef> {
        let queue = &mut self.parked[ix].1;
        let task = queue.remove(at);
        if queue.is_empty() {
            self.parked.swap_remove(ix);
        }
        task
    }

    /// Takes the oldest task whose score may start here.
    pub(crate) fn unpark_next(&mut self) -> Option<TaskRef> {
        self.next_queue().and_then(|ix| self.take(ix, 0))
    }

    /// The queue of the oldest task whose score may start here. Where that is an exclusive one that
    /// has to wait until the player is empty, nothing overtakes it.
    pub(crate) fn next_queue(&self) -> Option<usize> {
        let fronts = self.parked.iter().enumerate();
        fronts
            .map(|(ix, (score, queue))| (ix, queue.front().copied(), self.gate(score)))
            .filter(|(.., gate)| matches!(gate, None | Some(WaitReason::Exclusive)))
            .min_by_key(|(_, task, _)| *task)
            .filter(|(.., gate)| gate.is_none())
            .map(|(ix, ..)| ix)
    }

    /// Everything that is parked here, in no particular order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter().flat_map(|(_, queue)| queue.iter().copied())
    }

    pub(crate) fn record(&self) -> Record {
        Record::Player(PlayerRecord {
            host: self.host.clone(),
            spool: self.spool,
            last_order: self.last_order,
            detached_at: self.detached_at,
            removed: !self.member,
        })
    }
}
