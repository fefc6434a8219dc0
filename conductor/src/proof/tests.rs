//! Keys in their file, and the macs that they confirm.

use std::{fs, os::unix::fs::PermissionsExt as _};

use orchestra_model::{
    FlowId, HostName, JobId,
    delivery::{OrderNumber, StoreId, Term},
    proof::Attempted,
};
use tempfile::TempDir;

use super::*;

fn place() -> (TempDir, KeyFile) {
    let dir = TempDir::new().unwrap();
    let file = KeyFile::new(dir.path());
    (dir, file)
}

/// Does what a first start does.
fn first_start(file: &KeyFile) -> Keys {
    let Found::Made(keys, _) = file.open(None).unwrap() else { panic!("there was a key") };
    file.adopt().unwrap();
    keys
}

fn why_apart(file: &KeyFile, recorded: Option<ProofKeyId>) -> String {
    match file.open(recorded).unwrap() {
        Found::Apart(_, why) => why,
        found => panic!("{found:?}"),
    }
}

#[test]
fn a_statement_is_confirmed_for_itself_alone() {
    let (_dir, file) = place();
    let keys = first_start(&file);
    let (db1, db2) = (HostName::new("db1").unwrap(), HostName::new("db2").unwrap());
    let attempted = Attempted { job: JobId { flow: FlowId(1), slot: 1, job: 1 }, attempt: 1 };
    let said = Statement {
        store: StoreId([1; 16]),
        player: &db1,
        term: Term(3),
        order: OrderNumber(7),
        attempt: Some(attempted),
    };
    let mac = keys.prove(&said);
    assert!(keys.confirm(&said, mac));
    let next_job = JobId { job: 2, ..attempted.job };
    for other in [
        Statement { store: StoreId([2; 16]), ..said },
        Statement { player: &db2, ..said },
        Statement { term: Term(4), ..said },
        Statement { order: OrderNumber(8), ..said },
        Statement { attempt: None, ..said },
        Statement { attempt: Some(Attempted { attempt: 2, ..attempted }), ..said },
        Statement { attempt: Some(Attempted { job: next_job, ..attempted }), ..said },
    ] {
        assert!(!keys.confirm(&other, mac), "{other:?}");
    }
    let mut changed = mac;
    changed.0[15] ^= 1;
    assert!(!keys.confirm(&said, changed));
    assert!(!Keys::default().confirm(&said, Keys::default().prove(&said)), "no key proves nothing");
}

#[test]
fn a_new_key_still_confirms_what_the_former_ones_said() {
    let (_dir, file) = place();
    let first = first_start(&file);
    let host = HostName::new("db1").unwrap();
    let (store, term, order) = (StoreId([1; 16]), Term(3), OrderNumber(7));
    let said = Statement { store, player: &host, term, order, attempt: None };
    let before = first.prove(&said);
    let (renewed, _) = file.renew().unwrap();
    assert!(renewed.confirm(&said, before));
    assert_ne!(renewed.prove(&said), before);
    assert!(!first.confirm(&said, renewed.prove(&said)));
    assert!(matches!(file.open(first.id()).unwrap(), Found::Ours(_)), "not recorded, so not made");
    let (renewed, _) = file.renew().unwrap();
    assert!(
        matches!(file.open(renewed.id()).unwrap(), Found::Ours(_)),
        "a crash before the rename"
    );
    assert!(matches!(file.open(renewed.id()).unwrap(), Found::Ours(_)));
    assert!(why_apart(&file, first.id()).contains("not the newest"), "a backup from before");
}

#[test]
fn a_key_and_a_store_that_do_not_belong_together_are_told() {
    let (dir, file) = place();
    let keys = first_start(&file);
    assert!(matches!(file.open(keys.id()).unwrap(), Found::Ours(_)));
    assert!(why_apart(&file, None).contains("from before its proof key"));
    assert!(why_apart(&file, Some(ProofKeyId([9; 16]))).contains("not the newest"));
    fs::remove_file(dir.path().join("proof.key")).unwrap();
    assert!(why_apart(&file, keys.id()).contains("is missing"));
}

#[test]
fn a_crash_before_the_store_records_a_first_key_leaves_nothing() {
    let (dir, file) = place();
    assert!(matches!(file.open(None).unwrap(), Found::Made(..)));
    assert!(matches!(file.open(None).unwrap(), Found::Made(..)), "the next start makes another");
    assert!(!dir.path().join("proof.key").exists());
}

#[test]
fn a_key_that_was_cut_off_while_it_was_written_is_forgotten() {
    let (dir, file) = place();
    let pending = dir.path().join("proof.key.new");
    fs::write(&pending, "").unwrap();
    fs::set_permissions(&pending, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = first_start(&file);
    fs::write(&pending, "# Proof keys of this st").unwrap();
    fs::set_permissions(&pending, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(file.open(keys.id()).unwrap(), Found::Ours(_)));
    assert!(!pending.exists());
}

#[test]
fn a_file_that_others_may_read_or_that_is_none_is_refused() {
    let (dir, file) = place();
    let path = dir.path().join("proof.key");
    first_start(&file);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(file.open(None).unwrap_err().to_string().contains("has mode 0640"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    for text in ["", "# nothing\n", "abc\n", &"zz".repeat(32), &"é".repeat(32)] {
        fs::write(&path, text).unwrap();
        assert!(file.open(None).is_err(), "{text:?}");
    }
}
