//! Full disks, strangers, damage.

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
    assert!(matches!(store.raise_term(Term(0), ProofKeyId([1; 16])), Err(CommitError::Broken(_))));
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
