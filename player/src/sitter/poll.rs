//! One place to wait: descriptors, and the next deadline on a clock that counts through suspend.
//!
//! While there is no deadline and nothing is ready, the sitter sleeps; nothing here wakes it
//! periodically.

use std::io;

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

use super::clock::BootMillis;

/// Tells a descriptor; the event loop gives it its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Token(pub(crate) u64);

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Something to read, or the end.
    Read,
    /// Something to read, the end, or room to write.
    ReadWrite,
    /// Only that the other end is gone.
    Hangup,
    /// That a file of the kernel has changed since it was read.
    Change,
}

/// A descriptor that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ready {
    pub(crate) token: Token,
}

/// Waits for descriptors and deadlines.
pub(crate) struct Poller {
    epoll: OwnedFd,
    timer: OwnedFd,
    armed: Option<BootMillis>,
    events: Vec<Event>,
}

/// The token of the timer.
const TIMER: Token = Token(u64::MAX);
/// No time; for a timer: never.
const NOTHING: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
/// Most descriptors told at once; the rest come with the next wait.
const BATCH: usize = 256;

impl Poller {
    /// Returns a poller that waits for nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Boottime, flags)?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER.0), EventFlags::IN)?;
        Ok(Self { epoll, timer, armed: None, events: Vec::with_capacity(BATCH) })
    }

    /// Waits for this descriptor too, until it is closed or removed.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token.0), flags(interest))?)
    }

    /// Waits for something else of a descriptor.
    pub(crate) fn change(&self, fd: impl AsFd, token: Token, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token.0), flags(interest))?)
    }

    /// Stops waiting for a descriptor.
    pub(crate) fn remove(&self, fd: impl AsFd) {
        // This fails only for a descriptor that is not waited for.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Sleeps until something is ready or `deadline` has come. Returns what is ready. A deadline of
    /// 0 counts as past.
    pub(crate) fn wait(&mut self, deadline: Option<BootMillis>) -> io::Result<Vec<Ready>> {
        let sleeps = deadline != Some(BootMillis::default());
        if sleeps {
            self.arm(deadline)?;
        }
        self.events.clear();
        let timeout = (!sleeps).then_some(&NOTHING);
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ready = Vec::with_capacity(self.events.len());
        let mut rang = false;
        for event in &self.events {
            match Token(event.data.u64()) {
                TIMER => rang = true,
                token => ready.push(Ready { token }),
            }
        }
        if rang {
            let mut expirations = [0; 8];
            let _ = rustix::io::read(&self.timer, &mut expirations);
            self.armed = None;
        }
        Ok(ready)
    }

    /// Sets the timer, unless it is set to this already.
    fn arm(&mut self, deadline: Option<BootMillis>) -> io::Result<()> {
        if self.armed == deadline {
            return Ok(());
        }
        let at = deadline.map_or(NOTHING, BootMillis::to_timespec);
        let time = Itimerspec { it_interval: NOTHING, it_value: at };
        timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &time)?;
        self.armed = deadline;
        Ok(())
    }
}

fn flags(interest: Interest) -> EventFlags {
    match interest {
        Interest::Read => EventFlags::IN,
        Interest::ReadWrite => EventFlags::IN | EventFlags::OUT,
        Interest::Change => EventFlags::PRI,
        // The kernel tells a hangup unasked.
        Interest::Hangup => EventFlags::empty(),
    }
}
