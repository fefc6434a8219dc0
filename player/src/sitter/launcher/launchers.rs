//! The sitter's side: whose launchers there are, and what they are asked for.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::CString,
    io,
};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair, sockopt},
};

use super::{
    IN_FLIGHT, LOOK, PAGE, REST, SOCKET,
    asked::{Early, Launch, Launcher, shared_page},
    outcome::{LaunchError, Launched, NotSent},
    wire::{self, REQUEST_BYTES, Request, Seen},
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Interest, Poller, Token},
    procfs::Stat,
    sys::{self, FileLimit, Identity, Spawn},
};

/// Every launcher, by the user of its newborns; `T` says what a newborn is for.
pub(crate) struct Launchers<T> {
    /// This very program, whatever has its path by now: the two must understand each other.
    program: OwnedFd,
    /// What marks launchers, and newborns that have executed nothing, `KEY=VALUE`.
    mark: CString,
    file_limit: FileLimit,
    /// The first token, and how many were given away.
    first_token: Token,
    tokens: u64,
    by_user: BTreeMap<Option<Identity>, Launcher<T>>,
    last_number: u64,
    /// Children that ended and belonged to nobody yet: newborns that were quicker than their answer.
    early: BTreeMap<i32, Early>,
}

/// How many of those are kept before old ones are looked for: no answer takes so long.
const EARLY: usize = 1_024;

impl<T> Launchers<T> {
    /// None yet. `first_token` and all above it are theirs.
    pub(crate) fn new(
        mark: CString,
        file_limit: FileLimit,
        first_token: Token,
    ) -> io::Result<Self> {
        // Who may execute it need not be allowed to read it.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = rustix::fs::open("/proc/self/exe", flags, Mode::empty())?;
        let (by_user, early) = (BTreeMap::new(), BTreeMap::new());
        let (tokens, last_number) = (0, 0);
        Ok(Self { program, mark, file_limit, first_token, tokens, by_user, last_number, early })
    }

    /// Whether a newborn of this user can be asked for now.
    pub(crate) fn has_room(&self, user: &Option<Identity>) -> bool {
        self.by_user.get(user).is_none_or(|launcher| {
            !launcher.full && !launcher.dying && launcher.in_flight.len() < IN_FLIGHT
        })
    }

    /// Whether an answer is still to come.
    pub(crate) fn is_busy(&self) -> bool {
        self.by_user.values().any(|launcher| !launcher.in_flight.is_empty())
    }

    /// What answers are still to come for.
    pub(crate) fn awaited(&mut self) -> impl Iterator<Item = &mut T> {
        let launchers = self.by_user.values_mut();
        launchers.flat_map(|launcher| &mut launcher.in_flight).map(|launch| &mut launch.what)
    }

    /// Asks for a newborn of a user, for `what`.
    pub(crate) fn send(
        &mut self,
        poller: &Poller,
        user: &Option<Identity>,
        request: &Request<'_>,
        what: T,
        now: BootMillis,
    ) -> Result<(), NotSent<T>> {
        if !self.has_room(user) {
            return Err(NotSent::Later(what));
        }
        if !self.by_user.contains_key(user) {
            match self.start(poller, user, now) {
                Ok(launcher) => drop(self.by_user.insert(user.clone(), launcher)),
                Err(error) => return Err(NotSent::Never(what, error)),
            }
        }
        let reserve = match rustix::io::fcntl_dupfd_cloexec(&self.program, 3) {
            Ok(reserve) => reserve,
            Err(error) => return Err(NotSent::Never(what, LaunchError::Ask(error.into()))),
        };
        let number = self.last_number + 1;
        // It was put there above, where there was none.
        let Some(launcher) = self.by_user.get_mut(user) else { return Err(NotSent::Later(what)) };
        match launcher.send(number, request) {
            Ok(()) => {}
            Err(Errno::AGAIN) if !launcher.in_flight.is_empty() => {
                launcher.full = true;
                return Err(NotSent::Later(what));
            }
            // It has ended, which is about to be told.
            Err(Errno::PIPE | Errno::CONNRESET) => {
                launcher.dying = true;
                return Err(NotSent::Later(what));
            }
            Err(error) => return Err(NotSent::Never(what, LaunchError::Ask(error.into()))),
        }
        self.last_number = number;
        if launcher.in_flight.is_empty() {
            launcher.be_heard(now);
        }
        launcher.in_flight.push_back(Launch { number, what, _reserve: reserve });
        Ok(())
    }

    /// Makes a launcher. It is our own user's and executes our own program, so nobody can keep us
    /// waiting for it.
    fn start(
        &mut self,
        poller: &Poller,
        user: &Option<Identity>,
        now: BootMillis,
    ) -> Result<Launcher<T>, LaunchError> {
        let failed = |error: Errno| LaunchError::Launcher(error.into());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(failed)?;
        rustix::io::ioctl_fionbio(&theirs, false).map_err(failed)?;
        // Room for one request of any size; what is refused here leaves room for any but the largest.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, REQUEST_BYTES)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, REQUEST_BYTES));
        let page = shared_page().map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(failed)?;
        let stderr = io::stderr();
        const _: () = assert!(SOCKET == 3 && PAGE == 4);
        let spawned = sys::spawn(&Spawn {
            program: self.program.as_fd(),
            arguments: &[c"player".to_owned(), c"launcher".to_owned()],
            environment: std::slice::from_ref(&self.mark),
            descriptors: &[
                null.as_fd(),
                null.as_fd(),
                stderr.as_fd(),
                theirs.as_fd(),
                page.as_fd(),
            ],
            identity: None,
            cgroup: None,
            file_limit: self.file_limit,
            no_new_privileges: false,
            sibling: None,
        });
        let spawned = spawned.map_err(LaunchError::LauncherProcess)?;
        let token = Token(self.first_token.0 + self.tokens);
        self.tokens += 1;
        let launcher = Launcher {
            pid: spawned.pid.as_raw_nonzero().get(),
            pidfd: spawned.pidfd,
            socket,
            page,
            token,
            in_flight: VecDeque::new(),
            full: false,
            dying: false,
            silent_since: now,
            look_at: now,
        };
        send(&launcher.socket, &wire::encode_user(user.as_ref()), SendFlags::NOSIGNAL)
            .map_err(failed)?;
        poller.add(&launcher.socket, token, Interest::Read).map_err(LaunchError::Launcher)?;
        tracing::debug!(pid = launcher.pid, uid = user.as_ref().map(|user| user.uid), "a launcher");
        Ok(launcher)
    }

    /// Takes the answers that came at this token; none where it is no launcher's.
    pub(crate) fn receive(
        &mut self,
        poller: &Poller,
        token: Token,
        now: BootMillis,
    ) -> Vec<(T, Launched)> {
        let mut launchers = self.by_user.values_mut();
        let Some(launcher) = launchers.find(|launcher| launcher.token == token) else {
            return Vec::new();
        };
        let launched = launcher.receive(poller, &mut self.early, now);
        self.settle_down();
        launched
    }

    /// A child of this number ended and is no attempt's: whether it was a launcher, and what comes of
    /// that.
    pub(crate) fn ended(
        &mut self,
        poller: &Poller,
        pid: i32,
        now: BootMillis,
    ) -> Option<Vec<(T, Launched)>> {
        let user = self.by_user.iter().find(|(_, launcher)| launcher.pid == pid)?.0.clone();
        let mut launcher = self.by_user.remove(&user)?;
        let uid = user.map(|user| user.uid);
        let mut launched = launcher.receive(poller, &mut self.early, now);
        let awaited = launcher.in_flight.len();
        tracing::warn!(pid, uid, awaited, "a launcher ended; another is started when it is needed");
        for launch in std::mem::take(&mut launcher.in_flight) {
            let came = launcher.what_came_of(launch.number, &mut self.early);
            launched.push((launch.what, came));
        }
        self.settle_down();
        Some(launched)
    }

    /// A child ended that belongs to nobody. It may be a newborn whose answer is still to come:
    /// `stat` is what was known of it before it was reaped.
    pub(crate) fn note_end(
        &mut self,
        pid: i32,
        wait_status: i32,
        stat: Option<Stat>,
        now: BootMillis,
    ) {
        if self.is_busy() {
            if self.early.len() >= EARLY {
                // Orphans of scores, while there was always an answer to wait for.
                self.early.retain(|_, early| now < early.at.after(REST.as_millis() as u64));
            }
            let seen =
                stat.map(|stat| Seen { executed: stat.executed, start_ticks: stat.start_ticks });
            self.early.insert(pid, Early { wait_status, seen, at: now });
        }
    }

    /// Does what is due: looks after launchers that are silent, and lets those go that had nothing to
    /// do for long.
    pub(crate) fn tick(&mut self, now: BootMillis) {
        self.by_user.retain(|user, launcher| {
            let uid = user.as_ref().map(|user| user.uid);
            if !launcher.in_flight.is_empty() {
                if now >= launcher.look_at {
                    launcher.look_after(uid, now);
                }
                return true;
            }
            // It ends with its socket.
            launcher.dying || now < launcher.rests_at()
        });
    }

    /// Gives up on launchers that are silent, because the sitter is to end: no user's newborns may keep
    /// it from that. What was begun is killed, and what was not comes back.
    pub(crate) fn hurry(&mut self, now: BootMillis) {
        for launcher in self.by_user.values_mut() {
            let silent = now >= launcher.silent_since.after(LOOK.as_millis() as u64);
            if silent && !launcher.in_flight.is_empty() && !launcher.dying {
                launcher.dying = true;
                launcher.kill_with_newborns();
            }
        }
    }

    /// When [`Launchers::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<BootMillis> {
        let launchers = self.by_user.values().filter(|launcher| !launcher.dying);
        let deadline = |launcher: &Launcher<T>| match launcher.in_flight.is_empty() {
            true => launcher.rests_at(),
            false => launcher.look_at,
        };
        launchers.map(deadline).min()
    }

    /// Processes that are no attempt's: launchers, and newborns that nobody has told of yet.
    pub(crate) fn processes(&self) -> impl Iterator<Item = i32> {
        self.by_user.values().flat_map(|launcher| {
            let launches = launcher.in_flight.iter();
            let newborns = launches.filter_map(|launch| launcher.newborn(launch.number).pid());
            newborns.chain([launcher.pid])
        })
    }

    /// Kills them all, and every newborn that nobody has told of: nothing is to be started any more.
    /// What they were for.
    pub(crate) fn kill_all(&mut self) -> Vec<T> {
        let mut left = Vec::new();
        for launcher in std::mem::take(&mut self.by_user).into_values() {
            launcher.kill_with_newborns();
            left.extend(launcher.in_flight.into_iter().map(|launch| launch.what));
        }
        left
    }

    /// Forgets ends that no answer can belong to any more.
    fn settle_down(&mut self) {
        if !self.is_busy() {
            self.early.clear();
        }
    }
}
