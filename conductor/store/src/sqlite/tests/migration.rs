//! Stores of the previous release.

use std::collections::BTreeSet;

use orchestra_model::record::{Impact, Recovered};

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

#[test]
fn what_is_older_than_the_oldest_is_foreign() {
    let place = version_1();
    place.stranger().pragma_update(None, "user_version", OLDEST - 1).unwrap();
    assert!(place.refusal().contains("of another program"));
}
