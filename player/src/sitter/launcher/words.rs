//! Words of units, as a launcher passes them on. `wire.rs` defines the message around them.

use super::wire::TapId;

/// Length of one word, in bytes.
pub(super) const WORD_BYTES: usize = 24;

/// What a process has said in the name of a unit. Whether it is a process of that unit is not known
/// here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) kind: WordKind,
    /// The sender; 0 if it is not known.
    pub(crate) pid: i32,
}

/// Stands for a sender that used the descriptor, which only the unit has.
pub(crate) const OWN_DESCRIPTOR: i32 = -1;

/// What was said, as sd_notify(3) has it. Lengths are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WordKind {
    Ready,
    Stopping,
    Watchdog,
    WatchdogUsec(u64),
    ExtendTimeoutUsec(u64),
}

impl Word {
    pub(super) fn encode(&self, id: TapId, into: &mut Vec<u8>) {
        let (kind, value) = match self.kind {
            WordKind::Ready => (1, 0),
            WordKind::Stopping => (2, 0),
            WordKind::Watchdog => (3, 0),
            WordKind::WatchdogUsec(length) => (4, length),
            WordKind::ExtendTimeoutUsec(length) => (5, length),
        };
        into.extend(id.0.to_le_bytes());
        into.extend([kind, 0, 0, 0]);
        into.extend(self.pid.to_le_bytes());
        into.extend(value.to_le_bytes());
    }

    pub(super) fn decode(bytes: &[u8; WORD_BYTES]) -> Option<(TapId, Self)> {
        let (id, rest) = bytes.split_first_chunk()?;
        let ([kind, ..], rest) = rest.split_first_chunk::<4>()?;
        let (pid, value) = rest.split_first_chunk()?;
        let value = u64::from_le_bytes(*value.first_chunk()?);
        let kind = match kind {
            1 => WordKind::Ready,
            2 => WordKind::Stopping,
            3 => WordKind::Watchdog,
            4 => WordKind::WatchdogUsec(value),
            5 => WordKind::ExtendTimeoutUsec(value),
            _ => return None,
        };
        let word = Self { kind, pid: i32::from_le_bytes(*pid) };
        Some((TapId(u64::from_le_bytes(*id)), word))
    }
}
