//! `orc deployment check`: no conductor is there to be asked.

use std::{fs, io::Write as _, path::Path, process::Stdio};

use serde_json::json;
use tempfile::TempDir;

use crate::fake::{Ran, bare, ran};

/// The wiki's third example, as the parser's own tests have it.
const WIKI: &str = include_str!("../../../proto/document/testdata/wiki-3.yaml");

fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("wiki.yaml"), WIKI).unwrap();
    home
}

fn check(home: &Path, words: &[&str]) -> Ran {
    let words = [&["deployment", "check"], words].concat();
    ran(bare("orc", &words, home).current_dir(home))
}

#[test]
fn what_a_file_means_is_told() {
    let home = home();
    let more = "[other.apps]\ndb = 'db[1-3]'\n[other.envs.rack]\nr1 = 'db1,fe1.east.example.com'\n";
    fs::write(home.path().join("more.toml"), more).unwrap();
    let said = "\
example-deployment
  apps
    backend   be[1-5].east.example.com,be[1-5].west.example.com (10)
    frontend  fe[1-6].east.example.com,fe[1-6].west.example.com (12)
  envs
    cluster east  be[1-5].east.example.com,fe[1-6].east.example.com (11)
    cluster west  be[1-5].west.example.com,fe[1-6].west.example.com (11)
  cells
    cluster east backend   1 of be[1-5].east.example.com (5)
    cluster east frontend  3 of fe[1-6].east.example.com (6), after backend
    cluster west backend   1 of be[1-5].west.example.com (5)
    cluster west frontend  3 of fe[1-6].west.example.com (6), after backend
other
  apps
    db  db[1-3] (3)
  envs
    rack r1  db1,fe1.east.example.com (2)
  unthrottled: db[1-3] (3)
";
    check(home.path(), &["wiki.yaml", "more.toml"]).is(0, said, "");
}

#[test]
fn the_example_of_the_manual_is_sound() {
    let home = home();
    let manual = include_str!("../../../docs/deployments.md");
    let shop = include_str!("../../../demo/deployments/shop.yaml");
    let yaml = manual.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    fs::write(home.path().join("manual.yaml"), yaml).unwrap();
    fs::write(home.path().join("shop.yaml"), shop).unwrap();
    let shown = check(home.path(), &["shop.yaml", "--show"]);
    check(home.path(), &["manual.yaml", "--show"]).is(0, &shown.stdout, "");
}

#[test]
fn the_canonical_form_is_shown_in_each_format_and_is_its_own() {
    let home = home();
    for (option, file) in
        [("--show", "shown.yaml"), ("--show=toml", "shown.toml"), ("--show=json", "shown.json")]
    {
        let shown = check(home.path(), &["wiki.yaml", option]);
        assert_eq!(shown.code, 0, "{shown:?}");
        fs::write(home.path().join(file), &shown.stdout).unwrap();
        check(home.path(), &[file, option]).is(0, &shown.stdout, "");
    }
    let yaml = fs::read_to_string(home.path().join("shown.yaml")).unwrap();
    assert!(
        yaml.contains("\n        frontend: 50%\n      sequence:\n        - [backend, frontend]\n")
    );
}

#[test]
fn json_has_the_canonical_form_and_the_cells() {
    let home = home();
    let deployment = &check(home.path(), &["wiki.yaml", "--json"]).json()["deployments"][0];
    assert_eq!(deployment["name"], "example-deployment");
    assert_eq!(
        deployment["constraints"],
        json!({"cluster": {"concurrency": {"backend": 1, "frontend": "50%"},
                           "sequence": [["backend", "frontend"]]}})
    );
    assert_eq!(
        deployment["cells"][1],
        json!({"env_type": "cluster", "env_value": "east", "app": "frontend", "limit": 3,
               "hosts": "fe[1-6].east.example.com", "count": 6, "after": ["backend"]})
    );
    assert_eq!(deployment["unthrottled"], "");
}

#[test]
fn all_problems_of_all_files_are_told_at_once() {
    let home = home();
    fs::write(home.path().join("a.yaml"), "d: {apps: {a: '@web', b: x}, envz: {}}\n").unwrap();
    fs::write(home.path().join("b.json"), "{\"d\": }\n").unwrap();
    check(home.path(), &["wiki.yaml", "a.yaml", "b.json", "wiki.yaml"]).is(
        64,
        "",
        "error: checking deployments: 4 problems\n  \
         a.yaml: line 1: d: unknown field \"envz\"; did you mean envs?\n  \
         a.yaml: d, app a: host set \"@web\", character 1: groups and labels are known to the \
         conductor only; name the hosts, or ask the conductor\n  \
         b.json: it is not JSON: expected value at line 1 column 7\n  \
         wiki.yaml: example-deployment: there is a deployment of this name in wiki.yaml already\n",
    );
    check(home.path(), &["nowhere.yaml"])
        .fails(64, &["error: reading deployments from nowhere.yaml: No such file"]);
    check(home.path(), &[]).fails(64, &["<FILE>"]);
    check(home.path(), &["wiki.yaml", "--show=xml"]).fails(64, &["xml"]);
}

#[test]
fn hosts_that_would_wait_for_each_other_are_warned_of() {
    let home = home();
    let text = "d: {apps: {a: 'x[1-3]', b: 'x[3-5]'}, envs: {e: {v: 'x[1-5]'}}, \
                constraints: {e: {sequence: [[a, b]]}}}\n";
    fs::write(home.path().join("both.yaml"), text).unwrap();
    let checked = check(home.path(), &["both.yaml"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    assert_eq!(
        checked.stderr,
        "warning: a slot that has all of these hosts is refused: d puts a before b within each e, \
         and in both are x3 (1)\n"
    );
}

#[test]
fn standard_input_is_a_file() {
    let home = home();
    let mut command = bare("orc", &["deployment", "check", "-", "--show"], home.path());
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(WIKI.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stdout.starts_with(b"example-deployment:\n  apps:\n    backend: be[1-5]"));
}
