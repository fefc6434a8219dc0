//! Ours beside other supervisors, where they are installed: one unit that is killed, and many at once.
//! Whatever else runs on the machine slows both, so the two take turns, kill by kill. Each supervisor
//! is started as a plain process in a directory of its own, by no system's init, and is gone afterwards.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{
    AT_ONCE, OLD, OLD_KILLS, Ours, ROUNDS, Times, began, command, kill_at_once, kill_one,
    private_kib, wait_begun, wait_for,
};
use crate::world::eventually;

struct Peer {
    program: &'static str,
    /// Writes down what is to run, and gives the commands that keep it running.
    commands: fn(&Path, &[Service]) -> Vec<Command>,
}

const PEERS: [Peer; 4] = [
    Peer { program: "runsv", commands: |_, services| each(services, "runsv") },
    Peer { program: "s6-supervise", commands: |_, services| each(services, "s6-supervise") },
    Peer { program: "supervisord", commands: supervisord },
    Peer { program: "monit", commands: monit },
];

/// What is to be kept running: this program, which says when it began.
struct Service {
    dir: PathBuf,
    record: PathBuf,
}

/// Tells the figures of each beside ours, and how many times ours they are.
pub(super) fn tell() {
    for peer in &PEERS {
        let name = peer.program;
        let found = env::split_paths(&env::var_os("PATH").unwrap_or_default())
            .any(|dir| dir.join(name).exists());
        if !found {
            println!("{name}: NOT MEASURED, it is not installed");
            continue;
        }
        let (ours, theirs) = one_by_one(&Kept::begin(peer, 1));
        println!("{name}: from a kill to the next first word: {theirs}");
        tell_ours(&ours, &theirs);
        let many = Kept::begin(peer, AT_ONCE);
        let memory = many.memory_kib() as f64 / AT_ONCE as f64;
        let (ours, theirs) = at_once(&many);
        println!("{name}: {AT_ONCE} killed at once: {theirs}; {memory:.1} KiB a unit");
        tell_ours(&ours, &theirs);
    }
}

fn tell_ours(ours: &Times, theirs: &Times) {
    let times = |percent: usize| theirs.of(percent) / ours.of(percent);
    println!("    ours: {ours}; theirs is {:.2} and {:.2} times ours", times(50), times(99));
}

fn one_by_one(theirs: &Kept) -> (Times, Times) {
    let ours = Ours::begin(1);
    let mut took = (Vec::new(), Vec::new());
    for index in 0..OLD_KILLS {
        wait_begun(&theirs.records[0], index);
        ours.is_settled(index);
        wait_for(OLD);
        took.0.push(kill_one(&ours.records[0], index));
        took.1.push(kill_one(&theirs.records[0], index));
    }
    (Times::new(took.0), Times::new(took.1))
}

fn at_once(theirs: &Kept) -> (Times, Times) {
    let ours = Ours::begin(AT_ONCE);
    let mut took = (Vec::new(), Vec::new());
    for index in 0..ROUNDS {
        ours.world.attach_again();
        wait_for(OLD);
        took.0.push(kill_at_once(&ours.records, index));
        wait_for(OLD);
        took.1.push(kill_at_once(&theirs.records, index));
    }
    (Times::new(took.0), Times::new(took.1))
}

/// Services under a supervisor; both are gone when it is dropped.
struct Kept {
    records: Vec<PathBuf>,
    supervisors: Vec<Child>,
    _dir: tempfile::TempDir,
}

impl Kept {
    fn begin(peer: &Peer, count: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let service = |n: usize| {
            let own = dir.path().join(format!("s{n}"));
            fs::create_dir(&own).unwrap();
            let service = Service { record: dir.path().join(format!("r{n}")), dir: own };
            script(&service.dir.join("run"), &format!("exec {}", service.shell()));
            service
        };
        let services: Vec<Service> = (0..count).map(service).collect();
        let spawn = |mut command: Command| {
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().unwrap()
        };
        let supervisors = (peer.commands)(dir.path(), &services).into_iter().map(spawn).collect();
        let records: Vec<PathBuf> = services.into_iter().map(|service| service.record).collect();
        for record in &records {
            wait_begun(record, 0);
        }
        Self { records, supervisors, _dir: dir }
    }

    /// Of all supervisors together, shared with nobody.
    fn memory_kib(&self) -> u64 {
        self.supervisors.iter().map(|it| private_kib(it.id() as i32)).sum()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for supervisor in &mut self.supervisors {
            if let Some(pid) = Pid::from_raw(supervisor.id() as i32) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for supervisor in &mut self.supervisors {
            eventually("the end of a supervisor", || supervisor.try_wait().unwrap());
        }
        // What it left: the last run of each.
        for record in &self.records {
            let last = (0..).map_while(|index| began(record, index)).last();
            if let Some(pid) = last.and_then(|(pid, _)| Pid::from_raw(pid)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

impl Service {
    /// What a shell executes.
    fn shell(&self) -> String {
        command(self.record.to_str().unwrap())
    }
}

fn script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn each(services: &[Service], program: &str) -> Vec<Command> {
    let command = |service: &Service| {
        let mut command = Command::new(program);
        command.arg(&service.dir);
        command
    };
    services.iter().map(command).collect()
}

fn supervisord(dir: &Path, services: &[Service]) -> Vec<Command> {
    let at = dir.display();
    let mut text = format!(
        "[supervisord]\nnodaemon=true\nlogfile={at}/log\npidfile={at}/pid\nchildlogdir={at}\n"
    );
    for (n, service) in services.iter().enumerate() {
        let run = service.dir.join("run");
        text += &format!(
            "[program:s{n}]\ncommand={}\nstartsecs=0\nautorestart=true\nstdout_logfile=NONE\n\
             stderr_logfile=NONE\n",
            run.display()
        );
    }
    fs::write(dir.join("conf"), text).unwrap();
    let mut command = Command::new("supervisord");
    command.arg("-c").arg(dir.join("conf"));
    vec![command]
}

/// It looks once a second, which is the shortest that it offers.
fn monit(dir: &Path, services: &[Service]) -> Vec<Command> {
    let at = dir.display();
    let mut text = format!(
        "set daemon 1\nset pidfile {at}/pid\nset statefile {at}/state\n\
                            set idfile {at}/id\nset logfile {at}/log\n"
    );
    for (n, service) in services.iter().enumerate() {
        let (own, shell) = (service.dir.display(), service.shell());
        script(&service.dir.join("start"), &format!("{shell} & echo $! > {own}/pid"));
        text += &format!(
            "check process s{n} with pidfile {own}/pid\nstart program = \"{own}/start\"\n"
        );
    }
    let conf = dir.join("conf");
    fs::write(&conf, text).unwrap();
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o600)).unwrap();
    let mut command = Command::new("monit");
    command.arg("-I").arg("-c").arg(conf);
    vec![command]
}
