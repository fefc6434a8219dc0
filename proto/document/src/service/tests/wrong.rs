//! What is refused, and what is said of it.

use super::parse;
use crate::Format;

fn said(text: &str) -> String {
    match parse(text, Format::Yaml) {
        Ok(_) => panic!("{text:?} was taken"),
        Err(problems) => problems.to_string(),
    }
}

/// What is said of a line, the fourth, that is added to a service that is otherwise well. A problem of
/// a field begins with its line; here it is left out.
fn of(line: &str) -> String {
    let said = said(&format!("service: web\nscore: serve-web\non: '@web'\n{line}\n"));
    said.strip_prefix("line 4: ").map(str::to_owned).unwrap_or(said)
}

#[test]
fn a_problem_of_a_field_begins_with_its_line() {
    let text = "service: web\nscore: s\non: a\nstop:\n  signal: FOO\n  within: 10s\nbudgte: 1\n";
    let said = said(text);
    assert!(said.contains("\n  line 5: stop: signal: \"FOO\": expected a signal"), "{said}");
    assert!(said.contains("\n  line 7: unknown field \"budgte\"; did you mean budget?"), "{said}");
}

#[test]
fn what_has_to_be_there_is_named() {
    assert_eq!(said("{}"), "3 problems\n  service is missing\n  score is missing\n  on is missing");
    assert_eq!(said(""), "it names no service");
    assert_eq!(said("just text"), "expected a table of fields, found text");
}

#[test]
fn one_file_is_one_service() {
    let several = "several services in one file are not offered yet";
    let one = "service: web\nscore: s\non: a\n";
    for text in ["- service: web\n", "services: [{service: web}]\n", &format!("{one}---\n{one}")] {
        let said = said(text);
        assert!(said.contains(several), "{said}");
    }
}

#[test]
fn each_value_is_checked_with_its_place() {
    for (line, problem) in [
        ("budget: lots", "budget: \"lots\": expected a number of hosts like 5"),
        ("budget: 0", "budget: it is 0, so that nothing could ever change"),
        ("auto_start: yes", "auto_start: expected true or false, found text"),
        ("params: [1]", "params: expected a table of fields, found a list"),
        ("params: {a: }", "params: a: it is empty; write \"\" for an empty text"),
        ("params: {a: 1.10}", "params: a: quote this number"),
        ("params: {PATH-X: x}", "params: a parameter's key is wrong"),
        ("restart: always", "restart: it is a table; write {when: always}"),
        ("restart: {when: unless-stopped}", "restart: when: \"unless-stopped\": it is always, on"),
        ("restart: {first: 5}", "restart: first: \"5\": expected a duration like 500ms"),
        ("restart: {attempts: -1}", "restart: attempts: expected a whole number from 0 on, or un"),
        ("restart: {window: 0s, attempts: 3}", "restart.window: it is 0"),
        ("restart: {first: 2m}", "restart.first: it is longer than restart.max_delay"),
        ("ready: notify", "ready: it is started, {notify: true}, {fd: 3}, {tcp: 8080}"),
        ("ready: {notify: false}", "ready: notify: it is true, or left out"),
        ("ready: {notify: true, fd: 3}", "ready: started, notify, fd, tcp, http and score ex"),
        ("ready: {fd: 2}", "ready.fd: a descriptor from 3 to 9 is expected"),
        ("ready: {fd: x}", "ready: fd: expected a descriptor from 3 to 9"),
        ("ready: {tcp: db1:80}", "ready: tcp: expected a port from 1 to 65535 of this host"),
        ("ready: {tcp: 80, fd: 3}", "ready: started, notify, fd, tcp, http and score ex"),
        ("ready: {http: unix:../x}", "ready: http: expected a name after unix:"),
        ("health: 8080", "health: expected a table of fields, found a number"),
        ("health: tcp", "health: it is a table: {tcp: 8080}"),
        ("health: {every: 5s}", "health: it says not what is asked"),
        ("health: {tcp: 80, http: 80}", "health: http: of tcp, http and score it is one"),
        ("health: {tcp: 80, score: x}", "health: score: of tcp, http and score it is one"),
        ("health: {score: ../x}", "health: score: "),
        ("health: {score: [x]}", "health: score: "),
        ("ready: {score: x, notify: true}", "ready: started, notify, fd, tcp, http and score ex"),
        ("health: {tcp: 80, fall: 0}", "health.fall: it is not from 1 to 1000"),
        ("health: {tcp: 80, every: 1s, timeout: 2s}", "health.timeout: it is longer than"),
        ("health: {http: '80/a b'}", "health: http: expected a path from / on"),
        ("on_unhealthy: restart", "on_unhealthy: nothing says that a unit is unhealthy"),
        ("on_unhealthy: withdraw", "on_unhealthy: nothing says that a unit is unhealthy"),
        ("on_unhealthy: kill", "on_unhealthy: it is report, withdraw or restart"),
        ("panic: most", "panic: expected a number of units like 5"),
        ("panic: 0%", "panic: it is 0"),
        ("ready: {deadline: 0s}", "ready.deadline: it is 0"),
        ("at_most_one: 1", "at_most_one: it is true, or a table with a lease: {lease: 2m}"),
        ("at_most_one: {}", "at_most_one: lease is missing"),
        ("at_most_one: {lease: 9s}", "at_most_one.lease: it is below 10s, so that a moment"),
        ("at_most_one: {lease: 2d}", "at_most_one.lease: it is above 24h; without a lease"),
        ("at_most_one: {lease: 0.5}", "at_most_one: lease: "),
        ("stop: TERM", "stop: expected a table of fields, found text"),
        ("stop: {signal: FOO}", "stop: signal: \"FOO\": expected a signal like TERM"),
        ("stop: {signal: 64}", "stop: signal: \"64\": expected a signal like TERM"),
        ("stop: {signal: SIG}", "stop: signal: \"SIG\": expected a signal like TERM"),
        ("reload: HUP", "reload: it is a table: {signal: HUP}"),
        ("reload: {}", "reload: signal is missing"),
        ("reload: {signal: KILL}", "reload.signal: no program takes it for a message"),
        ("reload: {signal: 34}", "reload: signal: \"34\": expected a signal like TERM"),
        ("ports: 8080", "ports: expected a table of fields, found a number"),
        ("ports: {Http: 80}", "ports: Http: expected the name of a port"),
        ("ports: {http: 0}", "ports: http: expected a port from 1 to 65535, or one for each"),
        ("ports: {http: '80{ordinal}'}", "ports: http: expected a port from 1 to 65535"),
        ("ready: {tcp: '{port.http}'}", "ready: it asks at a port that ports does not name"),
        ("health: {tcp: '{port.http}'}", "health: it asks at a port that ports does not name"),
        ("params: {a: 'x{port.http}'}", "params: a: {port.http}: ports names no http"),
        (
            "params: {a: 'x{name}'}",
            "params: a: {name} at character 2: there is no parameter name; braces that",
        ),
        (
            "params: {a: '{a}'}",
            "params: a: {a} at character 1: a parameter stands in the value of a,",
        ),
        ("nofile: 10", "nofile: it is not from 64 to 1073741816"),
        ("nofile: unlimited", "nofile: \"unlimited\": expected a whole number"),
        ("nice: 20", "nice: it is not from -20 to 19"),
        ("nice: 200", "nice: \"200\": expected a whole number"),
        ("oom_score_adj: -1001", "oom_score_adj: it is not from -1000 to 1000"),
        ("umask: 27", "umask: expected three digits from 0 to 7, in quotes"),
        ("umask: '888'", "umask: expected three digits from 0 to 7, in quotes"),
        ("state_dir: /var/lib/web", "state_dir: expected true or false, found text"),
        ("resources: {}", "resources: it limits and reserves nothing"),
        ("resources: {reserve: 2GiB, memory: 1GiB}", "resources.reserve: it is more than"),
        ("resources: 512MiB", "resources: expected a table of fields, found text"),
        ("resources: {memory: 512}", "resources: memory: \"512\": expected a size like 512MiB"),
        ("resources: {memory: 512MB}", "resources: memory: \"512MB\": expected a size like"),
        ("resources: {memory: 4KiB}", "resources.memory: it is less than 4MiB"),
        ("resources: {cpu: 200m}", "resources: cpu: \"200m\": expected a number of processors"),
        ("resources: {cpu: 0.0005}", "resources: cpu: \"0.0005\": expected a number of"),
        ("resources: {cpu: 0}", "resources.cpu: it is less than 0.01"),
        ("resources: {processes: 0}", "resources.processes: expected 1 to 4194304"),
        ("resources: {processes: 1.5}", "resources: processes: found a number with a fraction"),
        ("update: {parallel: 0%}", "update.parallel: it is 0"),
        ("update: {canary: 0}", "update.canary: it is 0; leave it out"),
        ("update: {bake: 5m}", "update.bake: it has no canary to wait after"),
        ("update: {deadline: 5s}", "update.deadline: it is not longer than update.healthy_for"),
        ("update: {auto_revert: 1}", "update: auto_revert: expected true or false, found a number"),
    ] {
        let said = of(line);
        assert!(said.starts_with(problem), "{line}: {said}");
    }
    let on = said("service: web\nscore: s\non: 'a['\n");
    assert!(on.starts_with("line 3: on: "), "{on}");
    assert!(said("service: Web\nscore: s\non: a\n").starts_with("line 1: service: "));
    assert_eq!(said("service: web\nscore: s\non: ''\n"), "line 3: on: it names no hosts");
}

#[test]
fn a_mistyped_field_is_told_the_nearest() {
    for (line, nearest) in [
        ("scores: x", "did you mean score?"),
        ("restart: {whenn: always}", "restart: unknown field \"whenn\"; did you mean when?"),
        ("ready: {notfy: true}", "ready: unknown field \"notfy\"; did you mean notify?"),
        ("stop: {signl: 2}", "stop: unknown field \"signl\"; did you mean signal?"),
        ("update: {paralell: 2}", "update: unknown field \"paralell\"; did you mean parallel?"),
    ] {
        let said = of(line);
        assert!(said.contains(nearest), "{line}: {said}");
    }
}

#[test]
fn what_is_not_offered_yet_is_said_to_be_that() {
    for name in ["logs", "dns"] {
        let expected = format!("field {name:?} is not offered yet");
        assert_eq!(of(&format!("{name}: x")), expected);
    }
}

#[test]
fn names_of_other_tools_are_told_ours() {
    for (line, ours) in [
        ("maxUnavailable: 1", "update.parallel, and budget"),
        ("stop: {before: withdraw}", "out of its endpoints before it gets the signal: linger"),
        ("replicas: 3", "place: {count: 3}: so many"),
        ("count: 3", "place: {count: 3}: so many"),
        ("datacenters: [east]", "here it is called place.zones"),
        ("place: {replicas: 3}", "here it is called count"),
        ("livenessProbe: {}", "checks of health: health: {http:"),
        ("healthcheck: {}", "checks of health: health: {http:"),
        ("health: {tcp: 1, periodSeconds: 1}", "here it is called every"),
        ("health: {tcp: 1, interval: 1s}", "here it is called every"),
        ("health: {tcp: 1, failureThreshold: 1}", "here it is called fall"),
        ("health: {tcp: 1, successThreshold: 1}", "here it is called rise"),
        ("health: {httpGet: {}}", "here it is called http"),
        ("health: {exec: {}}", "commands are not sent; name an installed score"),
        ("ready: {exec: {}}", "commands are not sent; name an installed score"),
        ("ready: {tcpSocket: {}}", "here it is called tcp"),
        ("readinessProbe: {}", "here it is called ready"),
        ("terminationGracePeriodSeconds: 30", "here it is called stop.grace"),
        ("max_parallel: 2", "here it is called update.parallel"),
        ("update: {max_parallel: 2}", "here it is called parallel"),
        ("update: {min_healthy_time: 10s}", "here it is called healthy_for"),
        ("kill_timeout: 5s", "here it is called stop.grace"),
        ("ExecStart: /usr/bin/web", "name an installed score"),
        ("Restart: always", "here it is called restart.when"),
        ("RestartSec: 1", "here it is called restart.first"),
        ("TimeoutStopSec: 5", "here it is called stop.grace"),
        ("restart: {RestartSec: 1}", "here it is called first"),
        ("autorestart: true", "here it is called restart.when"),
        ("startsecs: 5", "here it is called restart.stable_after"),
        ("stopwaitsecs: 5", "here it is called stop.grace"),
        ("MemoryMax: 1G", "here it is called resources.memory"),
        ("CPUQuota: 150%", "in processors: 1.5 is 150%"),
        ("TasksMax: 10", "here it is called resources.processes"),
        ("resources: {limits: {}}", "resources: {memory: 512MiB, cpu: 1.5, processes: 200}"),
        ("resources: {requests: {}}", "resources.reserve, which is of memory alone"),
        ("resources: {MemoryLow: 1G}", "here it is called reserve"),
        ("resources: {pids: 10}", "here it is called processes"),
        ("mem_limit: 1g", "here it is called resources.memory"),
        ("cpus: 2", "here it is called resources.cpu"),
        ("resources_enforced: false", "here it is called resources.enforced"),
        ("command: web", "name an installed score"),
        ("user: www", "the score's .conf names its user"),
        ("kind: Deployment", "begins: service: NAME"),
    ] {
        let said = of(line);
        assert!(said.contains(ours), "{line}: {said}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let said = said("service: web\nscore: s\nbudget: x\nstop: {grace: 1}\nnope: 1\n");
    assert!(said.starts_with("4 problems"), "{said}");
}

#[test]
fn a_file_is_bounded() {
    let long = format!("# {}\n", "x".repeat(super::super::FILE_BYTES));
    assert!(said(&long).starts_with("it is larger than"));
}

#[test]
fn what_is_linked_may_be_alive_twice() {
    let said = said("service: web\nscore: s\nlinked_to: db\nat_most_one: true\n");
    assert!(said.contains("at_most_one: it is not offered yet"), "{said}");
}

#[test]
fn of_what_may_not_be_alive_twice_there_are_never_more() {
    let said =
        said("service: web\nscore: s\nplace: {count: 2}\nat_most_one: true\nupdate: {surge: 1}\n");
    assert!(said.contains("update.surge: with at_most_one"), "{said}");
}
