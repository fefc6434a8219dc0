//! Launchers: who makes the processes of other users, so that the sitter never waits for one.
//!
//! Between the change of user and the execution a *newborn* is our program under another user's
//! power: whatever runs as that user can stop it there for ever, or kill it. Whoever made it by
//! `vfork` waits for it, and whatever it holds stays held. So the sitter makes none itself. Each user
//! that something is to run as has a launcher: this program, executed anew, as the sitter's own user,
//! with nothing of the sitter's but its end of a socket pair and a page of numbers.
//!
//! ```text
//! sitter ── request: program, arguments, descriptors ─▶ launcher ── vfork, CLONE_PARENT ─▶ newborn
//!   │  ◀───── answers: number, pidfd, was it executed? ── │  ◀──────── executed, or dead ──── │
//!   └────────────────── parent of the newborn: its end comes here ──────────────────────────┘
//! ```
//!
//! What holds:
//!
//! - A newborn holds the descriptors that its program gets, and nothing else, before it changes user.
//!   It shares memory with its launcher alone.
//! - A program counts as executed only if the kernel says so (`PF_FORKNOEXEC` in `/proc/PID/stat`,
//!   which no process can set or clear, and which is read in the dead too).
//! - One user's newborns delay that user's starts alone. A newborn that was stopped is killed after
//!   `LOOK`, one that is merely slow after `SLOW`; a launcher that neither answers nor has a
//!   newborn to blame, after `SLOW`.
//! - A launcher that dies takes nothing along: newborns are the sitter's children, and their numbers
//!   stand in the page. What it had not begun comes back as `LaunchError::Gone`.
//! - No launcher outlives its sitter: the kernel kills it then, and the end of its socket ends it.

mod asked;
mod launchers;
mod outcome;
mod program;
mod wire;

use std::time::Duration;

pub use self::program::{LauncherError, run};
pub(crate) use self::{
    launchers::Launchers,
    outcome::{Born, LaunchError, Launched, NotSent},
    wire::Request,
};

/// The descriptors at which a launcher finds its socket and its page of numbers.
const SOCKET: i32 = 3;
const PAGE: i32 = 4;
/// Most launches of one user that wait for an answer: two batches of answers, so that there is work
/// for the launcher while the sitter takes one in. Fewer than the page has numbers.
const IN_FLIGHT: usize = 32;
/// Most answers in one message.
const ANSWERS: usize = 16;
/// How long a launcher keeps an answer back while further requests wait: waking the sitter for each
/// costs it a turn, and a turn a sync of its journal.
const GATHERED: Duration = Duration::from_millis(10);
/// How long a launcher may be silent before it is looked after, and between two looks. An execution
/// takes milliseconds.
const LOOK: Duration = Duration::from_secs(1);
/// How long an execution may take that nobody has stopped: its file may come from a slow disk, on a
/// machine that has other things to do.
const SLOW: Duration = Duration::from_secs(10);
/// A launcher that had nothing to do for so long is let go: to start another one takes milliseconds.
const REST: Duration = Duration::from_secs(60);

const _: () = assert!(IN_FLIGHT < super::sys::SHARED_NUMBERS);
