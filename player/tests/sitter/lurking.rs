//! A process that an attempt has left behind, with a way into the attempt's pipe that nothing shows: it
//! neither reads nor writes what later attempts write, although they get the attempt's directory.

use std::{
    env, fs,
    io::{Read, Write},
    os::fd::AsRawFd,
    path::PathBuf,
};

use orchestra_model::delivery::Outcome;
use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
    stdio::{dup2_stderr, dup2_stdout},
};

use crate::{
    Test,
    world::{World, eventually},
};

pub(crate) const TESTS: &[Test] = &[(
    "a_pipe_of_an_earlier_attempt_leads_into_no_later_one",
    a_pipe_of_an_earlier_attempt_leads_into_no_later_one,
)];

/// What the lurker writes, which would be a response of whoever's pipe it is.
const INJECTED: &str = "INJECTED=by-somebody-else\n";

/// Is what a score leaves behind: keeps its standard output as a mere place (`O_PATH`), and opens that
/// place again and again. It writes what it reads there to `stolen`, how often it has tried to `tries`,
/// and its number to `lurker` once it has read something: its attempt waits for that, so the pipe is
/// still there.
pub(crate) fn be_lurker() -> ! {
    let out = PathBuf::from(env::var_os("OUT").unwrap());
    let place = rustix::fs::open("/proc/self/fd/1", OFlags::PATH, Mode::empty()).unwrap();
    let nowhere = fs::File::options().write(true).open("/dev/null").unwrap();
    dup2_stdout(&nowhere).unwrap();
    dup2_stderr(&nowhere).unwrap();
    let way = format!("/proc/self/fd/{}", place.as_raw_fd());
    let mut stolen = fs::File::create(out.join("stolen")).unwrap();
    let mut has_read = false;
    let mut tries = 0;
    loop {
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        if let Ok(pipe) = rustix::fs::open(&way, flags, Mode::empty()) {
            let mut pipe = fs::File::from(pipe);
            let _ = pipe.write_all(INJECTED.as_bytes());
            let mut found = vec![0; 64 << 10];
            if let Ok(bytes) = pipe.read(&mut found) {
                stolen.write_all(&found[..bytes]).unwrap();
                if bytes > 0 && !has_read {
                    has_read = true;
                    fs::write(out.join("lurker"), std::process::id().to_string()).unwrap();
                }
            }
        }
        tries += 1;
        fs::write(out.join("tries.new"), format!("{tries}\n")).unwrap();
        fs::rename(out.join("tries.new"), out.join("tries")).unwrap();
    }
}

/// Ends the lurker, however the test ends.
struct Lurker(Pid);

impl Drop for Lurker {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::KILL);
    }
}

fn a_pipe_of_an_earlier_attempt_leads_into_no_later_one() {
    let world = World::new();
    let us = env::current_exe().unwrap();
    // Nothing in its environment says which attempt it is of, so it is not ended with it.
    world.score(
        "leave",
        &format!(
            "setsid env -i OUT=$OUT {us:?} lurk &\n\
             while [ ! -s $OUT/lurker ]; do sleep 0.01; done; echo left"
        ),
    );
    world.gate("go");
    world.score("victim", "echo SECRET=1; echo 1 > $OUT/begun; cat $OUT/go; echo SECRET=2");
    world.file("victim.conf", "interface = \"pipe\"\n", 0o644);
    world.start();
    let left = world.order("leave", &[]);
    let end = world.ended(left);
    // What is left behind may write into the pipe of its own attempt, and read from it, until that
    // has ended.
    assert_eq!(end.outcome, Outcome::Exited(0), "{}", world.log());
    let lurker = Lurker(Pid::from_raw(world.number_in("lurker")).unwrap());
    world.acknowledge(left);
    let spare = world.path("spool/spare");
    let spares = || fs::read_dir(&spare).unwrap().count();
    eventually("the directory to be a spare", || (spares() == 1).then_some(()));

    let victim = world.order("victim", &[]);
    world.number_in("begun");
    assert_eq!(spares(), 0, "the victim has the directory");
    // The try that goes on may be of a moment before.
    let tries = world.number_in("tries");
    eventually("two more tries", || (world.number_in("tries") > tries + 1).then_some(()));
    world.open_gate("go");
    let end = world.ended(victim);
    assert_eq!(end.outcome, Outcome::Exited(0), "{}", world.log());
    assert_eq!(end.stdout.head, b"SECRET=1\nSECRET=2\n");
    let response: Vec<_> =
        end.response.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert!(response.iter().all(|line| !line.contains("INJECTED")), "{response:?}");
    drop(lurker);
    let stolen = fs::read_to_string(world.out("stolen")).unwrap();
    assert!(stolen.starts_with(INJECTED), "it had a way into a pipe");
    assert!(!stolen.contains("SECRET"), "{stolen}");
}
