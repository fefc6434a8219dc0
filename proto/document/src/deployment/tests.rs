use orchestra_model::{
    HostSet,
    hostset::NoGroups,
    names::{AppName, GroupName},
};

use super::*;

mod properties;
mod wrong;

const WIKI: [&str; 3] = [
    include_str!("../../testdata/wiki-1.yaml"),
    include_str!("../../testdata/wiki-2.yaml"),
    include_str!("../../testdata/wiki-3.yaml"),
];

fn yaml(text: &str) -> Vec<Deployment> {
    read_as(Format::Yaml, text)
}

fn read_as(format: Format, text: &str) -> Vec<Deployment> {
    parse(text, format, &NoGroups).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// Each cell as a line.
fn cells(deployments: &[Deployment]) -> Vec<String> {
    let deployments = Deployments::new(deployments.to_vec()).unwrap();
    let cells = deployments.cells();
    let line = |cell: &orchestra_model::deployment::Cell| {
        let after: String = cell
            .predecessors
            .iter()
            .map(|id| format!(" after {}", cells[*id].key.name()))
            .collect();
        let limit = cell.limit.map_or_else(|| "any".to_owned(), |limit| limit.to_string());
        format!("{}: {limit} of {}{after}", cell.key, cell.hosts.counted())
    };
    cells.as_slice().iter().map(line).collect()
}

#[test]
fn the_first_example_of_the_wiki_limits_to_the_value_not_to_the_comment() {
    assert_eq!(
        cells(&yaml(WIKI[0])),
        [
            "frontend in cluster east of example-deployment: 2 of fe[1-6].east.example.com (6)",
            "frontend in cluster west of example-deployment: 2 of fe[1-6].west.example.com (6)",
        ]
    );
}

#[test]
fn the_second_example_of_the_wiki_limits_half_the_frontends_and_one_backend() {
    assert_eq!(
        cells(&yaml(WIKI[1])),
        [
            "backend in cluster east of example-deployment: 1 of be[1-5].east.example.com (5)",
            "frontend in cluster east of example-deployment: 3 of fe[1-6].east.example.com (6)",
            "backend in cluster west of example-deployment: 1 of be[1-5].west.example.com (5)",
            "frontend in cluster west of example-deployment: 3 of fe[1-6].west.example.com (6)",
        ]
    );
}

#[test]
fn the_third_example_of_the_wiki_puts_backends_first_in_each_cluster() {
    assert_eq!(
        cells(&yaml(WIKI[2])),
        [
            "backend in cluster east of example-deployment: 1 of be[1-5].east.example.com (5)",
            "frontend in cluster east of example-deployment: 3 of fe[1-6].east.example.com (6) \
             after backend",
            "backend in cluster west of example-deployment: 1 of be[1-5].west.example.com (5)",
            "frontend in cluster west of example-deployment: 3 of fe[1-6].west.example.com (6) \
             after backend",
        ]
    );
}

#[test]
fn the_canonical_form_is_this() {
    let third = yaml(WIKI[2]);
    let text = "\
example-deployment:
  apps:
    backend: be[1-5].east.example.com,be[1-5].west.example.com
    frontend: fe[1-6].east.example.com,fe[1-6].west.example.com
  envs:
    cluster:
      east: be[1-5].east.example.com,fe[1-6].east.example.com
      west: be[1-5].west.example.com,fe[1-6].west.example.com
  constraints:
    cluster:
      concurrency:
        backend: 1
        frontend: 50%
      sequence:
        - [backend, frontend]
";
    assert_eq!(show(&third, Format::Yaml), text);
    let toml = "\
[example-deployment.apps]
backend = \"be[1-5].east.example.com,be[1-5].west.example.com\"
frontend = \"fe[1-6].east.example.com,fe[1-6].west.example.com\"

[example-deployment.envs.cluster]
east = \"be[1-5].east.example.com,fe[1-6].east.example.com\"
west = \"be[1-5].west.example.com,fe[1-6].west.example.com\"

[example-deployment.constraints.cluster]
sequence = [[\"backend\", \"frontend\"]]

[example-deployment.constraints.cluster.concurrency]
backend = 1
frontend = \"50%\"
";
    assert_eq!(show(&third, Format::Toml), toml);
    let json = show(&third, Format::Json);
    assert!(json.ends_with("}\n") && json.contains("\"backend\": 1,\n"), "{json}");
    for format in [Format::Yaml, Format::Toml, Format::Json] {
        assert_eq!(read_as(format, &show(&third, format)), third, "{format:?}");
    }
}

/// The third example, as it would be written by hand in the other formats.
#[test]
fn the_shapes_of_the_wiki_mean_the_same_in_all_formats() {
    let json = r#"{"example-deployment": {
        "apps": {
            "frontend": {"inline": ["fe{1-6}.east.example.com", "fe{1-6}.west.example.com"]},
            "backend": {"inline": ["be{1-5}.east.example.com", "be{1-5}.west.example.com"]}
        },
        "envs": {"cluster": {"inline": [
            {"east": ["fe{1-6}.east.example.com", "be{1-5}.east.example.com"]},
            {"west": ["fe{1-6}.west.example.com", "be{1-5}.west.example.com"]}
        ]}},
        "constraints": {"cluster": {
            "concurrency": {"frontend": "50%", "backend": 1},
            "sequence": [["backend", "frontend"]]
        }}
    }}"#;
    let toml = r#"
        [example-deployment.apps]
        frontend.inline = ["fe{1-6}.east.example.com", "fe{1-6}.west.example.com"]
        backend.inline = ["be{1-5}.east.example.com", "be{1-5}.west.example.com"]
        [[example-deployment.envs.cluster.inline]]
        east = ["fe{1-6}.east.example.com", "be{1-5}.east.example.com"]
        [[example-deployment.envs.cluster.inline]]
        west = ["fe{1-6}.west.example.com", "be{1-5}.west.example.com"]
        [example-deployment.constraints.cluster]
        app = [{frontend = "50%"}, {backend = 1}]
        sequence = [["backend", "frontend"]]
    "#;
    assert_eq!(read_as(Format::Json, json), yaml(WIKI[2]));
    assert_eq!(read_as(Format::Toml, toml), yaml(WIKI[2]));
}

#[test]
fn every_shape_means_the_same() {
    let plain = yaml(
        "d: {apps: {a: 'x[1-4]', b: 'x[3-6]'}, envs: {e: {v: 'x[1-3]', w: 'x[4-6]'}}, \
         constraints: {e: {concurrency: {a: 1, b: 50%}, sequence: [[a, b]]}}}",
    );
    let with = |apps: &str, envs: &str, constraint: &str| {
        format!("d: {{apps: {apps}, envs: {envs}, constraints: {{e: {constraint}}}}}")
    };
    let apps = [
        "{a: 'x[1-4]', b: 'x[3-6]'}",
        "{a: [x1, 'x[2-3]', x4, x1], b: {inline: 'x[3-6]'}}",
        "[{a: {inline: ['x{1-4}']}}, {b: ['x[1-6]!x[1-2]']}]",
    ];
    let envs = [
        "{e: {v: 'x[1-3]', w: 'x[4-6]'}}",
        "{e: {v: {inline: [x1, x2, x3]}, w: [x4, 'x5 x6']}}",
        "{e: {inline: [{v: 'x[1-3]'}, {w: {inline: ['x[4-6]']}}]}}",
        "{e: {inline: {v: 'x[1-3]', w: 'x[4-6]'}}}",
        "{e: [{w: 'x[4-6]'}, {v: 'x[1-3]'}]}",
        "[{e: {v: 'x[1-3]', w: 'x[4-6]'}}]",
    ];
    let constraints = [
        "{concurrency: {a: 1, b: 50%}, sequence: [[a, b]]}",
        "{concurrency: {a: '1', b: '50%'}, sequence: [[a, b], [a, b]]}",
        "{concurrency: [{b: 50%}, {a: 1}], sequence: [[a, b]]}",
        "{app: [{a: 1}, {b: 50%}], sequence: [[a, b]]}",
        "{app: {a: 1, b: 50%}, sequence: [[a, b]]}",
    ];
    for apps in apps {
        for envs in envs {
            for constraint in constraints {
                let text = with(apps, envs, constraint);
                assert_eq!(yaml(&text), plain, "{text}");
            }
        }
    }
    assert_eq!(
        yaml(&format!(
            "[{}]",
            with(apps[0], envs[0], constraints[0]).replace("d: {", "{d: {") + "}"
        )),
        plain
    );
}

#[test]
fn members_of_a_list_are_expressions_of_their_own() {
    let read = yaml("d: {apps: {a: [x1, 'x[1-9]!x[1-8]', 'x[5-6]&x6']}}");
    assert_eq!(read[0].apps["a"].to_string(), "x[1,6,9]");
}

#[test]
fn names_that_look_like_other_things_are_names() {
    let text = "1: {apps: {0x1F: a1, true: a2, 1.10: a3, 'null': a4, '007': a5}, \
                envs: {2: {3: 'a[1-5]'}}, \
                constraints: {2: {concurrency: {0x1F: 1}, sequence: [[0x1F, 'true', '007']]}}}";
    let read = yaml(text);
    let apps: Vec<&str> = read[0].apps.keys().map(AppName::as_str).collect();
    assert_eq!(apps, ["007", "0x1F", "1.10", "null", "true"]);
    assert_eq!(cells(&read).len(), 3);
    for format in [Format::Yaml, Format::Toml, Format::Json] {
        assert_eq!(read_as(format, &show(&read, format)), read, "{format:?}");
    }
}

/// `@web`, `@rack=r1`, and nothing else.
struct Few;

impl Groups for Few {
    fn all(&self) -> HostSet {
        HostSet::parse_plain("w[1-9]").unwrap()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        (name.as_str() == "web").then(|| HostSet::parse_plain("w[1-4]").unwrap())
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        ((key, value) == ("rack", "r1")).then(|| HostSet::parse_plain("w[3-6]").unwrap())
    }
}

#[test]
fn groups_and_labels_are_looked_up() {
    let text = "d: {apps: {web: '@web', rest: '@all!@web'}, envs: {rack: {r1: '@rack=r1'}}, \
                constraints: {rack: {concurrency: {web: 50%}}}}";
    let read = parse(text, Format::Yaml, &Few).unwrap();
    assert_eq!(cells(&read), ["web in rack r1 of d: 1 of w[3-4] (2)"]);
    let unknown = "d: {apps: {a: '@nobody', b: '@rack=r2'}}";
    let problems = parse(unknown, Format::Yaml, &Few).unwrap_err().to_string();
    assert!(problems.contains("d, app a: host set \"@nobody\", character 1: there is no group"));
    assert!(problems.contains("d, app b: host set \"@rack=r2\", character 1: no host has"));
    let problems = parse(text, Format::Yaml, &NoGroups).unwrap_err().to_string();
    assert!(problems.contains("known to the conductor only"), "{problems}");
}

#[test]
fn several_files_hold_together() {
    let second = "[other.apps]\nfrontend = \"fe[1-9].north\"\n";
    let sources = [
        SourceText { name: "a.yaml", format: Format::Yaml, text: WIKI[0] },
        SourceText { name: "b.toml", format: Format::Toml, text: second },
    ];
    let parsed = parse_all(sources, &NoGroups).unwrap();
    let all = parsed.deployments;
    assert_eq!(all.len(), 2);
    assert_eq!(all.app(&GroupName::new("frontend").unwrap()).unwrap().len(), 21);

    let again = SourceText { name: "c.yaml", format: Format::Yaml, text: WIKI[2] };
    let broken =
        SourceText { name: "d.json", format: Format::Json, text: "{\"x\": {}, \"y z\": {}}" };
    let problems = parse_all(sources.into_iter().chain([again, broken]), &NoGroups).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "3 problems\n  \
         c.yaml: example-deployment: there is a deployment of this name in a.yaml already\n  \
         d.json: x: apps is missing\n  \
         d.json: deployment name \"y z\": only letters, digits, '.', '_' and '-' are allowed"
    );
    assert!(parse_all([], &NoGroups).unwrap().deployments.is_empty());
}
