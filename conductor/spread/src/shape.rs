//! How many others a host serves.

use crate::bounds;

/// What a link is taken to carry, in bytes a second: 1 Gbit/s. What it really carries changes the best
/// shape little.
const LINK: u64 = 125_000_000;
/// What a hop adds until the last host has everything, in microseconds: a chunk, and the way.
const HOP: u64 = 4_000;

/// How many branches a tree has in which so many hosts get so many bytes soonest: `b · S/B + depth · τ`
/// is least. A row (1) where the bundle is large, more where it is small or the hosts are many; at most
/// [`bounds::SERVED`].
pub fn branches(bytes: u64, hosts: u32) -> u32 {
    let send = bytes.saturating_mul(1_000_000) / LINK;
    let time = |branches: u32| {
        let sent = send.saturating_mul(branches.into());
        sent.saturating_add(HOP.saturating_mul(depth(branches, hosts)))
    };
    (1..=bounds::SERVED).min_by_key(|branches| time(*branches)).unwrap_or(1)
}

/// How many hops it is to the last of so many hosts.
fn depth(branches: u32, hosts: u32) -> u64 {
    let (branches, hosts) = (u64::from(branches), u64::from(hosts));
    if branches == 1 {
        return hosts;
    }
    let (mut depth, mut level, mut reached) = (0, 1, 0);
    while reached < hosts {
        level *= branches;
        reached += level;
        depth += 1;
    }
    depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bundles_go_along_a_row_and_small_ones_along_a_tree() {
        const MIB: u64 = 1 << 20;
        assert_eq!(branches(64 * MIB, 8), 1);
        assert_eq!(branches(256 * MIB, 500), 1);
        assert_eq!(branches(256 * MIB, 2_000), 2);
        assert_eq!(branches(MIB, 64), 2);
        assert_eq!(branches(1_024, 64), 4);
        assert_eq!(branches(0, 0), 1);
        assert_eq!(branches(u64::MAX, u32::MAX), 2);
    }

    #[test]
    fn levels_are_counted_until_all_are_reached() {
        let depths = [1, 2, 3, 6, 7, 14].map(|hosts| depth(2, hosts));
        assert_eq!(depths, [1, 1, 2, 2, 3, 3]);
        assert_eq!((depth(1, 9), depth(4, 0)), (9, 0));
    }
}
