//! What is there after one.

use super::*;

const COMMITS: u32 = 40;

/// Commits numbered batches of several records each.
fn write_numbered(store: &mut SqliteStore) {
    for n in 1..=COMMITS {
        let number = OrderNumber(u64::from(n));
        let task = TaskRecord { order: number, ..task_record(job(1, 1, 1), n) };
        let player = PlayerRecord { last_order: number, ..player_record(1) };
        let records = [
            Record::NextFlow(FlowId(u64::from(n) + 1)),
            Record::Flow(flow_record(1)),
            Record::Task(task),
            Record::Player(player),
            Record::End(end_record(job(1, 1, 1), n, 1, &[3; 5_000])),
        ];
        store.commit(&records.map(Op::Put)).unwrap();
    }
}

/// Checks that exactly the first commits are there, and says how many.
fn commits_kept(place: &Place) -> u32 {
    let store = place.store();
    let reader = store.reader().unwrap();
    let kept = u32::try_from(reader.next_flow().unwrap().0 - 1).unwrap();
    let tasks = reader.tasks(job(1, 1, 1), None, usize::MAX).unwrap();
    assert!(tasks.iter().map(|task| task.index).eq(1..=kept), "{kept} commits");
    for task in &tasks {
        assert_eq!(reader.ends(job(1, 1, 1), &task.host).unwrap().len(), 1);
    }
    let last_order = reader.players().unwrap().first().map_or(0, |player| player.last_order.0);
    assert_eq!(last_order, u64::from(kept));
    kept
}

#[test]
fn what_was_committed_is_there_after_one() {
    let place = Place::new();
    let mut store = place.store();
    write_numbered(&mut store);
    assert_eq!(commits_kept(&place.image()), COMMITS);
}

#[test]
fn a_torn_or_damaged_log_leaves_a_prefix() {
    let place = Place::new();
    let mut store = place.store();
    write_numbered(&mut store);
    let log = |image: &Place| image.dir().join(dir::BESIDE[0]);
    let length = fs::metadata(log(&place)).unwrap().len();
    let mut seen = Vec::new();
    // A prime step lands on headers, on pages, and between.
    for cut in (0..=length).step_by(34_157) {
        let image = place.image();
        fs::OpenOptions::new().write(true).open(log(&image)).unwrap().set_len(cut).unwrap();
        seen.push(commits_kept(&image));
        let image = place.image();
        let mut bytes = fs::read(log(&image)).unwrap();
        let hit = usize::try_from(cut).unwrap().min(bytes.len() - 1);
        bytes[hit] ^= 0x55;
        fs::write(log(&image), bytes).unwrap();
        commits_kept(&image);
    }
    assert!(seen.is_sorted() && seen.first() < seen.last(), "{seen:?}");
}

#[test]
fn a_crash_while_the_store_is_made_is_mended() {
    let place = Place::new();
    make_private(&place.dir());
    let unfinished = place.dir().join("orchestra.db.new");
    for leftover in [unfinished.clone(), place.dir().join("orchestra.db.new-journal")] {
        fs::write(leftover, "half of a store").unwrap();
    }
    assert_eq!(place.store().identity().term, Term(1));
    assert!(!unfinished.exists());
    // One step further, it has both names.
    fs::hard_link(place.database(), &unfinished).unwrap();
    assert_eq!(place.store().identity().term, Term(2));
    assert!(!unfinished.exists());
}

#[test]
fn a_sweep_goes_on_after_one() {
    let place = Place::new();
    let mut store = place.store();
    (1..=3).for_each(|flow| store.commit(&small_flow(flow)).unwrap());
    store.commit(&[Op::PruneFlow(FlowId(2))]).unwrap();
    let rows = |store: &SqliteStore, table: &str| -> u32 {
        let count = format!("SELECT count(*) FROM {table} WHERE flow = 2");
        store.db.query_row(&count, [], |row| row.get(0)).unwrap()
    };
    let mut images = Vec::new();
    while !store.sweep(2).unwrap() {
        images.push(place.image());
    }
    assert!(images.len() > 5, "{} steps", images.len());
    for image in images {
        let mut store = image.store();
        assert_eq!(store.reader().unwrap().jobs(FlowId(2)).unwrap(), []);
        assert_eq!(rows(&store, "pruned"), 1, "the last of a flow to go");
        while !store.sweep(2).unwrap() {}
        for table in ["params", "ends", "tasks", "targets", "trees", "jobs", "spec", "pruned"] {
            assert_eq!(rows(&store, table), 0, "{table}");
        }
        assert_eq!(store.reader().unwrap().jobs(FlowId(3)).unwrap().len(), 2);
    }
}
