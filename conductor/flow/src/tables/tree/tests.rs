use orchestra_model::tree::{Advance, TreeSpec};

use super::*;

fn tree(branches: u32, total: u32, origins: u32) -> Tree {
    let origins: Vec<PlayerIx> = (0..origins).map(|nth| PlayerIx(1_000 + nth)).collect();
    let roots = u32::try_from(origins.len()).unwrap();
    let hosts = TreeHosts { origins, roots, groups: Vec::new() };
    Tree::new(&TreeSpec { branches, ..TreeSpec::default() }, hosts, total)
}

fn children(tree: &Tree, node: u32) -> Vec<u32> {
    tree.planned_children(node).collect()
}

#[test]
fn hosts_fill_the_tree_in_their_order_level_by_level() {
    let below_root = tree(2, 10, 1);
    assert_eq!(children(&below_root, 10), [0, 1], "the root");
    assert_eq!((children(&below_root, 0), children(&below_root, 1)), (vec![2, 3], vec![4, 5]));
    assert_eq!((children(&below_root, 2), children(&below_root, 3)), (vec![6, 7], vec![8, 9]));
    let alone = tree(2, 7, 0);
    assert_eq!(alone.planned_parent(0), None);
    let of = |node| children(&alone, node);
    assert_eq!((of(0), of(1), of(2), of(3)), (vec![1, 2], vec![3, 4], vec![5, 6], vec![]));
    // Each host has one parent, which counts it among its children.
    for (branches, total, origins) in [(1, 9, 0), (1, 9, 2), (3, 20, 1), (64, 130, 1), (2, 33, 3)] {
        let tree = tree(branches, total, origins);
        for node in 0..total {
            let parent = tree.planned_parent(node);
            let by_children: Vec<u32> = (0..total + origins)
                .filter(|other| tree.planned_children(*other).any(|child| child == node))
                .collect();
            assert_eq!(by_children, parent.into_iter().collect::<Vec<_>>(), "{node} of {total}");
        }
    }
}

#[test]
fn depths_are_those_that_grifork_expects() {
    // So many hosts below a root that serves three at once: the deepest, the root's children, the
    // first child's.
    for (hosts, depth, of_root, of_first) in
        [(1, 1, 1, 0), (4, 2, 3, 1), (7, 2, 3, 3), (13, 3, 3, 3), (120, 4, 3, 3)]
    {
        let tree = tree(3, hosts, 1);
        let deepest = (0..hosts).map(|node| tree.generation(node)).max();
        assert_eq!(deepest, Some(depth), "{hosts}");
        assert_eq!(children(&tree, hosts).len(), of_root, "{hosts}");
        assert_eq!(children(&tree, 0).len(), of_first, "{hosts}");
    }
    // All that hang below the first child of the root, of twenty hosts.
    let tree = tree(3, 20, 1);
    let (mut below, mut next) = (Vec::new(), vec![0]);
    while let Some(node) = next.pop() {
        let children = children(&tree, node);
        below.extend(children.iter().map(|child| child + 1));
        next.extend(children);
    }
    below.sort_unstable();
    assert_eq!(below, [4, 5, 6, 13, 14, 15, 16, 17, 18, 19, 20]);
}

#[test]
fn no_hosts_are_a_tree_as_well() {
    let tree = tree(4, 0, 1);
    assert_eq!((children(&tree, 0), tree.idler()), (vec![], None));
}

#[test]
fn in_a_chain_generations_are_counted_without_climbing() {
    for origins in [0, 1, 3] {
        let chain = tree(1, 10, origins);
        for node in 0..10 {
            let mut above = 0;
            let mut at = node;
            while let Some(parent) = chain.planned_parent(at) {
                (above, at) = (above + 1, parent);
            }
            assert_eq!(chain.generation(node), above, "{node} below {origins}");
        }
    }
}

#[test]
fn a_host_serves_as_many_as_it_may_and_the_planned_ones_first() {
    let mut tree = tree(2, 7, 0);
    assert!((0..7).all(|index| !tree.stops(index)), "whoever comes first enters");
    assert_eq!(tree.choose(0, false), Bound::Nobody);
    tree.bind(0, Bound::Nobody);
    (1..7).for_each(|index| tree.join(index));
    assert_eq!(tree.release(), []);
    assert!((1..7).all(|index| tree.stops(index)));
    tree.unbind(0);
    tree.set_has(0);
    assert!(tree.set_serves(0, true) && !tree.set_serves(0, true));
    assert_eq!(tree.release(), [1, 2]);
    for index in [1, 2] {
        assert_eq!(tree.choose(index, false), Bound::Node(0));
        tree.bind(index, Bound::Node(0));
    }
    assert!(tree.stops(3));
    // Host 2 is done first: it serves, and so does host 0, whose place is free again.
    tree.unbind(2);
    tree.set_has(2);
    tree.set_serves(2, true);
    assert_eq!(tree.release(), [3, 4, 5]);
    assert_eq!(tree.choose(3, false), Bound::Node(0), "above its planned parent");
    tree.bind(3, Bound::Node(0));
    assert_eq!(tree.choose(4, false), Bound::Node(2), "who has most free places");
    assert_eq!(tree.choose(5, false), Bound::Node(2), "its planned parent");
}

#[test]
fn a_group_is_entered_once_and_then_served_by_its_own() {
    let hosts = TreeHosts { origins: Vec::new(), roots: 0, groups: vec![0, 0, 1, 1, 1] };
    let mut tree = Tree::new(&TreeSpec::default(), hosts, 5);
    tree.bind(0, Bound::Nobody);
    (1..5).for_each(|index| tree.join(index));
    tree.unbind(0);
    tree.set_has(0);
    tree.set_serves(0, true);
    assert_eq!(tree.release(), [2, 1], "the other group is entered first");
    assert_eq!(tree.choose(2, false), Bound::Node(0));
    tree.bind(2, Bound::Node(0));
    tree.bind(1, Bound::Node(0));
    assert!(tree.stops(3), "it is entered");
    tree.unbind(1);
    assert!(tree.stops(3), "though a host of the other group has a free place");
    tree.unbind(2);
    assert!(!tree.stops(3), "its entry failed, so another host enters");
}

#[test]
fn a_generation_begins_when_nothing_of_the_former_is_in_flight() {
    let spec = TreeSpec { advance: Advance::Generation, ..TreeSpec::default() };
    let mut tree = Tree::new(&spec, TreeHosts::default(), 7);
    let done = |tree: &mut Tree, index| {
        tree.bind(index, tree.choose(index, false));
        tree.unbind(index);
        tree.set_has(index);
        tree.set_serves(index, true);
    };
    done(&mut tree, 0);
    for index in [1, 2] {
        tree.bind(index, tree.choose(index, false));
    }
    tree.unbind(1);
    tree.set_has(1);
    tree.set_serves(1, true);
    assert!(tree.stops(3), "2 is in flight");
    tree.unbind(2);
    assert!(!tree.stops(3) && !tree.stops(6));
    tree.bind(2, tree.choose(2, false));
    assert!(tree.stops(3), "2 is tried again");
}
