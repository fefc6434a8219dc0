//! How a process of a host is told from every other, over the deaths of whoever started it.

use std::fmt;

use crate::time::Timestamp;

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

#[cfg(test)]
mod tests {
    use super::*;

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
