//! Launchers: who makes the processes of other users and reads what they write, so that the sitter
//! never waits for one.
//!
//! A launcher has two duties, and a thread for each.
//!
//! *It makes newborns.* Between the change of user and the execution a newborn is our program under
//! another user's power: whatever runs as that user can stop it there for ever, or kill it. Whoever
//! made it by `vfork` waits for it, and whatever it holds stays held.
//!
//! *It reads pipes.* A process that writes from memory which does not answer holds the lock of the
//! pipe that it writes to. Whoever opens, reads or closes that pipe waits for the lock, and cannot be
//! killed meanwhile (`stream.rs`).
//!
//! So the sitter does neither. Each user that something is to run as has a launcher: this program,
//! executed anew, as the sitter's own user, with nothing of the sitter's but its ends of two socket
//! pairs and a page of numbers.
//!
//! ```text
//! sitter ── request: program, arguments, directory ──▶ launcher ── vfork, CLONE_PARENT ─▶ newborn
//!   │  ◀───── answers: number, pidfd, was it executed? ── │  ◀──────── executed, or dead ──── │
//!   │  ◀───── accounts: so much was written, it is over ── │  ◀──────── pipes ──────────────── │
//!   │  ◀───── words: it says that it is ready ──────────── │  ◀──────── a unit's socket ────── │
//!   └────────────────── parent of the newborn: its end comes here ──────────────────────────┘
//! ```
//!
//! What holds:
//!
//! - A newborn holds the descriptors that its program gets, and nothing else, before it changes user.
//!   It shares memory with its launcher alone.
//! - A program counts as executed only if the kernel says so (`PF_FORKNOEXEC` in `/proc/PID/stat`,
//!   which no process can set or clear, and which is read in the dead too).
//! - One user's newborns and pipes delay that user alone. A newborn that was stopped is killed after
//!   `LOOK`, one that is merely slow after `SLOW`; a launcher that neither answers nor has a
//!   newborn to blame, after `SLOW`. One that does not die of that is left behind, and nobody waits
//!   for it. The page says which tap it is stuck with: that one is given to a launcher of its own, and
//!   another takes over all the others.
//! - A launcher that dies takes nothing along: newborns are the sitter's children, and their numbers
//!   stand in the page. What it had not begun comes back as `LaunchError::Gone`. The next launcher
//!   opens the pipes that it read by their names. Whatever closes a pipe for good while no launcher has
//!   it open takes along what is in it.
//! - No launcher outlives its sitter: the kernel kills it then, and the end of its socket ends it. Only
//!   one that was asked to hold, by a sitter that is executed anew, keeps its pipes open for `HELD`
//!   more, and moves nothing.

mod ahead;
mod asked;
mod ear;
mod errands;
mod hearing;
mod launchers;
mod log;
mod outcome;
mod program;
mod taps;
mod wire;
mod words;

use std::time::Duration;

pub use self::program::{LauncherError, run};
pub(crate) use self::{
    launchers::{Launchers, Orphan},
    outcome::{Born, LaunchError, Launched, NotSent, Said},
    wire::{Account, Keep, Ready, Request, TapId, TapOf},
    words::{OWN_DESCRIPTOR, Word, WordKind},
};
use super::sys::SHARED_NUMBERS;

/// The descriptors at which a launcher finds its socket, its page of numbers, and the socket of the
/// thread that reads pipes.
const SOCKET: i32 = 3;
const PAGE: i32 = 4;
const TAPS: i32 = 5;
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
/// How long after it was looked whether a launcher is stuck with one of several attempts' pipes that
/// owes no answer it is looked again, at the beat after that: the others' processes wait for it to be
/// read.
const WATCH: Duration = Duration::from_secs(5);
/// A launcher that had nothing to do for so long is let go: to start another one takes milliseconds.
const REST: Duration = Duration::from_secs(60);

/// How long pipes are kept open for a sitter that is executed anew: it opens them again in the first
/// moments of its life.
const HELD: Duration = Duration::from_secs(10);
/// Most accounts in one message.
const ACCOUNTS: usize = 64;
/// Most words of units in one message, and at once.
const WORDS: usize = 32;
/// How long nobody listens to a unit that has just said so much, or more: it may keep its own launcher
/// busy for so long in each such time, and nobody else.
const DEAF: Duration = Duration::from_millis(20);
/// How often one tap is given to another launcher before it is given up: a launcher that cannot live
/// must not be started for ever.
const MOVES: u8 = 16;

/// What the page has room for: the numbers of so many newborns, which tap is being touched, and how
/// often any was.
const NEWBORNS: usize = SHARED_NUMBERS - 2;
const TOUCHED: usize = NEWBORNS;
const TOUCHES: usize = NEWBORNS + 1;

const _: () = assert!(IN_FLIGHT < NEWBORNS);
