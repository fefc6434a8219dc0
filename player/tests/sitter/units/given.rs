//! Where a sitter is in cgroup v2, so that it may hand on controllers. These tests need cgroup v2 and
//! root; a machine without them is told, and passes.

use std::{fs, path::PathBuf};

use super::{Asked, ask, ends_well, known, limits::read, prepared, run};
use crate::{
    Test,
    world::{World, eventually},
};

pub(crate) const TESTS: &[Test] = &[
    ("a_sitter_moves_out_of_the_cgroup_that_it_was_given", a_sitter_moves),
    ("a_sitter_stays_in_the_leaf_that_it_was_put_into", a_sitter_stays),
];

/// A cgroup of v2 that somebody made for a sitter; gone when the test is over.
struct Given(PathBuf);

impl Given {
    /// `None`: there is none here, which is told.
    fn new(name: &str) -> Option<Self> {
        let dirs = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let root = dirs.map(PathBuf::from).into_iter();
        let dir = root.map(|dir| dir.join(format!("{name}-{}", std::process::id())));
        let mut made = dir.filter(|dir| {
            dir.with_file_name("cgroup.controllers").exists() && fs::create_dir(dir).is_ok()
        });
        let given = made.next().map(Self);
        if given.is_none() {
            eprintln!("SKIPPED: this needs cgroup v2, and to make cgroups in it");
        }
        given
    }

    /// Has the next sitters put into a cgroup below this one, or into itself.
    fn holds(&self, world: &World, below: &str) {
        let procs = self.0.join(below).join("cgroup.procs");
        let put = format!("echo $$ > {}; exec \"$@\"", procs.display());
        world.start_through(&["sh", "-c", &put, "sh"]);
    }

    fn holds_process(&self, below: &str, pid: i32) -> bool {
        let processes = read(&self.0.join(below), "cgroup.procs");
        processes.lines().any(|line| line == pid.to_string())
    }

    /// The unit's leaf below it.
    fn leaf(&self) -> String {
        let entries = fs::read_dir(&self.0).unwrap().filter_map(Result::ok);
        let mut names = entries.map(|entry| entry.file_name().into_string().unwrap());
        names.find(|name| name.ends_with("-web")).unwrap()
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let _ = fs::remove_dir(self.0.join("orchestra-player"));
        eventually("the end of a cgroup", || fs::remove_dir(&self.0).ok());
    }
}

/// The cgroup itself holds no process then, and may hand on controllers.
fn a_sitter_moves() {
    let Some(given) = Given::new("orchestra-test-given") else { return };
    let world = prepared();
    world.set("cgroup", format!("{:?}", given.0.to_str().unwrap()));
    given.holds(&world, "");
    world.start();
    for number in [1, 2] {
        assert!(given.holds_process("orchestra-player", world.pid()), "{}", world.log());
        assert_eq!(read(&given.0, "cgroup.procs"), "");
        ends_well(&world, ask(&world, &Asked { version: number, ..Asked::default() }));
        let line = known(&world, number);
        assert!(given.holds_process(&given.leaf(), line.pid));
        world.crash();
        world.start();
    }
}

/// As `DelegateSubgroup=` of systemd has it.
fn a_sitter_stays() {
    let Some(given) = Given::new("orchestra-test-subgroup") else { return };
    fs::create_dir(given.0.join("orchestra-player")).unwrap();
    let world = prepared();
    given.holds(&world, "orchestra-player");
    world.start();
    assert!(given.holds_process("orchestra-player", world.pid()));
    ends_well(&world, ask(&world, &Asked::default()));
    let line = run(&world, 1);
    assert!(given.holds_process(&given.leaf(), line.pid), "{}", world.log());
    assert_eq!(read(&given.0, "cgroup.procs"), "");
}
