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
               "flow": 42, "hosts": null, "reason": null, "answer": "taken"})
    );
    assert_eq!(json["audit"][0]["hosts"], "db[1-3]");
}

#[test]
fn what_is_asked_for_is_what_the_flags_say() {
    let fake = Fake::start();
    let flags = "--by bob --verb release-holds --since 1970-01-01T00:00:02Z --host db3 -n 7";
    fake.run(&format!("orc audit {flags}")).is(0, "", "nothing like that is on record\n");
    let asked = fake.tables().audit_asked.pop().unwrap();
    let expected = v1::ListAuditRequest {
        by: "bob".to_owned(),
        verb: "release-holds".to_owned(),
        since_ms: 2_000,
        host: "db3".to_owned(),
        limit: 7,
    };
    assert_eq!(asked, expected);
    fake.run("orc audit --verb frobnicate").fails(64, &["there are submit, cancel,"]);
}
