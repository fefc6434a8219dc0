//! Checks the checker: `make sim-mutants`.
//!
//! Each mutant of `mutants.toml` is a small, deliberate mistake. The crates that the simulation
//! joins are copied into a workspace of their own, the mistake is made there, and one of so many seeds
//! ([`World::seeds`]) has to fail: of the simulation, or of an engine's own world where the mistake is in it. Where too
//! few seeds come by a mistake, its mutant names the scenario that has to fail.
//! Fails where a mutant survives, where the text that it changes is no longer there, or where a world
//! fails without any.
//!
//! Takes words as arguments: then only mutants whose name or file contains one of them are tried.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a tool of tests, which says so by failing"
)]
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The packages that the simulation joins, and what else decides without IO.
const PACKAGES: [&str; 9] = [
    "proto/model",
    "conductor/flow",
    "conductor/policy",
    "conductor/service",
    "conductor/spread",
    "conductor/store",
    "player/depot",
    "player/spool",
    "player/units",
];
/// The tests that have to catch a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    /// What `cargo test` is told of where they are.
    tests: &'static [&'static str],
    /// A part of their names; empty where a story may catch it as well.
    named: &'static str,
    /// How many seeds a mutant may live through there.
    seeds: &'static str,
}

/// What the tests are called that live through seeds.
const RANDOM: &str = "whatever_happens";
/// The simulation.
const SIMULATION: World = World { tests: &["--test", "sim"], named: RANDOM, seeds: "300" };
/// The world of fetches.
const FETCHES: World =
    World { tests: &["-p", "orchestra-depot", "--test", "world"], named: RANDOM, seeds: "300" };
/// The scheduler's stories, for mutants that name one of them.
const STORIES: World = World { tests: &["-p", "orchestra-flow"], named: RANDOM, seeds: "1" };
/// Packages and files that have a world of their own.
const WORLDS: [(&str, World); 9] = [
    // A world of both engines, beside the simulation.
    ("conductor/service/src/rules/leases.rs", SIMULATION),
    ("conductor/policy", World { tests: &["-p", "orchestra-policy"], named: "", seeds: "1" }),
    (
        "conductor/service",
        World {
            tests: &["-p", "orchestra-service", "--test", "scenarios"],
            named: "",
            seeds: "1000",
        },
    ),
    ("conductor/spread", World { tests: &["-p", "orchestra-spread"], named: "", seeds: "500" }),
    ("player/depot", FETCHES),
    ("proto/model/src/bundle/arrival.rs", FETCHES),
    (
        "proto/model/src/policy.rs",
        World { tests: &["-p", "orchestra-policy"], named: "", seeds: "1" },
    ),
    (
        "player/spool/src/shelf.rs",
        World { tests: &["-p", "orchestra-spool", "--test", "shelf"], named: "", seeds: "1" },
    ),
    (
        "player/units",
        World { tests: &["-p", "orchestra-units", "--test", "world"], named: RANDOM, seeds: "200" },
    ),
];

/// A deliberate mistake.
struct Mutant {
    name: String,
    /// Which promise it breaks.
    breaks: String,
    file: String,
    /// What is there, exactly once.
    find: String,
    replace: String,
    /// The scenario that has to catch it where too few seeds come by it.
    scenario: Option<String>,
}

impl Mutant {
    /// The world that has to catch it. A scenario is in the package itself.
    fn world(&self) -> World {
        let own = WORLDS.iter().find(|(place, _)| {
            let is_file = Path::new(place).extension().is_some();
            self.file.starts_with(place) && !(is_file && self.scenario.is_some())
        });
        let is_of_flow = self.scenario.is_some() && self.file.starts_with("conductor/flow/");
        let other = if is_of_flow { STORIES } else { SIMULATION };
        own.map_or(other, |(_, world)| *world)
    }
}

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
    let place = target.join("sim-mutants");
    let work = place.join("work");
    // Whoever else is at it with the same directory has to be done first.
    fs::create_dir_all(&place).unwrap();
    let lock = fs::File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    copy_workspace(root, &work);
    let words: Vec<String> = env::args().skip(1).collect();
    let mut mutants = mutants(&root.join("tests/sim/mutants/mutants.toml"));
    mutants.retain(|mutant| {
        words.is_empty()
            || words.iter().any(|word| mutant.name.contains(word) || mutant.file.contains(word))
    });
    for world in mutants.iter().map(Mutant::world).collect::<BTreeSet<_>>() {
        if let Some(why) = run(world, None, &work, &place) {
            panic!("the simulation fails without any mutant: {why}");
        }
    }
    let mut wrong = Vec::new();
    for mutant in &mutants {
        let path = work.join(&mutant.file);
        let text = fs::read_to_string(&path).unwrap();
        let found = text.matches(&mutant.find).count();
        let verdict = if found == 1 {
            fs::write(&path, text.replacen(&mutant.find, &mutant.replace, 1)).unwrap();
            let verdict = run(mutant.world(), mutant.scenario.as_deref(), &work, &place);
            fs::write(&path, &text).unwrap();
            verdict.ok_or("SURVIVED")
        } else {
            Err("ITS TEXT IS NOT THERE ONCE")
        };
        let (caught, told) = match &verdict {
            Ok(why) => ("caught", why.as_str()),
            Err(why) => ("WRONG ", *why),
        };
        println!("{caught}  {:34}  {:40}  {told}", mutant.name, mutant.breaks);
        if verdict.is_err() {
            wrong.push(mutant.name.as_str());
        }
    }
    println!("{} of {} mutants caught", mutants.len() - wrong.len(), mutants.len());
    assert!(wrong.is_empty(), "not caught: {wrong:?}");
}

/// Builds and runs the simulation as it is there, or a scenario in its place. Why it fails, if it
/// does.
fn run(world: World, scenario: Option<&str>, work: &Path, place: &Path) -> Option<String> {
    // A scenario may be in any of the tests of a package.
    let tests = match (world.tests, scenario) {
        (["-p", ..], Some(_)) => &world.tests[..2],
        (tests, _) => tests,
    };
    let cargo = |arguments: &[&str]| {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--offline", "--quiet"]).args(tests).args(arguments);
        command.current_dir(work).env("CARGO_TARGET_DIR", place.join("target"));
        command.envs([("SEEDS", world.seeds), ("SHRINK", "0"), ("RUST_BACKTRACE", "0")]);
        command.env_remove("SEED").env_remove("FROM").env_remove("FAILURES");
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (built, said) = cargo(&["--no-run"]);
    assert!(built, "it does not build:\n{said}");
    let (passed, said) = cargo(&["--", scenario.unwrap_or(world.named)]);
    if passed {
        return None;
    }
    let mut lines = said.lines().skip_while(|line| !line.starts_with("seed "));
    let seed = lines.next().and_then(|line| line.split(':').next()).unwrap_or("crashed").to_owned();
    let why = lines.next().filter(|line| !line.is_empty()).or_else(|| panic_of(&said));
    let why = why.unwrap_or_default();
    Some(format!("{seed}: {}", why.chars().take(120).collect::<String>()))
}

/// The first line of what the first panic said.
fn panic_of(said: &str) -> Option<&str> {
    said.lines().skip_while(|line| !line.contains("panicked at ")).nth(1)
}

fn mutants(path: &Path) -> Vec<Mutant> {
    let list: toml::Table = fs::read_to_string(path).unwrap().parse().unwrap();
    let text = |entry: &toml::Value, key: &str| entry[key].as_str().unwrap().to_owned();
    let mutant = |entry: &toml::Value| Mutant {
        name: text(entry, "name"),
        breaks: text(entry, "breaks"),
        file: text(entry, "file"),
        find: text(entry, "find"),
        replace: text(entry, "replace"),
        scenario: entry.get("scenario").map(|it| it.as_str().unwrap().to_owned()),
    };
    list["mutant"].as_array().unwrap().iter().map(mutant).collect()
}

/// A workspace of the packages that the simulation joins, and the simulation.
fn copy_workspace(root: &Path, work: &Path) {
    if work.exists() {
        fs::remove_dir_all(work).unwrap();
    }
    for package in PACKAGES {
        copy(&root.join(package), &work.join(package));
    }
    copy(&root.join("tests/sim"), &work.join("tests/sim"));
    fs::copy(root.join("Cargo.lock"), work.join("Cargo.lock")).unwrap();

    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let members: Vec<String> =
        PACKAGES.iter().chain(&["tests"]).map(|member| format!("{member:?}")).collect();
    let manifest = with_list(&manifest, "members", &members.join(", "));
    let manifest = with_list(&manifest, "default-members", &members.join(", "));
    fs::write(work.join("Cargo.toml"), manifest).unwrap();

    let names = ["model", "flow", "service", "store", "spool", "units"];
    let dependencies = names.map(|name| format!("orchestra-{name}.workspace = true\n")).concat();
    let own = format!(
        "[package]\nname = \"sim\"\nversion = \"0.0.0\"\nedition.workspace = true\n\
         [lib]\npath = \"lib.rs\"\n[[test]]\nname = \"sim\"\npath = \"sim/main.rs\"\n\
         [dev-dependencies]\n{dependencies}"
    );
    fs::write(work.join("tests/Cargo.toml"), own).unwrap();
    fs::write(work.join("tests/lib.rs"), "").unwrap();
}

/// A manifest in which a list has these elements.
fn with_list(manifest: &str, name: &str, elements: &str) -> String {
    let (head, rest) =
        manifest.split_once(&format!("\n{name} = [")).expect("the workspace has this list");
    let (_, tail) = rest.split_once(']').unwrap();
    format!("{head}\n{name} = [{elements}]{tail}")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a file of the workspace can be copied");
        }
    }
}
