//! What many tasks write, as they write it.

use orchestra_proto::v1;
use prost::Message as _;
use tonic::Status;

use crate::{
    fake::Fake,
    values::{JOB, running},
};

type Part = Result<v1::OutputPart, Status>;

const OUT: v1::log_query::Stream = v1::log_query::Stream::Stdout;
const ERR: v1::log_query::Stream = v1::log_query::Stream::Stderr;

/// Some of what the first attempt on a host writes, up to that many bytes from the beginning on.
fn written(host: &str, stream: v1::log_query::Stream, text: &'static str, offset: u64) -> Part {
    let chunk = v1::LogChunk {
        run: 1,
        bytes: text.into(),
        next: Some(v1::LogPlace { file: 1, offset }),
        ..Default::default()
    };
    let (job, stream) = (Some(JOB.into()), stream.into());
    let chunk = Some(chunk);
    let part = v1::WrittenOutput { job, host: host.to_owned(), attempt: 1, stream, chunk };
    Ok(v1::OutputPart { part: Some(v1::output_part::Part::Written(part)) })
}

/// The end of the first attempt on a host, with all that it wrote to standard output.
fn ended(host: &str, exit: i32, text: &'static str) -> Part {
    let output = |text: &'static str| v1::Output {
        head: text.into(),
        bytes: text.len() as u64,
        ..Default::default()
    };
    let end = v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Exited(exit)),
        stdout: Some(output(text)),
        stderr: Some(output("")),
        ..Default::default()
    };
    let (host, end) = (host.to_owned(), end.encode_to_vec().into());
    let log = v1::AttemptLog { job: Some(JOB.into()), host, attempt: 1, late: false, end };
    Ok(v1::OutputPart { part: Some(v1::output_part::Part::Ended(log)) })
}

#[test]
fn many_are_followed_a_line_at_a_time() {
    let fake = Fake::with(running(), Vec::new());
    fake.tables().followed = [
        vec![
            written("db1", OUT, "one\ntw", 6),
            written("db2", ERR, "hm\n", 3),
            Err(Status::unavailable("the conductor is stopping")),
        ],
        vec![
            written("db1", OUT, "one\ntwo\n", 8),
            ended("db3", 0, "quick\n"),
            ended("db2", 3, ""),
            ended("db1", 0, "one\ntwo\n"),
        ],
    ]
    .into();
    fake.run("orc logs 42/pkg1 -f -w db[1-3]").is(
        0,
        "db1: one\ndb2! hm\ndb1: two\ndb3: quick\n",
        "following flow 42: the conductor is stopping; trying again\n42.1.1@db2#1 exit 3\n",
    );
    let asked = fake.tables().follow_asked[1].clone();
    assert_eq!((asked.slot, asked.job, asked.hosts.as_str()), (1, 1, "db[1-3]"));
}

/// What was told before a connection was lost is told at once, and not again.
#[test]
fn many_are_followed_by_what_they_say_alike() {
    let fake = Fake::with(running(), Vec::new());
    fake.tables().followed = [
        vec![
            written("db1", OUT, "one\n", 4),
            written("db2", OUT, "one\ntw", 6),
            written("db3", OUT, "three\n", 6),
            written("db3", ERR, "hm\n", 3),
            Err(Status::unavailable("the conductor is stopping")),
        ],
        vec![
            written("db2", OUT, "one\ntwo\n", 8),
            ended("db2", 3, "one\ntwo\n"),
            ended("db1", 3, "one\ntwo"),
            ended("db3", 0, "three\n"),
            ended("db4", 4, ""),
            ended("db5", 4, ""),
            ended("db6", 4, ""),
        ],
    ]
    .into();
    let block =
        |heading: &str, text: &str| format!("---------------\n{heading}\n---------------\n{text}");
    let told = [
        block("db[1-2] (2)", "one\n"),
        block("db3 (1)", "three\n! hm\n"),
        block("db[4-6] (3): exit 4", ""),
        block("db[1-2] (2): exit 3", "two\n"),
    ];
    fake.run("orc logs 42/pkg1 -fb").is(
        0,
        &told.concat(),
        "following flow 42: the conductor is stopping; trying again\n",
    );
    fake.run("orc logs 42 -b").fails(64, &["-b is for a flow or job", "hint: orc logs 42 -fb"]);
    fake.run("orc logs 42@db1 -fb").fails(64, &["-b is for a flow or job"]);
    fake.run("orc logs web/1 -fb").fails(64, &["-b is for a flow or job"]);
}
