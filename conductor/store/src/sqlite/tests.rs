use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use orchestra_model::{
    FlowId, FlowState, TaskState, Timestamp,
    delivery::{OrderNumber, Term},
    record::{FlowRecord, JobRecord, Op, PlayerRecord, Record, TaskRecord},
};
use tempfile::TempDir;

use super::*;
use crate::{
    MemoryDisk, ReadError,
    contract::{
        self, end_record, flow_record, host, job, job_record, params_record, player_record,
        small_flow, task_record,
    },
};

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn database(&self) -> PathBuf {
        self.dir().join(dir::DATABASE)
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(&self.dir()).unwrap()
    }

    fn refusal(&self) -> String {
        SqliteStore::open(&self.dir()).unwrap_err().to_string()
    }

    /// A connection of another program.
    fn stranger(&self) -> Connection {
        Connection::open(self.database()).unwrap()
    }

    /// What a crash would leave right now.
    fn image(&self) -> Place {
        let image = Place::new();
        make_private(&image.dir());
        for name in dir::BESIDE.into_iter().chain([dir::DATABASE]) {
            let copy = image.dir().join(name);
            fs::copy(self.dir().join(name), &copy).unwrap();
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).unwrap();
        }
        image
    }
}

fn make_private(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
}

impl contract::Place for Place {
    fn open(&self) -> Box<dyn Store> {
        Box::new(self.store())
    }

    fn take_over(&self) {
        let sql = "UPDATE meta SET value = value + 1 WHERE key = 'term'";
        self.stranger().execute(sql, []).unwrap();
    }
}

#[test]
fn it_keeps_the_contract() {
    contract::check(Place::new);
}

mod opening {
    use super::*;

    #[test]
    fn makes_everything_private() {
        let place = Place::new();
        let mut store = place.store();
        store.commit(&small_flow(1)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&place.dir()), 0o700);
        for entry in fs::read_dir(place.dir()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(mode(&path), 0o600, "{}", path.display());
        }
    }

    #[test]
    fn refuses_wrong_modes_with_the_command_that_mends_them() {
        let place = Place::new();
        drop(place.store());
        for (path, wrong, right) in [
            (place.dir(), 0o755, "700"),
            (place.database(), 0o640, "600"),
            (place.dir().join("lock"), 0o604, "600"),
        ] {
            let before = fs::metadata(&path).unwrap().permissions();
            fs::set_permissions(&path, fs::Permissions::from_mode(wrong)).unwrap();
            let refusal = place.refusal();
            let command = format!("chmod {right} '{}'", path.display());
            assert!(refusal.ends_with(&command), "{refusal}");
            fs::set_permissions(&path, before).unwrap();
        }
        place.store();
    }

    #[test]
    fn refuses_a_second_conductor_and_names_the_first() {
        let place = Place::new();
        let first = place.store();
        let refusal = place.refusal();
        let pid = std::process::id();
        assert!(refusal.ends_with(&format!("is in use by process {pid}")), "{refusal}");
        assert_eq!(first.identity().term, Term(1));
        drop(first);
        assert_eq!(place.store().identity().term, Term(2), "the refused one raised nothing");
    }

    #[test]
    fn makes_one_directory_and_no_more() {
        let place = Place::new();
        let error = SqliteStore::open(&place.dir().join("below")).unwrap_err();
        assert!(matches!(error, OpenError::Files { .. }), "{error}");
    }

    #[test]
    fn refuses_what_is_not_ours() {
        let place = Place::new();
        make_private(&place.dir());
        let mode = || fs::Permissions::from_mode(0o600);
        fs::write(place.database(), "a text about databases, long enough for a header".repeat(50))
            .unwrap();
        fs::set_permissions(place.database(), mode()).unwrap();
        assert!(place.refusal().starts_with("cannot read the header of the store"));
        fs::remove_file(place.database()).unwrap();
        place.stranger().execute_batch("CREATE TABLE t (a); PRAGMA application_id = 17").unwrap();
        fs::set_permissions(place.database(), mode()).unwrap();
        let refusal = place.refusal();
        assert!(refusal.ends_with("of another program (application id 0x11)"), "{refusal}");
    }

    #[test]
    fn refuses_what_a_newer_release_wrote() {
        let place = Place::new();
        drop(place.store());
        place.stranger().pragma_update(None, "user_version", VERSION + 1).unwrap();
        let refusal = place.refusal();
        assert!(refusal.contains("written by a newer release"), "{refusal}");
    }

    #[test]
    fn goes_on_with_a_copied_database() {
        let place = Place::new();
        let mut store = place.store();
        store.commit(&small_flow(1)).unwrap();
        let id = store.identity().store;
        drop(store);
        let copy = Place::new();
        make_private(&copy.dir());
        fs::copy(place.database(), copy.database()).unwrap();
        let restored = copy.store();
        assert_eq!(restored.identity(), Identity { store: id, term: Term(2) });
        assert_eq!(restored.reader().unwrap().live_flows().unwrap(), [flow_record(1)]);
    }

    #[test]
    fn closing_leaves_no_log() {
        let place = Place::new();
        let mut store = place.store();
        store.commit(&small_flow(1)).unwrap();
        drop(store.reader().unwrap());
        drop(store);
        for name in dir::BESIDE {
            assert!(!place.dir().join(name).exists(), "{name}");
        }
    }
}

mod crashes {
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
        fs::File::create(place.database()).unwrap();
        fs::set_permissions(place.database(), fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.store().identity().term, Term(1));
    }
}

mod trouble {
    use super::*;

    #[test]
    fn a_full_disk_keeps_nothing_and_the_batch_can_be_tried_again() {
        let place = Place::new();
        let mut store = place.store();
        store.commit(&small_flow(1)).unwrap();
        let pages: i64 = store.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        store.db.pragma_update_and_check(None, "max_page_count", pages + 2, |_| Ok(())).unwrap();
        let mut batch = small_flow(2);
        batch.push(Op::Put(Record::End(end_record(job(2, 1, 1), 5, 1, &[1; 100_000]))));
        for _ in 0..3 {
            let error = store.commit(&batch).unwrap_err();
            assert!(matches!(error, CommitError::Full(_)) && error.is_retryable(), "{error:?}");
            assert_eq!(store.reader().unwrap().flow(FlowId(2)).unwrap(), None);
        }
        store.db.pragma_update_and_check(None, "max_page_count", 1 << 30, |_| Ok(())).unwrap();
        store.commit(&batch).unwrap();
        assert!(store.reader().unwrap().flow(FlowId(2)).unwrap().is_some());
    }

    #[test]
    fn a_lock_held_by_a_stranger_can_be_waited_out() {
        let place = Place::new();
        let mut store = place.store();
        store.db.busy_timeout(Duration::ZERO).unwrap();
        let stranger = place.stranger();
        stranger.execute_batch("BEGIN IMMEDIATE").unwrap();
        let error = store.commit(&small_flow(1)).unwrap_err();
        assert!(matches!(error, CommitError::Busy(_)) && error.is_retryable(), "{error:?}");
        stranger.execute_batch("ROLLBACK").unwrap();
        store.commit(&small_flow(1)).unwrap();
    }

    #[test]
    fn after_any_other_error_nothing_more_is_written() {
        let place = Place::new();
        let mut store = place.store();
        let stranger = place.stranger();
        stranger.execute_batch("ALTER TABLE tasks RENAME TO elsewhere").unwrap();
        let error = store.commit(&small_flow(1)).unwrap_err();
        assert!(matches!(error, CommitError::Broken(_)), "{error:?}");
        stranger.execute_batch("ALTER TABLE elsewhere RENAME TO tasks").unwrap();
        assert!(matches!(store.commit(&small_flow(1)), Err(CommitError::Broken(_))));
        assert!(matches!(store.commit(&[]), Err(CommitError::Broken(_))));
        assert!(matches!(store.raise_term(Term(0)), Err(CommitError::Broken(_))));
        drop(store);
        place.store().commit(&small_flow(1)).unwrap();
    }

    #[test]
    fn a_failed_sync_is_no_lack_of_space() {
        let error = |code| classify(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        assert!(matches!(error(ffi::SQLITE_IOERR_FSYNC), CommitError::Broken(_)));
        assert!(matches!(error(ffi::SQLITE_IOERR_WRITE), CommitError::Broken(_)));
        assert!(matches!(error(ffi::SQLITE_CORRUPT), CommitError::Broken(_)));
        assert!(matches!(error(ffi::SQLITE_FULL), CommitError::Full(_)));
        assert!(matches!(error(ffi::SQLITE_IOERR_SHMSIZE), CommitError::Full(_)));
    }

    #[test]
    fn a_corrupt_or_newer_record_is_named() {
        let place = Place::new();
        let mut store = place.store();
        store.commit(&small_flow(1)).unwrap();
        let spoil = |sql: &str| assert_eq!(place.stranger().execute(sql, []).unwrap(), 1, "{sql}");
        spoil("UPDATE tasks SET body = x'02ff' WHERE slot = 1 AND idx = 1");
        spoil("UPDATE jobs SET body = substr(body, 1, length(body) - 5) WHERE slot = 2");
        spoil("UPDATE flows SET body = 'text'");
        let reader = store.reader().unwrap();
        let id = job(1, 1, 1);
        let newer = reader.tasks(id, None, 10).unwrap_err();
        assert!(matches!(&newer, ReadError::Newer { version: 2, .. }), "{newer:?}");
        assert_eq!(
            newer.to_string(),
            "record 1.1.1[1] in tasks of the store was written by a newer release (version 2)"
        );
        let corrupt = reader.jobs(FlowId(1)).unwrap_err().to_string();
        assert_eq!(corrupt, "record 1.2.1 in jobs of the store is corrupt: its checksum is wrong");
        let odd = reader.live_flows().unwrap_err().to_string();
        assert!(odd.starts_with("record 1 in flows of the store is corrupt"), "{odd}");
        assert_eq!(reader.tasks(job(1, 2, 1), None, 10).unwrap().len(), 2, "others still read");
    }

    #[test]
    fn readers_do_not_hold_up_the_writer() {
        let place = Place::new();
        let mut store = place.store();
        let reader = store.reader().unwrap();
        for flow in 1..=50 {
            store.commit(&small_flow(flow)).unwrap();
        }
        assert!(!store.tidy().unwrap(), "the reader needs the log");
        assert_eq!(reader.live_flows().unwrap(), []);
        drop(reader);
        assert!(store.tidy().unwrap());
        assert_eq!(fs::metadata(place.dir().join(dir::BESIDE[0])).unwrap().len(), 0);
    }
}

mod contents {
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
        for view in ["flow_list", "job_list", "player_list"] {
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
            "SELECT id FROM flows WHERE audience = 'a' ORDER BY id DESC LIMIT 1",
            "SELECT id FROM flows WHERE audience = 'a' AND request = x'00' ORDER BY id LIMIT 1",
            "SELECT idx FROM tasks WHERE flow = 1 AND slot = 1 AND job = 1 AND idx > 2 ORDER BY idx",
            "SELECT idx FROM tasks WHERE flow = 1 AND slot = 1 AND job = 1 AND host = 'a' ORDER BY idx",
            "SELECT attempt FROM ends WHERE flow = 1 AND slot = 1 AND job = 1 AND host = 'a' ORDER BY attempt",
            "DELETE FROM ends WHERE flow = 1",
            "DELETE FROM spec WHERE flow > (SELECT coalesce(max(id), 0) FROM flows)",
        ] {
            let mut plan = store.db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = plan.query_map([], |row| row.get::<_, String>("detail")).unwrap();
            let steps: Vec<String> = steps.map(Result::unwrap).collect();
            let sorts = steps.iter().any(|step| step.contains("TEMP B-TREE"));
            let first = steps.first().map_or("", String::as_str);
            let uses_index = first.starts_with("SEARCH") || first.contains("flows_alive");
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
}

mod against_memory {
    use proptest::prelude::*;

    use super::*;

    /// Small keys, so that operations meet.
    fn an_op() -> impl Strategy<Value = Op> {
        let flow = 1..4_u64;
        let id = (flow.clone(), 1..3_u16).prop_map(|(flow, slot)| job(flow, slot, 1));
        prop_oneof![
            1 => flow.clone().prop_map(|flow| Op::PruneFlow(FlowId(flow))),
            2 => id.clone().prop_map(Op::EraseParams),
            2 => flow.clone().prop_map(|flow| Op::Put(Record::NextFlow(FlowId(flow)))),
            3 => (flow, any::<bool>()).prop_map(|(flow, ended)| {
                let state = if ended { FlowState::Ok } else { FlowState::Running };
                Op::Put(Record::Flow(FlowRecord { state, ..flow_record(flow) }))
            }),
            3 => (id.clone(), 0..100_u32).prop_map(|(id, tasks)| {
                Op::Put(Record::Job(JobRecord { tasks, ..job_record(id) }))
            }),
            3 => (id.clone(), "[a-z]{0,9}").prop_map(|(id, value)| {
                Op::Put(Record::Params(params_record(id, &value)))
            }),
            6 => (id.clone(), 0..5_u32, 0..5_u32, 0..3_u32).prop_map(|(id, index, at, attempt)| {
                Op::Put(Record::Task(TaskRecord { host: host(at), attempt, ..task_record(id, index) }))
            }),
            3 => (id, 0..5_u32, 1..3_u32, any::<Vec<u8>>()).prop_map(|(id, at, attempt, end)| {
                Op::Put(Record::End(end_record(id, at, attempt, &end)))
            }),
            2 => (0..4_u32, any::<u32>()).prop_map(|(n, order)| {
                let last_order = OrderNumber(u64::from(order));
                Op::Put(Record::Player(PlayerRecord { last_order, ..player_record(n) }))
            }),
        ]
    }

    /// Everything that can be asked, as text.
    fn told(reader: &dyn crate::Reader) -> String {
        let mut told = format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
            reader.next_flow().unwrap(),
            reader.players().unwrap(),
            reader.live_flows().unwrap(),
            reader.flows(2, Some(FlowId(3)), false).unwrap(),
            reader.requests().unwrap(),
        );
        for flow in 1..4 {
            told += &format!("{:?}\n", reader.jobs(FlowId(flow)).unwrap());
            for id in [job(flow, 1, 1), job(flow, 2, 1)] {
                let params = reader.params(id).unwrap();
                let value = params.as_ref().and_then(|params| params.get("token"));
                told += &format!("{value:?}\n{:?}\n", reader.tasks(id, Some(0), 3).unwrap());
                for n in 0..5 {
                    told += &format!("{:?}\n", reader.ends(id, &host(n)).unwrap());
                    told += &format!("{:?}\n", reader.task_by_host(id, &host(n)).unwrap());
                }
            }
        }
        told
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn both_tell_the_same(batches in prop::collection::vec(prop::collection::vec(an_op(), 0..12), 1..8)) {
            let place = Place::new();
            let mut sqlite = place.store();
            let mut memory = MemoryDisk::new(StoreId([1; 16])).open();
            for batch in &batches {
                sqlite.commit(batch).unwrap();
                memory.commit(batch).unwrap();
                prop_assert_eq!(told(&*sqlite.reader().unwrap()), told(&*memory.reader().unwrap()));
            }
        }
    }
}
