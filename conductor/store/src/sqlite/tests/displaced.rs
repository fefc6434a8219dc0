//! Files that are moved, removed, replaced or cut while the store is open.

use super::*;
use crate::Kept;

/// A store with a flow in its log.
fn begun() -> (Place, SqliteStore) {
    let place = Place::new();
    let mut store = place.store();
    store.commit(&small_flow(1)).unwrap();
    (place, store)
}

/// What comes of the next commit, and of each one after it; which file, and what was kept.
fn displaced(store: &mut SqliteStore) -> (PathBuf, Kept) {
    let error = store.commit(&small_flow(2)).unwrap_err();
    assert!(!error.is_retryable());
    assert!(matches!(store.commit(&small_flow(3)), Err(CommitError::Displaced { .. })));
    let CommitError::Displaced { file, kept } = error else { panic!("{error:?}") };
    (file, kept)
}

/// Whether a database has the first flow, and the second one, whose commit was not answered.
fn has_both(place: &Place) -> bool {
    let store = SqliteStore::open(&place.dir()).unwrap();
    let reader = store.reader().unwrap();
    [1, 2].iter().all(|flow| reader.flow(FlowId(*flow)).unwrap().is_some())
}

#[test]
fn a_database_that_was_moved_is_whole_where_it_is_now() {
    let (place, mut store) = begun();
    let away = place.dir().join("gone.db");
    fs::rename(place.database(), &away).unwrap();
    let (file, kept) = displaced(&mut store);
    assert_eq!((file, kept), (place.database(), Kept::At(away.clone())));
    drop(store);
    let refusal = SqliteStore::open_or_make(&place.dir()).unwrap_err().to_string();
    assert!(refusal.contains("is missing"), "{refusal}");
    // Whole, without the log: to be put back as it is, or somewhere else.
    let elsewhere = Place::new();
    make_private(&elsewhere.dir());
    fs::copy(&away, elsewhere.database()).unwrap();
    assert!(has_both(&elsewhere));
    fs::rename(&away, place.database()).unwrap();
    assert!(has_both(&place));
}

#[test]
fn a_database_that_was_removed_or_replaced_is_saved() {
    for replace in [false, true] {
        let (place, mut store) = begun();
        fs::remove_file(place.database()).unwrap();
        if replace {
            let other = Place::new();
            drop(other.store());
            fs::copy(other.database(), place.database()).unwrap();
        }
        let (file, kept) = displaced(&mut store);
        assert_eq!(file, place.database());
        let Kept::Rescued(rescued) = kept else { panic!("{kept:?}") };
        assert!(rescued.starts_with(place.dir()), "{rescued:?}");
        assert_eq!(fs::metadata(&rescued).unwrap().permissions().mode() & 0o7777, 0o600);
        drop(store);
        // Neither is what lies there taken for the store, as long as nobody has said that it is.
        let refusal = SqliteStore::open_or_make(&place.dir()).unwrap_err().to_string();
        let expected = if replace { "if that is the store, move it" } else { "is missing" };
        assert!(refusal.contains(expected), "{refusal}");
        // As the message says.
        fs::rename(&rescued, place.database()).unwrap();
        for name in dir::BESIDE {
            let _ = fs::remove_file(place.dir().join(name));
        }
        assert!(has_both(&place), "replaced: {replace}");
    }
}

#[test]
fn a_link_that_leads_elsewhere_is_noticed() {
    for whole_directory in [false, true] {
        let (real, other) = (Place::new(), Place::new());
        let links = tempfile::tempdir().unwrap();
        drop((real.store(), other.store()));
        // A database of another name has its log beside it under that name.
        let named = real.dir().join("real.db");
        let dir = links.path().join("state");
        if whole_directory {
            std::os::unix::fs::symlink(real.dir(), &dir).unwrap();
        } else {
            fs::rename(real.database(), &named).unwrap();
            make_private(&dir);
            std::os::unix::fs::symlink(&named, dir.join(dir::DATABASE)).unwrap();
        }
        let mut store = SqliteStore::open(&dir).unwrap();
        store.commit(&small_flow(1)).unwrap();
        let (link, target) = match whole_directory {
            true => (dir.clone(), other.dir()),
            false => (dir.join(dir::DATABASE), other.database()),
        };
        fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(target, &link).unwrap();
        let (file, kept) = displaced(&mut store);
        assert_eq!(file, dir.join(dir::DATABASE));
        let at = if whole_directory { real.database() } else { named };
        assert_eq!(kept, Kept::At(at.canonicalize().unwrap()));
    }
}

/// Moves the database elsewhere and puts a link to it in its place; where it is then.
fn linked_away(place: &Place) -> PathBuf {
    let away = place.0.path().join("elsewhere.db");
    fs::rename(place.database(), &away).unwrap();
    std::os::unix::fs::symlink(&away, place.database()).unwrap();
    away
}

#[test]
fn a_link_in_place_of_the_database_parts_it_from_its_log() {
    let (place, mut store) = begun();
    let away = linked_away(&place);
    let (file, kept) = displaced(&mut store);
    assert_eq!(file, away.canonicalize().unwrap().with_file_name("elsewhere.db-wal"));
    assert_eq!(kept, Kept::At(place.database()));
    drop(store);
    assert!(has_both(&place));
}

#[test]
fn a_log_that_would_not_be_read_is_not_passed_over() {
    let (place, store) = begun();
    // As a process leaves it that is killed before it has looked.
    let left = place.image();
    drop(store);
    let away = linked_away(&left);
    for open in [SqliteStore::open, SqliteStore::open_or_make] {
        let refusal = open(&left.dir()).unwrap_err().to_string();
        assert!(refusal.contains("is a link to"), "{refusal}");
        assert!(refusal.contains("orchestra.db-wal lies the log of a database"), "{refusal}");
    }
    // As the message says.
    fs::rename(away, left.database()).unwrap();
    let store = SqliteStore::open(&left.dir()).unwrap();
    assert!(store.reader().unwrap().flow(FlowId(1)).unwrap().is_some());
}

#[test]
fn a_database_that_cannot_be_saved_is_held_open_until_it_can() {
    let (place, mut store) = begun();
    let dir = place.dir();
    let away = place.0.path().join("elsewhere");
    fs::remove_file(place.database()).unwrap();
    fs::rename(&dir, &away).unwrap();
    for _ in 0..2 {
        let error = store.commit(&small_flow(2)).unwrap_err();
        assert!(matches!(error, CommitError::Stranded { .. }) && error.is_retryable(), "{error:?}");
    }
    fs::rename(&away, &dir).unwrap();
    let (_, kept) = displaced(&mut store);
    let Kept::Rescued(rescued) = kept else { panic!("{kept:?}") };
    drop(store);
    fs::rename(rescued, place.database()).unwrap();
    assert!(has_both(&place));
}

#[test]
fn a_log_that_was_removed_or_replaced_is_brought_into_the_database() {
    for (name, replace) in [
        (dir::BESIDE[0], false),
        (dir::BESIDE[0], true),
        (dir::BESIDE[1], false),
        (dir::BESIDE[1], true),
    ] {
        let (place, mut store) = begun();
        let path = place.dir().join(name);
        fs::remove_file(&path).unwrap();
        if replace {
            // Of another store, in order by itself: the next start would take it for ours.
            let (other, _open) = begun();
            fs::copy(other.dir().join(name), &path).unwrap();
        }
        let (file, kept) = displaced(&mut store);
        assert_eq!((file, kept), (path, Kept::At(place.database())));
        drop(store);
        assert!(has_both(&place), "{name}, replaced: {replace}");
    }
}

#[test]
fn what_is_cut_in_its_place_is_noticed_and_left_as_it_is() {
    let (place, mut store) = begun();
    store.tidy().unwrap();
    store.commit(&small_flow(4)).unwrap();
    let log = fs::metadata(place.dir().join(dir::BESIDE[0])).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(place.database()).unwrap();
    file.set_len(8_192).unwrap();
    assert_eq!(displaced(&mut store), (place.database(), Kept::Remains));
    drop(store);
    let left = fs::metadata(place.dir().join(dir::BESIDE[0])).unwrap().len();
    assert!(left >= log, "what is left in the log stays there");

    let (place, mut store) = begun();
    let path = place.dir().join(dir::BESIDE[0]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    assert_eq!(displaced(&mut store), (path, Kept::Remains));
}

#[test]
fn what_an_operator_may_do_is_no_trouble() {
    let (place, mut store) = begun();
    for flow in 2..40 {
        store.commit(&small_flow(flow)).unwrap();
    }
    for flow in 1..39 {
        store.commit(&[Op::PruneFlow(FlowId(flow))]).unwrap();
    }
    while !store.sweep(1_000).unwrap() {}
    let before = fs::metadata(place.database()).unwrap().len();
    place.stranger().execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(fs::metadata(place.database()).unwrap().len() < before || before < 200_000);
    // A further name does no harm, nor does a reader.
    fs::hard_link(place.database(), place.dir().join("another")).unwrap();
    let reader = place.stranger();
    store.commit(&small_flow(50)).unwrap();
    drop(reader);
    assert!(store.tidy().unwrap());
    store.commit(&small_flow(51)).unwrap();
}

#[test]
fn nobody_is_told_of_another_database_in_its_place() {
    let (place, store) = begun();
    let other = Place::new();
    drop(other.store());
    fs::rename(other.database(), place.database()).unwrap();
    assert!(matches!(store.reader(), Err(ReadError::Displaced(_))));
}
