//! What the spool keeps of one attempt. Parameters are not among it: they never touch the disk.

use std::{fmt, sync::Arc};

use orchestra_model::{
    Millis, ScoreName, Timestamp,
    delivery::{EndBytes, OrderNumber, Refusal},
    proof::Proof,
    score::Interface,
};

use crate::bounds;

/// How an accepted attempt is run, as far as the next sitter needs it to adopt the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What runs; counts towards the score's concurrency.
    pub score: ScoreName,
    /// How long it may run: the job's wish within the score's bound.
    pub timeout: Millis,
    /// Whether standard output is a response.
    pub interface: Interface,
    /// At most this many attempts of the score at once. `None`: no bound of its own.
    pub concurrency: Option<u32>,
    /// Alone on its player.
    pub exclusive: bool,
    /// The cgroup that will be its own; `None` where the host has none.
    pub cgroup: Option<CgroupPath>,
}

/// An attempt that is starting or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The order that asked for it.
    pub order: OrderNumber,
    /// That it was ordered; `None` where the conductor gave no proof.
    pub proof: Option<Proof>,
    /// How it is run.
    pub plan: Plan,
    /// The process; `None` while starting. After a crash `None` means that it may have started:
    /// it is looked for and killed, never run.
    pub process: Option<ProcessMark>,
    /// A cancel came for it: it is being killed, and the next sitter goes on with that.
    pub cancelling: bool,
}

impl Live {
    /// When its timeout runs out, in milliseconds of the clock that [`ProcessMark::boot_ms`] is
    /// of; `None` while starting.
    pub fn deadline_boot_ms(&self) -> Option<u64> {
        self.process.map(|process| process.boot_ms.saturating_add(self.plan.timeout.0))
    }
}

/// Tells a process from any other that ever had its number, and says when it started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessMark {
    /// The process, also its group.
    pub pid: u32,
    /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// Which boot these numbers belong to.
    pub boot: BootId,
    /// When it started, in wall time, for people.
    pub started_at: Timestamp,
    /// When it started, in milliseconds of `CLOCK_BOOTTIME`, which counts through suspend.
    pub boot_ms: u64,
}

/// Changes with every boot of the host: `/proc/sys/kernel/random/boot_id` without its dashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootId(pub [u8; 16]);

impl BootId {
    /// Reads the kernel's text, with or without dashes and a final newline.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.trim_end().bytes().filter(|byte| *byte != b'-').collect();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(BootId(id))
    }
}

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Where an attempt's cgroup is, relative to a directory that the driver knows. Every component is
/// a plain name, so that it cannot leave that directory: not empty, no `.` or `..`, printable
/// ASCII, at most [`bounds::CGROUP_BYTES`] together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath(Arc<str>);

impl CgroupPath {
    /// Checks a path; `None` where it is not one.
    pub fn new(path: &str) -> Option<Self> {
        let plain = |name: &str| {
            !matches!(name, "" | "." | "..") && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        (path.len() <= bounds::CGROUP_BYTES && path.split('/').all(plain))
            .then(|| CgroupPath(path.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An attempt that ended or was refused, and is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The order that it answers.
    pub order: OrderNumber,
    /// That it was ordered; `None` where the conductor gave no proof.
    pub proof: Option<Proof>,
    /// What the conductor is told until it acknowledges.
    pub settlement: Settlement,
}

/// The last word about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It started, or may have, and ended like this.
    Ended(EndBytes),
    /// It did not start and never will.
    Refused(Refusal),
}

impl Settlement {
    /// How much of [`bounds::SETTLED_BYTES`] it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Settlement::Ended(end) => end.as_slice().len(),
            Settlement::Refused(
                Refusal::ScoreDisabled(why)
                | Refusal::Parameters(why)
                | Refusal::SpawnFailed(why)
                | Refusal::Spool(why),
            ) => why.len(),
            Settlement::Refused(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_path_stays_below_its_directory() {
        for good in ["a", "orchestra.service/42.1.2-1", "x-y_z"] {
            assert_eq!(
                CgroupPath::new(good).map(|path| path.as_str().to_owned()).as_deref(),
                Some(good)
            );
        }
        let long = "a".repeat(bounds::CGROUP_BYTES + 1);
        for bad in ["", "/a", "a/", "a//b", ".", "../a", "a/../b", "a b", "a\0b", "ä", &long] {
            assert_eq!(CgroupPath::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_boot_id_reads_as_the_kernel_prints_it() {
        let id = BootId::parse("2f6ae37c-3f0e-4f7a-9b1d-00ff10a0b0c0\n").unwrap();
        assert_eq!(format!("{id:?}"), "2f6ae37c3f0e4f7a9b1d00ff10a0b0c0");
        for bad in
            ["", "2f6a", "zf6ae37c-3f0e-4f7a-9b1d-00ff10a0b0c0", "+f6ae37c3f0e4f7a9b1d00ff10a0b0c0"]
        {
            assert_eq!(BootId::parse(bad), None, "{bad}");
        }
    }
}
