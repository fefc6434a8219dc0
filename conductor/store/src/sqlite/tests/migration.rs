//! Stores of other releases.

use std::collections::BTreeSet;

use orchestra_model::{
    audit::{Asker, AuditEntry, AuditMark, AuditRecord, Deed, Object, Verb},
    record::{Impact, Recovered},
};

use super::*;

/// A closed store of version 1.
fn version_1() -> Place {
    let place = Place::new();
    make_private(&place.dir());
    place.stranger().execute_batch(include_str!("version_1.sql")).unwrap();
    fs::set_permissions(place.database(), fs::Permissions::from_mode(0o600)).unwrap();
    place
}

/// Everything that is defined in a database; columns in no order, for one that is added later
/// comes last.
fn definitions(place: &Place) -> BTreeSet<String> {
    let db = place.stranger();
    let columns = "SELECT concat_ws(' ', s.type, s.name, c.name, c.type, c.\"notnull\", c.pk)
                   FROM sqlite_schema AS s, pragma_table_info(s.name) AS c
                   WHERE s.type = 'table'";
    let others = "SELECT concat_ws(' ', type, name, sql) FROM sqlite_schema
                  WHERE type <> 'table' AND sql IS NOT NULL";
    let mut all = db.prepare(&format!("{columns} UNION ALL {others}")).unwrap();
    let rows = all.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn an_older_store_is_brought_up_to_date_with_all_that_is_in_it() {
    let place = version_1();
    let mut store = place.store();
    assert_eq!(store.identity(), StoreIdentity { store: StoreId([0x11; 16]), term: Term(2) });
    let reader = store.reader().unwrap();
    assert_eq!(reader.next_flow().unwrap(), FlowId(4));
    assert_eq!(reader.recovered().unwrap(), Recovered { term: Term(1), half_known: FlowId(4) });
    assert_eq!(reader.players().unwrap(), [player_record(1)]);
    assert_eq!(reader.holds().unwrap(), []);
    assert_eq!(reader.live_flows().unwrap(), [flow_record(1)]);
    assert_eq!(reader.flow(FlowId(2)).unwrap().unwrap().state, FlowState::Failed);
    assert_eq!(reader.spec(FlowId(1)).unwrap().as_deref(), Some(&b"slots: []"[..]));
    let id = job(1, 1, 1);
    let old = JobRecord { param_keys: Vec::new(), ..job_record(id) };
    assert_eq!(reader.jobs(FlowId(1)).unwrap()[0], old);
    assert_eq!(reader.params(id).unwrap(), Some(params_record(id, "secret").params));
    assert_eq!(reader.targets(id).unwrap().as_deref(), Some("db[0-99]"));
    // What was sent is a change as far as anybody knows; what never was is none.
    assert_eq!(reader.tasks(id, None, 9).unwrap(), [task_record(id, 0), task_record(id, 1)]);
    let never = reader.task_by_host(job(2, 1, 1), &host(1)).unwrap().unwrap();
    assert_eq!((never.state, never.impact), (TaskState::Unreachable, Impact::Look));
    assert_eq!(reader.ends(id, &host(1)).unwrap(), [end_record(id, 1, 1, b"end")]);
    assert_eq!(reader.jobs(FlowId(3)).unwrap(), [], "it was cut short");
    store.commit(&small_flow(4)).unwrap();
}

#[test]
fn an_older_store_becomes_what_a_new_one_is() {
    let (old, new) = (version_1(), Place::new());
    drop((old.store(), new.store()));
    assert_eq!(definitions(&old), definitions(&new));
    for place in [&old, &new] {
        let version: i32 =
            place.stranger().pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        assert_eq!(version, VERSION);
    }
    old.store().commit(&small_flow(4)).unwrap();
}

/// Lines of the audit, of which the first ones were removed without a mark, and none has a link.
#[test]
fn lines_of_version_2_are_read_and_the_chain_goes_on_after_them() {
    let place = Place::new();
    let line = |number| AuditRecord {
        number,
        at: Timestamp(number),
        entry: AuditEntry::new(Asker::Local, Deed::Done(Verb::Reload), Object::Conductor, "3"),
        link: None,
    };
    place.store().commit(&[4, 5].map(|number| Op::Put(Record::Audit(line(number))))).unwrap();
    let db = place.stranger();
    db.execute_batch("DELETE FROM meta WHERE key LIKE 'audit_base%'; PRAGMA user_version = 2;")
        .unwrap();
    drop(db);
    let mut store = place.store();
    let reader = store.reader().unwrap();
    let base = AuditMark { number: 3, link: None };
    assert_eq!(
        (reader.audit_base().unwrap(), reader.audit_head().unwrap()),
        (base, line(5).mark())
    );
    assert_eq!(reader.audit_after(3, 9).unwrap(), [line(4), line(5)]);
    drop(reader);
    store.commit(&[Op::PruneAudit(9)]).unwrap();
    drop(store);
    // Where all lines were removed, the newest number says up to where.
    let db = place.stranger();
    db.execute_batch("DELETE FROM meta WHERE key LIKE 'audit_base%'; PRAGMA user_version = 2;")
        .unwrap();
    drop(db);
    assert_eq!(place.store().reader().unwrap().audit_base().unwrap(), line(5).mark());
}

#[test]
fn a_store_of_a_newer_release_is_refused() {
    let place = Place::new();
    drop(place.store());
    place.stranger().pragma_update(None, "user_version", VERSION + 1).unwrap();
    assert!(place.refusal().contains("newer"), "{}", place.refusal());
}

/// A line that was damaged, or that a newer release wrote, is an error that names it.
#[test]
fn a_line_of_the_audit_that_cannot_be_read_is_named() {
    let place = Place::new();
    let entry = AuditEntry::new(Asker::Local, Deed::Done(Verb::Reload), Object::Conductor, "3");
    let line = AuditRecord { number: 7, at: Timestamp(1), entry, link: None };
    place.store().commit(&[Op::Put(Record::Audit(line))]).unwrap();
    for (sql, kind) in [
        ("UPDATE audit SET body = CAST(x'02' || substr(body, 2) AS BLOB)", "newer"),
        ("UPDATE audit SET body = CAST(x'01' || substr(body, 2, 9) AS BLOB)", "checksum"),
    ] {
        place.stranger().execute_batch(sql).unwrap();
        let store = place.store();
        let reader = store.reader().unwrap();
        for told in [reader.audit(9, None), reader.audit_after(0, 9)] {
            let told = orchestra_model::chain(&told.unwrap_err());
            assert!(told.contains("audit") && told.contains('7') && told.contains(kind), "{told}");
        }
    }
}

#[test]
fn what_is_older_than_the_oldest_is_foreign() {
    let place = version_1();
    place.stranger().pragma_update(None, "user_version", OLDEST - 1).unwrap();
    assert!(place.refusal().contains("of another program"));
}
