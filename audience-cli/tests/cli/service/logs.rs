//! What instances of services wrote.

use orchestra_proto::v1::{self, log_query::Runs, read_logs_request::Instance};
use serde_json::json;
use tonic::Status;

use crate::fake::Fake;

/// Some bytes of a run, up to a place in the first file.
fn chunk(run: u64, text: &str, offset: u64) -> v1::LogChunk {
    v1::LogChunk {
        run,
        placement: 1,
        at_ms: 1_763_712_000_000,
        bytes: text.to_owned().into(),
        gap: false,
        next: Some(v1::LogPlace { file: 1, offset }),
    }
}

fn asked(fake: &Fake) -> v1::ReadLogsRequest {
    fake.tables().log_asked.remove(0)
}

const HEADING: &str = "run 1, written since 2025-11-21T08:00:00Z";

#[test]
fn a_log_is_told_as_it_was_written() {
    let fake = Fake::start();
    fake.tables().log_reads =
        [vec![Ok(chunk(1, "one\ntw", 6)), Ok(chunk(1, "o\x1b[1m\n", 9))]].into();
    fake.run("orc logs web/3").is(0, "one\ntwo\x1b[1m\n", &format!("{HEADING}\n"));
    let v1::ReadLogsRequest { service, instance, query } = asked(&fake);
    assert_eq!((service.as_str(), instance), ("web", Some(Instance::Ordinal(3))));
    let stream = v1::log_query::Stream::Stdout.into();
    assert_eq!(query, Some(v1::LogQuery { stream, ..Default::default() }));
}

#[test]
fn each_line_has_the_time_of_the_mark_before_it() {
    let fake = Fake::start();
    let later = v1::LogChunk { at_ms: 1_763_712_060_000, ..chunk(1, "wo\nthree\n", 15) };
    let unknown = v1::LogChunk { at_ms: 0, ..chunk(1, "four", 19) };
    fake.tables().log_reads = [vec![Ok(chunk(1, "one\nt", 5)), Ok(later), Ok(unknown)]].into();
    let ran = fake.run("orc logs web/3 --timestamps");
    let lines = "2025-11-21T08:00:00Z one\n2025-11-21T08:00:00Z two\n\
                 2025-11-21T08:01:00Z three\n- four";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, lines));
}

#[test]
fn flags_are_asked_for() {
    let fake = Fake::start();
    let query = |flags: &str| {
        assert_eq!(fake.run(&format!("orc logs web@fe1 {flags}")).code, 0);
        let asked = asked(&fake);
        assert_eq!(asked.instance, Some(Instance::Host("fe1".to_owned())));
        asked.query.unwrap()
    };
    assert_eq!(query("--run 7").runs, Some(Runs::Run(7)));
    assert_eq!(query("--previous").runs, Some(Runs::Previous(v1::Empty {})));
    assert_eq!(query("--all").runs, Some(Runs::All(v1::Empty {})));
    assert_eq!(query("--stderr").stream, i32::from(v1::log_query::Stream::Stderr));
    assert_eq!(query("--tail 10").tail, Some(10));
    assert_eq!(query("--since 1970-01-01T00:00:01Z").since_ms, 1_000);
    assert!(query("-f").follow);
}

#[test]
fn what_is_followed_goes_on_where_it_was() {
    let fake = Fake::start();
    let away = || Err(Status::unavailable("the player went away"));
    fake.tables().log_reads = [
        vec![Ok(chunk(1, "one\n", 4)), away()],
        vec![away()],
        vec![Ok(chunk(1, "two\n", 8)), Ok(chunk(2, "three\n", 14))],
    ]
    .into();
    let lost = "reading the log of web/1: the player went away; trying again\n";
    let ran = fake.run("orc logs web/1 -f --tail 5");
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "one\ntwo\nthree\n"));
    assert!(ran.stderr.starts_with(&format!("{HEADING}\n{lost}run 2, ")), "{ran:?}");
    let asked = fake.tables().log_asked.clone();
    assert_eq!(asked.len(), 3);
    assert_eq!(asked[0].query.unwrap().from, None);
    for again in &asked[1..] {
        let query = again.query.unwrap();
        assert_eq!(query.from, Some(v1::LogPlace { file: 1, offset: 4 }));
        // A run that is newer by now leaves nothing of the first one out.
        assert_eq!(query.runs, Some(Runs::All(v1::Empty {})));
    }
    fake.tables().log_reads = [vec![Ok(chunk(1, "one\n", 4)), away()]].into();
    let once = fake.run("orc logs web/1");
    assert_eq!((once.code, once.stdout.as_str()), (1, "one\n"));
    assert!(once.stderr.contains("error: reading the log of web/1: the player went away"));
}

#[test]
fn programs_get_a_line_for_each_line() {
    let fake = Fake::start();
    let gap = v1::LogChunk { gap: true, ..chunk(2, "three", 30) };
    fake.tables().log_reads =
        [vec![Ok(chunk(1, "one\ntw", 6)), Ok(chunk(1, "o\n", 8)), Ok(gap)]].into();
    let ran = fake.run("orc logs web/1 --json");
    let lines: Vec<serde_json::Value> =
        ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let line = |run, text: &str, whole, gap| {
        json!({"schema": 1, "run": run, "placement": 1, "not_before": "2025-11-21T08:00:00Z",
               "line": text, "whole": whole, "gap": gap})
    };
    assert_eq!(
        lines,
        [line(1, "one", true, false), line(1, "two", true, false), line(2, "three", false, true)]
    );
}

#[test]
fn what_was_removed_is_told_to_people_too() {
    let fake = Fake::start();
    let gap = v1::LogChunk { gap: true, ..chunk(1, "late\n", 30) };
    fake.tables().log_reads = [vec![Ok(gap)]].into();
    let said = format!("{HEADING}\n[some of it was removed before it was read]\n");
    fake.run("orc logs web/1").is(0, "late\n", &said);
}

#[test]
fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let fake = Fake::start();
    fake.run("orc logs web").fails(64, &["one instance", "NAME/3 or NAME@HOST"]);
    fake.run("orc logs web/x").fails(64, &["one instance"]);
    fake.run("orc logs 42@db1 --tail 3").fails(64, &["is a task", "these flags are for services"]);
    fake.run("orc logs web/1 --previous -f").fails(64, &["cannot be used with"]);
    fake.run("orc logs web/1 --run 0").fails(64, &["--run"]);
    assert!(fake.tables().log_asked.is_empty());
    fake.tables().log_reads = [vec![Err(Status::not_found("there is no instance web/9"))]].into();
    fake.run("orc logs web/9").fails(8, &["there is no instance web/9", "orc service show web"]);
}
