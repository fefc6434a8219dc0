//! The only unsafe code of the player: what the kernel and libc offer and no safe crate wraps.
//!
//! Each function here is safe to call: its arguments make what it relies on true, and each unsafe
//! block says why. Which program, user and cgroup are used is decided elsewhere; this file decides
//! nothing.
//!
//! One thread calls [`spawn`]. Beside it there is one other thread: the sitter's for its log, or
//! the launcher's for pipes. [`spawn`] relies on that: signals are blocked and memory is shared
//! with the child for the few system calls between `clone` and `execveat`. The other thread may run
//! on meanwhile, because it takes no signal, makes no process, and uses nothing that a newborn
//! uses; the child has its own table of descriptors. The caller of [`spawn`] waits until the child
//! executes its program, so it must be able to wait for a process of that user: the sitter itself
//! makes only launchers, which run as its own user.

#![expect(unsafe_code, reason = "system calls that no safe crate wraps; see each block's proof")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    fmt, io,
    mem::{self, MaybeUninit},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
    sync::{
        OnceLock,
        atomic::{AtomicI32, Ordering},
    },
};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

use super::procfs;

/// Who a process runs as, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// User.
    pub(crate) uid: u32,
    /// Primary group.
    pub(crate) gid: u32,
    /// Every group, the primary one too.
    pub(crate) groups: Vec<u32>,
}

/// A process to be made.
pub(crate) struct Spawn<'a> {
    /// The program's file. A binary does not keep this descriptor; a script's interpreter reads
    /// from it, as the first number after those of `descriptors`.
    pub(crate) program: BorrowedFd<'a>,
    /// Arguments, the program's own name first.
    pub(crate) arguments: &'a [CString],
    /// The whole environment, `KEY=VALUE` each.
    pub(crate) environment: &'a [CString],
    /// Becomes 0, 1, 2 and so on; every other descriptor is closed.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// Its user; `None`: the caller's.
    pub(crate) identity: Option<&'a Identity>,
    /// The cgroup that it is in from its first moment on; `None`: the caller's.
    pub(crate) cgroup: Option<Entrance<'a>>,
    /// Files of processes of further cgroups, of other hierarchies, that it is in before it
    /// executes.
    pub(crate) limits: &'a [BorrowedFd<'a>],
    /// How many files it may open.
    pub(crate) file_limit: FileLimit,
    /// Settings that its service asks for.
    pub(crate) settings: Settings,
    /// Set-user-id programs give it nothing.
    pub(crate) no_new_privileges: bool,
    /// The caller's parent becomes its parent, and its number is written here: [`BEGUN`] before it
    /// is made, its own as the first thing that it does. `None`: the caller is its parent.
    pub(crate) sibling: Option<&'a AtomicI32>,
}

/// What stands for a process that may have been made, and has not written its number yet.
pub(crate) const BEGUN: i32 = -1;

/// A way into a cgroup.
#[derive(Clone, Copy)]
pub(crate) struct Entrance<'a> {
    /// Its directory, where it is one of cgroup v2: processes can be born there. Moving one in
    /// has to wait for every processor to pass a quiet moment, 10 ms and more.
    pub(crate) directory: Option<BorrowedFd<'a>>,
    /// Its file of processes: a process that writes `0` to it moves in.
    pub(crate) processes: BorrowedFd<'a>,
}

/// A process that was made: the leader of a session and of a process group of its own.
pub(crate) struct Spawned {
    /// Its number, and that of its group and session.
    pub(crate) pid: Pid,
    /// Refers to this process even after its number was given to another.
    pub(crate) pidfd: OwnedFd,
}

/// Why a process was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) struct SpawnError {
    step: Step,
    source: io::Error,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.step {
            Step::Prepare => "cannot prepare its descriptors",
            Step::Clone => "cannot make a process",
            Step::Session => "cannot start a session of its own",
            Step::Cgroup => "cannot join its cgroup",
            Step::Descriptors => "cannot set its descriptors",
            Step::Files => "cannot set how many files it may open (nofile)",
            Step::Niceness => "cannot set its niceness (nice)",
            Step::OomScore => "cannot set how soon it is killed for want of memory (oom_score_adj)",
            Step::Directory => "cannot change to the root directory",
            Step::Identity => "cannot become its user",
            Step::Privileges => "cannot give up privileges",
            Step::Execute => "cannot execute it",
        })
    }
}

impl SpawnError {
    /// Returns the error that another process sent as numbers; `None` if they mean nothing.
    pub(crate) fn from_numbers(step: u8, errno: i32) -> Option<Self> {
        let step = *Step::ALL.get(usize::from(step))?;
        Some(Self { step, source: io::Error::from_raw_os_error(errno) })
    }

    /// Returns the numbers of step and error, from which another process makes the same error.
    pub(crate) fn numbers(&self) -> (u8, i32) {
        let place = Step::ALL.iter().position(|step| *step == self.step).unwrap_or(0);
        (place as u8, self.source.raw_os_error().unwrap_or(libc::EINVAL))
    }

    /// Returns the error for a process whose descriptors cannot be had.
    pub(crate) fn unprepared(source: io::Error) -> Self {
        Self { step: Step::Prepare, source }
    }

    /// Returns whether a file was missing that the execution needs. The program's own file is open,
    /// so the missing file is its interpreter or loader.
    pub(crate) fn lacks_an_interpreter(&self) -> bool {
        self.step == Step::Execute && self.source.kind() == io::ErrorKind::NotFound
    }

    /// What the kernel said.
    pub(crate) fn cause(&self) -> &io::Error {
        &self.source
    }
}

/// The step at which the child failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Prepare,
    Clone,
    Session,
    Cgroup,
    Descriptors,
    Files,
    Niceness,
    OomScore,
    Directory,
    Identity,
    Privileges,
    Execute,
}

impl Step {
    const ALL: [Step; 12] = [
        Step::Prepare,
        Step::Clone,
        Step::Session,
        Step::Cgroup,
        Step::Descriptors,
        Step::Files,
        Step::Niceness,
        Step::OomScore,
        Step::Directory,
        Step::Identity,
        Step::Privileges,
        Step::Execute,
    ];
}

/// What parent and child share while the parent is suspended. Plain values and pointers to
/// memory that the parent keeps alive; the child writes `failure` and the number alone.
struct Plan {
    /// Where the child writes its number; null: nowhere.
    number: *const AtomicI32,
    program: c_int,
    arguments: *const *const c_char,
    environment: *const *const c_char,
    descriptors: *const c_int,
    descriptor_count: c_int,
    /// Where to write `0`; negative: nowhere.
    cgroup: c_int,
    /// Where to write `0` beside that.
    limits: *const c_int,
    limit_count: usize,
    file_limit: libc::rlimit,
    /// Whether the limit above was asked for, so that it must be set.
    must_limit_files: bool,
    umask: libc::mode_t,
    nice: Option<c_int>,
    /// Text for the kernel's file; null: nothing is written to it.
    oom_score_adj: *const c_char,
    oom_score_length: usize,
    identity: *const Identity,
    no_new_privileges: bool,
    /// See [`closed_singly`].
    closed_singly: c_int,
    failure: Option<(Step, c_int)>,
}

/// The highest number of a descriptor, where the kernel cannot close all from one number on (before
/// Linux 5.9) and they have to be closed one by one; else 0.
fn closed_singly() -> c_int {
    static TOGETHER: OnceLock<bool> = OnceLock::new();
    // SAFETY: a range without a descriptor; nothing is closed.
    let try_out = || unsafe {
        libc::syscall(libc::SYS_close_range, libc::c_uint::MAX, libc::c_uint::MAX, 0) == 0
    };
    match TOGETHER.get_or_init(try_out) {
        true => 0,
        false => procfs::descriptors().ok().and_then(|all| all.into_iter().max()).unwrap_or(1_024),
    }
}

/// Room for the child's few frames; it calls nothing deep.
const CHILD_STACK_BYTES: usize = 64 << 10;

/// Makes a process: new session and group, default signal handling, nothing blocked, `/`,
/// umask 022. Returns once it executes the program, or with what kept it from that.
///
/// Costs the same whatever the size of the caller: its memory is not copied.
pub(crate) fn spawn(spawn: &Spawn<'_>) -> Result<Spawned, SpawnError> {
    let prepare =
        |error: rustix::io::Errno| SpawnError { step: Step::Prepare, source: error.into() };
    // All above all targets, so that no `dup3` in the child overwrites a source.
    let above = spawn.descriptors.len() as c_int + 1;
    let mut copies = Vec::new();
    let mut number_above = |fd: &BorrowedFd<'_>| {
        if fd.as_raw_fd() >= above {
            return Ok(fd.as_raw_fd());
        }
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, above).map_err(prepare)?;
        let number = copy.as_raw_fd();
        copies.push(copy);
        Ok(number)
    };
    let program = number_above(&spawn.program)?;
    let descriptors =
        spawn.descriptors.iter().map(number_above).collect::<Result<Vec<c_int>, _>>()?;
    let limits: Vec<c_int> = spawn.limits.iter().map(AsRawFd::as_raw_fd).collect();
    let arguments = pointers(spawn.arguments);
    let environment = pointers(spawn.environment);
    let Settings { nofile, nice, oom_score_adj, umask } = spawn.settings;
    let asked = nofile.map(libc::rlim_t::from);
    let oom_score = oom_score_adj.map(|score| score.to_string());
    let mut plan = Plan {
        number: spawn.sibling.map_or(ptr::null(), ptr::from_ref),
        program,
        arguments: arguments.as_ptr(),
        environment: environment.as_ptr(),
        descriptors: descriptors.as_ptr(),
        descriptor_count: descriptors.len() as c_int,
        cgroup: -1,
        limits: limits.as_ptr(),
        limit_count: limits.len(),
        file_limit: asked
            .map_or(spawn.file_limit.0, |most| libc::rlimit { rlim_cur: most, rlim_max: most }),
        must_limit_files: asked.is_some(),
        umask: umask.map_or(0o022, libc::mode_t::from),
        nice: nice.map(c_int::from),
        oom_score_adj: oom_score.as_ref().map_or(ptr::null(), |text| text.as_ptr().cast()),
        oom_score_length: oom_score.as_ref().map_or(0, String::len),
        identity: spawn.identity.map_or(ptr::null(), ptr::from_ref),
        no_new_privileges: spawn.no_new_privileges,
        closed_singly: closed_singly(),
        failure: None,
    };
    let mut stack = Box::new_uninit_slice(CHILD_STACK_BYTES / size_of::<u128>());
    let mut pidfd: c_int = -1;
    // The child shares our signal handlers' memory until it executes, so none may run in it.
    let blocked = BlockedSignals::all();
    let directory = spawn.cgroup.and_then(|cgroup| cgroup.directory);
    let parent = spawn.sibling.map_or(0, |_| libc::CLONE_PARENT);
    spawn.sibling.inspect(|number| number.store(BEGUN, Ordering::Relaxed));
    // SAFETY: as `born_in` demands, stack and plan outlive the call, and no other thread
    // calls this.
    let born = directory.and_then(|directory| unsafe {
        born_in(directory, parent, &mut stack, &mut plan, &mut pidfd)
    });
    let pid = born.unwrap_or_else(|| {
        plan.cgroup = spawn.cgroup.map_or(-1, |cgroup| cgroup.processes.as_raw_fd());
        // SAFETY: `child` gets a stack of its own, whose end (stacks grow down) is aligned for any
        // value, and `plan`, which with all it points to outlives the child's use: CLONE_VFORK
        // suspends this thread, and the other one uses none of it, until the child has executed or
        // exited. CLONE_VM shares the memory; `child` writes `plan.failure`, errno and the atomic
        // number alone. CLONE_PIDFD stores a new descriptor through the pointer given as the
        // parent's thread id.
        unsafe {
            libc::clone(
                child,
                stack.as_mut_ptr_range().end.cast(),
                CLONE_FLAGS | parent | libc::SIGCHLD,
                ptr::from_mut(&mut plan).cast(),
                ptr::from_mut(&mut pidfd),
            )
        }
    });
    let cloned = if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(()) };
    drop(blocked);
    cloned.map_err(|source| {
        spawn.sibling.inspect(|number| number.store(0, Ordering::Relaxed));
        SpawnError { step: Step::Clone, source }
    })?;
    // SAFETY: clone succeeded, so the kernel stored a new descriptor here that nobody else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: `plan` is a live local; volatile, because the child's write is invisible to the
    // compiler.
    let failure = unsafe { ptr::read_volatile(&raw const plan.failure) };
    if let Some((step, errno)) = failure {
        // The child has exited, or is about to. It is reaped here, so that it is not met later as
        // an unknown child. A child of another process is refused here, and left to its parent.
        let _ = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(
                WaitId::PidFd(rustix::fd::AsFd::as_fd(&pidfd)),
                WaitIdOptions::EXITED,
            )
        });
        return Err(SpawnError { step, source: io::Error::from_raw_os_error(errno) });
    }
    match Pid::from_raw(pid) {
        Some(pid) => Ok(Spawned { pid, pidfd }),
        None => Err(SpawnError { step: Step::Clone, source: io::ErrorKind::Other.into() }),
    }
}

/// Memory is shared, the parent waits, and its new child has a pidfd.
const CLONE_FLAGS: c_int = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;

/// Makes [`child`] in a cgroup v2 from its first moment on. `None` where that cannot be done here
/// (an old kernel, a filter that does not know the call) and nothing has happened.
///
/// libc has no function for it, and none in Rust can be: the child returns from the system call
/// onto a stack that is empty.
///
/// # Safety
///
/// `plan` is whole; no other thread calls this, or uses what the child uses.
#[cfg(target_arch = "x86_64")]
unsafe fn born_in(
    directory: BorrowedFd<'_>,
    parent: c_int,
    stack: &mut [MaybeUninit<u128>],
    plan: &mut Plan,
    pidfd: &mut c_int,
) -> Option<libc::pid_t> {
    /// `CLONE_INTO_CGROUP` of `linux/sched.h`; libc's constant is cut to 32 bits.
    const INTO_CGROUP: u64 = 1 << 33;
    // SAFETY: all zero means "not used" for every field.
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = (CLONE_FLAGS | parent) as u64 | INTO_CGROUP;
    arguments.pidfd = ptr::from_mut(pidfd) as u64;
    // A sibling's is the caller's own, and the kernel refuses another one.
    arguments.exit_signal = if parent == 0 { libc::SIGCHLD as u64 } else { 0 };
    arguments.stack = stack.as_mut_ptr() as u64;
    arguments.stack_size = size_of_val(stack) as u64;
    arguments.cgroup = directory.as_raw_fd() as u64;
    let result: isize;
    // SAFETY: the parent passes through with its result alone changed, and what the kernel
    // clobbers in every system call (rcx, r11, memory). The child has a copy of its registers and
    // the end of `stack`, aligned to 16 as a call wants it, below which nobody else's frames are;
    // it calls `child(plan)`, which does not return. Sharing of memory: as in `spawn`.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") ptr::from_mut(&mut arguments),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") ptr::from_mut(plan),
            in("r13") child as extern "C" fn(*mut c_void) -> c_int,
            out("rcx") _,
            out("r11") _,
        );
    }
    libc::pid_t::try_from(result).ok().filter(|pid| *pid > 0)
}

/// Elsewhere the child moves in by itself.
///
/// # Safety
///
/// Nothing is done.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn born_in(
    _: BorrowedFd<'_>,
    _: c_int,
    _: &mut [MaybeUninit<u128>],
    _: &mut Plan,
    _: &mut c_int,
) -> Option<libc::pid_t> {
    None
}

/// A null-terminated array of the strings' addresses.
fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain([ptr::null()]).collect()
}

/// The child, from clone to execveat. Async-signal-safe calls alone: the memory, errno and libc's
/// locks are the parent's. It neither allocates nor panics.
extern "C" fn child(plan: *mut c_void) -> c_int {
    let plan: *mut Plan = plan.cast();
    // SAFETY: `spawn` passes its `Plan`, and its thread is suspended: nobody else uses it, nor does
    // the other thread.
    let plan = unsafe { &mut *plan };
    // SAFETY: as `become_program` demands, this is the child, with a valid plan.
    let step = unsafe { become_program(plan) };
    plan.failure = Some((step, io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)));
    // SAFETY: ends this process at once, without running the parent's exit handlers.
    unsafe { libc::_exit(127) }
}

/// Does what [`spawn`] promises, step by step, and returns only where one fails, with errno set.
///
/// # Safety
///
/// To be called in the child of [`spawn`] alone, with pointers and counts in `plan` that describe
/// live memory: null-terminated arrays of C strings, `descriptor_count` and `limit_count` numbers.
unsafe fn become_program(plan: &Plan) -> Step {
    // SAFETY: every call below is a plain system call on numbers or on the memory that the caller
    // vouches for. User and groups are changed with raw system calls, because libc's own functions
    // would change every thread that they believe exists: the parent's.
    unsafe {
        if !plan.number.is_null() {
            let own = libc::syscall(libc::SYS_getpid);
            (*plan.number).store(own as i32, Ordering::Relaxed);
        }
        // The kernel's own struct, all zero, says "the default"; libc's wrapper would keep its
        // hands off two signals, which may have been left ignored. Refused for KILL and STOP alone.
        let default = [0_u64; 8];
        for signal in 1..=64 {
            let (size, old) = (size_of::<u64>(), ptr::null_mut::<c_void>());
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), old, size);
        }
        if libc::setsid() < 0 {
            return Step::Session;
        }
        if plan.cgroup >= 0 && libc::write(plan.cgroup, c"0".as_ptr().cast(), 1) != 1 {
            return Step::Cgroup;
        }
        for n in 0..plan.limit_count {
            if libc::write(*plan.limits.add(n), c"0".as_ptr().cast(), 1) != 1 {
                return Step::Cgroup;
            }
        }
        for n in 0..plan.descriptor_count {
            if libc::dup2(*plan.descriptors.add(n as usize), n) < 0 {
                return Step::Descriptors;
            }
        }
        let program = plan.descriptor_count;
        if libc::dup3(plan.program, program, libc::O_CLOEXEC) < 0 {
            return Step::Descriptors;
        }
        // From here on it may be another user's, who can stop it for ever: it holds nothing but
        // what is its own.
        let first = (program + 1) as libc::c_uint;
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, 0);
        for number in program + 1..=plan.closed_singly {
            libc::close(number);
        }
        // What we raised for ourselves cannot be refused, being no higher than what we have.
        let is_limited = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const plan.file_limit) == 0;
        if plan.must_limit_files && !is_limited {
            return Step::Files;
        }
        if let Some(nice) = plan.nice
            && libc::setpriority(libc::PRIO_PROCESS, 0, nice) < 0
        {
            return Step::Niceness;
        }
        if !plan.oom_score_adj.is_null() && !be_killed(plan.oom_score_adj, plan.oom_score_length) {
            return Step::OomScore;
        }
        libc::umask(plan.umask);
        if libc::chdir(c"/".as_ptr()) < 0 {
            return Step::Directory;
        }
        if !plan.identity.is_null() {
            let who = &*plan.identity;
            let (uid, gid) = (who.uid, who.gid);
            if libc::syscall(libc::SYS_setgroups, who.groups.len(), who.groups.as_ptr()) < 0
                || libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0
                || libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0
            {
                return Step::Identity;
            }
        }
        let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
        if plan.no_new_privileges
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) < 0
        {
            return Step::Privileges;
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
        let execute = || {
            libc::syscall(
                libc::SYS_execveat,
                program,
                c"".as_ptr(),
                plan.arguments,
                plan.environment,
                libc::AT_EMPTY_PATH,
            )
        };
        execute();
        // The kernel's word for "an interpreter would find this descriptor closed": a script. It
        // keeps the descriptor; a binary, and any daemon that it leaves, does not.
        if *libc::__errno_location() == libc::ENOENT {
            libc::fcntl(program, libc::F_SETFD, 0);
            execute();
        }
        Step::Execute
    }
}

/// Says how soon the kernel is to kill this process where the host lacks memory. The kernel takes
/// that of one process alone while its parent waits for it (`vfork`), though both share their
/// memory.
///
/// # Safety
///
/// As of [`become_program`]; `text` has `length` bytes.
unsafe fn be_killed(text: *const c_char, length: usize) -> bool {
    // SAFETY: plain system calls on a literal, and on memory that the caller vouches for.
    unsafe {
        let file =
            libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file < 0 {
            return false;
        }
        let written = libc::write(file, text.cast(), length);
        let errno = *libc::__errno_location();
        libc::close(file);
        *libc::__errno_location() = errno;
        written == length as isize
    }
}

/// Further settings of a newborn, made before it becomes another user. `None` leaves the usual
/// value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How many files it may open, as its soft and its hard limit.
    pub(crate) nofile: Option<u32>,
    /// From -20 to 19.
    pub(crate) nice: Option<i8>,
    /// From -1000 to 1000.
    pub(crate) oom_score_adj: Option<i16>,
    /// Bits taken off the mode of new files; else 022.
    pub(crate) umask: Option<u16>,
}

/// How many files this process might open when it began, which is what its children get. Sitter and
/// launchers need descriptors for each attempt, so they raise their limit. Other programs keep the
/// original one, because `select` breaks above 1,024.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileLimit(libc::rlimit);

impl FileLimit {
    /// Reads this process's own limit.
    pub(crate) fn own() -> Self {
        let mut limit = libc::rlimit { rlim_cur: 1_024, rlim_max: 1_024 };
        // SAFETY: fills the struct.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        FileLimit(limit)
    }

    /// Raises this process's own limit as far as it goes.
    pub(crate) fn raise() -> Self {
        let limit = Self::own();
        limit.raise_again();
        limit
    }

    /// Raises it once more, after [`FileLimit::restore`].
    pub(crate) fn raise_again(self) {
        set_file_limit(libc::rlimit { rlim_cur: self.0.rlim_max, ..self.0 });
    }

    /// Sets the limit back to what it was.
    pub(crate) fn restore(self) {
        set_file_limit(self.0);
    }
}

fn set_file_limit(limit: libc::rlimit) {
    // SAFETY: reads the struct. It may be refused, and then all is as it was.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// All signals blocked while it lives.
struct BlockedSignals {
    before: libc::sigset_t,
}

impl BlockedSignals {
    fn all() -> Self {
        // SAFETY: signal sets are plain memory that the calls fill; blocking signals in this
        // thread breaks nothing that it relies on.
        unsafe {
            let mut all: libc::sigset_t = mem::zeroed();
            let mut before: libc::sigset_t = mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
            BlockedSignals { before }
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: restores a set that the kernel filled.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, ptr::null_mut())
        };
    }
}

/// Does `work` with all signals blocked. A thread that is started in it never takes a signal.
pub(crate) fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    let _blocked = BlockedSignals::all();
    work()
}

/// Unblocks all signals, which [`execute`] had blocked for the program that it became.
pub(crate) fn unblock_signals() {
    // SAFETY: as in `BlockedSignals::all`; an empty set is a valid mask.
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Becomes another program, keeping children and all descriptors that are not close-on-exec.
/// Signals are blocked meanwhile, so that none ends the new program before it has its handlers;
/// that program calls [`unblock_signals`]. `still` is asked once signals are blocked. Returns
/// `None` if it says that the execution is not wanted any more, or the error if the execution
/// fails.
pub(crate) fn execute(
    program: &CStr,
    arguments: &[CString],
    environment: &[CString],
    still: impl FnOnce() -> bool,
) -> Option<io::Error> {
    let _blocked = BlockedSignals::all();
    if !still() {
        return None;
    }
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: three live C strings or null-terminated arrays of them; on success nothing of this
    // program is left that could notice.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    Some(io::Error::last_os_error())
}

/// Returns those of these descriptors that a parent, or the program that was executed before, left
/// open for this program. Each is given away once, and is close-on-exec from then on.
pub(crate) fn inherited(numbers: impl IntoIterator<Item = i32>) -> Vec<OwnedFd> {
    let was_left = |number: &i32| {
        // SAFETY: F_GETFD reads a flag, or fails for a number that is not open.
        let flags = unsafe { libc::fcntl(*number, libc::F_GETFD) };
        *number > 2 && flags >= 0 && flags & libc::FD_CLOEXEC == 0
    };
    let left: Vec<i32> = numbers.into_iter().filter(was_left).collect();
    // SAFETY: what an execution left open is not close-on-exec. std and every module of this
    // program open descriptors close-on-exec, so this program opened none of these; what was taken
    // is close-on-exec, so no earlier call gave one of them away.
    unsafe { take_descriptors(left) }
}

/// Takes over the descriptors of these numbers, and makes them close-on-exec.
///
/// # Safety
///
/// Each is open, and nothing in this program owns or borrows it.
unsafe fn take_descriptors(numbers: Vec<i32>) -> Vec<OwnedFd> {
    let take = |number: i32| {
        // SAFETY: sets a flag of a descriptor that is the caller's to give.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
        // SAFETY: open and nobody's, by this function's contract.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    numbers.into_iter().map(take).collect()
}

/// How many numbers a page that is shared between processes has room for.
pub(crate) const SHARED_NUMBERS: usize = 66;

/// Returns the numbers at the beginning of a file, shared with every process that maps it, for as
/// long as this process lives. `None` if the file is too short, could shrink, or cannot be mapped.
pub(crate) fn shared_numbers(file: BorrowedFd<'_>) -> Option<&'static [AtomicI32; SHARED_NUMBERS]> {
    const BYTES: usize = size_of::<[AtomicI32; SHARED_NUMBERS]>();
    let seals = rustix::fs::fcntl_get_seals(file).ok()?;
    let size = rustix::fs::fstat(file).ok()?.st_size;
    if !seals.contains(rustix::fs::SealFlags::SHRINK) || usize::try_from(size).ok()? < BYTES {
        return None;
    }
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: a new mapping, wherever the kernel likes.
    let page =
        unsafe { libc::mmap(ptr::null_mut(), BYTES, protection, flags, file.as_raw_fd(), 0) };
    // SAFETY: it is mapped, aligned to a page, never unmapped, and stays within the file, which
    // cannot shrink; any bits are a number, and whoever writes them writes whole ones.
    (page != libc::MAP_FAILED).then(|| unsafe { &*page.cast() })
}

/// Returns a child that has ended and was not reaped. It stays so.
pub(crate) fn ended_child() -> Option<i32> {
    // SAFETY: all zero is a valid `siginfo_t`.
    let mut info: libc::siginfo_t = unsafe { mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: fills the struct, or leaves it as it is.
    let asked = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    // SAFETY: the call filled this field, or it is still zero.
    let pid = unsafe { info.si_pid() };
    (asked == 0 && pid > 0).then_some(pid)
}

/// Sends a signal to the process group that this process leads or led, never to another one that
/// was given the same number since. Needs Linux 6.9; `EINVAL` before.
pub(crate) fn signal_group(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    /// `PIDFD_SIGNAL_PROCESS_GROUP` of `linux/pidfd.h`.
    const PROCESS_GROUP: libc::c_uint = 1 << 2;
    let no_info = ptr::null::<libc::siginfo_t>();
    // SAFETY: numbers, and a null pointer that the call allows.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal.as_raw(),
            no_info,
            PROCESS_GROUP,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// `struct pidfd_info` of `linux/pidfd.h`, its first published size.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    /// pid, tgid, ppid, and eight of user and group.
    numbers: [u32; 11],
    exit_code: i32,
}

/// Returns the wait status of a process that was reaped; `None` while it was not. It need not be
/// our child. Fails if the kernel cannot tell (before Linux 6.15).
pub(crate) fn exit_of(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    /// `PIDFD_INFO_EXIT`.
    const EXIT: u64 = 1 << 3;
    const _: () = assert!(size_of::<PidfdInfo>() == 64);
    /// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
    const GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xFF << 8) | 11;
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: the request's number carries the size of what the pointer leads to, and the kernel
    // writes at most that.
    let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), GET_INFO as _, ptr::from_mut(&mut info)) };
    if done < 0 {
        return match io::Error::last_os_error() {
            // The kernel does not keep how the process ended.
            error if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            error => Err(error),
        };
    }
    Ok((info.mask & EXIT != 0).then_some(info.exit_code))
}

/// Returns whether this file is open for writing, because the kernel executes no such file. `false`
/// if it cannot be found out.
///
/// A read lease tells it: the kernel grants one only while there is no writer. It is given back at
/// once.
pub(crate) fn is_open_for_writing(file: BorrowedFd<'_>) -> bool {
    /// Of `asm-generic/fcntl.h`; libc lacks it.
    const F_SETSIG: c_int = 10;
    let fd = file.as_raw_fd();
    // SAFETY: numbers alone. Whoever opens the file for writing meanwhile makes the kernel send a
    // signal to this process: URG, which does nothing unless it is caught.
    unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG);
        if libc::fcntl(fd, libc::F_SETLEASE, libc::F_RDLCK) < 0 {
            return *libc::__errno_location() == libc::EAGAIN;
        }
        libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK);
        libc::fcntl(fd, F_SETSIG, 0);
    }
    false
}

/// An account, as the host's name services know it.
pub(crate) struct Account {
    /// Its numbers.
    pub(crate) identity: Identity,
    /// Its home directory.
    pub(crate) home: CString,
}

/// Who to look for.
#[derive(Clone, Copy)]
pub(crate) enum Who<'a> {
    /// By name.
    Name(&'a CStr),
    /// By number.
    Uid(u32),
}

/// Looks an account up through libc, so that directory services count. `None` if there is none.
pub(crate) fn account(who: Who<'_>) -> io::Result<Option<Account>> {
    // SAFETY: all-zero is a valid `passwd`: numbers and null pointers.
    let mut entry: libc::passwd = unsafe { mem::zeroed() };
    let mut found: *mut libc::passwd = ptr::null_mut();
    let mut text: Vec<c_char> = vec![0; 1 << 10];
    loop {
        let (buffer, length) = (text.as_mut_ptr(), text.len());
        // SAFETY: the calls fill `entry` and at most `length` bytes of `buffer`.
        let error = unsafe {
            match who {
                Who::Name(name) => {
                    libc::getpwnam_r(name.as_ptr(), &raw mut entry, buffer, length, &raw mut found)
                }
                Who::Uid(uid) => {
                    libc::getpwuid_r(uid, &raw mut entry, buffer, length, &raw mut found)
                }
            }
        };
        match error {
            0 => break,
            libc::EINTR => {}
            libc::ERANGE if text.len() < 1 << 20 => text.resize(text.len() * 4, 0),
            // What POSIX lets a name service say for "no such name".
            libc::ENOENT | libc::ESRCH => return Ok(None),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
    if found.is_null() {
        return Ok(None);
    }
    // SAFETY: found, so both are C strings in `text`, which lives on.
    let (name, home) = unsafe { (CStr::from_ptr(entry.pw_name), CStr::from_ptr(entry.pw_dir)) };
    let groups = groups(name, entry.pw_gid)?;
    let identity = Identity { uid: entry.pw_uid, gid: entry.pw_gid, groups };
    Ok(Some(Account { identity, home: home.to_owned() }))
}

/// Every group of an account.
fn groups(name: &CStr, primary: u32) -> io::Result<Vec<u32>> {
    /// The kernel's own bound (`NGROUPS_MAX`).
    const MOST: usize = 65_536;
    let mut groups: Vec<u32> = vec![0; 32];
    loop {
        let mut count = c_int::try_from(groups.len()).unwrap_or(c_int::MAX);
        // SAFETY: `groups` has room for `count` numbers, and the call writes at most so many.
        let fitted = unsafe {
            libc::getgrouplist(name.as_ptr(), primary, groups.as_mut_ptr(), &raw mut count)
        };
        let count = usize::try_from(count).unwrap_or(0);
        if fitted >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if groups.len() >= MOST {
            return Err(io::Error::other("the account is in too many groups"));
        }
        groups.resize(count.max(groups.len() * 2).min(MOST), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        io::{BufRead, BufReader, Write},
        os::fd::AsFd,
        process::{Command, Stdio},
    };

    use rustix::process::{PidfdFlags, pidfd_open};

    use super::*;

    fn run(script: &str, cgroup: Option<Entrance<'_>>) -> Result<Option<i32>, SpawnError> {
        run_limited(script, cgroup, &[])
    }

    fn run_limited(
        script: &str,
        cgroup: Option<Entrance<'_>>,
        limits: &[BorrowedFd<'_>],
    ) -> Result<Option<i32>, SpawnError> {
        let memory = rustix::fs::memfd_create(c"test", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut memory = File::from(memory);
        memory.write_all(script.as_bytes()).unwrap();
        // The file is opened again, because interpreters read from the position of the descriptor.
        let program = File::open(format!("/proc/self/fd/{}", memory.as_raw_fd())).unwrap();
        let null = File::open("/dev/null").unwrap();
        let spawned = spawn(&Spawn {
            program: program.as_fd(),
            arguments: &[c"name".to_owned()],
            environment: &[c"PATH=/usr/bin:/bin".to_owned()],
            descriptors: &[null.as_fd(), null.as_fd(), null.as_fd()],
            identity: None,
            cgroup,
            limits,
            settings: Settings::default(),
            file_limit: FileLimit(libc::rlimit { rlim_cur: 100, rlim_max: 200 }),
            no_new_privileges: true,
            sibling: None,
        })?;
        let ended =
            rustix::process::waitid(WaitId::PidFd(spawned.pidfd.as_fd()), WaitIdOptions::EXITED);
        Ok(ended.unwrap().unwrap().exit_status())
    }

    #[test]
    fn a_process_begins_with_what_it_was_given() {
        let script = "#!/bin/sh\nset -e\n[ $(ulimit -n) = 100 ]\n[ $(pwd) = / ]\n\
                      grep -q 'NoNewPrivs:.1' /proc/self/status\nexit 3\n";
        assert_eq!(run(script, None).unwrap(), Some(3));
    }

    #[test]
    fn what_cannot_be_executed_is_told_and_leaves_nobody() {
        for (script, errno) in [("no program", libc::ENOEXEC), ("#!/nonexistent/x\n", libc::ENOENT)]
        {
            let error = run(script, None).unwrap_err();
            assert_eq!(error.source.raw_os_error(), Some(errno), "{error}");
            assert_eq!(error.to_string(), "cannot execute it");
        }
    }

    #[test]
    fn what_was_left_open_is_given_away_once() {
        let (reader, writer) = io::pipe().unwrap();
        let numbers = [reader.as_raw_fd(), writer.as_raw_fd(), 0, 1, 2];
        assert!(inherited(numbers).is_empty(), "what this program opened");
        rustix::io::fcntl_setfd(&reader, rustix::io::FdFlags::empty()).unwrap();
        let left = std::os::fd::IntoRawFd::into_raw_fd(reader);
        let taken = inherited(numbers);
        assert_eq!(taken.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), [left]);
        assert!(inherited(numbers).is_empty(), "a second time");
    }

    #[test]
    fn numbers_are_shared_with_who_has_the_file() {
        use std::os::unix::fs::FileExt;
        let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create(c"test", flags).unwrap());
        file.set_len(4_096).unwrap();
        assert!(shared_numbers(file.as_fd()).is_none(), "it may shrink");
        rustix::fs::fcntl_add_seals(&file, rustix::fs::SealFlags::SHRINK).unwrap();
        let numbers = shared_numbers(file.as_fd()).unwrap();
        numbers[3].store(BEGUN, Ordering::Relaxed);
        let mut bytes = [0; 4];
        file.read_exact_at(&mut bytes, 12).unwrap();
        assert_eq!(i32::from_le_bytes(bytes), BEGUN);
        file.write_all_at(&7_i32.to_le_bytes(), 12).unwrap();
        assert_eq!(numbers[3].load(Ordering::Relaxed), 7);
        assert!(shared_numbers(File::open("/dev/null").unwrap().as_fd()).is_none());
    }

    #[test]
    fn an_error_is_the_same_from_its_numbers() {
        for (place, step) in (0..).zip(Step::ALL) {
            let error = SpawnError { step, source: io::Error::from_raw_os_error(libc::EAGAIN) };
            assert_eq!(error.numbers(), (place, libc::EAGAIN));
            let again = SpawnError::from_numbers(place, libc::EAGAIN).unwrap();
            assert_eq!(again.to_string(), error.to_string());
        }
        assert!(SpawnError::from_numbers(Step::ALL.len() as u8, 0).is_none());
    }

    #[test]
    fn both_ways_lead_into_a_cgroup() {
        let name = format!("orchestra-test-sys-{}", std::process::id());
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let leaf = std::path::Path::new(mount).join(&name);
            // The root of a v2 hierarchy, if this user may make cgroups there.
            let root = leaf.with_file_name("cgroup.procs").exists();
            if !root || fs::create_dir(&leaf).is_err() {
                continue;
            }
            let directory = File::open(&leaf).unwrap();
            let processes = File::options().write(true).open(leaf.join("cgroup.procs"));
            let processes = processes.unwrap();
            let script = format!("#!/bin/sh\ngrep -q '^0::.*/{name}$' /proc/self/cgroup\n");
            for directory in [Some(directory.as_fd()), None] {
                let entrance = Entrance { directory, processes: processes.as_fd() };
                assert_eq!(run(&script, Some(entrance)).unwrap(), Some(0), "{directory:?}");
            }
            fs::remove_dir(&leaf).unwrap();
        }
    }

    #[test]
    fn further_cgroups_are_entered_before_the_program_runs() {
        let name = format!("orchestra-test-sys-beside-{}", std::process::id());
        let leaves = ["cpu", "pids"].map(|it| format!("/sys/fs/cgroup/{it}/{name}"));
        let made = leaves.iter().filter(|leaf| fs::create_dir(leaf).is_ok()).count();
        let open = |leaf| File::options().write(true).open(format!("{leaf}/cgroup.procs"));
        let files: Vec<File> = leaves.iter().filter_map(|leaf| open(leaf).ok()).collect();
        let limits: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
        let script = format!("#!/bin/sh\ntest $(grep -c '/{name}$' /proc/self/cgroup) = {made}\n");
        if limits.len() == made {
            assert_eq!(run_limited(&script, None, &limits).unwrap(), Some(0));
        }
        leaves.iter().for_each(|leaf| drop(fs::remove_dir(leaf)));
    }

    #[test]
    fn the_end_of_anothers_child_is_told_once_it_is_reaped() {
        let script = "exec 3<&0; sh -c 'read x; exit 7' <&3 & echo $!; wait $!";
        let mut parent = Command::new("sh");
        let parent = parent.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut parent = parent.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        // Before Linux 6.15 the kernel cannot tell, and says so.
        let can_tell = exit_of(pidfd.as_fd()).map(|end| assert_eq!(end, None)).is_ok();
        drop(parent.stdin.take());
        assert_eq!(parent.wait().unwrap().code(), Some(7));
        if can_tell {
            assert_eq!(exit_of(pidfd.as_fd()).unwrap(), Some(7 << 8));
        }
    }
}
