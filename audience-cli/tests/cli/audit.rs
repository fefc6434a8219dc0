//! Who did what, as people and programs read it.

use orchestra_proto::v1;
use serde_json::json;

use crate::fake::Fake;

fn line(number: u64, verb: &str) -> v1::AuditLine {
    v1::AuditLine {
        number,
        at_ms: 1_763_712_000_000,
        by: "alice".to_owned(),
        verb: verb.to_owned(),
        answer: "taken".to_owned(),
        ..v1::AuditLine::default()
    }
}

#[test]
fn lines_are_read_by_people_and_programs() {
    let fake = Fake::start();
    fake.run("orc audit").is(0, "", "nothing like that is on record\n");
    fake.tables().audit = vec![
        v1::AuditLine {
            hosts: "db[1-3]".to_owned(),
            reason: "new\u{1b} disk".to_owned(),
            answer: "3 hosts, 0 orders out".to_owned(),
            ..line(2, "drain")
        },
        v1::AuditLine { flow: 42, ..line(1, "submit") },
    ];
    fake.run("orc audit").is(
        0,
        "2 2025-11-21T08:00:00Z alice drain db[1-3]: 3 hosts, 0 orders out (new\\u{1b} disk)\n\
         1 2025-11-21T08:00:00Z alice submit flow 42: taken\n",
        "",
    );
    let json = fake.run("orc audit --json").json();
    assert_eq!(
        json["audit"][1],
        json!({"number": 1, "at": "2025-11-21T08:00:00Z", "by": "alice", "verb": "submit",
               "outcome": "done", "flow": 42, "hosts": null, "reason": null, "answer": "taken",
               "rule": null, "times": 1, "link": null})
    );
    assert_eq!(json["audit"][0]["hosts"], "db[1-3]");
    // An export is a line each, and the head is the newest line.
    let export = fake.run("orc audit export --after 7");
    assert_eq!(export.stdout.lines().count(), 2, "{}", export.stdout);
    let asked = fake.tables().audit_asked.pop().unwrap();
    assert_eq!((asked.oldest_first, asked.after, asked.limit), (true, 7, u32::MAX));
    let head = fake.run("orc audit head");
    assert!(head.stdout.starts_with("{\"number\":2,"), "{}", head.stdout);
}

#[test]
fn what_happened_is_told_beside_what_was_done() {
    let fake = Fake::start();
    fake.tables().audit = vec![
        v1::AuditLine {
            outcome: "denied".to_owned(),
            rule: "no-reboots".to_owned(),
            times: 4,
            link: vec![0xab; 16].into(),
            ..line(4, "read-output")
        },
        v1::AuditLine {
            by: "orchestra:stranger".to_owned(),
            outcome: "happened".to_owned(),
            peer: "10.0.0.7".to_owned(),
            answer: "the peer has no certificate".to_owned(),
            ..line(3, "certificate-refused")
        },
        v1::AuditLine {
            outcome: "happened".to_owned(),
            file: "policy.toml".to_owned(),
            ..line(2, "configured")
        },
        v1::AuditLine { outcome: "happened".to_owned(), lines: 9, ..line(1, "audit-pruned") },
    ];
    fake.run("orc audit").is(
        0,
        "4 2025-11-21T08:00:00Z alice read-output (denied) conductor: taken [no-reboots] 4 times\n\
         3 2025-11-21T08:00:00Z orchestra:stranger certificate-refused 10.0.0.7: the peer has no \
         certificate\n\
         2 2025-11-21T08:00:00Z alice configured policy.toml: taken\n\
         1 2025-11-21T08:00:00Z alice audit-pruned lines up to 9: taken\n",
        "",
    );
    let json = fake.run("orc audit --json").json();
    assert_eq!(json["audit"][0]["link"], "ab".repeat(16));
    assert_eq!(json["audit"][2]["file"], "policy.toml");
}

#[test]
fn a_record_that_is_not_whole_is_no_success() {
    let fake = Fake::start();
    fake.tables().verified = v1::VerifyAuditResponse {
        lines: 10,
        first: 1,
        last: 10,
        ..v1::VerifyAuditResponse::default()
    };
    fake.run("orc audit verify").is(0, "whole: 10 lines, 1 to 10\n", "");
    fake.tables().verified.breaks = vec![
        v1::AuditBreak { kind: "missing".to_owned(), from: 3, to: 3 },
        v1::AuditBreak { kind: "cut-tail".to_owned(), from: 11, to: 12 },
    ];
    fake.tables().verified.unlinked = 2;
    fake.run("orc audit verify").is(
        2,
        "line 3 is missing\nlines 11 to 12 are missing at the end\nnot whole: 10 lines, 1 to 10; 2 of \
         them are of an earlier release, and nothing shows whether they were changed\n",
        "",
    );
    let verified = fake.run("orc audit verify --json").json()["verified"].clone();
    assert_eq!((&verified["whole"], &verified["breaks"][1]["to"]), (&json!(false), &json!(12)));
    fake.run("orc audit verify --head /dev/null").fails(64, &["its last line is none"]);
}

#[test]
fn what_is_asked_for_is_what_the_flags_say() {
    let fake = Fake::start();
    let flags = "--by bob --verb release-holds --since 1970-01-01T00:00:02Z --host db3 -n 7 --outcome denied";
    fake.run(&format!("orc audit {flags}")).is(0, "", "nothing like that is on record\n");
    let asked = fake.tables().audit_asked.pop().unwrap();
    let expected = v1::ListAuditRequest {
        by: "bob".to_owned(),
        verb: "release-holds".to_owned(),
        since_ms: 2_000,
        host: "db3".to_owned(),
        limit: 7,
        outcome: "denied".to_owned(),
        ..v1::ListAuditRequest::default()
    };
    assert_eq!(asked, expected);
    fake.run("orc audit --verb frobnicate").fails(64, &["there are submit, cancel,"]);
}
