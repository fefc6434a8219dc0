//! What others wrote, in every view: nothing that a terminal obeys or a person cannot see leaves the
//! programs, and no text makes a line of its own.

use std::collections::{BTreeMap, BTreeSet};

use audience_cli::orc::OrcArgs;
use clap::CommandFactory as _;
use orchestra_model::{
    Asker,
    bundle::{PlaceReport, PlacesReport},
    delivery::Outcome,
    foreign,
    names::{HostName, PlaceName, ScoreName},
    quantity::Quantity,
    record::Drain,
    score::{ScoreHash, ScoreOffer, ScoreSpec},
    service::{RunEnd, Unready},
    state::TaskState,
    status::{ConductorStatus, PlayerStatus},
    time::Timestamp,
};
use orchestra_proto::{Planned, v1};
use prost::Message as _;

use crate::{
    fake::{Fake, Ran, Tables},
    service,
    values::{JOB, stalled, task, told_status},
};

const HOSTILE: &str = "a\u{202e}b\u{9b}2Jc\x1b]0;t\x07\u{2028}\u{e0041}\u{200b}\rd\nforged line";

/// A verb of `orc` each, and the other programs. Nothing here may be left out: see the test.
const LINES: [&str; 102] = [
    "getstatus",
    "getstatus 42",
    "getstatus 42 --json",
    "getstatus 42 --tasks",
    "getstatus 42 --tasks --json",
    "getstatus 42 --failed",
    "getstatus 42 --response --json",
    "submitjob hello -w db1",
    "submitjob hello -w db1 --json",
    "submitjob hello -w db1 --wait --jsonl --wait-timeout 1s",
    "submitjob hello -w db1 --wait --wait-timeout 1s",
    "submitjob hello -w db1 --plan",
    "orc plan hello -w db1",
    "orc plan hello -w db1 --json",
    "orc explain 42",
    "orc explain 42 --json",
    "orc tree 42",
    "orc tree 42 --json",
    "orc wait 42 --wait-timeout 1s",
    "orc wait 42 --wait-timeout 1s --jsonl",
    "orc pause 42",
    "orc resume 42",
    "orc promote 42",
    "orc retry 42",
    "orc cancel 42",
    "orc flows",
    "orc flows --json",
    "orc players",
    "orc players --json",
    "orc players --drained",
    "orc drain db1 --reason disk",
    "orc undrain db1",
    "orc scores",
    "orc scores --json",
    "orc scores --drift",
    "orc logs 42@db1 --json",
    "orc logs 42@db1",
    "orc logs web/1 --json",
    "orc top",
    "orc top --json",
    "orc top --players",
    "orc ledger",
    "orc ledger --json",
    "orc deployment list",
    "orc brake",
    "orc brake --json",
    "orc brake release web",
    "orc brake release fleet",
    "orc zones",
    "orc doctor",
    "orc zones --json",
    "orc service list",
    "orc service list --json",
    "orc service show web",
    "orc service show web --json",
    "orc service show web --spec",
    "orc service show web --spec --json",
    "orc service wait web --timeout 1s",
    "orc service restart web",
    "orc service stop web --yes",
    "orc service start web",
    "orc service pause web",
    "orc service resume web --json",
    "orc service remove web --yes",
    "orc service revert web",
    "orc service history web",
    "orc service history web --json",
    "orc service diff web 6 7",
    "orc service diff web 6 7 --json",
    "orc service apply nowhere\u{202e}.yaml",
    "orc deployment list --json",
    "orc hostset db1",
    "orc hostset db\u{202e}1",
    "orc conductor status",
    "orc conductor status --json",
    "orc groups --json",
    "orc conductor reload",
    "orc groups",
    "orc audit",
    "orc whoami",
    "orc whoami --json",
    "orc policy list",
    "orc policy list --json",
    "orc policy check alice submit hello",
    "orc policy diff nowhere\u{202e}",
    "orc completions bash",
    "orc candidates --within 20s -- orc cancel ",
    "orc candidates --within 20s -- orc drain ",
    "orc man /nowhere",
    "orc scores hello",
    "orc players -l",
    "orc sandbox ps",
    "orc import nowhere\u{202e}",
    "orc places",
    "orc places --json",
    "orc bundle list --depot nowhere\u{202e}",
    "orc bundle list --registered",
    "orc bundle where site@7",
    "orc bundle where site\u{202e}",
    "orc bundle show site\u{202e}",
    "orc bundle publish nowhere\u{202e} --name site --depot nowhere",
    "orc service import nowhere\u{202e}.json",
];

fn player() -> PlayerStatus {
    let offer = |name: &str, spec| ScoreOffer {
        name: ScoreName::new(name).unwrap(),
        hash: Some(ScoreHash([1; 32])),
        spec,
    };
    let described = ScoreSpec { description: HOSTILE.to_owned(), ..ScoreSpec::default() };
    PlayerStatus {
        host: HostName::new("db1").unwrap(),
        labels: BTreeMap::from([(HOSTILE.to_owned(), HOSTILE.to_owned())]),
        attached: true,
        since: Some(Timestamp(1_763_712_000_000)),
        max_tasks: 4,
        in_flight: 0,
        version: HOSTILE.to_owned(),
        spool: None,
        certificate_ends: None,
        drained: Some(Drain {
            by: Asker::from_word("alice").unwrap(),
            reason: HOSTILE.into(),
            since: Timestamp(1_763_712_000_000),
        }),
        quarantined: Some(HOSTILE.to_owned()),
        jobs: Vec::new(),
        lost: None,
        scores: vec![offer("hello", Ok(described)), offer("broken", Err(HOSTILE.to_owned()))],
    }
}

/// What a conductor says of itself. Its problems may have lines of their own.
fn conductor() -> ConductorStatus {
    let problem = Some(HOSTILE.replace('\n', " "));
    ConductorStatus {
        name: HOSTILE.to_owned(),
        version: HOSTILE.to_owned(),
        pid: 7,
        started_at: Timestamp(1_763_712_000_000),
        store_id: HOSTILE.to_owned(),
        term: 2,
        players: 1,
        attached: 1,
        quarantined: 0,
        flows_alive: 1,
        deployments: 1,
        cells: 0,
        loaded_at: Timestamp(1_763_712_000_000),
        reload_error: problem.clone(),
        revocation_error: problem.clone(),
        audit_export_error: problem.clone(),
        certificate_ends: None,
        certificates_ending: 0,
        now: None,
        stale_store: problem.clone(),
        store_error: problem,
        store_held_since: None,
    }
}

/// A conductor of which every word that it passes on is hostile.
pub(crate) fn hostile() -> Fake {
    let mut flow = stalled();
    flow.stalled = vec![HOSTILE.into()];
    flow.slots[0][0].targets = HOSTILE.to_owned();
    let mut refused = task(1, TaskState::Refused, None, "");
    refused.detail = Some(HOSTILE.into());
    let lost = task(2, TaskState::Lost, Some(Outcome::Lost(HOSTILE.to_owned())), HOSTILE);
    let mut tasks = vec![refused, lost];
    tasks[1].detail = Some(HOSTILE.into());
    let fake = Fake::with(flow.clone(), tasks);
    let mut tables = fake.tables();
    tables.players = vec![player()];
    tables.status = Some(conductor());
    tables.groups = vec![v1::Group {
        name: HOSTILE.to_owned(),
        hosts: HOSTILE.to_owned(),
        ..Default::default()
    }];
    tables.deployments = vec![v1::Deployment { name: HOSTILE.to_owned(), ..Default::default() }];
    tables.warnings = vec![HOSTILE.into()];
    tables.planned = Planned { refusal: Some(HOSTILE.to_owned()), ..Planned::default() };
    tables.explained.explanations = vec![v1::Explanation {
        job: Some(JOB.into()),
        text: HOSTILE.to_owned(),
        ..v1::Explanation::default()
    }];
    tables.logs = vec![v1::AttemptLog {
        job: Some(JOB.into()),
        host: "db1".to_owned(),
        attempt: 1,
        late: false,
        end: v1::AttemptEnd {
            outcome: Some(v1::attempt_end::Outcome::Lost(HOSTILE.to_owned())),
            ..Default::default()
        }
        .encode_to_vec()
        .into(),
    }];
    let place = PlaceName::new("site").unwrap();
    let places = vec![PlaceReport { name: place, state: Err(HOSTILE.to_owned()) }];
    let report = PlacesReport { troubles: vec![HOSTILE.to_owned()], places };
    tables.places = vec![(HostName::new("db1").unwrap(), report)];
    let reach = || Some(v1::Reach { all_but: false, hosts: HOSTILE.to_owned(), count: 1 });
    tables.policy = vec![v1::PolicyRule {
        name: HOSTILE.to_owned(),
        who: vec![HOSTILE.to_owned()],
        may: vec![HOSTILE.to_owned()],
        scores: vec![HOSTILE.to_owned()],
        services: vec![HOSTILE.to_owned()],
        hosts: reach(),
        ..Default::default()
    }];
    tables.right =
        v1::CheckRightResponse { allowed: false, why: HOSTILE.to_owned(), reach: reach() };
    tables.audit = vec![v1::AuditLine {
        number: 1,
        by: "alice".to_owned(),
        verb: "drain".to_owned(),
        hosts: HOSTILE.to_owned(),
        reason: HOSTILE.to_owned(),
        answer: HOSTILE.to_owned(),
        rule: HOSTILE.to_owned(),
        ..v1::AuditLine::default()
    }];
    services(&mut tables);
    tables.watches.extend((0..8).map(|_| vec![Ok(told_status(&flow))]));
    drop(tables);
    fake
}

/// Services of which every free word is hostile.
fn services(tables: &mut Tables) {
    let mut service = service::ready(2);
    service.trouble = Some(HOSTILE.to_owned());
    service.record.events[1].note = Some(HOSTILE.into());
    let report = service.instances[0].report.as_mut().unwrap();
    report.last_end = Some(RunEnd::NotSpawned(HOSTILE.to_owned()));
    service.instances[0].unready = Some(Unready::NotReady);
    tables.services = vec![service];
    let mut hostile = service::version(7, Quantity::Count(2), &[HOSTILE]);
    hostile.spec.as_mut().unwrap().on = HOSTILE.to_owned();
    tables.versions = vec![service::version(6, Quantity::Count(1), &[]), hostile];
    let chunk = v1::LogChunk {
        bytes: HOSTILE.into(),
        next: Some(v1::LogPlace::default()),
        ..v1::LogChunk::default()
    };
    tables.log_reads = [vec![Ok(chunk)]].into();
    tables.service_changed = v1::ServiceChanged {
        name: HOSTILE.to_owned(),
        version: 7,
        left_out: HOSTILE.to_owned(),
        trouble: HOSTILE.to_owned(),
        ..v1::ServiceChanged::default()
    };
}

fn is_harmless(line: &str, Ran { stdout, stderr, .. }: &Ran) {
    for text in [stdout, stderr] {
        let bad = text.chars().find(|c| !foreign::is_plain(*c) && !matches!(c, '\n' | '\t'));
        assert_eq!(bad, None, "{line}: {text:?}");
        let forged = text.lines().any(|line| line.trim_start().starts_with("forged"));
        assert!(!forged, "{line}: {text}");
    }
}

#[test]
fn nothing_hostile_leaves_any_view() {
    let verbs: BTreeSet<String> =
        OrcArgs::command().get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    let covered = |verb: &String| {
        LINES
            .iter()
            .any(|line| line.starts_with(&format!("orc {verb} ")) || *line == format!("orc {verb}"))
    };
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        assert!(covered(verb), "orc {verb} is not among the views that are looked at");
    }
    let fake = hostile();
    for line in LINES {
        is_harmless(line, &fake.run(line));
    }
}

#[test]
fn what_was_written_for_other_tools_is_shown_harmless() {
    let fake = Fake::start();
    let within = HOSTILE.replace(['\n', '\r'], "");
    let griforkfile =
        format!("branches 2\nhosts ['fe1']\nlocal do\n  rsync '/{within}\"\\'\nend\n");
    // Readers of YAML refuse controls, so these are what can come from there.
    let job = "{deployment_layout: {east: {cpu: 1}}, task_configuration: \
               {name: web, command: 'a\u{202e}b\u{200b}c\u{2028}d'}}";
    let file = fake.home().join("file");
    for (text, line) in [
        (griforkfile.as_str(), format!("orc import {}", file.display())),
        (job, format!("orc service import {} --score run-web", file.display())),
    ] {
        std::fs::write(&file, text).unwrap();
        let ran = fake.run(&line);
        assert_eq!(ran.code, 0, "{ran:?}");
        is_harmless(&line, &ran);
    }
}

#[test]
fn names_of_a_published_directory_are_shown_harmless() {
    let fake = Fake::start();
    let home = fake.home();
    let (source, depot) = (home.join("source"), home.join("depot"));
    std::fs::create_dir(&source).unwrap();
    let name = HOSTILE.replace(['/', '\0'], "");
    std::fs::write(source.join(&name), "one").unwrap();
    std::os::unix::fs::symlink(&name, source.join("link")).unwrap();
    let run = |words: &str| {
        let line = format!("orc bundle {words} --depot {}", depot.display());
        let ran = fake.run(&line);
        is_harmless(&line, &ran);
        ran
    };
    let publish = format!("publish {} --name site", source.display());
    assert_eq!(run(&publish).code, 0);
    std::fs::write(source.join(&name), "two").unwrap();
    assert_eq!(run(&publish).code, 0);
    for words in ["show site --entries", "diff site@1 site@2"] {
        assert!(run(words).stdout.contains("forged"), "{words}");
        run(&format!("{words} --json"));
    }
    let id = run("list --json").json()["bundles"][1]["id"].as_str().unwrap().to_owned();
    std::fs::write(depot.join(id).join("content"), "zwo").unwrap();
    for words in ["verify".to_owned(), format!("unpack site {}", home.join("new").display())] {
        let ran = run(&words);
        assert!(
            ran.code == 2 && format!("{}{}", ran.stdout, ran.stderr).contains("forged"),
            "{ran:?}"
        );
        run(&format!("{words} --json"));
    }
    std::os::unix::fs::symlink("nothing", source.join(format!("{name}2"))).unwrap();
    assert!(run(&publish).stderr.contains("forged"));
}

#[test]
fn what_a_conductor_refuses_with_is_shown_harmless() {
    let fake = Fake::start();
    fake.tables().refusals = [tonic::Status::failed_precondition(HOSTILE)].into();
    let ran = fake.run("submitjob hello -w db1");
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
    let text = &ran.stderr;
    assert!(text.chars().all(|c| foreign::is_plain(c) || matches!(c, '\n' | '\t')), "{text:?}");
}
