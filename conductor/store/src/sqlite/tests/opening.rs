//! What stops a start, and what does not.

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
    let error = SqliteStore::open_or_make(&place.dir().join("below")).unwrap_err();
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
    assert_eq!(restored.identity(), StoreIdentity { store: id, term: Term(2) });
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

#[test]
fn a_store_is_made_only_where_that_is_asked_for() {
    let place = Place::new();
    let refusal = |place: &Place| SqliteStore::open(&place.dir()).unwrap_err().to_string();
    assert!(refusal(&place).starts_with("there is no store in"), "{}", refusal(&place));
    assert!(!place.dir().exists(), "a refusal leaves nothing behind");
    make_private(&place.dir());
    assert!(refusal(&place).contains("`conductor --new-store`, once"));
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    // What is no trace of a store is in nobody's way.
    fs::create_dir(place.dir().join("lost+found")).unwrap();
    fs::write(place.dir().join("orchestra.db.new"), "half of one").unwrap();
    let id = place.store().identity();
    assert_eq!(id.term, Term(1));
    assert!(!place.dir().join("orchestra.db.new").exists());
    assert_eq!(SqliteStore::open(&place.dir()).unwrap().identity().store, id.store);
    assert_eq!(place.store().identity().store, id.store, "it is opened, not made anew");
}

#[test]
fn a_store_that_is_missing_is_not_replaced() {
    for trace in
        ["orchestra.db-wal", "orchestra.db-shm", "lock", "address", "proof.key", "rescued-1.db"]
    {
        let place = Place::new();
        make_private(&place.dir());
        fs::write(place.dir().join(trace), "").unwrap();
        for open in [SqliteStore::open, SqliteStore::open_or_make] {
            let refusal = open(&place.dir()).unwrap_err().to_string();
            let told = format!("orchestra.db is missing, and {trace} beside it tells that there");
            assert!(refusal.contains(&told), "{refusal}");
        }
        let left = fs::read_dir(place.dir()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), [trace]);
    }
}

#[test]
fn neither_an_empty_file_nor_a_link_that_leads_nowhere_is_made_a_store() {
    let place = Place::new();
    drop(place.store());
    fs::write(place.database(), "").unwrap();
    for open in [SqliteStore::open, SqliteStore::open_or_make] {
        let refusal = open(&place.dir()).unwrap_err().to_string();
        assert!(refusal.contains("orchestra.db is empty, so it is no store"), "{refusal}");
    }
    fs::remove_file(place.database()).unwrap();
    std::os::unix::fs::symlink("not-mounted", place.database()).unwrap();
    for open in [SqliteStore::open, SqliteStore::open_or_make] {
        assert!(matches!(open(&place.dir()), Err(OpenError::Database { .. })));
    }
    assert!(!place.dir().join("not-mounted").exists());
}
