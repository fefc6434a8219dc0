//! Launchers: processes that make the processes of users and read what those write, so that the
//! sitter never waits for a process of a user.
//!
//! A launcher has two duties, and a thread for each.
//!
//! **It makes newborns.* Between the change of user and the execution a newborn is our program
//! under another user's power: any process of that user can stop it there for ever, or kill it. The
//! process that made it by `vfork` waits for it, and what the newborn holds stays held.
//!
//! **It reads pipes.* A process may write from memory that does not answer. Meanwhile it holds the
//! lock of the pipe. A process that opens, reads or closes that pipe waits for the lock, and cannot
//! be killed (`stream.rs`).
//!
//! So the sitter does neither. For each user as whom something runs there is a launcher: this
//! program, executed anew as the sitter's own user. It has nothing of the sitter but its ends of
//! two socket pairs and a page of numbers.
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
//! - Before it changes user, a newborn closes all descriptors but those of its program. It shares
//!   memory with its launcher alone.
//! - A program counts as executed only if the kernel says so: by `PF_FORKNOEXEC` in
//!   `/proc/PID/stat`, which no process can set or clear, and which can be read of a dead process
//!   too.
//! - A user's newborns and pipes delay that user alone. A newborn that was stopped is killed after
//!   `LOOK`, and a slow one after `SLOW`. A launcher that does not answer, and waits for no
//!   newborn, is killed after `SLOW`. If it does not die it is left behind, and nobody waits for
//!   it. The page says with which tap it is stuck: that tap gets a launcher of its own, and another
//!   launcher takes over the other taps.
//! - A launcher that dies loses nothing: newborns are the sitter's children, and their numbers are
//!   in the page. Requests that it had not begun come back as `LaunchError::Gone`. The next
//!   launcher opens the pipes again by their names. Only if the last process closes a pipe while no
//!   launcher has it open, the content of that pipe is lost.
//! - No launcher outlives its sitter: the kernel kills it then, and the end of its socket ends it.
//!   The exception is a launcher that was asked to hold by a sitter that is executed anew: it keeps
//!   its pipes open for `HELD` more, and moves nothing.

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

/// The descriptor at which a launcher finds its socket. Its page of numbers, and the socket of the
/// thread that reads pipes, follow.
const SOCKET: i32 = 3;
const PAGE: i32 = 4;
const TAPS: i32 = 5;
/// Most launches of one user that wait for an answer: two batches of answers, so that the launcher
/// has work while the sitter takes one batch. They are fewer than the numbers of the page.
const IN_FLIGHT: usize = 32;
/// Most answers in one message.
const ANSWERS: usize = 16;
/// How long a launcher keeps an answer back while further requests wait. Each message costs the
/// sitter a turn, and each turn a sync of its journal.
const GATHERED: Duration = Duration::from_millis(10);
/// How long a launcher may be silent before it is looked after, and the time between two looks. An
/// execution takes milliseconds.
const LOOK: Duration = Duration::from_secs(1);
/// How long a launcher may be silent while the sitter is about to end, if neither it nor its newborn is
/// stopped: on a busy host it may get no processor for seconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long an execution may take if nobody has stopped the newborn: its file may come from a slow
/// disk, on a busy host.
const SLOW: Duration = Duration::from_secs(10);
/// The time between two looks whether a launcher that owes no answer is stuck with one of its taps;
/// the look is at the next beat. The processes that write to its other taps would wait.
const WATCH: Duration = Duration::from_secs(5);
/// A launcher that had nothing to do for so long is ended. To start another one takes milliseconds.
const REST: Duration = Duration::from_secs(60);

/// How long pipes are kept open for a sitter that is executed anew. Its launchers open them again
/// within the first moments.
const HELD: Duration = Duration::from_secs(10);
/// Most accounts in one message.
const ACCOUNTS: usize = 64;
/// Most words of units in one message, and taken at once.
const WORDS: usize = 32;
/// How long a launcher does not listen to a unit that was loud, so that the unit does not take all
/// of its launcher's time.
const DEAF: Duration = Duration::from_millis(20);
/// How often a tap is given to another launcher before it is given up, so that launchers that
/// cannot live are not started for ever.
const MOVES: u8 = 16;

/// How many newborns' numbers the page has room for. Two more numbers say which tap is being
/// touched, and how often any was.
const NEWBORNS: usize = SHARED_NUMBERS - 2;
const TOUCHED: usize = NEWBORNS;
const TOUCHES: usize = NEWBORNS + 1;

const _: () = assert!(IN_FLIGHT < NEWBORNS);
