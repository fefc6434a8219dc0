//! Ends a stream from outside, whoever owns it: what its owner learns is an error of the stream.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use crate::refused::Refused;

/// On, until somebody turns it off for a reason.
#[derive(Debug, Default)]
pub(crate) struct Switch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    off: Option<Refused>,
    waker: Option<Waker>,
}

impl Switch {
    /// Turns it off, and wakes whoever owns the stream. The first reason stays.
    pub(crate) fn turn_off(&self, why: Refused) {
        let waker = {
            let mut state = self.lock();
            state.off.get_or_insert(why);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// An error where it is off; else the task is woken when that changes. One task owns a stream,
    /// so the last waker is the one that counts.
    pub(crate) fn check(&self, cx: &Context<'_>) -> io::Result<()> {
        let mut state = self.lock();
        if let Some(why) = &state.off {
            return Err(io::Error::other(why.clone()));
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
