//! `submitjob`.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use orchestra_model::{
    FlowId, Millis, Timestamp,
    flow::FlowSpec,
    quantity::Quantity,
    start::{After, NeededEnd, Start},
};
use orchestra_proto::v1;
use prost::Message as _;
use tonic::Status;

use crate::{
    fake::{Fake, bare, ran, unknown_hosts},
    values::running,
};

#[test]
fn the_id_is_alone_on_standard_output() {
    let fake = Fake::start();
    fake.run("submitjob install-package package=pkg1 -w db[1-10] --success 80%").is(0, "42\n", "");
    let tables = fake.tables();
    let submitted = &tables.submitted[0];
    assert_eq!(submitted.request_id.len(), 16);
    let spec: FlowSpec = (&v1::FlowSpec::decode(&submitted.spec[..]).unwrap()).try_into().unwrap();
    let job = &spec.slots[0].jobs[0];
    assert_eq!((job.name.as_str(), &*job.targets), ("install-package", "db[1-10]"));
    assert_eq!(job.success, Some(Quantity::Percent(80)));
    assert_eq!((submitted.params[0].slot, submitted.params[0].job), (1, 1));
    assert_eq!(submitted.params[0].values["package"], "pkg1");
    drop(tables);
    fake.run("submitjob hello -w db1 --json").is(0, "{\"schema\":1,\"flow\":{\"id\":42}}\n", "");
}

#[test]
fn hosts_are_picked_by_chance_and_named() {
    let fake = Fake::start();
    let ran = fake.run("submitjob hello -w fe[1-100] -x fe7 --pick 3");
    assert_eq!((ran.code, &*ran.stdout), (0, "42\n"), "{ran:?}");
    let picked = ran.stderr.trim_end().strip_prefix("picked: ").unwrap();
    let spec = v1::FlowSpec::decode(&fake.tables().submitted[0].spec[..]).unwrap();
    let spec: FlowSpec = (&spec).try_into().unwrap();
    assert_eq!(spec.slots[0].jobs[0].targets, picked);
    assert_eq!(fake.run(&format!("orc hostset -c {picked}")).stdout, "3\n");
    assert_eq!(fake.run(&format!("orc hostset -c {picked}!fe7")).stdout, "3\n");
    let ran = fake.run("submitjob hello --one-of @web --pick 2");
    assert!(ran.code == 0 && ran.stderr.starts_with("picked: fe"), "{ran:?}");
    fake.run("submitjob hello -w a,b --pick 3").fails(3, &["picking 3 of 2 hosts"]);
    let id = "0".repeat(32);
    fake.run(&format!("submitjob hello -w a,b --pick 1 --request-id {id}"))
        .fails(64, &["--pick picks other hosts each time", "hint: name the hosts"]);
}

#[test]
fn a_flow_begins_when_it_is_told_to() {
    let fake = Fake::with(running(), Vec::new());
    let start = |command: &str| {
        fake.run(command).is(0, "42\n", "");
        let tables = fake.tables();
        let spec = v1::FlowSpec::decode(&tables.submitted.last().unwrap().spec[..]).unwrap();
        FlowSpec::try_from(&spec).unwrap().start
    };
    let after = |flow, end| Some(After { flow: FlowId(flow), end });
    assert!(start("submitjob hello -w db1").is_now());
    let told = start("submitjob hello -w db1 --at 2036-11-21T08:00:00Z --after 41");
    let at = Some(Timestamp(2_110_867_200_000));
    assert_eq!(told, Start { at, after: after(41, NeededEnd::Ok) });
    // `last` is asked for, and has a number from then on.
    let told = start("submitjob hello -w db1 --after last:ended");
    assert_eq!(told, Start { at: None, after: after(42, NeededEnd::Ended) });
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let at = start("submitjob hello -w db1 --at 2h").at.unwrap();
    assert!(u128::from(at.0) >= before + u128::from(Millis::minutes(120).0), "{at:?}");
    let file = fake.home().join("flow.yaml");
    let text = "at: \"2036-11-21T08:00:00Z\"\nafter: 41:ended\nslots: [{jobs: [{score: hello, targets: db1}]}]";
    fs::write(&file, text).unwrap();
    let told = start(&format!("submitjob --flow {}", file.display()));
    assert_eq!((told.at.is_some(), told.after), (true, after(41, NeededEnd::Ended)));
    let told = start(&format!("submitjob --flow {} --after 7", file.display()));
    assert_eq!((told.at.is_some(), told.after), (true, after(7, NeededEnd::Ok)));
    fs::write(&file, text.replace("41:ended", "last")).unwrap();
    fake.run(&format!("submitjob --flow {}", file.display())).fails(64, &["by its number"]);
    fake.run("submitjob hello -w db1 --at soon").fails(64, &["expected a time like 22:00"]);
    fake.run("submitjob hello -w db1 --after 41:failed").fails(64, &["expected a flow like 42"]);
}

#[test]
fn a_flow_comes_from_a_file_of_any_format() {
    let fake = Fake::start();
    let file = fake.home().join("flow");
    let yaml = "slots: [{jobs: [{score: hello, targets: 'db[1-2]', params: {v: 1}}]}]";
    let json =
        r#"{"slots": [{"jobs": [{"score": "hello", "targets": "db[1-2]", "params": {"v": 1}}]}]}"#;
    let toml = "[[slots]]\n[[slots.jobs]]\nscore = 'hello'\ntargets = 'db[1-2]'\nparams.v = 1\n";
    for (extension, text) in [("yaml", yaml), ("json", json), ("toml", toml), ("x", yaml)] {
        let path = file.with_extension(extension);
        fs::write(&path, text).unwrap();
        fake.run(&format!("submitjob --flow {} --set v=2 --set hello/w=3", path.display()))
            .is(0, "42\n", "");
    }
    let mut command = fake.command("submitjob", &["--flow", "-", "--set", "v=2", "--set", "w=3"]);
    command.stdin(fs::File::open(file.with_extension("toml")).unwrap());
    ran(&mut command).is(0, "42\n", "");
    let tables = fake.tables();
    assert_eq!(tables.submitted.len(), 5);
    for submitted in &tables.submitted {
        assert_eq!(submitted.spec, tables.submitted[0].spec);
        let values = &submitted.params[0].values;
        assert_eq!((&*values["v"], &*values["w"]), ("2", "3"));
    }
}

#[test]
fn a_submission_that_may_be_lost_is_sent_again_as_the_same() {
    let fake = Fake::start();
    for _ in 0..2 {
        fake.tables().refusals.push_back(Status::unavailable("the store cannot be written"));
    }
    fake.run("submitjob hello -w db1").is(0, "42\n", "");
    let tables = fake.tables();
    assert_eq!(tables.submitted.len(), 3);
    assert!(tables.submitted.iter().all(|again| *again == tables.submitted[0]));
}

/// Says that the store cannot be written.
fn store(kind: &'static str, message: &str) -> Status {
    let mut status = Status::unavailable(message);
    status.metadata_mut().insert("orchestra-reason", kind.parse().unwrap());
    status
}

#[test]
fn what_is_held_is_not_sent_again_and_can_be_asked_for() {
    let fake = Fake::start();
    fake.tables().refusals.push_back(store("held", "held, not yet taken: no space"));
    const ID: &str = "00ff00ff00ff00ff00ff00ff00ff00ff";
    let command = format!("submitjob hello -w db1 --request-id {ID}");
    let asks = format!("submitjob --request-id {ID}");
    fake.run(&command).fails(12, &["held, not yet taken: no space", &asks]);
    assert_eq!(fake.tables().submitted.len(), 1);
    assert_eq!(fake.tables().submitted[0].request_id[..2], [0, 0xff]);
    fake.tables().refusals.push_back(store("unchanged", "nothing was changed"));
    fake.run("submitjob hello -w db1").fails(1, &["nothing was changed"]);
    assert_eq!(fake.tables().submitted.len(), 2);
}

#[test]
fn a_refusal_has_its_code_and_its_sentence() {
    for (refusal, code, said) in [
        (unknown_hosts(), 3, "error: submitting the flow: job hello: unknown hosts: db9\nhint: "),
        (Status::invalid_argument("no such group: web"), 64, "no such group: web"),
        (Status::permission_denied("policy rule 3 denies it"), 6, "policy rule 3 denies it"),
        (Status::resource_exhausted("max_hosts is 10"), 1, "max_hosts is 10"),
        (Status::failed_precondition("not now"), 1, "not now"),
        (Status::internal("a bug"), 1, "a bug"),
    ] {
        let fake = Fake::start();
        fake.tables().refusals.push_back(refusal);
        fake.run("submitjob hello -w db1").fails(code, &[said]);
        assert_eq!(fake.tables().submitted.len(), 1);
    }
}

/// Who cannot be told the id where answers go is told it where failures go.
#[test]
fn an_id_that_cannot_be_written_is_not_lost() {
    let fake = Fake::start();
    for words in ["submitjob hello -w db1", "submitjob hello -w db1 --json"] {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        fake.run_into(words, full).fails(
            1,
            &[
                "error: writing the answer to standard output",
                "hint: flow 42 was accepted all the same: getstatus 42",
            ],
        );
    }
}

#[test]
fn names_that_nobody_knows_are_left_out_where_that_is_asked() {
    let fake = Fake::start();
    fake.run("submitjob hello -w db[1-2] -x h03").is(0, "42\n", "");
    fake.run("submitjob hello -w db[1-2] -x h03 --allow-unknown").is(0, "42\n", "");
    fake.run("orc plan hello -w db[1-2] -x h03 --allow-unknown").is(0, "nothing would start\n", "");
    let tables = fake.tables();
    let allowed: Vec<bool> = tables.submitted.iter().map(|asked| asked.allow_unknown).collect();
    assert_eq!(allowed, [false, true]);
    assert!(tables.plans[0].allow_unknown);
    let spec = v1::FlowSpec::decode(&tables.submitted[0].spec[..]).unwrap();
    assert_eq!(spec.slots[0].jobs[0].targets, "db[1-2]!h03");
}

#[test]
fn a_player_may_not_submit() {
    let fake = Fake::start();
    fake.as_player("submitjob", &["hello", "-w", "db1"]).fails(
        6,
        &["error: submitting the flow: spiffe://cli.test/player/db1 may not call Submit"],
    );
}

#[test]
fn what_is_wrong_on_the_command_line_is_told_before_anything_is_asked() {
    let home = tempfile::tempdir().unwrap();
    let run = |words: &[&str]| ran(&mut bare("submitjob", words, home.path()));
    run(&[]).fails(64, &["a score is needed", "submitjob SCORE"]);
    run(&["hello"]).fails(64, &["error: running a score: on which hosts?", "--all-of", "--one-of"]);
    run(&["hello", "-w", "db["]).fails(64, &["error: reading the host set: host set \"db[\""]);
    run(&["hello", "-w", ""]).fails(3, &["error: the host set is empty"]);
    run(&["--flow", "/nonexistent"]).fails(64, &["reading the flow from /nonexistent"]);
    run(&["hello", "-w", "a", "--retires", "5"]).fails(64, &["--retries"]);
    let file = home.path().join("x.json");
    fs::write(&file, "{\"slots\": [}").unwrap();
    run(&["--flow", file.to_str().unwrap()]).fails(64, &["as JSON", "line 1 column 12"]);
    run(&["hello", "-w", "a"]).fails(
        64,
        &["not configured: --conductor HOST:PORT", "hint: ", ".config/orchestra/audience.toml"],
    );
}

#[test]
fn settings_come_from_a_file_too() {
    let fake = Fake::start();
    let directory = fake.home().join(".config/orchestra");
    fs::create_dir_all(&directory).unwrap();
    let text = format!(
        "conductors = ['127.0.0.1:1', '{}']\nconductor_name = 'conductor.cli.test'\n\
         domain = 'cli.test'\n[tls]\nca = '../../ca/ca.pem'\n\
         cert = '../../ca/audience/alice.pem'\nkey = '../../ca/audience/alice.key'\n",
        fake.address()
    );
    fs::write(directory.join("audience.toml"), text).unwrap();
    // The first conductor does not answer; the second does.
    ran(&mut bare("submitjob", &["hello", "-w", "db1"], &fake.home())).is(0, "42\n", "");
}

#[test]
fn a_conductor_that_is_not_there_is_given_up_in_time() {
    let fake = Fake::start();
    let before = std::time::Instant::now();
    fake.run("submitjob hello -w db1 --conductor 127.0.0.1:1 --connect-timeout 300ms").fails(
        11,
        &["error: reaching the conductor: cannot reach the conductor at 127.0.0.1:1", "hint: "],
    );
    assert!(before.elapsed() < std::time::Duration::from_secs(3));
    // Somebody else's answer is not waited for.
    fake.run("submitjob hello -w db1 --conductor-name other.cli.test --connect-timeout 1h")
        .fails(1, &["other.cli.test was expected", "--conductor-name"]);
}
