//! The files of both versions in pretended trees, and leaves and alarms in real ones if this host
//! has them.

use std::{fs, os::unix::fs::FileExt, path::PathBuf};

use orchestra_model::{
    ByteSize,
    service::{MilliCores, Resources},
};

use super::{Controller, MissingControllers, OutOfMemoryAlarm, Places};
use crate::sitter::{
    cgroup::Leaf,
    clock::BootMillis,
    poll::{Interest, Poller, Token},
};

const ALL: Resources = Resources {
    memory: Some(ByteSize(64 << 20)),
    reserve: Some(ByteSize(16 << 20)),
    cpu: Some(MilliCores(1_500)),
    processes: Some(50),
    enforced: true,
};

/// A pretended tree: plain directories and files in place of the kernel's.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = dir.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// `v2` is the cgroup above the leaves.
    fn v2(&self, is_given: bool) -> Places {
        Places::new(Some((self.path("v2"), is_given)), Vec::new())
    }

    fn leaf(&self) -> Leaf {
        fs::create_dir_all(self.path("v2/unit")).unwrap();
        Leaf::of_v1(self.path("v2/unit"))
    }
}

const CONTROLLERS: (&str, &str) = ("v2/cgroup.controllers", "cpuset cpu io memory pids\n");

#[test]
fn limits_of_v2_are_in_the_leaf_itself() {
    let handed_on = ("v2/cgroup.subtree_control", "cpu memory pids\n");
    let swap = ("v2/unit/memory.swap.max", "max\n");
    let (group, low) = (("v2/unit/memory.oom.group", "0\n"), ("v2/unit/memory.low", "0\n"));
    let tree =
        Tree::new(&[CONTROLLERS, handed_on, swap, group, low, ("v2/memory.max", "1048576\n")]);
    let places = tree.v2(false);
    assert_eq!(places.missing(&ALL), None);
    assert!(places.lay("unit", Some(&tree.leaf()), &ALL).unwrap().is_empty());
    let files =
        ["memory.max", "memory.swap.max", "memory.oom.group", "memory.low", "cpu.max", "pids.max"];
    let written = files.map(|file| tree.read(&format!("v2/unit/{file}")));
    assert_eq!(written, ["67108864", "0", "1", "16777216", "150000 100000", "50"]);
    assert_eq!(places.memory(), Some(ByteSize(1 << 20)));
    assert_eq!(tree.read(handed_on.0), handed_on.1);
}

#[test]
fn what_is_not_limited_is_not_written() {
    let tree = Tree::new(&[CONTROLLERS, ("v2/cgroup.subtree_control", "cpu memory pids\n")]);
    let cpu = Resources { cpu: Some(MilliCores(200)), ..Resources::NONE };
    tree.v2(false).lay("unit", Some(&tree.leaf()), &cpu).unwrap();
    let written = fs::read_dir(tree.path("v2/unit")).unwrap().count();
    assert_eq!((written, tree.read("v2/unit/cpu.max").as_str()), (1, "20000 100000"));
}

#[test]
fn controllers_are_handed_on_only_in_a_cgroup_that_was_given() {
    let control = ("v2/cgroup.subtree_control", "pids\n");
    let tree = Tree::new(&[CONTROLLERS, control]);
    let missing = tree.v2(false).missing(&ALL).unwrap();
    assert_eq!(missing.controllers, [Controller::Memory, Controller::Cpu]);
    assert!(missing.to_string().contains("was not given"), "{missing}");
    assert_eq!(tree.read(control.0), control.1, "nothing was touched");
    let memory = Resources { memory: Some(ByteSize(64 << 20)), ..Resources::NONE };
    assert_eq!(tree.v2(true).missing(&memory), None);
    assert_eq!(tree.read(control.0), "+memory");
}

#[test]
fn a_controller_that_is_nowhere_is_named() {
    let tree = Tree::new(&[("v2/cgroup.controllers", "\n"), ("v2/cgroup.subtree_control", "\n")]);
    for missing in [tree.v2(true).missing(&ALL), MissingControllers::all_of(&ALL)] {
        let missing = missing.unwrap();
        assert_eq!(missing.controllers, Controller::ALL);
        assert!(missing.to_string().ends_with("memory, cpu, pids"), "{missing}");
    }
    assert!(tree.v2(true).lay("unit", Some(&tree.leaf()), &ALL).is_err());
    let loose = Resources { enforced: false, ..ALL };
    assert!(tree.v2(true).lay("unit", Some(&tree.leaf()), &loose).unwrap().is_empty());
}

#[test]
fn limits_of_v1_are_in_leaves_beside() {
    let swap = "memory/unit/memory.memsw.limit_in_bytes";
    let soft = "memory/unit/memory.soft_limit_in_bytes";
    let whole = ("memory/memory.limit_in_bytes", "9223372036854771712\n");
    let tree = Tree::new(&[(swap, "max"), (soft, "max"), whole, ("cpu/x", ""), ("pids/x", "")]);
    let v1 = Controller::ALL.map(|it| (it, tree.path(it.name())));
    let places = Places::new(None, v1.to_vec());
    assert_eq!(places.missing(&ALL), None);
    let beside = places.lay("unit", None, &ALL).unwrap();
    let dirs: Vec<_> = beside.iter().map(|leaf| leaf.dir().to_owned()).collect();
    assert_eq!(dirs, ["memory/unit", "cpu/unit", "pids/unit"].map(|dir| tree.path(dir)));
    let files = [
        "memory/unit/memory.limit_in_bytes",
        swap,
        soft,
        "cpu/unit/cpu.cfs_period_us",
        "cpu/unit/cpu.cfs_quota_us",
        "pids/unit/pids.max",
    ];
    let written = files.map(|file| tree.read(file));
    assert_eq!(written, ["67108864", "67108864", "16777216", "100000", "150000", "50"]);
    assert_eq!(
        places.memory(),
        Some(ByteSize(9_223_372_036_854_771_712)),
        "more than any host has"
    );
    assert_eq!((places.beside("unit").len(), places.beginning("un").len()), (3, 3));
    assert!(places.beside("other").is_empty() && places.beginning("other").is_empty());
}

#[test]
fn one_hierarchy_with_two_controllers_is_entered_once() {
    let tree = Tree::new(&[("both/x", "")]);
    let v1 = vec![(Controller::Memory, tree.path("both")), (Controller::Cpu, tree.path("both"))];
    let resources = Resources { processes: None, ..ALL };
    assert_eq!(Places::new(None, v1).lay("unit", None, &resources).unwrap().len(), 1);
}

#[test]
fn what_v1_lacks_may_be_in_v2_and_the_other_way_round() {
    let tree = Tree::new(&[
        ("v2/cgroup.controllers", "pids\n"),
        ("v2/cgroup.subtree_control", "pids\n"),
        ("memory/x", ""),
        ("cpu/x", ""),
    ]);
    let v1 = [Controller::Memory, Controller::Cpu].map(|it| (it, tree.path(it.name())));
    let places = Places::new(Some((tree.path("v2"), false)), v1.to_vec());
    assert_eq!(places.missing(&ALL), None);
    assert_eq!(places.lay("unit", Some(&tree.leaf()), &ALL).unwrap().len(), 2);
    assert_eq!(tree.read("v2/unit/pids.max"), "50");
}

#[test]
fn what_was_killed_is_counted_in_either_version() {
    let events = "low 0\nhigh 0\nmax 17\noom 2\noom_kill 1\noom_group_kill 3\n";
    let tree = Tree::new(&[("v2/unit/memory.events", "oom_kill 0\n")]);
    let alarm = tree.v2(false).alarm("unit", Some(&tree.leaf())).unwrap().unwrap();
    assert_eq!(alarm.killed(), 0);
    fs::write(tree.path("v2/unit/memory.events"), events).unwrap();
    assert_eq!(alarm.killed(), 1);
    let v1 = Tree::new(&[
        ("unit/memory.oom_control", "oom_kill_disable 0\nunder_oom 1\noom_kill 2\n"),
        ("unit/memory.max_usage_in_bytes", "4096\n"),
    ]);
    let alarm = OutOfMemoryAlarm::of_v1(&v1.path("unit")).unwrap();
    assert_eq!((alarm.killed(), alarm.peak()), (2, Some(4096)));
}

#[test]
fn after_an_alarm_of_v1_the_count_is_looked_at_for_a_while_and_not_for_ever() {
    let tree = Tree::new(&[("unit/memory.oom_control", "oom_kill 0\n")]);
    let mut alarm = OutOfMemoryAlarm::of_v1(&tree.path("unit")).unwrap();
    assert_eq!(alarm.next_look(), None);
    let mut now = BootMillis(5_000);
    alarm.note_fired(now);
    let mut looks = 0;
    while let Some(at) = alarm.next_look() {
        now = now.max(at);
        alarm.looked(now);
        looks += 1;
    }
    assert_eq!((looks, now), (11, BootMillis(5_000 + 1_023)));
}

/// Makes a cgroup of v1 for memory, with two leaves. If there can be none, says so and returns
/// `None`.
fn real_memory(name: &str) -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = own.lines().find_map(|line| line.split_once(":memory:").map(|(_, path)| path));
    let name = format!("orchestra-test-{name}-{}", std::process::id());
    let dir = own.map(|own| PathBuf::from(format!("/sys/fs/cgroup/memory{own}")).join(name));
    let made = dir.filter(|dir| {
        ["", "eats", "looks"].iter().all(|leaf| fs::create_dir(dir.join(leaf)).is_ok())
    });
    if made.is_none() {
        eprintln!("SKIPPED: this needs root and cgroup v1 with memory");
    }
    made
}

fn has_fired(alarm: &OutOfMemoryAlarm) -> bool {
    let poller = Poller::new().unwrap();
    let (fd, interest) = alarm.waits_for();
    poller.add(fd, Token(1), interest).unwrap();
    let mut poller = poller;
    !poller.wait(Some(BootMillis::default())).unwrap().is_empty()
}

#[test]
fn an_alarm_of_v1_fires_for_others_and_counts_its_own() {
    let Some(dir) = real_memory("alarm") else { return };
    fs::write(dir.join("memory.limit_in_bytes"), "16777216").unwrap();
    let alarms = ["eats", "looks"].map(|leaf| OutOfMemoryAlarm::of_v1(&dir.join(leaf)).unwrap());
    assert!(!alarms.iter().any(has_fired));
    let script = format!("echo 0 > {}/eats/cgroup.procs; exec tail /dev/zero", dir.display());
    let eater = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(!eater.status.success());
    assert!(alarms.iter().all(has_fired), "all below the one that is short of memory are told");
    assert_eq!(alarms.map(|alarm| alarm.killed()), [1, 0]);
    for leaf in ["eats", "looks", ""] {
        fs::remove_dir(dir.join(leaf)).unwrap();
    }
}

/// The kernel tells changes of `memory.events` like those of `cgroup.events`, which every host with
/// v2 has.
#[test]
fn a_change_of_a_file_of_the_kernel_is_told_until_it_is_read() {
    let dirs = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(PathBuf::from);
    let name = format!("orchestra-test-change-{}", std::process::id());
    let mut dirs = dirs.into_iter().filter(|dir| dir.join("cgroup.controllers").exists());
    let leaf = dirs.next().map(|dir| dir.join(name));
    let Some(leaf) = leaf.filter(|leaf| fs::create_dir(leaf).is_ok()) else {
        return eprintln!("SKIPPED: this needs cgroup v2, and to make cgroups in it");
    };
    let events = fs::File::open(leaf.join("cgroup.events")).unwrap();
    let read = || {
        let mut bytes = [0; 100];
        let length = events.read_at(&mut bytes, 0).unwrap();
        String::from_utf8_lossy(&bytes[..length]).contains("populated 1")
    };
    let mut poller = Poller::new().unwrap();
    poller.add(&events, Token(1), Interest::Change).unwrap();
    let mut is_told = || !poller.wait(Some(BootMillis::default())).unwrap().is_empty();
    assert!(!read() && !is_told());
    let script = format!("echo 0 > {}/cgroup.procs; read end", leaf.display());
    let mut command = std::process::Command::new("sh");
    let command = command.args(["-c", &script]).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    while !is_told() {
        std::thread::yield_now();
    }
    assert!(is_told(), "until it is read");
    assert!(read() && !is_told());
    drop(child.stdin.take());
    child.wait().unwrap();
    while !is_told() {
        std::thread::yield_now();
    }
    assert!(!read());
    fs::remove_dir(&leaf).unwrap();
}
