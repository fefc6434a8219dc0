//! Where links lead, against the kernel: whatever a bundle may hold stays inside when it is followed.

use std::{fs, os::unix::fs::symlink};

use proptest::prelude::*;

use crate::world::World;

/// Targets made of names that are there, that are not, and that lead up.
fn target() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        2 => Just("a"), 2 => Just("b"), 2 => Just("f"), 2 => Just(".."), 1 => Just("."),
        1 => Just("nothing"), 2 => Just("l1"), 1 => Just("l2"), 1 => Just(""),
    ];
    proptest::collection::vec(name, 1..6).prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_link_of_a_bundle_leads_to_something_inside(
        places in proptest::collection::vec((0_usize..3, target()), 1..4),
    ) {
        let world = World::new();
        world.write("a/b/f", "x");
        world.write("f", "x");
        let mut links = Vec::new();
        for (n, (place, target)) in places.iter().enumerate() {
            let link = world.source().join(["", "a", "a/b"][*place]).join(format!("l{n}"));
            if !target.is_empty() {
                symlink(target, &link).unwrap();
                links.push(link);
            }
        }
        let taken = world.publish().is_ok();
        let top = fs::canonicalize(world.source()).unwrap();
        for link in links {
            let end = fs::canonicalize(&link);
            if taken {
                let end = end.unwrap();
                prop_assert!(end.starts_with(&top), "{} leads to {}", link.display(), end.display());
            }
        }
    }
}
