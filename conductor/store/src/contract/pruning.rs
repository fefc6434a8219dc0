//! Flows that are pruned, and submissions that were cut short: gone at once, and swept in steps.

use orchestra_model::{FlowId, record::Op};

use super::{Place, all_of, host, job, small_flow};
use crate::{Reader, Store};

pub(super) fn a_pruned_flow_is_gone_and_nothing_else(place: &dyn Place) {
    let mut store = place.open();
    for flow in [1, 2, 3] {
        store.commit(&small_flow(flow)).unwrap();
    }
    let before = store.reader().unwrap();
    store.commit(&[Op::PruneFlow(FlowId(2)), Op::PruneFlow(FlowId(9))]).unwrap();
    let after = store.reader().unwrap();
    // Again, as a batch is that is tried again.
    store.commit(&[Op::PruneFlow(FlowId(2))]).unwrap();
    // Flow 9 is still to come.
    store.commit(&small_flow(9)).unwrap();
    let again = store.reader().unwrap();
    for flow in [1, 3] {
        assert!(all_of(&*after, flow) == all_of(&*before, flow), "flow {flow}");
        assert!(all_of(&*again, flow) == all_of(&*before, flow), "flow {flow}");
    }
    assert_gone(&*after, 2);
    assert_gone(&*again, 2);
    assert_eq!(again.tasks(job(9, 1, 1), None, 10).unwrap().len(), 2);
    assert_eq!(after.requests().unwrap().len(), 2);
    assert_eq!(after.next_flow().unwrap(), FlowId(4));
}

pub(super) fn sweeping_ends_and_is_bounded(place: &dyn Place) {
    let mut store = place.open();
    assert!(store.sweep(1).unwrap(), "nothing was ever pruned");
    (1..=5).for_each(|flow| store.commit(&small_flow(flow)).unwrap());
    let kept = store.reader().unwrap();
    // The limit is of the order of what a step removes: neither ignored nor wasted.
    for (limit, pruned) in [(1, &[2][..]), (4, &[4, 1]), (1_000, &[5]), (0, &[])] {
        let prune = pruned.iter().map(|flow| Op::PruneFlow(FlowId(*flow)));
        store.commit(&prune.collect::<Vec<_>>()).unwrap();
        let steps = sweep_all(&mut *store, limit);
        let fewest = pruned.len() * SMALL_PIECES / limit.max(1);
        assert!((fewest..=fewest + 2).contains(&steps), "{steps} steps of {limit}");
        assert!(store.sweep(limit).unwrap(), "it stays swept");
    }
    let reader = store.reader().unwrap();
    [1, 2, 4, 5].iter().for_each(|flow| assert_gone(&*reader, *flow));
    assert!(all_of(&*reader, 3) == all_of(&*kept, 3));
}

pub(super) fn a_start_sweeps_what_was_pruned_before(place: &dyn Place) {
    let mut store = place.open();
    (1..=3).for_each(|flow| store.commit(&small_flow(flow)).unwrap());
    store.commit(&[Op::PruneFlow(FlowId(1)), Op::PruneFlow(FlowId(3))]).unwrap();
    for _ in 0..2 {
        assert!(!store.sweep(5).unwrap());
        drop(store);
        store = place.open();
        let reader = store.reader().unwrap();
        assert_gone(&*reader, 1);
        assert_gone(&*reader, 3);
        assert_eq!(reader.jobs(FlowId(2)).unwrap().len(), 2);
    }
    store.commit(&small_flow(4)).unwrap();
    sweep_all(&mut *store, 5);
    let reader = store.reader().unwrap();
    assert_eq!(reader.jobs(FlowId(2)).unwrap().len(), 2);
    assert_eq!(reader.jobs(FlowId(4)).unwrap().len(), 2);
}

pub(super) fn a_submission_cut_short_is_dropped(place: &dyn Place) {
    let mut store = place.open();
    store.commit(&small_flow(1)).unwrap();
    let mut cut = small_flow(2);
    cut.pop();
    store.commit(&cut).unwrap();
    drop(store);
    let mut store = place.open();
    for _ in 0..2 {
        let reader = store.reader().unwrap();
        assert_eq!(reader.jobs(FlowId(1)).unwrap().len(), 2);
        assert_gone(&*reader, 2);
        assert_eq!(reader.next_flow().unwrap(), FlowId(3), "its number is not issued again");
        sweep_all(&mut *store, 5);
    }
}

/// How many records of [`small_flow`] are swept: all but the next number, which stays, and the
/// flow's own, which goes at once; and the note that there is something to sweep.
const SMALL_PIECES: usize = 17;

/// That nothing is seen of a small flow.
fn assert_gone(reader: &dyn Reader, flow: u64) {
    let id = FlowId(flow);
    assert_eq!(reader.flow(id).unwrap(), None);
    assert!(reader.requests().unwrap().iter().all(|(.., flow, _)| *flow != id));
    assert_eq!(reader.spec(id).unwrap(), None);
    assert_eq!(reader.jobs(id).unwrap(), []);
    for id in [job(flow, 1, 1), job(flow, 2, 1)] {
        assert_eq!(reader.job(id).unwrap(), None);
        assert_eq!(reader.targets(id).unwrap(), None);
        assert_eq!(reader.tree(id).unwrap(), None);
        assert_eq!(reader.params(id).unwrap(), None);
        assert_eq!(reader.tasks(id, None, 10).unwrap(), []);
        let mut seen = 0;
        reader.each_task(id, &mut |_| seen += 1).unwrap();
        assert_eq!(seen, 0);
        assert_eq!(reader.task_by_host(id, &host(1)).unwrap(), None);
        assert_eq!(reader.ends(id, &host(1)).unwrap(), []);
        assert_eq!(reader.end(id, &host(1), 1).unwrap(), None);
    }
}

/// Sweeps by `limit` until nothing is left; after how many steps.
fn sweep_all(store: &mut dyn Store, limit: usize) -> usize {
    (1..10_000).find(|_| store.sweep(limit).unwrap()).unwrap()
}
