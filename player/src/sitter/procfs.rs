//! What `/proc` tells of processes.
//!
//! What is read here may be out of date when it is used, and the number may belong to another
//! process by then. So before acting on a process, open a pidfd, then read again and compare
//! [`Stat::start_ticks`].

use std::{
    fs::{self, File},
    io::{self, Read},
    os::fd::OwnedFd,
};

use orchestra_spool::BootId;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Most bytes that are read of a process's environment. What the sitter gives an attempt is shorter
/// (`limits::PARAMS_BYTES` and a few names), and the marks come first in it.
const ENVIRONMENT_BYTES: u64 = 512 << 10;

/// `PF_FORKNOEXEC` in the flags of a process: it has executed nothing since it was made.
const FORKED_ONLY: i64 = 0x40;
/// `PF_EXITING` in the flags of a process: it is ending, or has ended.
const EXITING: i64 = 0x4;

/// More bytes than `/proc/PID/stat` has: 52 numbers of at most 20 digits, a name of at most 64
/// bytes.
const STAT_BYTES: usize = 2 << 10;

/// What `/proc/PID/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The process.
    pub(crate) pid: i32,
    /// Whether it is dead and was not reaped.
    pub(crate) zombie: bool,
    /// Whether it is stopped by a signal or a tracer.
    pub(crate) stopped: bool,
    /// Whether it executed a program since it was made. No process can forge that.
    pub(crate) executed: bool,
    /// Whether it is ending, so that it runs no code of its own any more.
    pub(crate) exiting: bool,
    pub(crate) parent: i32,
    /// Its process group.
    pub(crate) group: i32,
    pub(crate) session: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Its wait status; 0 unless it is a zombie that we may trace.
    pub(crate) exit_code: i32,
}

impl Stat {
    /// Reads it; `None` if there is no such process.
    pub(crate) fn of(pid: i32) -> Option<Stat> {
        let mut text = [0; STAT_BYTES];
        let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
        // The kernel gives the whole text at the first read.
        let length = file.read(&mut text).ok()?;
        parse(&String::from_utf8_lossy(&text[..length]))
    }
}

fn parse(text: &str) -> Option<Stat> {
    let pid = text.split(' ').next()?.parse().ok()?;
    // The name is in parentheses and may hold anything, parentheses and bad UTF-8 too.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // Field 4 is at index 0 from here.
    let fields: Vec<&str> = fields.collect();
    let number = |field: usize| fields.get(field - 4)?.parse::<i64>().ok();
    let small = |field| number(field).and_then(|n| i32::try_from(n).ok());
    Some(Stat {
        pid,
        zombie: matches!(state, "Z" | "X" | "x"),
        stopped: matches!(state, "T" | "t"),
        executed: number(9)? & FORKED_ONLY == 0,
        exiting: number(9)? & EXITING != 0,
        parent: small(4)?,
        group: small(5)?,
        session: small(6)?,
        start_ticks: fields.get(22 - 4)?.parse().ok()?,
        exit_code: small(52).unwrap_or(0),
    })
}

/// What `/proc/PID/stat` says that a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time since it was made, including that of children that it waited for, in clock
    /// ticks.
    pub(crate) cpu_ticks: u64,
    /// Pages of memory that it has resident.
    pub(crate) resident_pages: u64,
}

impl Usage {
    /// Reads it; `None` if there is no such process.
    pub(crate) fn of(pid: i32) -> Option<Usage> {
        parse_usage(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }
}

fn parse_usage(text: &[u8]) -> Option<Usage> {
    let text = String::from_utf8_lossy(text);
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The state, field 3, is at index 0 from here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let times = [number(14)?, number(15)?, number(16)?, number(17)?];
    Some(Usage { cpu_ticks: times.iter().sum(), resident_pages: number(24)? })
}

/// Returns a process and its descendants. A descendant whose parent has ended is not found. `None`
/// if the kernel does not tell children, or if there are more than `most` processes, or threads of
/// one process.
pub(crate) fn descendants(first: i32, most: usize) -> Option<Vec<i32>> {
    let mut found = vec![first];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        match children(pid, most) {
            Children::Of(pids) => found.extend(pids),
            // A process that has ended since has no children. If the first one has, nothing is
            // known.
            Children::NoProcess if next > 0 => {}
            Children::NoProcess | Children::Unknown => return None,
        }
        if found.len() > most {
            return None;
        }
        next += 1;
    }
    Some(found)
}

enum Children {
    Of(Vec<i32>),
    NoProcess,
    Unknown,
}

/// Returns the children of all threads of a process.
fn children(pid: i32, most_threads: usize) -> Children {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Children::NoProcess };
    let mut found = Vec::new();
    for (thread, count) in threads.flatten().zip(1..) {
        let text = match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => text,
            // A thread that has ended left its children to another thread.
            Err(_) if thread.path().exists() => return Children::Unknown,
            Err(_) => continue,
        };
        if count > most_threads {
            return Children::Unknown;
        }
        found.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<i32>().ok()));
    }
    Children::Of(found)
}

/// Returns every process that can be seen.
pub(crate) fn all() -> io::Result<Vec<Stat>> {
    let numbers =
        fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter_map(Stat::of).collect())
}

/// Returns the number that was last given to a new process; 0 if that cannot be read.
pub(crate) fn last_pid() -> i32 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_ascii_whitespace().last().and_then(|last| last.parse().ok()).unwrap_or(0)
}

/// Opens a process so that it cannot be mistaken for another: the pidfd is opened first, then
/// `start_ticks` is compared.
pub(crate) fn open(pid: i32, start_ticks: u64) -> Option<(OwnedFd, Stat)> {
    let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
    let stat = Stat::of(pid).filter(|stat| stat.start_ticks == start_ticks)?;
    Some((pidfd, stat))
}

/// What a process's environment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The marks are in it.
    There,
    /// The marks are not in it, or it may not be read.
    NotThere,
    /// The process is just executing a program and has no environment yet.
    NotYet,
}

/// Whether the process was started with all of these `KEY=VALUE`s in its environment.
pub(crate) fn environment_has(pid: i32, marks: &[Vec<u8>]) -> Mark {
    let Some(mut text) = environment(pid) else { return Mark::NotThere };
    if text.is_empty() {
        if is_executing(pid) {
            return Mark::NotYet;
        }
        // It may have been executing until just now. A process without an environment costs a
        // second reading.
        text = environment(pid).unwrap_or_default();
    }
    match marks.iter().all(|mark| text.split(|byte| *byte == 0).any(|one| one == mark)) {
        true => Mark::There,
        false => Mark::NotThere,
    }
}

fn environment(pid: i32) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let file = File::open(format!("/proc/{pid}/environ")).ok()?;
    file.take(ENVIRONMENT_BYTES).read_to_end(&mut text).ok()?;
    Some(text)
}

/// Returns whether a process whose readable environment is empty is just executing a program. Then
/// the kernel does not say where the environment ends, as for threads of its own.
fn is_executing(pid: i32) -> bool {
    /// `PF_KTHREAD` of the kernel's `sched.h`.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let text = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let Some((_, rest)) = text.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The state, field 3, is at index 0 from here.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let (state, flags, end) = (fields.first(), number(9), number(51));
    state.is_some_and(|state| !matches!(*state, "Z" | "X" | "x"))
        && flags.is_some_and(|flags| flags & KERNEL_THREAD == 0)
        && end == Some(0)
}

/// Returns the wait status of a zombie that is not our child; `None` if it is no zombie, or if the
/// kernel does not tell because we may not trace it.
pub(crate) fn exit_of_zombie(pid: i32, start_ticks: u64) -> Option<i32> {
    // This link demands the same right as the exit code, which is shown as 0 without the right.
    fs::read_link(format!("/proc/{pid}/ns/user")).ok()?;
    let stat = Stat::of(pid)?;
    (stat.zombie && stat.start_ticks == start_ticks).then_some(stat.exit_code)
}

/// Returns the id of this boot of the host.
pub(crate) fn boot_id() -> io::Result<BootId> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    BootId::parse(&text).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The numbers of this process's open descriptors.
pub(crate) fn descriptors() -> io::Result<Vec<i32>> {
    Ok(fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_process_reads_itself() {
        let own = Stat::of(std::process::id() as i32).unwrap();
        assert_eq!(own.pid, std::process::id() as i32);
        assert!(!own.zombie && !own.exiting);
        assert_eq!(Some(own.parent), rustix::process::getppid().map(|p| p.as_raw_nonzero().get()));
        assert!(all().unwrap().iter().any(|stat| stat.pid == own.pid));
        assert!(open(own.pid, own.start_ticks).is_some());
        assert!(open(own.pid, own.start_ticks + 1).is_none());
    }

    #[test]
    fn what_executed_nothing_is_told_apart() {
        assert!(Stat::of(std::process::id() as i32).unwrap().executed);
        // A thread was made and has executed nothing.
        let own = || Stat::of(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        assert!(!std::thread::spawn(own).join().unwrap().executed);
    }

    #[test]
    fn no_name_hides_a_process() {
        let script = r"printf 'a\377) Z 1' > /proc/$$/comm; echo; read x";
        let mut child = Command::new("sh");
        let child = child.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let stat = Stat::of(child.id() as i32);
        drop(child.stdin.take());
        child.wait().unwrap();
        let stat = stat.expect("a process that is there");
        assert_eq!((stat.pid, stat.zombie), (child.id() as i32, false));
    }

    #[test]
    fn a_mark_is_there_or_it_is_not_and_an_empty_environment_is_no_execution() {
        let mut child = Command::new("sh");
        let child = child.args(["-c", "echo; read x"]).env_clear().env("MARK", "a");
        let child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut marked = child.unwrap();
        let script = "exec env -i sh -c 'echo; read x'";
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut bare = child.unwrap();
        for child in [&mut marked, &mut bare] {
            BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        }
        let has = |pid: u32, marks: &[&str]| {
            let marks: Vec<Vec<u8>> = marks.iter().map(|mark| mark.as_bytes().to_vec()).collect();
            environment_has(pid as i32, &marks)
        };
        let seen = [
            has(marked.id(), &["MARK=a"]),
            has(marked.id(), &["MARK=a", "MARK=b"]),
            has(bare.id(), &["MARK=a"]),
            // Process 2 is a thread of the kernel, if it can be seen, or another process.
            has(2, &["MARK=a"]),
        ];
        for mut child in [marked, bare] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
        assert_eq!(seen, [Mark::There, Mark::NotThere, Mark::NotThere, Mark::NotThere]);
    }

    #[test]
    fn what_a_process_uses_and_what_descends_from_it_is_known() {
        let mut child = Command::new("sh");
        let child = child.args(["-c", "sleep 1000 & echo $!; read x; kill $!"]);
        let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        let (first, second) = (child.id() as i32, said.trim().parse().unwrap());
        let (known, too_many) = (descendants(first, 2), descendants(first, 1));
        let used = Usage::of(first);
        drop(child.stdin.take());
        child.wait().unwrap();
        if fs::exists("/proc/self/task").unwrap() && known.is_some() {
            assert_eq!((known, too_many), (Some(vec![first, second]), None));
        }
        assert!(used.is_some_and(|used| used.resident_pages > 0), "{used:?}");
        let fields = (3..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let used = Usage { cpu_ticks: 14 + 15 + 16 + 17, resident_pages: 24 };
        assert_eq!(parse_usage(format!("42 (a) Z (b)) {fields}").as_bytes()), Some(used));
        assert_eq!(parse_usage(b"42 (x) R 1 2"), None);
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        let fields = (4..=52).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        let stat = parse(&format!("42 (a) Z (b)) Z {fields}\n")).unwrap();
        assert_eq!((stat.pid, stat.zombie, stat.parent), (42, true, 4));
        assert!(stat.executed && !stat.stopped);
        assert_eq!((stat.group, stat.session, stat.start_ticks, stat.exit_code), (5, 6, 22, 52));
        for bad in ["", "42", "42 (x", "42 (x) R", "x (x) R 1 1 1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
