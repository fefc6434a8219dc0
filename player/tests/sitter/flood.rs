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
/// Of its number.
const DIGITS: usize = 12;
/// How much is written at once.
const LINES: u64 = 256;

/// How far it may be ahead of its reader, whom a busy host may hold up: less than a log keeps.
const AHEAD: u64 = 50_000_000;

/// Writes numbered lines to standard output at [`RATE`], or as fast as they are read, until the file
/// `stop` is there; then says in `written` how many, and how long the longest write took, in
/// microseconds.
pub(crate) fn write(arguments: &[OsString]) -> ExitCode {
    let out = arguments.first().map(PathBuf::from).unwrap();
    let (begin, mut stdout) = (Instant::now(), std::io::stdout().lock());
    let (mut number, mut line, mut longest) = (0, Line::first(), Duration::ZERO);
    while !out.join("stop").exists() {
        let mut lines = Vec::with_capacity(LINES as usize * LINE);
        for _ in 0..LINES {
            lines.extend(line.0);
            line.count();
        }
        number += LINES;
        let asked = Instant::now();
        stdout.write_all(&lines).unwrap();
        longest = longest.max(asked.elapsed());
        let due = Duration::from_nanos(number * LINE as u64 * 1_000 / (RATE / 1_000_000));
        thread::park_timeout(due.saturating_sub(begin.elapsed()));
        while number * LINE as u64 > number_in(&out.join("read")) + AHEAD {
            thread::park_timeout(Duration::from_millis(5));
        }
    }
    stdout.flush().unwrap();
    say(&out.join("written"), &format!("{number} {}\n", longest.as_micros()));
    loop {
        thread::park();
    }
}

/// Whoever reads the file finds all of it.
fn say(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

fn number_in(path: &Path) -> u64 {
    fs::read_to_string(path).map_or(0, |text| text.trim().parse().unwrap())
}

/// No other place of a line looks like its beginning.
struct Line([u8; LINE]);

impl Line {
    fn first() -> Self {
        let mut bytes = [b'.'; LINE];
        bytes[..DIGITS + 2].copy_from_slice(b"L000000000000 ");
        bytes[LINE - 1] = b'\n';
        Self(bytes)
    }

    /// The next number.
    fn count(&mut self) {
        for digit in self.0[1..=DIGITS].iter_mut().rev() {
            *digit += 1;
            if *digit <= b'9' {
                return;
            }
            *digit = b'0';
        }
    }
}

/// Reads a log's files one after the other, each before it is removed, and checks every line.
struct Reader {
    dir: PathBuf,
    next: u64,
    lines: u64,
    /// The next one.
    line: Line,
    /// The beginning of a line, which the next file goes on with or has again.
    rest: Vec<u8>,
}

impl Reader {
    fn new(dir: PathBuf) -> Self {
        Self { dir, next: 1, lines: 0, line: Line::first(), rest: Vec::new() }
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
            if came != self.line.0 {
                let came = String::from_utf8_lossy(came);
                panic!("line {} is missing or broken: {came}", self.lines);
            }
            self.line.count();
            self.lines += 1;
        }
        self.rest.drain(..whole);
    }

    /// Reads on, and says how far it has come. Bytes that were written so far.
    fn seen(&mut self, out: &Path) -> u64 {
        self.read(3);
        say(out, &(self.lines * LINE as u64).to_string());
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
    let dir = world.logs().remove(0);
    let (mut reader, begin, said) = (Reader::new(dir), Instant::now(), world.out("read"));
    for _ in 0..KILLS {
        let before = reader.seen(&said);
        eventually("more of the log", || (reader.seen(&said) >= before + BETWEEN).then_some(()));
        world.crash();
        world.start_unattached();
    }
    let before = reader.seen(&said);
    eventually("what was written last", || (reader.seen(&said) > before).then_some(()));
    fs::write(world.out("stop"), "").unwrap();
    let text = eventually("its own word", || {
        reader.seen(&said);
        fs::read_to_string(world.out("written")).ok()
    });
    let took = begin.elapsed();
    let (lines, stall) = text.trim().split_once(' ').unwrap();
    let (lines, stall): (u64, u64) = (lines.parse().unwrap(), stall.parse().unwrap());
    eventually("the last line", || (reader.seen(&said) == lines * LINE as u64).then_some(()));
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
