//! A unit that writes as fast as it may, while its sitter is killed again and again: nothing of what it
//! writes is lost, and it is not kept waiting for long.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Test,
    units::{Asked, RECORD, ask, ends_well, run},
    world::{World, eventually, lives},
};

pub(crate) const TESTS: &[Test] =
    &[("a_log_loses_nothing_while_sitters_are_killed", a_log_loses_nothing)];

/// How much is written in a second.
const RATE: u64 = 50_000_000;
const KILLS: usize = 20;
/// What is written between two kills at least, so that rotations are among what is cut short.
const BETWEEN: u64 = 12_000_000;
const LINE: usize = 128;
/// How much is written at once.
const LINES: u64 = 256;

/// Writes numbered lines to standard output at [`RATE`] until the file `stop` is there; then says in
/// `written` how many, and how long the longest write took, in microseconds.
pub(crate) fn write(arguments: &[OsString]) -> ExitCode {
    let out = arguments.first().map(PathBuf::from).unwrap();
    let (begin, mut stdout) = (Instant::now(), std::io::stdout().lock());
    let (mut number, mut longest) = (0, Duration::ZERO);
    while !out.join("stop").exists() {
        let lines: String = (number..number + LINES).map(line).collect();
        number += LINES;
        let asked = Instant::now();
        stdout.write_all(lines.as_bytes()).unwrap();
        longest = longest.max(asked.elapsed());
        let due = Duration::from_nanos(number * LINE as u64 * 1_000 / (RATE / 1_000_000));
        thread::park_timeout(due.saturating_sub(begin.elapsed()));
    }
    stdout.flush().unwrap();
    let text = format!("{number} {}\n", longest.as_micros());
    fs::write(out.join("written.new"), text).unwrap();
    fs::rename(out.join("written.new"), out.join("written")).unwrap();
    loop {
        thread::park();
    }
}

/// No other place of a line looks like its beginning.
fn line(number: u64) -> String {
    format!("L{number:012} {:.<width$}\n", "", width = LINE - 15)
}

/// Reads a log's files one after the other, each before it is removed, and checks every line.
struct Reader {
    dir: PathBuf,
    next: u64,
    lines: u64,
    /// The beginning of a line, which the next file goes on with or has again.
    rest: Vec<u8>,
}

impl Reader {
    fn new(dir: PathBuf) -> Self {
        Self { dir, next: 1, lines: 0, rest: Vec::new() }
    }

    fn files(&self) -> BTreeMap<u64, PathBuf> {
        let entries = fs::read_dir(&self.dir).unwrap().flatten();
        let number = |path: &Path| path.file_name()?.to_str()?.strip_prefix("out.")?.parse().ok();
        entries.filter_map(|entry| Some((number(&entry.path())?, entry.path()))).collect()
    }

    /// Takes in all files but the newest `keep`, which may still change.
    fn read(&mut self, keep: usize) {
        let files = self.files();
        let done = files.len().saturating_sub(keep);
        let first = self.next;
        for (number, path) in files.into_iter().take(done).filter(|(n, _)| *n >= first) {
            assert_eq!(number, self.next, "a file was removed before it was read");
            self.next += 1;
            self.take(&fs::read(path).unwrap());
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        // A launcher that was killed while it rotated leaves the beginning of a line in both files.
        if bytes.starts_with(&self.rest) {
            self.rest.clear();
        }
        self.rest.extend(bytes);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        for came in self.rest[..whole].chunks(LINE) {
            let came = String::from_utf8_lossy(came);
            assert_eq!(came, line(self.lines), "line {} is missing or broken", self.lines);
            self.lines += 1;
        }
        self.rest.drain(..whole);
    }

    /// Bytes that were written so far.
    fn seen(&mut self) -> u64 {
        self.read(3);
        let files = self.files();
        let waiting = files.into_iter().filter(|(number, _)| *number >= self.next);
        let length = |path: PathBuf| fs::metadata(path).map_or(0, |found| found.len());
        self.lines * LINE as u64 + waiting.map(|(_, path)| length(path)).sum::<u64>()
    }
}

pub(crate) fn a_log_loses_nothing() {
    let world = World::new();
    let us = std::env::current_exe().unwrap();
    world.score("web", &format!("{RECORD}\nexec {us:?} pour $OUT"));
    world.start();
    ends_well(&world, ask(&world, &Asked::default()));
    let pid = run(&world, 1).pid;
    let dir = fs::read_dir(world.path("spool/logs")).unwrap().next().unwrap().unwrap().path();
    let (mut reader, begin) = (Reader::new(dir), Instant::now());
    for _ in 0..KILLS {
        let before = reader.seen();
        eventually("more of the log", || (reader.seen() >= before + BETWEEN).then_some(()));
        world.crash();
        world.start_unattached();
    }
    let before = reader.seen();
    eventually("what was written last", || (reader.seen() > before).then_some(()));
    fs::write(world.out("stop"), "").unwrap();
    let text = eventually("its own word", || {
        reader.read(3);
        fs::read_to_string(world.out("written")).ok()
    });
    let took = begin.elapsed();
    let (lines, stall) = text.trim().split_once(' ').unwrap();
    let (lines, stall): (u64, u64) = (lines.parse().unwrap(), stall.parse().unwrap());
    eventually("the last line", || (reader.seen() == lines * LINE as u64).then_some(()));
    reader.read(0);
    assert_eq!((reader.lines, reader.rest.len()), (lines, 0));
    assert!(lives(pid) && !world.log().contains("run=2"), "{}", world.log());
    println!(
        "{KILLS} kills of a sitter: {} MB of a log at {} MB/s, nothing lost, the longest write {} ms",
        lines * LINE as u64 / 1_000_000,
        lines * LINE as u64 / (took.as_micros() as u64).max(1),
        stall / 1_000,
    );
}
