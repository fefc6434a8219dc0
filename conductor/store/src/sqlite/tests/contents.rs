//! What is in the files, for people and for thieves.

use super::*;

fn any_file_holds(dir: &Path, needle: &[u8]) -> bool {
    fs::read_dir(dir).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

/// Puts, replaces and erases jobs' parameters of all sizes, so that SQLite moves rows between
/// pages; erases what is secret, leaves what is innocent.
fn churn_params(store: &mut SqliteStore, mut chance: u64, secret: &str) {
    let mut below = |n: usize| {
        // Knuth's generator of MMIX: any even spread will do.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(chance >> 33).unwrap() % n
    };
    let mut alive = Vec::new();
    let mut batch = Vec::new();
    for n in 1..=600 {
        let repeat = [1, 2, 5, 20, 60, 100, 200, 400][below(8)];
        let what = if below(10) == 0 { "innocent" } else { secret };
        let params = |id| Op::Put(Record::Params(params_record(id, &what.repeat(repeat))));
        if alive.is_empty() || below(10) < 6 {
            batch.push(params(job(n, 1, 1)));
            alive.extend((what == secret).then_some(job(n, 1, 1)));
        } else if what == secret && below(3) == 0 {
            batch.push(params(alive[below(alive.len())]));
        } else {
            batch.push(Op::EraseParams(alive.swap_remove(below(alive.len()))));
        }
    }
    batch.extend(alive.into_iter().map(Op::EraseParams));
    // In one transaction SQLite would never write most of it.
    batch.chunks(10).for_each(|ops| store.commit(ops).unwrap());
}

#[test]
fn nothing_is_left_of_erased_parameters() {
    const SECRET: &str = "hunter2-hunter2";
    for seed in 0..5 {
        let place = Place::new();
        let mut store = place.store();
        churn_params(&mut store, seed, SECRET);
        assert!(any_file_holds(&place.dir(), SECRET.as_bytes()), "it was there");
        assert!(store.tidy().unwrap());
        assert!(any_file_holds(&place.dir(), b"innocent"));
        assert!(!any_file_holds(&place.dir(), SECRET.as_bytes()), "seed {seed}");
    }
}

#[test]
fn an_operator_can_ask_with_plain_sql() {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&small_flow(1)).unwrap();
    let task = TaskRecord {
        state: TaskState::Failed,
        exit: Some(3),
        started_at: Some(Timestamp(1_700_000_000_500)),
        ..task_record(job(1, 1, 1), 0)
    };
    store.commit(&[Op::Put(Record::Task(task))]).unwrap();
    let told: String = place
        .stranger()
        .query_row(
            "SELECT concat_ws(' ', id, audience, job, score, state, exit, started)
             FROM task_list WHERE host = 'db0.east.example.com' AND state = 'failed'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(
        told,
        "1.1.1@db0.east.example.com alice job-1-1 restart-apache failed 3 2023-11-14 22:13:20"
    );
    for view in ["flow_list", "halted_list", "job_list", "player_list", "hold_list"] {
        let count = format!("SELECT count(*) FROM {view}");
        place.stranger().query_row(&count, [], |_| Ok(())).unwrap();
    }
}

#[test]
fn every_query_is_answered_by_an_index() {
    let place = Place::new();
    let store = place.store();
    for sql in [
        "SELECT id, body FROM flows WHERE alive = 1 ORDER BY id",
        "SELECT id, body FROM flows WHERE alive = 1 AND id < 5 ORDER BY id DESC LIMIT 3",
        "SELECT id FROM flows WHERE alive = 0 AND ended_at <= 9 ORDER BY ended_at, id LIMIT 3",
        "SELECT id FROM flows WHERE alive = 0 ORDER BY ended_at DESC, id DESC LIMIT 3 OFFSET 9",
        "SELECT id FROM flows WHERE audience = 'a' ORDER BY id DESC LIMIT 1",
        "SELECT id FROM flows WHERE audience = 'a' AND request = x'00' ORDER BY id LIMIT 1",
        "SELECT idx FROM tasks WHERE flow = 1 AND slot = 1 AND job = 1 AND idx > 2 ORDER BY idx",
        "SELECT idx FROM tasks WHERE flow = 1 AND slot = 1 AND job = 1 AND host = 'a' ORDER BY idx",
        "SELECT attempt FROM ends WHERE flow = 1 AND slot = 1 AND job = 1 AND host = 'a' ORDER BY attempt",
        "SELECT length(body) FROM tasks WHERE flow = 1 ORDER BY flow, slot, job, idx LIMIT 9",
        "SELECT length(body) FROM ends WHERE flow = 1 ORDER BY flow, slot, job, host, attempt LIMIT 9",
        "DELETE FROM tasks WHERE (flow, slot, job, idx) IN (SELECT flow, slot, job, idx FROM tasks WHERE flow = 1 ORDER BY flow, slot, job, idx LIMIT 9)",
        "SELECT min(flow) FROM ends WHERE flow > 1",
    ] {
        let mut plan = store.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let steps = plan.query_map([], |row| row.get::<_, String>("detail")).unwrap();
        let steps: Vec<String> = steps.map(Result::unwrap).collect();
        let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
        let first = steps.first().map_or("", String::as_str);
        let uses_index = first.starts_with("SEARCH")
            || ["flows_alive", "flows_ended"].iter().any(|index| first.contains(index));
        assert!(uses_index && !sorts, "{sql}: {steps:?}");
    }
}

#[test]
fn a_large_job_is_recovered_in_order() {
    const TASKS: u32 = 20_000;
    let place = Place::new();
    let mut store = place.store();
    let id = job(1, 1, 1);
    store.commit(&[Op::Put(Record::Flow(flow_record(1)))]).unwrap();
    store.commit(&[Op::Put(Record::Job(job_record(id)))]).unwrap();
    for first in (0..TASKS).step_by(1_000) {
        let tasks = first..first + 1_000;
        let batch: Vec<Op> =
            tasks.map(|index| Op::Put(Record::Task(task_record(id, index)))).collect();
        store.commit(&batch).unwrap();
    }
    drop(store);
    let reader = place.store().reader().unwrap();
    let mut expected = 0..TASKS;
    reader.each_task(id, &mut |task| assert_eq!(Some(task.index), expected.next())).unwrap();
    assert_eq!(expected.next(), None);
}
