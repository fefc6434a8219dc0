//! Bounds of what a player keeps running.

/// Most units that are forgotten and still remembered by their numbers. Beyond it the oldest goes:
/// by then no order for it is on its way any more.
pub const TOMBSTONES: usize = 4_096;
/// Longest reason that is kept of a run that could not be started; longer ones are cut.
pub const WHY_BYTES: usize = 1_024;
/// Longest text about what a probe met that is kept; longer ones are cut.
pub const TROUBLE_BYTES: usize = 256;
/// How many restarts of a window are told apart. A rule that allows more counts those that are nearer
/// than the window's 64th part as one moment, the first of them, so it may give up so much later.
pub const RESTART_MOMENTS: usize = 64;
/// A unit tells how it is once in this time at most (ms), and what passes sooner is not told.
pub const REPORT_MS: u64 = 1_000;
/// Most waits that are counted: 100 ms have doubled beyond every bound by then.
pub const WAITS: u32 = 32;
/// How long a wait before a second restart may be (ms); each further one may be twice as long.
pub const BACKOFF_MS: u64 = 100;
/// How often a run is probed until it is ready (ms), and how long such a probe may take: what waits for
/// it is an update.
pub const READY_PROBE_MS: u64 = 500;
/// See [`READY_PROBE_MS`].
pub const READY_TIMEOUT_MS: u64 = 1_000;
/// After so many turns from ready to unhealthy and back within [`FLAPPING_MS`] a unit is flapping.
pub const FLAPS: usize = 4;
/// See [`FLAPS`] (ms).
pub const FLAPPING_MS: u64 = 600_000;
/// So long after its last turn a unit is not flapping any more (ms).
pub const QUIET_MS: u64 = 120_000;
/// While something is watched, the time that passes is on disk once a minute (ms): that is what a
/// reboot may add to a deadline.
pub const CLOCK_MS: u64 = 60_000;
/// A run that extends its time gets up to so much more than it asked for (ms), so that its extensions
/// are on disk, and no more than one entry in that time.
pub const EXTENSION_MS: u64 = 60_000;
/// By how much a run that is being ended may extend its grace in all (ms): an hour, so that no stop waits
/// for ever for what does not want to stop.
pub const STOP_EXTENSION_MS: u64 = 3_600_000;
/// Highest order, placement and run number, and highest moment, that a journal may hold (2^60): so that
/// counting on from them never overflows.
pub const REACHABLE: u64 = 1 << 60;
