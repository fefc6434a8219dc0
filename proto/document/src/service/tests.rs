//! Every field, every refusal, and that what is shown is read again.

use orchestra_model::{
    Quantity,
    names::{ScoreName, ServiceName},
    params::Params,
    service::{
        AtMostOne, HealthRule, Judgement, MilliCores, OnUnhealthy, PortName, Probe, ProcessRule,
        ReadyRule, ReadySign, Recipe, ReloadRule, Resources, RestartRule, RestartWhen, ServiceSpec,
        StopRule, Umask, UpdateRule, Upkeep,
    },
    size::ByteSize,
    time::Millis,
};

use super::{Values, parse, show};
use crate::Format;

mod place;
mod properties;
mod wrong;

fn plain() -> ServiceSpec {
    let (name, score) = (ServiceName::new("web").unwrap(), ScoreName::new("serve-web").unwrap());
    ServiceSpec::new(name, score, "@web")
}

/// A service with nothing at its default.
fn full() -> ServiceSpec {
    ServiceSpec {
        params: Params::from_pairs([("port", "8080"), ("motd", "a: b\n#c")]).unwrap(),
        prepare: Some(Recipe {
            score: ScoreName::new("install-web").unwrap(),
            params: Params::from_pairs([("release", "7.2")]).unwrap(),
        }),
        cleanup: Some(Recipe {
            score: ScoreName::new("remove-web").unwrap(),
            params: Params::default(),
        }),
        budget: Some(Quantity::Percent(20)),
        update: UpdateRule {
            parallel: Quantity::Percent(25),
            canary: Some(Quantity::Count(1)),
            bake: Some(Millis::minutes(5)),
            healthy_for: Millis::seconds(20),
            deadline: Millis::minutes(15),
            max_failures: Quantity::Percent(10),
            auto_revert: false,
            surge: 0,
        },
        upkeep: Upkeep {
            restart: RestartRule {
                when: RestartWhen::OnFailure,
                first: Millis(500),
                max_delay: Millis::minutes(2),
                attempts: Some(5),
                window: Millis::minutes(30),
                stable_after: Millis::minutes(1),
            },
            ready: ReadyRule { sign: ReadySign::Fd(3), deadline: Millis::minutes(3) },
            stop: StopRule { linger: Millis::seconds(5), signal: 2, grace: Millis::minutes(1) },
            resources: Some(Resources {
                memory: Some(ByteSize(512 << 20)),
                reserve: Some(ByteSize(256 << 20)),
                cpu: Some(MilliCores(1_500)),
                processes: Some(200),
                enforced: false,
            }),
            health: Some(HealthRule {
                every: Millis::seconds(5),
                timeout: Millis(500),
                fall: 2,
                rise: 4,
                ..HealthRule::new(Probe::http("8080/up").unwrap())
            }),
            linked_to: None,
            reload: Some(ReloadRule { signal: 12 }),
            ports: [("admin", "9000"), ("http", "8000+{ordinal}")]
                .into_iter()
                .map(|(name, rule)| (PortName::new(name).unwrap(), rule.parse().unwrap()))
                .collect(),
            process: ProcessRule {
                nofile: Some(65_536),
                nice: Some(-5),
                oom_score_adj: Some(200),
                umask: Umask::new(0o27),
                state_dir: true,
            },
            at_most_one: Some(AtMostOne { lease: Some(Millis::minutes(2)) }),
            require_same_score: true,
            keep_secrets: true,
        },
        judgement: Judgement {
            on_unhealthy: OnUnhealthy::Restart,
            panic: Some(Quantity::Count(3)),
        },
        max_age: Some(Millis::minutes(7 * 24 * 60)),
        auto_start: false,
        ..plain()
    }
}

const FULL: &str = r##"
service: web
score: serve-web
params: {port: 8080, motd: "a: b\n#c"}
prepare: {score: install-web, params: {release: "7.2"}}
cleanup: {score: remove-web}
on: ["@web"]
budget: 20%
restart: {when: on-failure, first: 500ms, max_delay: 2m, attempts: 5, window: 30m, stable_after: 1m}
ready: {fd: 3, deadline: 3m}
max_age: 7d
ports: {http: "8000+{ordinal}", admin: 9000}
nofile: 65536
nice: -5
oom_score_adj: 200
umask: "027"
state_dir: true
at_most_one: {lease: 2m}
require_same_score: true
keep_secrets: true
reload: {signal: SIGUSR2}
stop: {signal: SIGINT, grace: 1m, linger: 5s}
resources: {memory: 512MiB, reserve: 256MiB, cpu: 1.5, processes: 200, enforced: false}
health: {http: 8080/up, every: 5s, timeout: 500ms, fall: 2, rise: 4}
on_unhealthy: restart
panic: 3
update:
  parallel: 25%
  canary: 1
  bake: 5m
  healthy_for: 20s
  deadline: 15m
  max_failures: 10%
  auto_revert: false
auto_start: false
"##;

fn yaml(text: &str) -> ServiceSpec {
    parse(text, Format::Yaml).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_field_is_read() {
    assert_eq!(yaml(FULL), full());
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(yaml("service: web\nscore: serve-web\non: '@web'\n"), plain());
    let empty = "restart: {}\nready: {}\nstop: {}\nupdate: {}\nparams: {}\n";
    assert_eq!(yaml(&format!("service: web\nscore: serve-web\non: '@web'\n{empty}")), plain());
}

#[test]
fn three_formats_mean_the_same() {
    let json = r#"{"service": "web", "score": "serve-web", "on": "@web",
                   "ready": {"notify": true}, "update": {"parallel": 2}}"#;
    let toml = "service = 'web'\nscore = 'serve-web'\non = '@web'\nready = {notify = true}\n\
                [update]\nparallel = 2\n";
    let written = "service: web\nscore: serve-web\non: '@web'\nready: {notify: true}\n\
                   update: {parallel: 2}\n";
    let read = yaml(written);
    assert_eq!(read.upkeep.ready.sign, ReadySign::Notify);
    assert_eq!(parse(json, Format::Json).unwrap(), read);
    assert_eq!(parse(toml, Format::Toml).unwrap(), read);
}

fn with(line: &str) -> ServiceSpec {
    yaml(&format!("service: web\nscore: serve-web\non: '@web'\n{line}\n"))
}

#[test]
fn readiness_has_three_signs() {
    let deadline = Millis::minutes(1);
    for (line, sign) in [
        ("ready: started", ReadySign::Started),
        ("ready: {started: true}", ReadySign::Started),
        ("ready: {notify: true}", ReadySign::Notify),
        ("ready: {fd: 9}", ReadySign::Fd(9)),
    ] {
        assert_eq!(with(line).upkeep.ready, ReadyRule { sign, ..ReadyRule::default() }, "{line}");
    }
    let only = with("ready: {deadline: 1m}").upkeep.ready;
    assert_eq!(only, ReadyRule { sign: ReadySign::Started, deadline });
    let both = with("ready: {notify: true, deadline: 1m}").upkeep.ready;
    assert_eq!(both, ReadyRule { sign: ReadySign::Notify, deadline });
}

#[test]
fn a_signal_has_a_name_or_a_number() {
    for (written, number) in
        [("TERM", 15), ("SIGTERM", 15), ("sighup", 1), ("USR2", 12), ("'3'", 3), ("31", 31)]
    {
        let spec = with(&format!("stop: {{signal: {written}}}"));
        assert_eq!(spec.upkeep.stop.signal, number, "{written}");
    }
}

#[test]
fn limits_are_sizes_processors_and_numbers() {
    let cpu = |written: &str| {
        let resources = with(&format!("resources: {{cpu: {written}}}")).upkeep.resources.unwrap();
        assert!(resources.enforced);
        resources.cpu.unwrap().0
    };
    let written = ["1.5", "2", "2.0", "0.2", "1.50", "'0.25'", "1.005"].map(cpu);
    assert_eq!(written, [1_500, 2_000, 2_000, 200, 1_500, 250, 1_005]);
    let toml = "service = 'web'\nscore = 's'\non = 'a'\nresources = {cpu = 0.2, memory = '1GiB'}\n";
    let json = r#"{"service": "web", "score": "s", "on": "a",
                   "resources": {"cpu": 0.2, "memory": "1GiB"}}"#;
    let read = parse(toml, Format::Toml).unwrap();
    assert_eq!(read.upkeep.resources.and_then(|it| it.cpu), Some(MilliCores(200)));
    assert_eq!(parse(json, Format::Json).unwrap(), read);
    let shown = show(&full(), Values::Told);
    let limits = "resources:\n  memory: 512MiB\n  reserve: 256MiB\n  cpu: 1.5\n  processes: 200\n  \
                  enforced: false\n";
    assert!(shown.contains(limits), "{shown}");
}

#[test]
fn attempts_are_a_number_or_unlimited() {
    assert_eq!(with("restart: {attempts: unlimited}").upkeep.restart.attempts, None);
    assert_eq!(with("restart: {attempts: 0}").upkeep.restart.attempts, Some(0));
}

#[test]
fn a_host_set_may_be_a_list() {
    let text = "service: web\nscore: serve-web\non: ['db[1-3]', '@web']\n";
    assert_eq!(yaml(text).on, "db[1-3],@web");
}

#[test]
fn the_canonical_form_has_every_rule() {
    assert_eq!(
        show(&plain(), Values::Told),
        "service: web\nscore: serve-web\n\"on\": \"@web\"\nrestart:\n  when: always\n  first: 0s\n  \
         max_delay: 1m\n  attempts: unlimited\n  window: 10m\n  stable_after: 10s\nready:\n  \
         started: true\n  deadline: 2m\nstop:\n  linger: 0s\n  signal: TERM\n  grace: 30s\nupdate:\n  parallel: \
         1\n  healthy_for: 10s\n  deadline: 10m\n  max_failures: 0\n  auto_revert: \
         true\nauto_start: true\n"
    );
    assert_eq!(yaml(&show(&plain(), Values::Told)), plain());
    assert_eq!(yaml(&show(&full(), Values::Told)), full());
}

#[test]
fn values_that_are_not_told_are_not_read_as_values() {
    let spec =
        ServiceSpec { params: Params::from_pairs([("port", ""), ("key", "")]).unwrap(), ..plain() };
    let text = show(&spec, Values::Withheld);
    assert!(text.contains("params:\n  key: null\n  port: null\n"), "{text}");
    let problems = parse(&text, Format::Yaml).unwrap_err().to_string();
    assert!(problems.contains("params: port: it is empty"), "{problems}");
}

#[test]
fn probes_are_of_this_host_a_socket_in_the_run_directory_or_a_score() {
    let probed = |ready: &str, health: &str| {
        let upkeep = yaml(&format!(
            "service: web\nscore: serve-web\non: a\nready: {ready}\nhealth: {health}\n"
        ))
        .upkeep;
        let ready = match upkeep.ready.sign {
            ReadySign::Probe(probe) => probe.to_string(),
            other => format!("{other:?}"),
        };
        (ready, upkeep.health.unwrap())
    };
    let (ready, health) = probed("{tcp: 8080, deadline: 1m}", "{http: \"8080/healthz\"}");
    assert_eq!((ready.as_str(), health.probe.to_string().as_str()), ("8080", "8080/healthz"));
    let usual = (Millis::seconds(10), Millis::seconds(1), 3, 2);
    assert_eq!((health.every, health.timeout, health.fall, health.rise), usual);
    let (ready, health) =
        probed("{http: \"unix:web.sock:/healthz\"}", "{tcp: \"unix:web.sock\", fall: 1}");
    let told = (ready.as_str(), health.probe.to_string());
    assert_eq!(told, ("unix:web.sock:/healthz", "unix:web.sock".to_owned()));
    let (ready, health) = probed("{score: check-web, deadline: 1m}", "{score: check-web, rise: 5}");
    assert_eq!((ready.as_str(), health.probe.to_string().as_str()), ("check-web", "check-web"));
    assert_eq!((health.every, health.rise), (Millis::seconds(10), 5));
}
