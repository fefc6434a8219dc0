use std::{
    fs,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use orchestra_model::{ServiceName, delivery::StoreId, service::Placement};
use orchestra_units::UnitKey;

use super::{
    BOOK, Guard, LOOK,
    book::{Book, Page},
};
use crate::sitter::{clock::BootMillis, procfs::Stat};

const BOOT: [u8; 16] = [3; 16];

fn page(gone: u64) -> Page {
    Page {
        unit: UnitKey { store: StoreId([1; 16]), service: ServiceName::new("web").unwrap() },
        placement: Placement(7),
        until: gone.saturating_sub(5),
        gone,
        leaf: None,
        marks: vec![b"ORC_RUN_DIR=/nowhere/of/this/test".to_vec()],
        leader: None,
    }
}

/// This process, and when it started: a sitter that lives.
fn ours() -> (i32, u64) {
    let pid = std::process::id().cast_signed();
    (pid, Stat::of(pid).unwrap().start_ticks)
}

fn book(pages: Vec<Page>) -> Book {
    Book { boot: BOOT, is_needed: !pages.is_empty(), sitter: Some(ours()), guard: None, pages }
}

struct Rig {
    dir: tempfile::TempDir,
    guard: Guard,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let directory = fs::File::open(dir.path()).unwrap().into();
        Rig { guard: Guard { directory, boot: BOOT, book: Book::default() }, dir }
    }

    fn write(&self, bytes: &[u8]) {
        fs::write(self.dir.path().join(BOOK), bytes).unwrap();
    }

    fn look(&mut self, now: u64) -> Option<u64> {
        self.guard.look(BootMillis(now)).map(|at| at.0)
    }
}

#[test]
fn a_book_is_read_as_it_was_written() {
    let mut first = page(9_000);
    first.leaf = Some(("/sys/fs/cgroup/a b".into(), true));
    first.leader = Some((77, 88));
    let whole = Book { guard: Some((5, 6)), ..book(vec![first, page(4)]) };
    assert_eq!(Book::decode(&whole.encode()), Some(whole.clone()));
    let bytes = whole.encode();
    for length in 0..bytes.len() {
        assert_eq!(Book::decode(&bytes[..length]), None, "cut at {length}");
    }
}

#[test]
fn it_looks_once_a_second_and_when_a_lease_is_over() {
    let mut rig = Rig::new();
    rig.write(&book(vec![page(10_000)]).encode());
    assert_eq!(rig.look(1_000), Some(1_000 + LOOK));
    assert_eq!(rig.look(9_800), Some(10_000));
    // Nothing of it is there.
    assert_eq!(rig.look(10_000), Some(10_000 + LOOK));
}

#[test]
fn it_ends_when_nobody_needs_it() {
    let mut rig = Rig::new();
    rig.write(&Book { is_needed: true, ..book(Vec::new()) }.encode());
    assert_eq!(rig.look(1_000), Some(1_000 + LOOK));
    rig.write(&book(Vec::new()).encode());
    assert_eq!(rig.look(2_000), None);
}

#[test]
fn it_ends_when_its_sitter_is_gone_and_nothing_is_left() {
    let (pid, start_ticks) = ours();
    // The number of another process that had it before.
    let gone = Some((pid, start_ticks + 1));
    let mut rig = Rig::new();
    rig.write(&Book { sitter: gone, ..book(vec![page(10_000)]) }.encode());
    assert_eq!(rig.look(9_500), Some(10_000), "a lease is kept to its end");
    assert_eq!(rig.look(10_000), None);
    rig.write(&Book { sitter: gone, is_needed: true, ..book(Vec::new()) }.encode());
    assert_eq!(rig.look(10_000), None, "whatever its book says of later");
}

#[test]
fn without_its_book_it_keeps_to_what_it_read_last() {
    let damages: [&dyn Fn(&Rig); 3] = [
        &|rig| fs::remove_file(rig.dir.path().join(BOOK)).unwrap(),
        &|rig| rig.write(b"nonsense"),
        &|rig| rig.write(&Book { boot: [4; 16], ..book(vec![page(90_000)]) }.encode()),
    ];
    for damage in damages {
        let mut rig = Rig::new();
        rig.write(&book(vec![page(10_000)]).encode());
        rig.look(1_000);
        damage(&rig);
        assert_eq!(rig.look(9_500), Some(10_000));
        assert_eq!(rig.look(10_000), None, "and ends when that is over");
    }
}

#[test]
fn it_kills_what_should_be_gone_and_nothing_else() {
    let child = |mark: &str| {
        let mut command = Command::new("sleep");
        command.arg("1000").env_clear().env("ORC_RUN_DIR", mark).stdin(Stdio::null());
        command.process_group(0).spawn().unwrap()
    };
    let place = tempfile::tempdir().unwrap();
    let mark = |name: &str| place.path().join(name).to_str().unwrap().to_owned();
    let (mut theirs, mut other) = (child(&mark("a")), child(&mark("b")));
    let marked = |name: &str, gone| Page {
        marks: vec![format!("ORC_RUN_DIR={}", mark(name)).into_bytes()],
        ..page(gone)
    };
    let mut rig = Rig::new();
    rig.write(&book(vec![marked("a", 5_000), marked("b", 90_000)]).encode());
    assert_eq!(rig.look(4_500), Some(5_000));
    assert!(theirs.try_wait().unwrap().is_none());
    let next = rig.look(5_000).unwrap();
    // Sooner, if something was still there when it looked whether anything was left.
    assert!(next <= 5_000 + LOOK, "{next}");
    theirs.wait().unwrap();
    assert!(other.try_wait().unwrap().is_none());
    other.kill().unwrap();
    other.wait().unwrap();
}
