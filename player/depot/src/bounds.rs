//! Bounds of fetching, each with its unit and its reason.

/// Most sources that one fetch is told of.
pub const SOURCES: usize = orchestra_model::limits::FETCH_SOURCES;
/// Most parts that are asked for or are being written at once. That many chunks are in memory at most:
/// 4 MiB, or 16 MiB of a bundle with large chunks. It covers 1 Gbit/s over 30 ms.
pub const WINDOW: usize = 16;
/// A source that is asked for something and says nothing for so long is left (ms). Sources say at least
/// four times as often that what is asked for is still on its way to them.
pub const SILENCE_MS: u64 = 2_000;
/// So many bad chunks, and a source is never asked again for this bundle.
pub const BAD_CHUNKS: u32 = 2;
/// Wait before the sources are asked anew after none of them had anything, at first (ms).
pub const PAUSE_MS: u64 = 500;
/// The longest such wait (ms). Each is drawn from its upper half, so that children do not come together.
pub const LONGEST_PAUSE_MS: u64 = 8_000;
/// So many chunks are written before those before them are synced: at most 64 MiB of small chunks are
/// fetched again after the machine went down.
pub const SYNC_CHUNKS: u32 = 256;
/// What was written is synced after so long at the latest, where the disk is free (ms).
pub const SYNC_MS: u64 = 2_000;
