//! The hash that decides between players that are alike. It is our own, so that no other release and
//! no other platform decides otherwise.

use orchestra_model::{
    ServiceName,
    service::{Instance, Ordinal, RunNumber},
};

/// Hashes a text (FNV-1a, then mixed).
pub(super) fn of_text(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mixed(hash)
}

/// Hashes an instance whose service's name has the hash `service`.
pub(super) fn of_instance(service: u64, ordinal: Ordinal) -> u64 {
    mixed(service ^ u64::from(ordinal.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Returns a number of a run, even over all numbers.
pub(crate) fn share_of_run(service: &ServiceName, instance: Instance, run: RunNumber) -> u64 {
    let placement = of_instance(of_service(service), instance.ordinal) ^ instance.placement.0;
    of_both(mixed(placement), run.0.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Hashes a service's name.
pub(super) fn of_service(service: &ServiceName) -> u64 {
    of_text(service.as_str())
}

/// One of 64 bits, by a hash.
pub(super) fn bit(hash: u64) -> u64 {
    1 << (hash % 64)
}

/// The rendezvous hash of two hashes.
pub(super) fn of_both(one: u64, other: u64) -> u64 {
    mixed(one ^ other.rotate_left(32))
}

/// The last step of SplitMix64: each bit of the result depends on each bit of `hash`.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
