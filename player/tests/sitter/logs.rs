//! Logs of units, as a conductor reads them.

use std::{fs, os::unix::fs::symlink, path::Path};

use orchestra_model::{
    delivery::{AttemptKey, Outcome},
    service::{
        CREDIT_BYTES, LogChunk, LogEnd, LogPart, LogPlace, LogQuery, LogRuns, LogSource, LogStream,
        READINGS, ReadLog, ReadingId, RunNumber, Wanted,
    },
};
use orchestra_proto::v1::{self, command::Kind};

use crate::{
    Test,
    units::{Asked, RECORD, ask, ends_well, kill, known, run},
    world::{World, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_log_is_read_over_files_while_it_is_written", a_log_is_read_over_files),
    ("a_slow_reader_holds_nobody_up", a_slow_reader_holds_nobody_up),
    ("runs_are_told_apart_to_the_last_byte", runs_are_told_apart),
    ("a_reading_ends_with_its_unit", a_reading_ends_with_its_unit),
    ("what_is_no_file_of_the_log_is_not_read", what_is_no_file_is_not_read),
    ("readings_are_bounded_and_end_with_their_session", readings_are_bounded),
    ("the_last_lines_are_found", the_last_lines_are_found),
    ("logs_keep_to_one_budget", logs_keep_to_one_budget),
    ("a_log_outlives_the_version_that_wrote_it", a_log_outlives_the_version_that_wrote_it),
    ("an_attempt_is_read_while_it_runs", an_attempt_is_read_while_it_runs),
    ("of_much_that_an_attempt_writes_the_last_comes_at_its_end", much_of_an_attempt),
    ("what_an_attempt_wrote_is_read_whole_after_its_end", kept_output_is_read_whole),
    ("kept_outputs_keep_to_their_budget_and_their_time", kept_outputs_are_bounded),
    ("nothing_is_kept_of_a_score_with_secrets", nothing_is_kept_of_secrets),
];

/// Everything of standard output that there is.
pub(crate) const ALL: LogQuery = LogQuery {
    stream: LogStream::Stdout,
    runs: LogRuns::All,
    tail: None,
    since: None,
    from: None,
    follow: false,
};

fn begin(world: &World, number: u64, query: LogQuery, credit: usize) -> ReadingId {
    begin_of(world, number, LogSource::Unit("web".parse().unwrap()), query, credit)
}

fn begin_of(
    world: &World,
    number: u64,
    of: LogSource,
    query: LogQuery,
    credit: usize,
) -> ReadingId {
    let (reading, credit) = (ReadingId(number), credit as u32);
    let read = ReadLog { reading, of, query, credit };
    world.say_command(Kind::ReadLog((&read).into()));
    reading
}

fn give(world: &World, reading: ReadingId, bytes: usize) {
    let (reading, bytes) = (reading.0, bytes as u32);
    world.say_command(Kind::LogCredit(v1::LogCredit { reading, bytes }));
}

/// The next chunk, which is paid for.
fn chunk(world: &World, reading: ReadingId) -> Result<LogChunk, LogEnd> {
    match world.log_part(reading) {
        LogPart::Chunk(chunk) => {
            give(world, reading, chunk.cost());
            Ok(chunk)
        }
        LogPart::End(end) => Err(end),
    }
}

/// What comes of a reading until it ends.
pub(crate) fn read(world: &World, number: u64, query: LogQuery) -> String {
    let reading = begin(world, number, query, CREDIT_BYTES);
    let mut bytes = Vec::new();
    loop {
        match chunk(world, reading) {
            Ok(chunk) => bytes.extend(chunk.bytes),
            Err(end) => {
                assert_eq!(end, LogEnd::All, "{}", world.log());
                return String::from_utf8(bytes).unwrap();
            }
        }
    }
}

/// A sitter whose unit does this.
fn writing(script: &str) -> World {
    let world = World::new();
    start_writing(&world, script);
    world
}

fn start_writing(world: &World, script: &str) {
    world.score("web", &format!("{RECORD}\n{script}\nexec sleep 1000"));
    world.start();
    ends_well(world, ask(world, &Asked::default()));
}

/// Waits until what there is to read is this.
fn reads(world: &World, wanted: &str) {
    let mut number = 1_000;
    eventually(wanted, || {
        number += 1;
        (read(world, number, ALL) == wanted).then_some(())
    });
}

fn a_log_is_read_over_files() {
    // Some 34 MB, in four files.
    let last = 4_500_000;
    let world = writing(&format!("seq 1 {last}"));
    let reading = begin(&world, 1, LogQuery { follow: true, ..ALL }, CREDIT_BYTES);
    let wanted: String = (1..=last).map(|n| format!("{n}\n")).collect();
    let mut got = Vec::new();
    while got.len() < wanted.len() {
        let chunk = chunk(&world, reading).unwrap();
        assert!(!chunk.gap && chunk.run.0 == 1 && chunk.at.is_some());
        got.extend(chunk.bytes);
    }
    assert!(got == wanted.as_bytes(), "every byte, once");
    assert!(read(&world, 2, ALL) == wanted);
    // Whoever reads the files themselves finds whole lines in each: a line is in one file.
    let files = fs::read_dir(&world.logs()[0]).unwrap().map(|file| file.unwrap().path());
    let files = files.filter(|path| path.file_stem().is_some_and(|stem| stem == "out"));
    let files: Vec<Vec<u8>> = files.map(|path| fs::read(path).unwrap()).collect();
    assert!(files.len() >= 4 && files.iter().all(|bytes| bytes.ends_with(b"\n")));
}

/// Whoever writes much loses its own past: the log of the other unit is whole.
fn logs_keep_to_one_budget() {
    let world = World::new();
    world.set("log_budget", "\"16MiB\"");
    world.score("quiet", "echo before; exec sleep 1000");
    // Some 34 MB, and a word a second later: by then all logs are looked at again.
    let noisy = "seq 1 4500000; sleep 1.1; seq 1 1000000; echo the end";
    world.score("web", &format!("{RECORD}\n{noisy}\nexec sleep 1000"));
    world.start();
    let quiet = Asked { service: "quiet".parse().unwrap(), score: "quiet", ..Asked::default() };
    ends_well(&world, ask(&world, &quiet));
    ends_well(&world, ask(&world, &Asked::default()));
    let mut number = 0;
    eventually("the end", || {
        number += 1;
        let last = LogQuery { tail: Some(1), ..ALL };
        (read(&world, number, last) == "the end\n").then_some(())
    });
    let sizes = |dir: &Path| -> u64 {
        let files = fs::read_dir(dir).unwrap().map(Result::unwrap);
        files.map(|file| file.metadata().unwrap().len()).sum()
    };
    let all: u64 = world.logs().iter().map(|dir| sizes(dir)).sum();
    assert!(all < (20 << 20), "{all} bytes");
    assert!(all > (8 << 20), "{all} bytes: no more goes than has to");
    let of_quiet = world.logs().into_iter().find(|dir| dir.to_str().unwrap().ends_with("-quiet"));
    assert_eq!(fs::read_to_string(of_quiet.unwrap().join("out.1")).unwrap(), "before\n");
}

/// What a version wrote, and above all one that failed, is read after others have taken its place, also
/// by another placement, and over a restart of the sitter: that is when somebody comes to read it.
fn a_log_outlives_the_version_that_wrote_it() {
    let world = writing("echo version $ORC_VERSION");
    ends_well(&world, ask(&world, &Asked { version: 2, ..Asked::default() }));
    ends_well(&world, ask(&world, &Asked { placement: 9, version: 3, ..Asked::default() }));
    let all = "version 1\nversion 2\nversion 3\n";
    reads(&world, all);
    world.crash();
    world.start();
    reads(&world, all);
    let key = ask(&world, &Asked { placement: 9, ..Asked::wanting(Wanted::Stopped) });
    ends_well(&world, key);
    reads(&world, all);
}

const OF_ATTEMPT: LogQuery = LogQuery { runs: LogRuns::Newest, ..ALL };

fn an_attempt_is_read_while_it_runs() {
    let world = World::new();
    world.gate("go");
    world.score("slow", "echo begun; echo hm >&2; cat $OUT/go; echo over");
    world.gate("go2");
    world.score("other", "echo first; cat $OUT/go2; echo last");
    world.score("third", "echo something else that is longer");
    world.start();
    let key = world.order("slow", &[]);
    world.started(key);
    let of = LogSource::Attempt(key);
    let ask = |number, query| begin_of(&world, number, of.clone(), query, CREDIT_BYTES);
    let follow = || LogQuery { follow: true, ..OF_ATTEMPT };
    let (stdout, stderr) =
        (ask(1, follow()), ask(2, LogQuery { stream: LogStream::Stderr, ..follow() }));
    let begun = chunk(&world, stdout).unwrap();
    assert_eq!((&begun.bytes[..], begun.run, begun.gap), (&b"begun\n"[..], RunNumber(1), false));
    assert_eq!(chunk(&world, stderr).unwrap().bytes, b"hm\n");
    // Whoever does not follow is told what there is.
    let so_far = ask(3, OF_ATTEMPT);
    assert_eq!(chunk(&world, so_far).unwrap().bytes, b"begun\n");
    assert_eq!(chunk(&world, so_far), Err(LogEnd::All));
    let later = ask(4, LogQuery { from: Some(begun.next), ..OF_ATTEMPT });
    assert_eq!(chunk(&world, later), Err(LogEnd::All));
    world.open_gate("go");
    assert_eq!(chunk(&world, stdout).unwrap().bytes, b"over\n");
    assert_eq!(chunk(&world, stdout), Err(LogEnd::All));
    assert_eq!(chunk(&world, stderr), Err(LogEnd::All));
    assert_eq!(world.ended(key).stdout.head, b"begun\nover\n");
    world.acknowledge(key);
    // Whoever is slow reads what it was, and not what a later attempt writes.
    let first = world.order("other", &[]);
    world.started(first);
    let slow = begin_of(&world, 6, LogSource::Attempt(first), follow(), 1 << 10);
    let LogPart::Chunk(part) = world.log_part(slow) else { panic!("no chunk") };
    assert_eq!(part.bytes, b"first\n");
    world.open_gate("go2");
    assert_eq!(world.ended(first).stdout.head, b"first\nlast\n");
    world.acknowledge(first);
    let third = world.order("third", &[]);
    world.ended(third);
    give(&world, slow, 1 << 10);
    assert_eq!(chunk(&world, slow).unwrap().bytes, b"last\n");
    assert_eq!(chunk(&world, slow), Err(LogEnd::All));
    let gone = ask(5, follow());
    assert_eq!(chunk(&world, gone), Err(LogEnd::Gone));
}

fn much_of_an_attempt() {
    let world = World::new();
    world.set("output_max", "\"64KiB\"");
    world.gate("go");
    world.score("much", "seq 1 40000; cat $OUT/go");
    world.start();
    let key = world.order("much", &[]);
    world.started(key);
    let written: String = (1..=40_000).map(|n| format!("{n}\n")).collect();
    let reading = begin_of(
        &world,
        1,
        LogSource::Attempt(key),
        LogQuery { follow: true, ..OF_ATTEMPT },
        CREDIT_BYTES,
    );
    let mut first = Vec::new();
    while first.len() < 64 << 10 {
        let chunk = chunk(&world, reading).unwrap();
        assert!(!chunk.gap);
        first.extend(chunk.bytes);
    }
    assert!(first == written.as_bytes()[..64 << 10]);
    world.open_gate("go");
    let (mut last, mut gaps) = (Vec::new(), Vec::new());
    while let Ok(chunk) = chunk(&world, reading) {
        gaps.push(chunk.gap);
        last.extend(chunk.bytes);
    }
    assert!(gaps[0] && !gaps[1..].contains(&true), "{gaps:?}");
    let kept = orchestra_model::limits::OUTPUT_TAIL_BYTES;
    assert!(last == written.as_bytes()[written.len() - kept..], "{} bytes", last.len());
    world.ended(key);
}

/// What is kept of a stream of an attempt that is over, or why there is none.
fn kept(world: &World, number: u64, of: AttemptKey, stream: LogStream) -> Result<String, LogEnd> {
    let query = LogQuery { stream, ..OF_ATTEMPT };
    let reading = begin_of(world, number, LogSource::Attempt(of), query, CREDIT_BYTES);
    let mut bytes = Vec::new();
    loop {
        match chunk(world, reading) {
            Ok(chunk) => bytes.extend(chunk.bytes),
            Err(LogEnd::All) => return Ok(String::from_utf8(bytes).unwrap()),
            Err(end) => return Err(end),
        }
    }
}

/// The names of what is kept.
fn kept_files(world: &World) -> Vec<String> {
    let files = fs::read_dir(world.path("spool/kept")).into_iter().flatten().flatten();
    files.map(|file| file.file_name().into_string().unwrap()).collect()
}

fn numbers_to(last: u32) -> String {
    (1..=last).map(|n| format!("{n}\n")).collect()
}

/// Also by a later sitter, whatever happened to the one before, and after the conductor has the end.
fn kept_output_is_read_whole() {
    let world = World::new();
    world.set("output_max", "\"256KiB\"");
    world.score("much", "seq 1 40000; echo short >&2");
    world.score("little", "echo little");
    // More than is kept of a stream: the first 256 KiB, and the last 48.
    world.score("more", "echo short; seq 1 100000 >&2");
    world.start();
    let much = world.order("much", &[]);
    let end = world.ended(much);
    assert!(end.stdout.truncated && !end.stderr.truncated);
    let little = world.order("little", &[]);
    world.ended(little);
    let more = world.order("more", &[]);
    world.ended(more);
    let mut number = 0;
    let mut look = |world: &World, of, stream| {
        number += 1;
        kept(world, number, of, stream)
    };
    for round in 0..3 {
        assert!(look(&world, much, LogStream::Stdout) == Ok(numbers_to(40_000)), "{round}");
        // What an end tells whole is not kept a second time.
        assert_eq!(look(&world, much, LogStream::Stderr), Err(LogEnd::Gone));
        assert_eq!(look(&world, little, LogStream::Stdout), Err(LogEnd::Gone));
        let (got, all) = (look(&world, more, LogStream::Stderr).unwrap(), numbers_to(100_000));
        let (first, last) = got.split_at(256 << 10);
        assert!(all.starts_with(first) && all.ends_with(last), "{} bytes", got.len());
        assert_eq!(last.len(), orchestra_model::limits::OUTPUT_TAIL_BYTES);
        match round {
            0 => [much, little, more].into_iter().for_each(|key| world.acknowledge(key)),
            1 => world.crash(),
            _ => break,
        }
        if round == 1 {
            world.start();
        }
    }
    // From a place on, as somebody asks whose connection was lost.
    let from = Some(LogPlace { file: 1, offset: 10_000 });
    let query = LogQuery { from, ..OF_ATTEMPT };
    let reading = begin_of(&world, 99, LogSource::Attempt(much), query, CREDIT_BYTES);
    let first = chunk(&world, reading).unwrap();
    assert!(numbers_to(40_000)[10_000..].starts_with(std::str::from_utf8(&first.bytes).unwrap()));
    // What was removed by somebody else is gone, and not empty.
    fs::remove_dir_all(world.path("spool/kept")).unwrap();
    assert_eq!(look(&world, much, LogStream::Stdout), Err(LogEnd::Gone));
    assert_eq!(world.attempt_dirs(), 0);
}

fn kept_outputs_are_bounded() {
    let world = World::new();
    world.set("output_budget", "\"300KiB\"");
    world.score("much", "seq 1 20000");
    world.start();
    let keys: Vec<AttemptKey> = (0..3)
        .map(|_| {
            let key = world.order("much", &[]);
            world.ended(key);
            key
        })
        .collect();
    // Some 106 KiB each: the oldest went for the last.
    assert_eq!(kept(&world, 1, keys[0], LogStream::Stdout), Err(LogEnd::Gone));
    for (number, key) in [(2, keys[1]), (3, keys[2])] {
        assert!(kept(&world, number, key, LogStream::Stdout) == Ok(numbers_to(20_000)));
    }
    assert_eq!(kept_files(&world).len(), 2);
    // A sitter with a smaller budget removes what is too much for it.
    world.crash();
    world.set("output_budget", "\"150KiB\"");
    world.start();
    assert_eq!(kept(&world, 4, keys[1], LogStream::Stdout), Err(LogEnd::Gone));
    assert!(kept(&world, 5, keys[2], LogStream::Stdout) == Ok(numbers_to(20_000)));
    // What became too old while nobody was there.
    world.crash();
    world.set("output_keep", "\"1ms\"");
    world.start();
    assert_eq!(kept_files(&world), [""; 0]);
    // And what becomes too old while the sitter runs.
    let key = world.order("much", &[]);
    world.ended(key);
    eventually("nothing to be kept", || kept_files(&world).is_empty().then_some(()));
    assert_eq!(kept(&world, 6, key, LogStream::Stdout), Err(LogEnd::Gone));
    world.crash();
    world.set("output_keep", "\"0s\"");
    world.start();
    let key = world.order("much", &[]);
    world.ended(key);
    assert_eq!(kept(&world, 7, key, LogStream::Stdout), Err(LogEnd::Gone));
    assert_eq!(kept_files(&world), [""; 0]);
}

fn nothing_is_kept_of_secrets() {
    let world = World::new();
    let conf = "[params.password]\nsensitive = true\n[params.user]\n";
    world.score("login", "seq 1 20000; echo $ORC_password");
    world.file("login.conf", conf, 0o644);
    world.start();
    let key = world.order("login", &[("password", "hush")]);
    world.ended(key);
    assert_eq!(kept(&world, 1, key, LogStream::Stdout), Err(LogEnd::Gone));
    assert_eq!(kept_files(&world), [""; 0]);
}

fn a_slow_reader_holds_nobody_up() {
    let world = World::new();
    world.score("quick", "echo quick");
    start_writing(&world, "seq 1 100000");
    let quick: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    reads(&world, &quick);
    let slow = begin(&world, 1, ALL, 100_000);
    assert!(read(&world, 2, ALL) == quick);
    assert_eq!(world.ended(world.order("quick", &[])).outcome, Outcome::Exited(0));
    let mut got = Vec::new();
    for wanted in [64 << 10, 100_000 - (64 << 10)] {
        let LogPart::Chunk(chunk) = world.log_part(slow) else { panic!("no chunk") };
        assert_eq!(chunk.bytes.len(), wanted, "as much as there is credit for");
        got.extend(chunk.bytes);
    }
    give(&world, slow, 1_024);
    while let Ok(chunk) = chunk(&world, slow) {
        got.extend(chunk.bytes);
    }
    assert!(got == quick.as_bytes());
}

fn runs_are_told_apart() {
    let world = writing("echo begin $ORC_RUN; echo error $ORC_RUN >&2");
    reads(&world, "begin 1\n");
    kill(run(&world, 1).pid);
    known(&world, 2);
    reads(&world, "begin 1\nbegin 2\n");
    world.crash();
    world.start();
    world.score("web", &format!("{RECORD}\nprintf 'last words of %s' $ORC_RUN\nexit 1"));
    let scans = || world.log().matches("scanned the scores").count();
    let before = scans();
    world.signal(rustix::process::Signal::HUP);
    eventually("a further scan", || (scans() > before).then_some(()));
    kill(run(&world, 2).pid);
    let third = "last words of 3";
    run(&world, 4);
    let of = |runs| LogQuery { runs, ..ALL };
    let number = |number| of(LogRuns::Number(RunNumber(number)));
    let mut next = 10;
    for (query, wanted) in [
        (number(1), "begin 1\n"),
        (number(2), "begin 2\n"),
        (number(3), third),
        (LogQuery { stream: LogStream::Stderr, ..number(2) }, "error 2\n"),
    ] {
        eventually(wanted, || {
            next += 1;
            (read(&world, next, query.clone()) == wanted).then_some(())
        });
    }
    assert_eq!(read(&world, 8, number(99)), "");
    let previous = read(&world, 9, of(LogRuns::Previous));
    assert!(previous.is_empty() || previous.starts_with("last words of "), "{previous}");
}

fn a_reading_ends_with_its_unit() {
    let world = writing("echo there");
    let reading = begin(&world, 1, LogQuery { follow: true, ..ALL }, CREDIT_BYTES);
    assert_eq!(chunk(&world, reading).unwrap().bytes, b"there\n");
    ends_well(&world, ask(&world, &Asked::wanting(Wanted::Gone)));
    assert_eq!(chunk(&world, reading).unwrap_err(), LogEnd::Gone);
    let late = begin(&world, 2, ALL, CREDIT_BYTES);
    assert_eq!(chunk(&world, late).unwrap_err(), LogEnd::Gone);
}

fn what_is_no_file_is_not_read() {
    let world = writing("echo there");
    reads(&world, "there\n");
    let dir = world.logs().remove(0);
    fs::write(world.path("secret"), "secret\n").unwrap();
    symlink(world.path("secret"), dir.join("out.7")).unwrap();
    symlink(world.path("secret"), dir.join("err.1")).unwrap();
    let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, dir.join("out.8"), fifo, mode, 0).unwrap();
    assert_eq!(read(&world, 1, ALL), "there\n");
    assert_eq!(read(&world, 2, LogQuery { stream: LogStream::Stderr, ..ALL }), "");
    fs::remove_file(dir.join("out.1")).unwrap();
    symlink(world.path("secret"), dir.join("out.1")).unwrap();
    assert_eq!(read(&world, 3, ALL), "");
}

fn readings_are_bounded() {
    let world = writing("echo there");
    reads(&world, "there\n");
    let follow = || LogQuery { follow: true, ..ALL };
    for number in 1..=READINGS as u64 {
        let reading = begin(&world, number, follow(), CREDIT_BYTES);
        chunk(&world, reading).unwrap();
    }
    let more = begin(&world, 99, follow(), CREDIT_BYTES);
    assert_eq!(chunk(&world, more).unwrap_err(), LogEnd::TooMany);
    world.say_command(Kind::CloseLog(v1::CloseLog { reading: 1 }));
    let more = begin(&world, 100, follow(), CREDIT_BYTES);
    chunk(&world, more).unwrap();
    world.attach_again();
    // All of them, and the numbers may come again.
    let first = begin(&world, 1, ALL, CREDIT_BYTES);
    assert_eq!(chunk(&world, first).unwrap().bytes, b"there\n");
}

fn the_last_lines_are_found() {
    let world = writing("seq 1 40000");
    let all: String = (1..=40_000).map(|n| format!("{n}\n")).collect();
    reads(&world, &all);
    let mut next = 10;
    for (lines, wanted) in [(0, ""), (1, "40000\n"), (3, "39998\n39999\n40000\n"), (1 << 40, &all)]
    {
        next += 1;
        assert!(read(&world, next, LogQuery { tail: Some(lines), ..ALL }) == *wanted, "{lines}");
    }
    let half = read(&world, 5, LogQuery { tail: Some(20_000), ..ALL });
    assert!(half.starts_with("20001\n") && half.ends_with("\n40000\n"));
}
