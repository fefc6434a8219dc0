//! The queues of a player: the tasks parked on it, oldest first.
//!
//! Mostly at most one task waits on a player, and a million players may have one. So the first task
//! of a queue lies in the table itself, and short tables grow by one entry at a time.

use std::{collections::VecDeque, sync::Arc};

use orchestra_model::JobId;

use crate::{
    ids::TaskKind,
    tables::{few::Few, task::TaskRef},
};

/// A queue for each kind of task. None of them is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Queues(Vec<(Arc<TaskKind>, Queue)>);

/// Tasks of one kind, oldest first, each once.
#[derive(Clone, Debug)]
enum Queue {
    One(TaskRef),
    Many(VecDeque<TaskRef>),
}

/// Tables with fewer entries than this grow by one, longer ones by half or more.
const SHORT: usize = 8;

impl Queues {
    /// The oldest task of each queue.
    pub(crate) fn firsts(&self) -> impl Iterator<Item = (&TaskKind, TaskRef)> {
        let first = |queue: &Queue| queue.as_slices().0.first().copied();
        self.0.iter().filter_map(move |(kind, queue)| Some((&**kind, first(queue)?)))
    }

    /// All tasks of these kinds, in no particular order.
    pub(crate) fn iter(
        &self,
        is_meant: impl Fn(&TaskKind) -> bool,
    ) -> impl Iterator<Item = TaskRef> {
        let queues = self.0.iter().filter(move |(kind, _)| is_meant(kind));
        queues.flat_map(|(_, queue)| {
            let (front, back) = queue.as_slices();
            front.iter().chain(back).copied()
        })
    }

    /// Puts a task into the queue of its kind, once.
    pub(crate) fn insert(&mut self, kind: Arc<TaskKind>, task: TaskRef) {
        if let Some((_, queue)) = self.0.iter_mut().find(|(other, _)| *other == kind) {
            return queue.insert(task);
        }
        if self.0.len() < SHORT {
            self.0.reserve_exact(1);
        }
        self.0.push((kind, Queue::One(task)));
    }

    /// Takes a task out of the queue of its kind. Returns whether it was there.
    pub(crate) fn remove(&mut self, kind: &TaskKind, task: TaskRef) -> bool {
        let Some(ix) = self.0.iter().position(|(other, _)| **other == *kind) else { return false };
        let was_there = match &mut self.0[ix].1 {
            Queue::One(only) => *only == task,
            Queue::Many(tasks) => {
                let at = match tasks.front() {
                    Some(first) if *first == task => Ok(0),
                    _ => tasks.binary_search(&task),
                };
                at.is_ok_and(|at| tasks.remove(at).is_some())
            }
        };
        self.tidy(ix, was_there);
        was_there
    }

    /// The oldest task of a queue whose job is one of these. `ix` counts queues as
    /// [`Queues::firsts`] does.
    pub(crate) fn first_of(&self, ix: usize, jobs: &Few<JobId>) -> Option<TaskRef> {
        let queue = &self.0.get(ix)?.1;
        let (front, back) = queue.as_slices();
        let from = |job: JobId| {
            let is_before = |task: &TaskRef| task.job() < job;
            let ahead = [front, back].map(|part| part.partition_point(is_before));
            front.get(ahead[0]).or_else(|| back.get(ahead[1])).copied()
        };
        // The two ordered sets are searched by turns, so that a stretch which only one of them has
        // is skipped by one search.
        let mut first = front.first().copied()?;
        loop {
            let job = jobs.first_from(first.job())?;
            if job == first.job() {
                return Some(first);
            }
            first = from(job)?;
        }
    }

    /// Takes out a whole queue.
    pub(crate) fn take_all(&mut self, ix: usize) -> impl Iterator<Item = TaskRef> + use<> {
        let queue = (ix < self.0.len()).then(|| self.0.swap_remove(ix).1);
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
        let (only, many) = match queue {
            Some(Queue::One(only)) => (Some(only), VecDeque::new()),
            Some(Queue::Many(tasks)) => (None, tasks),
            None => (None, VecDeque::new()),
        };
        only.into_iter().chain(many)
    }

    /// Drops a queue that has become empty, if its only task was taken.
    fn tidy(&mut self, ix: usize, was_taken: bool) {
        let is_empty = match &self.0[ix].1 {
            Queue::One(_) => was_taken,
            Queue::Many(tasks) => tasks.is_empty(),
        };
        if is_empty {
            self.0.swap_remove(ix);
        }
        if self.0.is_empty() {
            self.0 = Vec::new();
        }
    }
}

impl Queue {
    fn as_slices(&self) -> (&[TaskRef], &[TaskRef]) {
        match self {
            Queue::One(only) => (std::slice::from_ref(only), &[]),
            Queue::Many(tasks) => tasks.as_slices(),
        }
    }

    fn insert(&mut self, task: TaskRef) {
        match self {
            Queue::One(only) if *only == task => {}
            Queue::One(only) => {
                let mut tasks = VecDeque::with_capacity(2);
                tasks.extend([(*only).min(task), (*only).max(task)]);
                *self = Queue::Many(tasks);
            }
            Queue::Many(tasks) => {
                if tasks.len() < SHORT {
                    tasks.reserve_exact(1);
                }
                match tasks.back() {
                    Some(last) if *last < task => tasks.push_back(task),
                    _ => {
                        if let Err(at) = tasks.binary_search(&task) {
                            tasks.insert(at, task);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{FlowId, JobId, ScoreName};

    use super::*;

    fn kind(score: &str) -> Arc<TaskKind> {
        Arc::new(TaskKind {
            score: ScoreName::new(score).unwrap(),
            unthrottled: false,
            unit: None,
            cleans_up: false,
        })
    }

    fn task(index: u32) -> TaskRef {
        TaskRef::new(JobId { flow: FlowId(1), slot: 1, job: 1 }, index)
    }

    fn all(queues: &Queues) -> Vec<TaskRef> {
        queues.iter(|_| true).collect()
    }

    #[test]
    fn a_queue_keeps_the_order_and_each_once() {
        let mut queues = Queues::default();
        for index in [5, 3, 9, 3, 7, 5] {
            queues.insert(kind("a"), task(index));
        }
        assert_eq!(all(&queues), [3, 5, 7, 9].map(task));
        assert!(!queues.remove(&kind("a"), task(4)) && !queues.remove(&kind("b"), task(5)));
        assert!(queues.remove(&kind("a"), task(5)));
        assert!(queues.remove(&kind("a"), task(3)));
        assert_eq!(all(&queues), [7, 9].map(task));
    }

    #[test]
    fn what_is_empty_takes_no_room() {
        let mut queues = Queues::default();
        for (score, index) in [("a", 1), ("b", 2), ("a", 3)] {
            queues.insert(kind(score), task(index));
        }
        assert_eq!(queues.firsts().count(), 2);
        for (score, index) in [("a", 1), ("b", 2), ("a", 3)] {
            assert!(queues.remove(&kind(score), task(index)));
        }
        assert_eq!((queues.firsts().count(), queues.0.capacity()), (0, 0));
    }

    #[test]
    fn the_first_of_some_jobs_is_found_among_others() {
        let of = |flow| JobId { flow: FlowId(flow), slot: 1, job: 1 };
        let mut queues = Queues::default();
        for flow in [7, 2, 5, 4, 9] {
            queues.insert(kind("a"), TaskRef::new(of(flow), 3));
        }
        let first = |flows: &[u64]| {
            let mut jobs = Few::default();
            jobs.extend(flows.iter().map(|flow| of(*flow)));
            queues.first_of(0, &jobs).map(|task| task.job().flow.0)
        };
        assert_eq!(first(&[1, 3, 5, 7]), Some(5));
        assert_eq!(first(&[9, 2]), Some(2));
        assert_eq!((first(&[1, 3, 6, 8, 10]), first(&[])), (None, None));
        assert_eq!(queues.take_all(0).count(), 5);
        assert_eq!(queues.firsts().count(), 0);
    }

    #[test]
    fn one_task_takes_little() {
        assert_eq!(size_of::<(Arc<TaskKind>, Queue)>(), 40);
    }
}
