//! What holds for the repository as a whole, and no compiler checks: who may import whom, one
//! version of each dependency, where unsafe code may be, what tests may not do, what every sample
//! score has, what the simulation's mutants change, where links lead.
//!
//! It reads files and asks `cargo metadata`; it needs no network and builds nothing.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use orchestra_document::score;
use orchestra_model::ScoreName;

/// Crates by floor: each imports what is below it, and nothing else of ours.
const FLOORS: [&[&str]; 5] = [
    &["orchestra-model"],
    &[
        "orchestra-daemon",
        "orchestra-document",
        "orchestra-proto",
        "orchestra-certs",
        "orchestra-flow",
        "orchestra-policy",
        "orchestra-service",
        "orchestra-spread",
        "orchestra-store",
        "orchestra-spool",
        "orchestra-units",
        "orchestra-depot",
        HARNESS,
    ],
    &["orchestra-bundle", "orchestra-ca", "orchestra-client", "orchestra-link"],
    &["conductor", "player", "relay", "audience-cli", "serve-web"],
    &["orchestra-tests", "orchestra-peers"],
];

/// The engines, which do no IO, read no clock and draw no chance: they import the model, which does
/// neither.
const ENGINES: [&str; 7] = [
    "orchestra-depot",
    "orchestra-flow",
    "orchestra-policy",
    "orchestra-service",
    "orchestra-spool",
    "orchestra-spread",
    "orchestra-units",
];

/// What tests share, and the product does not see.
const HARNESS: &str = "orchestra-harness";

/// The folders of what decides, refuses and explains, for whoever asks and by whatever tool.
const DECIDERS: [&str; 11] = [
    "conductor/flow/src/",
    "conductor/policy/src/",
    "conductor/service/src/",
    "conductor/spread/src/",
    "conductor/src/desk/",
    "conductor/src/history/",
    "conductor/src/inventory/",
    "player/depot/src/",
    "player/spool/src/",
    "player/units/src/",
    "proto/model/src/",
];

/// Who alone may write a log, and what it is written with.
const LOG: (&str, &str) = ("orchestra-daemon", "tracing-subscriber");

/// The folders of what runs in a daemon, and the files there that may name standard error: three hand it
/// on to a process, one is the log.
const DAEMONS: [&str; 15] = [
    "certs/src/",
    "conductor/flow/src/",
    "conductor/policy/src/",
    "conductor/service/src/",
    "conductor/spread/src/",
    "conductor/src/",
    "conductor/store/src/",
    "player/bundle/src/",
    "player/depot/src/",
    "player/link/src/",
    "player/relay/src/",
    "player/spool/src/",
    "player/src/",
    "player/units/src/",
    "proto/",
];
const MAY_NAME_STANDARD_ERROR: [&str; 5] = [
    "player/src/sitter/agent_process.rs",
    "player/src/sitter/guarding.rs",
    "player/src/sitter/launcher/launchers.rs",
    "player/src/sitter/probers.rs",
    "proto/daemon/src/log.rs",
];

/// Where unsafe code may be, and why.
const UNSAFE: [(&str, &str); 1] =
    [("player/src/sitter/sys.rs", "starting a score's process takes system calls of its own")];

/// Names that several public types may have, and why.
const SHARED_NAMES: [(&str, &str); 10] = [
    ("Canonical", "prints the kind of document that its module is about, in its one form"),
    ("Config", "each daemon has one, in a crate that nobody imports"),
    ("Effect", "what an engine asks of its driver; each engine has its own"),
    ("Entry", "one change of an engine's journal"),
    ("Input", "what happens to an engine; each engine has its own"),
    ("Rejection", "why an engine does not do what it is asked; each engine has its own"),
    ("Replayed", "an engine's own form of what `orchestra_model::journal` read"),
    ("Reply", "an engine's answer, to an address of its own"),
    ("ReplyId", "the address of an engine's answer; each engine has its own"),
    ("State", "what an engine's journal adds up to"),
];

/// What pages name in the form of a path of ours, and is none.
const NAMES_LIKE_PATHS: [&str; 0] = [];

#[test]
fn imports_point_downwards() {
    let floor = |name: &str| FLOORS.iter().position(|floor| floor.contains(&name));
    let mut wrong = Vec::new();
    let packages = packages();
    for package in &packages {
        let Some(own) = floor(&package.name) else {
            wrong.push(format!("{} is on no floor: add it to FLOORS", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(theirs) = floor(&dependency.name) else { continue };
            // Tests of a crate may use its neighbours.
            let allowed = if dependency.kind == Kind::Dev { own >= theirs } else { own > theirs };
            let is_of_tests = dependency.kind == Kind::Dev || own == FLOORS.len() - 1;
            if !allowed || (dependency.name == HARNESS && !is_of_tests) {
                wrong.push(format!("{} imports {}", package.name, dependency.name));
            }
        }
    }
    let known: usize = FLOORS.iter().map(|floor| floor.len()).sum();
    assert!(known == packages.len() || !wrong.is_empty(), "FLOORS names crates that are gone");
    assert_none("imports that do not point downwards", &wrong);
}

#[test]
fn engines_see_the_model_alone() {
    let packages = packages();
    for engine in ENGINES {
        let package = packages.iter().find(|package| package.name == engine).unwrap();
        let imports = package.dependencies.iter().filter(|dependency| dependency.kind != Kind::Dev);
        let names: BTreeSet<&str> = imports.map(|dependency| dependency.name.as_str()).collect();
        let allowed = BTreeSet::from(["orchestra-model"]);
        assert_eq!(names, allowed, "what {engine} imports");
    }
}

/// A page or a service asks a conductor through it too, so it knows neither flags nor a terminal.
#[test]
fn the_audience_as_a_library_has_no_command_line_and_no_screen() {
    let packages = packages();
    let client = packages.iter().find(|package| package.name == "orchestra-client").unwrap();
    assert!(client.dependencies.iter().all(|dependency| dependency.name != "clap"));
    let mut wrong = Vec::new();
    for path in sources().iter().filter(|path| shown(path).starts_with("audience-cli/client/")) {
        for word in ["stdin()", "stdout()", "stderr()", "IsTerminal"] {
            if read(path).contains(word) {
                wrong.push(format!("{} names {word}", shown(path)));
            }
        }
    }
    assert_none("a library that meets a person", &wrong);
}

/// Whatever else may once ask a conductor, a page or an API, has neither the protocol's statuses nor its
/// messages.
#[test]
fn the_conductor_knows_the_protocols_server_in_one_room() {
    let mut wrong = Vec::new();
    for path in sources() {
        let (name, text) = (shown(&path), read(&path));
        let is_in = |room: &str| name.starts_with(&format!("conductor/src/{room}"));
        if is_in("") && !is_in("grpc") && text.contains("tonic") {
            wrong.push(format!("{name} names tonic"));
        }
        if is_in("desk") && text.contains("v1::") {
            wrong.push(format!("{name} names a message of the protocol"));
        }
    }
    assert_none("what conductor/src/grpc alone knows", &wrong);
}

/// Who decides names what would help as a `Remedy`; which command asks for it, the protocol's texts say.
#[test]
fn who_decides_names_no_commands() {
    let mut wrong = Vec::new();
    for path in sources() {
        let name = shown(&path);
        if !DECIDERS.iter().any(|folder| name.starts_with(folder)) {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            if line.contains("orc ") && !line.trim_start().starts_with("//") {
                wrong.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("commands in the texts of those who decide", &wrong);
}

/// A print macro whose text cannot be written panics, and clippy denies it everywhere. A line that is
/// written past the log may wait for ever for a reader that has stopped, so nobody does that either.
#[test]
fn daemons_write_to_standard_error_through_the_log_alone() {
    let mut wrong = Vec::new();
    for package in packages() {
        let (who, what) = LOG;
        let mut imports = package.dependencies.iter().filter(|it| it.kind != Kind::Dev);
        if package.name != who && imports.any(|dependency| dependency.name == what) {
            wrong.push(format!("{} imports {what}", package.name));
        }
    }
    for path in sources() {
        let (name, text) = (shown(&path), read(&path));
        let of_a_daemon = DAEMONS.iter().any(|folder| name.starts_with(folder));
        if of_a_daemon && !MAY_NAME_STANDARD_ERROR.contains(&&*name) && text.contains("stderr()") {
            wrong.push(format!("{name} names standard error"));
        }
    }
    assert_none("daemons that may wait or fail for their log", &wrong);
    let manifest: toml::Table = read(&root().join("Cargo.toml")).parse().unwrap();
    for lint in ["print_stderr", "print_stdout"] {
        let level = &manifest["workspace"]["lints"]["clippy"][lint];
        assert_eq!(level.as_str(), Some("warn"), "{lint}");
    }
}

#[test]
fn crates_share_lints_and_versions() {
    let mut wrong = Vec::new();
    for package in packages() {
        let manifest: toml::Table = read(&package.manifest).parse().unwrap();
        if manifest.get("lints").and_then(|lints| lints.get("workspace")).is_none() {
            wrong.push(format!("{}: no lints.workspace", package.name));
        }
        for key in ["version", "edition", "rust-version", "license", "publish"] {
            if manifest["package"].get(key).and_then(|value| value.get("workspace")).is_none() {
                wrong.push(format!("{}: {key} is not the workspace's", package.name));
            }
        }
    }
    assert_none("manifests of their own mind", &wrong);
}

#[test]
fn dependencies_come_in_one_version() {
    let deny: toml::Table = read(&root().join("deny.toml")).parse().unwrap();
    let text = |table: &toml::Value, key: &str| Some(table.get(key)?.as_str()?.to_owned());
    let skipped = deny["bans"]["skip"].as_array().unwrap().iter().map(|skip| {
        let named = text(skip, "crate").unwrap();
        assert!(text(skip, "reason").is_some_and(|why| !why.is_empty()), "{named}: no reason");
        named.split('@').next().unwrap().to_owned()
    });
    let skipped: BTreeSet<String> = skipped.collect();

    let lock: toml::Table = read(&root().join("Cargo.lock")).parse().unwrap();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock["package"].as_array().unwrap() {
        let (name, version) = (text(package, "name").unwrap(), text(package, "version").unwrap());
        versions.entry(name).or_default().insert(version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    let twice: BTreeSet<String> = versions.keys().cloned().collect();
    assert_eq!(twice, skipped, "in several versions: {versions:#?}; deny.toml has the reasons");
}

#[test]
fn code_is_safe_and_finished() {
    let mut wrong = Vec::new();
    for path in sources() {
        let (name, text) = (shown(&path), read(&path));
        let unsafe_is_fine = UNSAFE.iter().any(|(file, _)| name == *file);
        for (line, number) in text.lines().zip(1..) {
            let code = line.split("//").next().unwrap_or_default();
            let mut has = |word: &str, what: &str| {
                if code.contains(word) {
                    wrong.push(format!("{name}:{number}: {what}"));
                }
            };
            // Spelt so that this file does not find itself.
            has(concat!("to", "do!("), "unfinished");
            has(concat!("unimple", "mented!("), "unfinished");
            has(concat!("#[ign", "ore"), "a test that does not run");
            if !unsafe_is_fine {
                has(concat!("uns", "afe {"), "unsafe code");
                has(concat!("uns", "afe fn"), "unsafe code");
                has(concat!("uns", "afe impl"), "unsafe code");
                has(concat!("uns", "afe extern"), "unsafe code");
            }
        }
    }
    assert_none("what must not be", &wrong);
}

/// A test that sleeps is slow on every machine and wrong on some. Who waits for a condition looks
/// at it again and again, and may pause in between: `while` it is not so, or in a harness. The
/// emulator and `tests/peers` are no tests, and measure over time.
#[test]
fn tests_wait_for_conditions_and_not_for_time() {
    let mut wrong = Vec::new();
    for path in sources() {
        let (name, text) = (shown(&path), read(&path));
        let exempt = name.contains("harness")
            || ["tests/fleet/", "tests/peers/"].iter().any(|folder| name.starts_with(folder));
        if exempt || name == "tests/tests/tidy.rs" {
            continue;
        }
        let all_test = path.components().any(|part| part.as_os_str() == "tests")
            || path.file_name() == Some(OsStr::new("tests.rs"));
        let own_tests = || text.split_once("#[cfg(test)]\nmod tests {").map(|(_, tests)| tests);
        let tests = if all_test { Some(&*text) } else { own_tests() };
        let mut before = "";
        for line in tests.unwrap_or_default().lines().map(str::trim) {
            if line.contains("sleep(") && !before.starts_with("while ") {
                wrong.push(format!("{name}: {line}"));
            }
            before = line;
        }
    }
    assert_none("tests that sleep", &wrong);
}

#[test]
fn modules_say_what_they_are_for() {
    let tests = |path: &Path| path.file_name() == Some(OsStr::new("tests.rs"));
    let silent =
        sources().into_iter().filter(|path| !tests(path) && !read(path).starts_with("//!"));
    let silent: Vec<String> = silent.map(|path| shown(&path)).collect();
    assert_none("modules that do not begin by saying what they are for", &silent);
}

/// A comment cites what a reader can open: a document of this repository, or a promise by its number.
#[test]
fn comments_cite_what_is_there() {
    let promises = read(&root().join("docs/promises.md"));
    let numbers: BTreeSet<&str> =
        promises.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).collect();
    assert!(numbers.contains("1") && numbers.contains("12"), "{numbers:?}");
    let mut wrong = Vec::new();
    for path in sources() {
        let (name, text) = (shown(&path), read(&path));
        let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
        for line in comments {
            let cited = line.split(|c: char| !c.is_alphanumeric() && !"/._-".contains(c));
            for page in cited.filter(|word| word.ends_with(".md") && word.len() > 3) {
                let beside = path.parent().unwrap().join(page);
                if !root().join(page).exists() && !beside.exists() {
                    wrong.push(format!("{name} cites {page}"));
                }
            }
            for rest in line.to_lowercase().split("promise ").skip(1) {
                let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
                if !number.is_empty() && !numbers.contains(number.as_str()) {
                    wrong.push(format!("{name} cites promise {number}"));
                }
            }
        }
    }
    assert_none("comments that cite what is not there", &wrong);
}

/// A page that names a source file, or a path from the top of the repository, names one that is there.
#[test]
fn pages_name_files_that_are_there() {
    let sources: Vec<String> = sources().iter().map(|path| format!("/{}", shown(path))).collect();
    let tops: Vec<String> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    let mut wrong = Vec::new();
    let pages = files_in(&root()).into_iter().chain(files_in(&root().join("docs")));
    for page in pages.filter(|path| path.extension() == Some(OsStr::new("md"))) {
        let text = read(&page);
        for name in text.split('`').skip(1).step_by(2) {
            if name.contains(|c: char| !c.is_ascii_alphanumeric() && !"/._-".contains(c)) {
                continue;
            }
            let is_source = name.ends_with(".rs");
            let is_path =
                name.split_once('/').is_some_and(|(top, _)| tops.iter().any(|it| it == top));
            let is_there = root().join(name).exists()
                || (is_source && sources.iter().any(|path| path.ends_with(&format!("/{name}"))));
            if (is_source || is_path) && !is_there && !NAMES_LIKE_PATHS.contains(&name) {
                wrong.push(format!("{}: {name}", shown(&page)));
            }
        }
    }
    assert_none("files that are named and not there", &wrong);
}

/// One word is one thing: whoever reads a type's name anywhere in the product knows which type it is.
#[test]
fn a_public_types_name_is_one_types() {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in sources() {
        let name = shown(&path);
        let is_product = !path.components().any(|part| {
            ["tests", "tests.rs", "benches", "examples", "demo"]
                .map(OsStr::new)
                .contains(&part.as_os_str())
        });
        for line in read(&path).lines().filter(|_| is_product) {
            let Some(rest) = line.trim_start().strip_prefix("pub ") else { continue };
            let Some((kind, rest)) = rest.split_once(' ') else { continue };
            if ["struct", "enum", "trait", "type", "union"].contains(&kind) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let word = &rest[..end.unwrap_or(rest.len())];
                // A macro's pattern has no name.
                if !word.is_empty() {
                    found.entry(word.to_owned()).or_default().push(name.clone());
                }
            }
        }
    }
    assert!(found.len() > 300, "{}", found.len());
    let twice = found.iter().filter(|(_, files)| files.len() > 1);
    let shared = |name: &str| SHARED_NAMES.iter().find(|(shared, _)| *shared == name);
    let wrong: Vec<String> = twice
        .clone()
        .filter(|(name, _)| shared(name).is_none())
        .map(|(name, files)| format!("{name}: {}", files.join(", ")))
        .collect();
    assert_none("names that several public types have", &wrong);
    for (name, why) in SHARED_NAMES {
        assert!(twice.clone().any(|(it, _)| it == name), "{name} is one type's ({why})");
    }
}

/// A page that names a test names one that is there.
#[test]
fn pages_name_tests_that_are_there() {
    let all: String = sources().iter().map(|path| read(path)).collect();
    let mut wrong = Vec::new();
    let pages = [
        ("docs/promises.md", 10),
        ("docs/cerebro.md", 10),
        ("docs/roadrunner.md", 3),
        ("docs/pogo.md", 3),
        ("docs/first-orchestra.md", 3),
        ("tests/e2e/peers/pogo.tsv", 1),
        ("tests/e2e/peers/first-orchestra.tsv", 1),
    ];
    for (page, least) in pages {
        let text = read(&root().join(page));
        // Between two marks of code stands every second piece.
        let names: Vec<&str> = text
            .split('`')
            .skip(1)
            .step_by(2)
            .filter(|name| name.matches('_').count() >= 3 && !name.contains(|c| "/. :".contains(c)))
            .collect();
        assert!(names.len() > least, "{page}: {names:?}");
        let missing = names.into_iter().filter(|name| {
            !all.contains(&format!("fn {name}(")) && !all.contains(&format!("(\"{name}\", "))
        });
        wrong.extend(missing.map(|name| format!("{page} names {name}")));
    }
    assert_none("tests that are named and not there", &wrong);
}

#[test]
fn samples_are_documented() {
    let scores = root().join("scores");
    let mut names = BTreeSet::new();
    let mut wrong = Vec::new();
    for path in files_in(&scores) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with('.') || name.ends_with(".conf") {
            continue;
        }
        ScoreName::new(&name).unwrap();
        let Ok(conf) = fs::read_to_string(scores.join(format!("{name}.conf"))) else {
            wrong.push(format!("{name}: no .conf"));
            continue;
        };
        let spec = score::parse(&conf).unwrap_or_else(|error| panic!("{name}.conf: {error}"));
        if spec.description.is_empty() {
            wrong.push(format!("{name}: no description"));
        }
        let Some(params) = spec.params else {
            wrong.push(format!("{name}: its parameters are not declared"));
            continue;
        };
        let bare = params.iter().filter(|(_, param)| param.description.is_empty());
        wrong.extend(bare.map(|(key, _)| format!("{name}: parameter {key} has no description")));
        if !read(&path).starts_with("#!/bin/sh\n# ") {
            wrong.push(format!("{name}: does not begin by saying what it does"));
        }
        names.insert(name);
    }
    assert_none("samples that leave questions", &wrong);
    for name in [
        "hello",
        "load",
        "install-package",
        "restart-apache",
        "fail",
        "rsync-pull",
        "rsync-push",
        "serve-clock",
    ] {
        assert!(names.contains(name), "there is no sample {name}");
    }
}

#[test]
fn every_mutant_of_the_simulation_finds_its_text() {
    let list: toml::Table = read(&root().join("tests/sim/mutants/mutants.toml")).parse().unwrap();
    let mut wrong = Vec::new();
    for mutant in list["mutant"].as_array().unwrap() {
        let [name, file, find] = ["name", "file", "find"].map(|key| mutant[key].as_str().unwrap());
        let found = read(&root().join(file)).matches(find).count();
        if found != 1 {
            wrong.push(format!("{name}: its text is {found} times in {file}"));
        }
    }
    assert_none("deliberate mistakes that cannot be made", &wrong);
}

#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let pages = files_in(&root()).into_iter().chain(files_in(&root().join("docs")));
    for page in pages.filter(|path| path.extension() == Some(OsStr::new("md"))) {
        let text = read(&page);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            let file = target.split('#').next().unwrap_or_default();
            if !page.parent().unwrap().join(file).exists() {
                wrong.push(format!("{}: {target}", shown(&page)));
            }
        }
    }
    assert_none("links that lead nowhere", &wrong);
}

struct Package {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    Build,
    Dev,
}

/// The crates of the workspace.
fn packages() -> Vec<Package> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let dependency = |value: &serde_json::Value| Dependency {
        name: text(&value["name"]),
        kind: match value["kind"].as_str() {
            None => Kind::Normal,
            Some("build") => Kind::Build,
            Some(_) => Kind::Dev,
        },
    };
    let packages = metadata["packages"].as_array().unwrap().iter().map(|package| Package {
        name: text(&package["name"]),
        manifest: text(&package["manifest_path"]).into(),
        dependencies: package["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
    });
    packages.collect()
}

/// Every Rust file of the workspace.
fn sources() -> Vec<PathBuf> {
    let crates: BTreeSet<PathBuf> = packages()
        .into_iter()
        .map(|package| package.manifest.parent().unwrap().to_owned())
        .collect();
    let mut sources = BTreeSet::new();
    for directory in &crates {
        collect(directory, &crates, &mut sources);
    }
    sources.into_iter().collect()
}

/// Rust files below `directory`, but not in another crate: that one is asked itself.
fn collect(directory: &Path, crates: &BTreeSet<PathBuf>, sources: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
        if path.is_dir() && !hidden && !path.ends_with("target") && !crates.contains(&path) {
            collect(&path, crates, sources);
        } else if path.extension() == Some(OsStr::new("rs")) {
            sources.insert(path);
        }
    }
}

fn files_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}
