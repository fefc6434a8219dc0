//! Bounds that hold everywhere, so that nobody meets a smaller one further in.
//!
//! Each is far above honest use and far below what hurts. What an operator may change is
//! configuration, not here.

/// Longest host name, in bytes (RFC 1035, section 2.3.4, without the final dot).
pub const HOST_NAME_BYTES: usize = 253;
use crate::time::Millis;

/// How long before the end of a certificate it is told everywhere, so that there is time to renew it.
pub const CERTIFICATE_NOTICE: Millis = Millis::days(30);
/// Longest score, job, group or flow name, in bytes.
pub const NAME_BYTES: usize = 64;
/// Longest value of one parameter, in bytes. Linux refuses a single environment string of
/// 128 KiB (`MAX_ARG_STRLEN`, execve(2)); this stays well below it.
pub const PARAM_VALUE_BYTES: usize = 32 << 10;
/// Most parameters of one job.
pub const PARAMS: usize = 256;
/// All keys and values of one job together, in bytes.
pub const PARAMS_BYTES: usize = 128 << 10;
/// Largest file of deployments, in bytes.
pub const DEPLOYMENT_FILE_BYTES: usize = 8 << 20;
/// Most hosts in the apps and environments of one file of deployments, a host counted each time.
pub const DEPLOYMENT_HOSTS: usize = 4 * HOSTSET_HOSTS;
/// Most apps of a deployment.
pub const APPS: usize = 1_000;
/// Most environments of a deployment, over all types.
pub const ENVS: usize = 10_000;
/// Most apps in the sequences of one environment type, an app counted each time.
pub const SEQUENCE_APPS: usize = 2_000;
/// Most cells, over all deployments.
pub const CELLS: usize = 100_000;
/// Most hosts in cells, over all deployments, a host counted in each of its cells.
pub const CELL_HOSTS: usize = 10 * HOSTSET_HOSTS;
/// Most pairs of cells of which one comes after the other, over all deployments.
pub const CELL_PAIRS: usize = 1_000_000;
/// Most slots of a flow.
pub const SLOTS: usize = 1_000;
/// Most jobs of a flow, over all slots.
pub const JOBS: usize = 10_000;
/// Longest text of a host set expression, in bytes.
pub const HOSTSET_BYTES: usize = 4 << 20;
/// Most names that one host set may expand to.
pub const HOSTSET_HOSTS: usize = 1_000_000;
/// Largest `.conf` of a score, in bytes.
pub const SCORE_CONF_BYTES: usize = 64 << 10;
/// Longest pattern of a declared parameter, in bytes.
pub const PATTERN_BYTES: usize = 256;
/// Most scores that a player offers.
pub const SCORES: usize = 1_024;
/// Most tasks that one player runs at once.
pub const MAX_TASKS: u32 = 1_024;
/// Largest encoded spec of a service, in bytes: all its parameters, and a host set of any fleet.
pub const SERVICE_SPEC_BYTES: usize = PARAMS_BYTES + HOSTSET_BYTES + (64 << 10);
/// Services that are applied at once, so that one flow makes their changes.
pub const SERVICES_AT_ONCE: usize = 64;
/// Most units that one player keeps for one store.
pub const UNITS: usize = 4_096;
/// First bytes of a stream that travel with a result.
pub const OUTPUT_HEAD_BYTES: usize = 16 << 10;
/// Last bytes of a stream that travel with a result, where it is longer than the head.
pub const OUTPUT_TAIL_BYTES: usize = 48 << 10;
/// Most pairs of a `pipe` score's response.
pub const RESPONSE_PAIRS: usize = 256;
/// All keys and values of a response together, in bytes.
pub const RESPONSE_BYTES: usize = 64 << 10;
/// Largest encoded end, in bytes: both streams, a response, and room for what a next release adds.
pub const END_BYTES: usize = 256 << 10;
/// Most extra attempts that a job may ask for.
pub const RETRIES: u32 = 1_000;
/// Longest reason that an operator gives for something, in bytes.
pub const REASON_BYTES: usize = 1_000;
/// Largest message on a stream, in bytes. Senders cut their batches far below it.
pub const MESSAGE_BYTES: usize = 8 << 20;
/// Longest duration that a spec may name: ten years, in milliseconds.
pub const DURATION_MS: u64 = 10 * 365 * 24 * 3_600_000;
/// Largest encoded manifest of a bundle, in bytes: 500,000 files with paths of the usual length.
pub const MANIFEST_BYTES: usize = 64 << 20;
/// Most files, directories and links of a bundle.
pub const BUNDLE_ENTRIES: usize = 1_000_000;
/// Longest name of a file in a bundle, in bytes (`NAME_MAX` of Linux).
pub const BUNDLE_NAME_BYTES: usize = 255;
/// Longest path in a bundle, in bytes: a quarter of Linux's 4,096 is left for where it is unpacked.
pub const BUNDLE_PATH_BYTES: usize = 3 << 10;
/// How deep directories of a bundle are nested at most.
pub const BUNDLE_DEPTH: u16 = 128;
/// Longest target of a link in a bundle, in bytes (`PATH_MAX` of Linux, without the final NUL).
pub const BUNDLE_TARGET_BYTES: usize = 4_095;
/// How many links one after the other lead to an entry of a bundle at most; Linux follows 40.
pub const BUNDLE_LINKS: usize = 16;
/// All extended attributes of one entry of a bundle, names and values together, in bytes.
pub const BUNDLE_XATTR_BYTES: usize = 64 << 10;
/// Largest file of a bundle with its holes, in bytes: 16 TiB, as ext4 has it.
pub const BUNDLE_FILE_BYTES: u64 = 16 << 40;
/// All files of a bundle together with their holes, in bytes.
pub const BUNDLE_SIZE_BYTES: u64 = 1 << 50;
/// All files of a bundle together without their holes, in bytes: 1 TiB.
pub const BUNDLE_CONTENT_BYTES: u64 = 1 << 40;
/// Highest serial of a bundle.
pub const BUNDLE_SERIAL: u64 = 1 << 48;
/// Largest statement of a publisher, in bytes.
pub const BUNDLE_STATEMENT_BYTES: usize = 2 << 10;
/// Most signatures of one statement.
pub const BUNDLE_SIGNATURES: usize = 16;
/// Most places for bundles on one host.
pub const PLACES: usize = 256;
/// Most releases that a place keeps.
pub const PLACE_RELEASES: u32 = 64;
/// Longest path of a place, in bytes: what is unpacked below it has room in Linux's 4,096.
pub const PLACE_PATH_BYTES: usize = 512;
/// Longest reason that is told of a place or of the directory of places, in bytes.
pub const PLACE_REASON_BYTES: usize = 1_024;
/// Most that is told of the directory of places itself, beside its places.
pub const PLACE_TROUBLES: usize = 16;
/// Most sources that a player is told for one bundle.
pub const FETCH_SOURCES: usize = 6;
/// Of how many names bundles are registered at most.
pub const BUNDLE_NAMES: usize = 1_000;
/// How many bundles of one name are registered at most; then the one with the lowest serial is forgotten.
pub const BUNDLES_OF_A_NAME: usize = 64;
/// How many hosts are remembered at most as having a copy of a bundle.
pub const BUNDLE_SOURCES: usize = 64;
