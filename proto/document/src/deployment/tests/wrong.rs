//! What is refused, in which words.

use orchestra_model::hostset::NoGroups;

use super::{Format, parse, read::Reader};
use crate::Problems;

fn problems(text: &str) -> Vec<String> {
    let problems = parse(text, Format::Yaml, &NoGroups).unwrap_err().to_string();
    match problems.split_once(" problems\n  ") {
        Some((_, list)) => list.split("\n  ").map(str::to_owned).collect(),
        None => vec![problems],
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = "\
d:
  aps: {}
  apps:
    frontend: {inlien: [fe1]}
    backend: 'be['
    all: x
    db: ''
    cache: {inline: [5, [x]]}
  envs:
    cluster:
      inline:
        - east:
        - west: [x]
        - fe1
        - fe2
        - {a: x, b: y}
        - west: y
    rack: {inline: [], r1: x}
  constraints:
    clutser:
      concurrency: [frontend: 0, backedn: 1, db: 101%]
    cluster:
      limit: 5
      app: {backend: 1}
      concurrency: {backend: 1.5}
      sequence: [backend, [backend, frontend, backend], [true, db]]
";
    assert_eq!(
        problems(text),
        [
            "line 2: d: unknown field \"aps\"; did you mean apps?",
            "line 4: d, app frontend: unknown field \"inlien\"; did you mean inline?",
            "d, app backend: host set \"be[\", character 3: this bracket is never closed",
            "d: app name \"all\": @all is every host there is",
            "d, app cache: expected a host set, found a number",
            "d, app cache: expected a host set, found a list",
            "d, envs cluster: member 3: expected a name with its value, found text; what belongs to \
             a name goes below it, as in: - east: [fe1, fe2]",
            "d, envs cluster: member 5: expected one name with its value, found 2",
            "d, envs cluster, east: it is empty; its hosts go below it, indented",
            "d, envs cluster, west: it is given twice",
            "d, envs rack: inline holds all environments or is left out; 1 stand beside it",
            "d, constraints clutser, concurrency: db: \"101%\": expected a number of hosts like 5, \
             or a share in whole percent like 20%",
            "line 23: d, constraints cluster: unknown field \"limit\"; there are concurrency, app, \
             sequence",
            "d, constraints cluster: app is another word for concurrency; give one of them",
            "d, constraints cluster, concurrency: backend: expected N or N%, found a number with a \
             fraction",
            "d, constraints cluster, sequence: member 1: expected a list of apps, found text; write \
             [[backend, frontend]]",
            "d, constraints cluster, sequence: expected a name, found true or false; quote it",
            "d, constraints cluster, sequence: a circle, backend before frontend before backend",
            "d, constraints clutser: envs has no clutser; did you mean cluster?",
            "d, constraints clutser, concurrency: there is no app backedn; did you mean backend?",
            "and 1 more",
        ]
    );
}

#[test]
fn what_no_single_field_can_tell_is_checked() {
    let d = |apps: &str, envs: &str, constraints: &str| {
        format!("d: {{apps: {apps}, envs: {envs}, constraints: {constraints}}}")
    };
    let envs = "{e: {v: 'x[1-2]', w: 'y[1-2]'}}";
    for (text, said) in [
        (String::new(), "it names no deployments"),
        ("# soon\n".to_owned(), "it names no deployments"),
        ("{}".to_owned(), "it names no deployments"),
        ("5".to_owned(), "expected names with their values, found a number"),
        ("d:".to_owned(), "d: expected a table of fields, found nothing"),
        ("d: {}".to_owned(), "d: apps is missing"),
        ("d: {apps: }".to_owned(), "d: apps: it is empty; give it a value or leave it out"),
        ("d: {apps: {}}".to_owned(), "d, it has no apps"),
        ("d: {apps: {a: x}}\nd: {apps: {a: x}}".to_owned(), "it is not YAML: "),
        ("[{d: {apps: {a: x}}}, {d: {apps: {a: x}}}]".to_owned(), "d: it is given twice"),
        (
            "apps: {a: x}".to_owned(),
            "deployment name \"apps\": this belongs below the name of a deployment",
        ),
        ("d: {apps: {a: ''}}".to_owned(), "d, app a: it has no hosts"),
        ("d: {apps: {a: []}}".to_owned(), "d, app a: it has no hosts"),
        ("d: {apps: {a: {}}}".to_owned(), "d, app a: it has no hosts"),
        (
            "d: {apps: {inline: [x]}}".to_owned(),
            "d: app name \"inline\": inline comes before hosts, it is no name",
        ),
        (
            "d: {apps: {a: {hosts: x}}}".to_owned(),
            "d, app a: unknown field \"hosts\"; here it is called inline",
        ),
        ("d: {environments: {}, apps: {a: x}}".to_owned(), "here it is called envs"),
        ("d: {concurrency: {a: 1}, apps: {a: x}}".to_owned(), "it goes below constraints"),
        ("d: {apps: {a: x}, envs: {e: {}}}".to_owned(), "d, envs e: it has no environments"),
        ("d: {apps: {a: x}, envs: {e: {v: []}}}".to_owned(), "d, envs e, v: it has no hosts"),
        ("d: {apps: {a: x}, envs: {e: {v: '@g'}}}".to_owned(), "known to the conductor only"),
        (
            d("{a: x1}", envs, "{e: {}}"),
            "d, constraints e: there is neither concurrency nor sequence",
        ),
        (d("{a: x1}", envs, "{e: {max_parallel: {a: 1}}}"), "here it is called concurrency"),
        (
            d("{a: x1}", envs, "{e: {concurrency: {a: 1}}}"),
            "d, constraints e, concurrency: a has no hosts in w, so its limit holds nothing there",
        ),
        (
            d("{a: 'x1,y1'}", envs, "{e: {concurrency: {a: 0}}}"),
            "a is 0, so nothing could ever start",
        ),
        (
            d("{a: 'x1,y1'}", envs, "{e: {concurrency: {a: 0%}}}"),
            "a is 0, so nothing could ever start",
        ),
        (
            d("{a: 'x1,y1'}", envs, "{e: {concurrency: {a: -1}}}"),
            "\"-1\": expected a number of hosts",
        ),
        (d("{a: 'x1,y1'}", envs, "{e: {concurrency: {a: 0x2}}}"), "\"0x2\""),
        (d("{a: x1}", envs, "{e: {sequence: [[a]]}}"), "list 1 names less than two apps"),
        (d("{a: x1}", envs, "{e: {sequence: [[a, a]]}}"), "a circle, a before a"),
        (d("{a: x1}", envs, "{e: {sequence: [[a, b]]}}"), "sequence: there is no app b"),
        (
            d("{a: x1, b: y1}", envs, "{e: {sequence: [[a, b], [b, a]]}}"),
            "a circle, a before b before a",
        ),
    ] {
        let told = match parse(&text, Format::Yaml, &NoGroups) {
            Ok(_) => panic!("{text} was taken"),
            Err(problems) => problems.to_string(),
        };
        assert!(told.contains(said), "{text}: {told}");
    }
}

#[test]
fn bounds_hold_before_work_is_done() {
    let large = " ".repeat(9 << 20);
    assert_eq!(problems(&large), ["it is larger than 8388608 bytes"]);
    let tree = Format::Yaml.parse("d: {apps: {a: 'h[1-5]', b: 'h[1-5]', c: h1}}").unwrap();
    for (hosts_left, told) in [(11, ""), (10, "d, app c: the file names too many hosts")] {
        let mut problems = Problems::default();
        let mut reader = Reader::new(&NoGroups, &mut problems);
        reader.hosts_left = hosts_left;
        assert_eq!(reader.file(&tree).len(), 1);
        assert!(problems.len() <= 1 && problems.to_string().contains(told), "{problems}");
        assert_eq!(problems.is_empty(), told.is_empty());
    }
}

#[test]
fn what_does_not_parse_says_where() {
    for (format, text) in
        [(Format::Yaml, "d: [1, 2\n"), (Format::Json, "{\"d\": }"), (Format::Toml, "d = \n")]
    {
        let told = parse(text, format, &NoGroups).unwrap_err().to_string();
        assert!(told.starts_with(&format!("it is not {}: ", format.as_str())), "{told}");
        assert!(told.contains("line"), "{told}");
    }
}
