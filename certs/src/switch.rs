//! Ends a stream from outside. The stream's owner gets an error.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Waker},
};

use crate::refused::Refused;

/// A switch that is on until it is turned off for a reason.
#[derive(Debug, Default)]
pub(crate) struct Switch(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    off: Option<Refused>,
    waker: Option<Waker>,
}

impl Switch {
    /// Turns it off, and wakes the stream's owner. The first reason stays.
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

    /// Returns an error if it is off; else has the task woken when it is turned off. One task owns
    /// a stream, so only the last waker counts.
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
