use super::*;

const LEAST: &str = r#"
    conductors = ["c1.example.com:2258"]
    conductor_name = "c1.example.com"
    domain = "example.com"
    [tls]
    ca = "ca.pem"
    cert = "/etc/pki/player.pem"
    key = "player.key"
"#;

const ALL: &str = r#"
    conductors = ["C1.example.com:2258", "[::1]:1", "127.0.0.1:65535"]
    conductor_name = "c1.example.com"
    domain = "example.com"
    scores_dir = "scores"
    places_dir = "places"
    policy = "policy.toml"
    depot_dir = "depot"
    depot_max = "1048576GiB"
    serve_for = "30d"
    spool_dir = "/spool"
    max_tasks = 1024
    agent_user = "self"
    task_user = "www-data"
    prober_user = "probe"
    output_max = "64MiB"
    output_keep = "30d"
    output_budget = "1024GiB"
    log_budget = "16MiB"
    kill_grace = "1h"
    stop_grace = "1m30s"
    cgroup = "/sys/fs/cgroup/orchestra"
    processes_max = 4096
    max_units = 4096
    run_dir = "run"
    services_dir = "/services"
    [tls]
    ca = "ca.pem"
    cert = "cert.pem"
    key = "key.pem"
    crl = "ca.crl"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("/etc/orchestra/player.toml"), text)
}

/// Returns the keys of the problems, with their tables: `tls: key`.
fn keys(text: &str) -> Vec<String> {
    let Err(ConfigError::Invalid { problems, .. }) = parse(text) else { panic!("{text}") };
    let told = problems.to_string();
    told.lines().filter_map(key).collect()
}

/// Returns the key of a problem: `line 3: max_tasks: 0: expected …`, `tls: key is missing`.
fn key(problem: &str) -> Option<String> {
    let problem = problem.trim();
    let problem = match problem.strip_prefix("line ") {
        Some(rest) => rest.split_once(": ")?.1,
        None => problem,
    };
    if let Some(key) = problem.strip_suffix(" is missing") {
        return Some(key.to_owned());
    }
    problem.split_once(": ").map(|(key, _)| key.to_owned())
}

#[test]
fn defaults_are_those_of_the_manual() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.scores_dir, Path::new("/usr/lib/orchestra/scores"));
    assert_eq!(config.places_dir, Path::new("/etc/orchestra/places.d"));
    assert_eq!(config.depot_dir, Path::new("/var/lib/orchestra-depot"));
    assert_eq!((config.depot_max, config.serve_for), (10 << 30, Millis::minutes(60)));
    assert_eq!(config.spool_dir, Path::new("/var/spool/orchestra"));
    assert_eq!(config.max_tasks, 4);
    assert_eq!(config.agent_user, RunAs::User("orchestra".into()));
    assert_eq!(config.task_user, RunAs::User("orchestra-task".into()));
    assert_eq!(config.prober_user, None, "looked for when the player starts");
    assert_eq!(config.output_max, 1 << 20);
    assert_eq!(config.output_keep, Millis::days(1));
    assert_eq!(config.output_budget, 256 << 20);
    assert_eq!(config.log_budget, 1 << 30);
    assert_eq!(config.kill_grace, Millis::seconds(10));
    assert_eq!(config.stop_grace, Millis(0));
    assert_eq!(config.cgroup, Cgroup::Auto);
    assert_eq!(config.processes_max, None);
    assert_eq!(config.tls.ca, Path::new("/etc/orchestra/ca.pem"));
    assert_eq!(config.tls.cert, Path::new("/etc/pki/player.pem"));
    assert_eq!(config.tls.key, Path::new("/etc/orchestra/player.key"));
    assert_eq!(config.tls.crl, None);
}

#[test]
fn every_key_is_read() {
    let config = parse(ALL).unwrap();
    let shown: Vec<String> = config.conductors.iter().map(Endpoint::to_string).collect();
    assert_eq!(shown, ["c1.example.com:2258", "[::1]:1", "127.0.0.1:65535"]);
    assert_eq!(config.tls.crl.as_deref(), Some(Path::new("/etc/orchestra/ca.crl")));
    assert_eq!(config.scores_dir, Path::new("/etc/orchestra/scores"));
    assert_eq!(config.places_dir, Path::new("/etc/orchestra/places"));
    assert_eq!(config.policy.as_deref(), Some(Path::new("/etc/orchestra/policy.toml")));
    assert_eq!(config.depot_dir, Path::new("/etc/orchestra/depot"));
    assert_eq!((config.depot_max, config.serve_for), (1 << 50, Millis::days(30)));
    assert_eq!(config.spool_dir, Path::new("/spool"));
    assert_eq!(config.services_dir, Path::new("/services"));
    assert_eq!(config.max_tasks, 1024);
    assert_eq!(config.agent_user, RunAs::Caller);
    assert_eq!(config.task_user, RunAs::User("www-data".into()));
    assert_eq!(config.prober_user, Some(RunAs::User("probe".into())));
    assert_eq!(config.output_max, 64 << 20);
    assert_eq!(config.output_keep, Millis::days(30));
    assert_eq!(config.output_budget, 1 << 40);
    assert_eq!(config.log_budget, 16 << 20);
    assert_eq!(config.kill_grace, Millis::minutes(60));
    assert_eq!(config.stop_grace, Millis::seconds(90));
    assert_eq!(config.cgroup, Cgroup::At("/sys/fs/cgroup/orchestra".into()));
    assert_eq!(config.processes_max, Some(4_096));
    // `ALL` names every key that there is.
    let (top, tls) = ALL.split_once("[tls]").unwrap();
    let set = |text: &str| text.lines().filter(|line| line.contains(" = ")).count();
    assert_eq!(known_keys(&format!("{top}zzzzzz = 1\n[tls]{tls}")), set(top) + 1, "and tls");
    assert_eq!(known_keys(&format!("{ALL}zzzzzz = 1\n")), set(tls));
}

/// Returns how many known keys are listed for a key that is like none of them.
fn known_keys(text: &str) -> usize {
    let told = orchestra_model::chain(&parse(text).unwrap_err());
    let (_, known) = told.rsplit_once("there are ").unwrap();
    known.split(", ").count()
}

#[test]
fn the_packaged_example_is_valid() {
    let example = include_str!("../../../packaging/etc/player.toml");
    let missing = ["conductors", "conductor_name", "domain", "tls: ca", "tls: cert", "tls: key"];
    assert_eq!(keys(example), missing, "nothing of it is live");
    let config = parse(&orchestra_harness::uncommented(example)).unwrap();
    let defaults = parse(LEAST).unwrap();
    assert_eq!(config.max_tasks, defaults.max_tasks);
    assert_eq!(config.agent_user, defaults.agent_user);
    assert_eq!(config.output_max, defaults.output_max);
    assert_eq!(config.log_budget, defaults.log_budget);
}

#[test]
fn unknown_keys_are_told_all_at_once_with_the_nearest_known() {
    let text = LEAST.replace("[tls]", "max_task = 4\nzzz = 1\n[tls]\ncertt = \"x\"");
    let error = orchestra_model::chain(&parse(&text).unwrap_err());
    assert!(error.starts_with("configuration /etc/orchestra/player.toml: 3 problems"), "{error}");
    assert!(error.contains("line 8: tls: unknown field \"certt\"; did you mean cert?"), "{error}");
    assert!(
        error.contains("line 5: unknown field \"max_task\"; did you mean max_tasks?"),
        "{error}"
    );
    assert!(error.contains("line 6: unknown field \"zzz\"; there are conductors,"), "{error}");
}

#[test]
fn missing_keys_are_told_all_at_once() {
    let missing = ["conductors", "conductor_name", "domain", "tls: ca", "tls: cert", "tls: key"];
    assert_eq!(keys(""), missing);
}

#[test]
fn bad_values_are_told_all_at_once() {
    let text = r#"
        conductors = ["c1", "c1:0", "::1:5", "c1:+5", "[x]:5", "-:5"]
        conductor_name = "C1"
        domain = ""
        max_tasks = 0
        agent_user = "a:b"
        output_max = "1"
        kill_grace = "61m"
        stop_grace = "soon"
        cgroup = "sys"
        tls = {ca = "a", cert = "b", key = "c"}
    "#;
    let told = keys(text);
    assert_eq!(told.iter().filter(|key| *key == "conductors").count(), 6);
    for key in ["conductor_name", "domain", "max_tasks", "agent_user", "output_max"] {
        assert!(told.iter().any(|told| told == key), "{key} of {told:?}");
    }
    for key in ["kill_grace", "stop_grace", "cgroup"] {
        assert!(told.iter().any(|told| told == key), "{key} of {told:?}");
    }
}

#[test]
fn bounds_hold_on_both_sides() {
    let with = |line: &str| LEAST.replace("[tls]", &format!("{line}\n[tls]"));
    for bad in [
        "max_tasks = 1025",
        "max_tasks = 5000000000",
        "output_max = \"4095B\"",
        "log_budget = \"15MiB\"",
        "log_budget = \"2TiB\"",
        "output_keep = \"31d\"",
        "output_budget = \"1025GiB\"",
        "output_max = \"65MiB\"",
        "output_max = \"99999999999GiB\"",
        "output_max = \"+8KiB\"",
        "kill_grace = \"3600001ms\"",
        "cgroup = \"/sys/../etc\"",
        "task_user = \"\"",
        "processes_max = 0",
        "processes_max = 4194305",
        "processes_max = 10\ncgroup = \"none\"",
    ] {
        let key = bad.split(' ').next().unwrap();
        assert_eq!(keys(&with(bad)), [key], "{bad}");
    }
    assert_eq!(keys(&LEAST.replace("[\"c1.example.com:2258\"]", "[]")), ["conductors"]);
}

#[test]
fn a_wrong_type_is_shown_where_it_is() {
    let text = LEAST.replace("[tls]", "max_tasks = \"four\"\n[tls]");
    let told = orchestra_model::chain(&parse(&text).unwrap_err());
    assert_eq!(
        told,
        "configuration /etc/orchestra/player.toml: line 5: max_tasks: expected a whole number from 1 \
         to 1024, found text"
    );
}
