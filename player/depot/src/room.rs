//! Which bundles of a depot make room for one that is to come.

use std::fmt;

use orchestra_model::{ByteSize, Timestamp, bundle::BundleId};

/// A bundle that takes room in a depot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepotBundle {
    pub id: BundleId,
    /// How much of the disk it takes, in bytes.
    pub bytes: u64,
    /// Whether it is being delivered, served or unpacked. It stays.
    pub is_in_use: bool,
    /// When it was used last, or has come.
    pub used: Timestamp,
}

/// Why there is no room for a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoomInDepot {
    /// How much is to come.
    pub needed: ByteSize,
    /// How much stays, because it is in use.
    pub in_use: ByteSize,
    /// How large the depot may be.
    pub most: ByteSize,
}

impl fmt::Display for NoRoomInDepot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, in_use, most } = self;
        write!(
            f,
            "{needed} are to come, {in_use} are in use, and the depot may have {most} (depot_max)"
        )
    }
}

impl std::error::Error for NoRoomInDepot {}

/// Which bundles are to be removed so that `needed` further bytes fit into `most`: the ones that were
/// used longest ago, and no more than it takes. Nothing is removed where that is not enough.
pub fn make_room_in_depot(
    bundles: &[DepotBundle],
    needed: ByteSize,
    most: ByteSize,
) -> Result<Vec<BundleId>, NoRoomInDepot> {
    let (needed_bytes, most_bytes) = (u128::from(needed.0), u128::from(most.0));
    let kept: u128 = bundles.iter().filter(|it| it.is_in_use).map(|it| u128::from(it.bytes)).sum();
    if kept + needed_bytes > most_bytes {
        let in_use = ByteSize(u64::try_from(kept).unwrap_or(u64::MAX));
        return Err(NoRoomInDepot { needed, in_use, most });
    }
    let all: u128 = bundles.iter().map(|it| u128::from(it.bytes)).sum();
    let mut taken = all + needed_bytes;
    let mut others: Vec<&DepotBundle> = bundles.iter().filter(|it| !it.is_in_use).collect();
    others.sort_by_key(|bundle| (bundle.used, bundle.id));
    let mut leaving = Vec::new();
    for bundle in others {
        if taken <= most_bytes {
            break;
        }
        taken -= u128::from(bundle.bytes);
        leaving.push(bundle.id);
    }
    Ok(leaving)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(n: u8, bytes: u64, is_in_use: bool) -> DepotBundle {
        let used = Timestamp(1_000 - u64::from(n));
        DepotBundle { id: BundleId([n; 32]), bytes, is_in_use, used }
    }

    #[test]
    fn the_ones_that_were_used_longest_ago_leave_and_no_more_than_it_takes() {
        let bundles = [bundle(1, 40, false), bundle(2, 30, true), bundle(3, 20, false)];
        let room = |needed| make_room_in_depot(&bundles, ByteSize(needed), ByteSize(100));
        assert_eq!(room(10), Ok(vec![]));
        assert_eq!(room(11), Ok(vec![BundleId([3; 32])]));
        assert_eq!(room(31), Ok(vec![BundleId([3; 32]), BundleId([1; 32])]));
        assert_eq!(room(70), Ok(vec![BundleId([3; 32]), BundleId([1; 32])]));
        let (needed, in_use, most) = (ByteSize(71), ByteSize(30), ByteSize(100));
        assert_eq!(room(71), Err(NoRoomInDepot { needed, in_use, most }));
    }

    #[test]
    fn sums_that_overflow_are_no_room() {
        let bundles = [bundle(1, u64::MAX, true), bundle(2, u64::MAX, false)];
        assert!(make_room_in_depot(&bundles, ByteSize(1), ByteSize(u64::MAX)).is_err());
    }
}
