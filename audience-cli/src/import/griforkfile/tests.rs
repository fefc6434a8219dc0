use orchestra_document::Format;
use orchestra_model::tree::Advance;

use super::*;
use crate::flow::{Overrides, read_file};

const EXAMPLE: &str = "branches 4 # so many\n\
    log file: 'grifork.log'\n\
    mode :standalone\n\
    hosts ['web1.internal', \"web2.internal\",\n  'db1.internal'] # three\n\
    rsync delete: false, bwlimit: 8000, excludes: ['.git', 'tmp']\n\
    prepare do\n  if true\n    sh 'date'\n  end\nend\n\
    local do\n  rsync '/path/to/my app/'\nend\n\
    remote do\n  rsync_remote '/path/to/my app/'\n  rsync_remote '/etc/#more/'\nend\n";

#[test]
fn literal_settings_become_a_flow_and_the_rest_notes() {
    let read = Griforkfile::read(EXAMPLE).unwrap();
    let text = read.flow(Some("build1"));
    let flow = read_file(&text, Format::Yaml, "it", &Overrides::default()).unwrap();
    assert_eq!(flow.spec.slots.len(), 2, "{text}");
    let job = &flow.spec.slots[0].jobs[0];
    assert_eq!(job.targets, "db1.internal,web[1-2].internal");
    let tree = job.tree.as_deref().unwrap();
    assert_eq!((tree.branches, tree.advance), (4, Advance::Generation));
    assert_eq!(tree.root.as_deref(), Some("build1"));
    let told: Vec<(&str, &str)> =
        flow.params[0].2.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let expected = [
        ("bwlimit", "8000"),
        ("delete", "false"),
        ("exclude", ".git"),
        ("path", "/path/to/my app/"),
    ];
    assert_eq!(told, expected);
    assert!(flow.params[1].2.iter().any(|(_, value)| value == "/etc/#more/"));
    for note in [
        "line 2: log: left out",
        "line 6: rsync: rsync-pull takes one pattern",
        "line 7: prepare: becomes a slot on the root before",
        "line 12: local: becomes a score",
    ] {
        assert!(read.notes.iter().any(|it| it.starts_with(note)), "{note}\n{:?}", read.notes);
    }
}

#[test]
fn what_is_unknown_or_missing_or_a_program_is_an_error() {
    for (text, why) in [
        ("branches 2\nhosts ['a']\nbranch 3\n", "line 3: unknown word \"branch\""),
        ("branches 0\nhosts ['a']\n", "line 1: branches: expected a number from 1 to 64"),
        ("hosts ['a']\n", "branches is missing"),
        ("branches 2\n", "hosts is missing"),
        ("branches 2\nhosts File.readlines(list)\n", "line 2: hosts: expected a list of names"),
        ("branches 2\nhosts ['a[']\n", "line 2: hosts: "),
        ("branches 2\nhosts ['a']\nlocal do\n  rsync '/p/'\n", "line 3: local: its end is missing"),
    ] {
        let problems = Griforkfile::read(text).map(drop).unwrap_err();
        assert!(problems.in_one_line().contains(why), "{text}: {problems}");
    }
}

#[test]
fn whatever_a_path_holds_is_quoted() {
    for path in ["/a\"b\\c", "/a\u{202e}b\u{1b}[2Jc", "/$(x) {y}: #z", "/\u{e9}\u{10348}"] {
        let text = format!("branches 2\nhosts ['a']\nlocal do\n rsync '{path}'\nend\n");
        let flow = Griforkfile::read(&text).unwrap().flow(None);
        let flow = read_file(&flow, Format::Yaml, "it", &Overrides::default()).unwrap();
        assert_eq!(flow.params[0].2.iter().next().map(|(_, value)| value), Some(path));
    }
}
