//! Memory of a process that holds secrets stays out of core files.
//!
//! Units say `LimitCORE=0`. That does not hold for a core that the kernel pipes to a program
//! (`/proc/sys/kernel/core_pattern`), and a process that is started by hand has no unit.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Has the kernel dump nothing of this process, and lets no other one of its user look into it. A
/// program that it executes begins as any does. Where the kernel refuses, that is told.
pub fn forbid() {
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "cannot keep this process out of core files");
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::dumpable_behavior;

    use super::*;

    #[test]
    fn nothing_is_dumped_any_more() {
        forbid();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
