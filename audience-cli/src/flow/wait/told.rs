//! Remembers what was told of a flow's tasks, so that nothing is told twice.
//!
//! After missed events all tasks that changed since the last cursor are told anew. Some of them may
//! have been told after that cursor; task and attempt show which.

use std::collections::BTreeMap;

use orchestra_model::{ids::JobId, state::TaskState, status::Event};

/// What was told of each task last.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<(u16, u16, u32), Last>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    attempt: u32,
    state: TaskState,
}

impl Last {
    /// Returns how far a task is: by attempt, and in each by running, ended, and last.
    fn rank(self) -> (u32, u8) {
        let phase = match self.state {
            TaskState::Sent | TaskState::Running => 0,
            TaskState::Waiting => 1,
            _ => 2,
        };
        (self.attempt, phase)
    }
}

impl Told {
    /// Notes a change, and returns whether it is to be told. A change that just happens is always
    /// told; one that comes `anew` only if it goes further than what was told, or contradicts it.
    pub(super) fn takes(&mut self, event: &Event, anew: bool) -> bool {
        let Event::Task { job: JobId { slot, job, .. }, index, attempt, state, .. } = event else {
            return true;
        };
        let now = Last { attempt: *attempt, state: *state };
        let place = (*slot, *job, *index);
        let is_news = !anew
            || self.0.get(&place).is_none_or(|last| {
                now.rank() > last.rank() || (now.rank() == last.rank() && now != *last)
            });
        if is_news {
            self.0.insert(place, now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::ids::FlowId;

    use super::*;

    fn event(index: u32, attempt: u32, state: TaskState) -> Event {
        Event::Task {
            job: JobId { flow: FlowId(1), slot: 1, job: 1 },
            index,
            host: None,
            state,
            attempt,
            exit: None,
            signal: None,
            detail: None,
            before: None,
            absence: None,
            change: 0,
        }
    }

    #[test]
    fn what_is_told_anew_is_told_if_it_was_not() {
        use TaskState::{Failed, Lost, Ok, Running, Unreachable, Waiting};
        let mut told = Told::default();
        let mut anew = |index, attempt, state| told.takes(&event(index, attempt, state), true);
        assert!(anew(0, 1, Failed) && !anew(0, 1, Failed));
        assert!(!anew(0, 1, Running), "it has ended since");
        assert!(!anew(0, 1, Waiting), "the same end, before a further attempt");
        assert!(anew(0, 2, Waiting) && anew(0, 2, Ok) && !anew(0, 1, Failed));
        assert!(anew(1, 0, Unreachable) && !anew(1, 0, Unreachable));
        assert!(anew(0, 2, Lost), "after a restored store it is otherwise");
    }

    #[test]
    fn what_happens_is_always_told() {
        let mut told = Told::default();
        for _ in 0..2 {
            assert!(told.takes(&event(0, 1, TaskState::Failed), false));
            assert!(told.takes(&event(0, 1, TaskState::Waiting), false), "somebody retried it");
        }
        assert!(!told.takes(&event(0, 1, TaskState::Waiting), true));
        assert!(told.takes(&event(0, 1, TaskState::Failed), true), "given up");
    }

    #[test]
    fn a_large_flow_takes_little_room() {
        assert!(size_of::<((u16, u16, u32), Last)>() <= 16);
    }
}
