//! Which signals end a daemon.
//!
//! TERM and INT ask it to stop; QUIT and ABRT ask for its end and a core; KILL does not ask. Those
//! that tell of a fault in the program itself (ILL, TRAP, BUS, FPE, SEGV, SYS) end it too. Every
//! other one, whose default is to end a process, was meant for somebody else, or comes from the
//! kernel beside an error that is dealt with where it occurs: a write beyond the limit on files
//! (XFSZ) fails and is treated as a full disk. A daemon outlives them.
//!
//! They are caught, rather than ignored: what is caught has its default again in whatever program a
//! process becomes, and what is ignored stays so.

use std::{
    io,
    ops::RangeInclusive,
    sync::{Arc, atomic::AtomicBool},
};

use rustix::process::Signal;

/// What a daemon outlives. PIPE is none of them: Rust ignores it from the start.
pub const OUTLIVED: [Signal; 11] = [
    Signal::HUP,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::STKFLT,
    Signal::XCPU,
    Signal::XFSZ,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
];

/// The signals without names, by their numbers.
pub const NAMELESS: RangeInclusive<i32> = 34..=64;

/// Lets this process outlive them from now on. Whoever means something by one of them catches it as
/// well.
pub fn outlive_strays() -> io::Result<()> {
    // Nobody looks: it is enough that they are caught.
    let caught = Arc::new(AtomicBool::new(false));
    for signal in OUTLIVED {
        signal_hook::flag::register(signal.as_raw(), Arc::clone(&caught))?;
    }
    for number in NAMELESS {
        // A C library keeps some of them for itself, and says so.
        let _ = signal_hook::flag::register(number, Arc::clone(&caught));
    }
    Ok(())
}
