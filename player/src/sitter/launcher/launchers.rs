//! The sitter's side: whose launchers there are, and what they are asked for.

use std::{collections::BTreeMap, ffi::CString, io, rc::Rc};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair, sockopt},
};

use super::{
    IN_FLIGHT, LOOK, MOVES, PAGE, REST, SOCKET, TAPS,
    asked::{Early, Launch, Launcher, Sockets, Whose, shared_page},
    errands::{Held, Hold},
    outcome::{LaunchError, NotSent, Said},
    wire::{self, Account, Keep, REQUEST_BYTES, Ready, Request, Seen, TapId},
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Interest, Poller, Token},
    procfs::Stat,
    sys::{self, FileLimit, Identity, Settings, Spawn},
    vitals::Beat,
};

/// Every launcher; `T` says what a newborn is for.
pub(crate) struct Launchers<T> {
    /// This very program, whatever has its path by now: the two must understand each other.
    program: OwnedFd,
    /// What marks launchers, and newborns that have executed nothing, `KEY=VALUE`.
    mark: CString,
    file_limit: FileLimit,
    /// When it is looked whether launchers are stuck.
    beat: Beat,
    /// The first token, and how many were given away.
    first_token: Token,
    tokens: u64,
    all: BTreeMap<Token, Launcher<T>>,
    /// Those of them that make newborns.
    makers: BTreeMap<Option<Identity>, Token>,
    /// Launchers that were killed and have not ended: they hold nothing of ours.
    left_behind: Vec<i32>,
    last_number: u64,
    last_tap: TapId,
    /// Children that ended and belonged to nobody yet: newborns that were quicker than their answer.
    early: BTreeMap<i32, Early>,
}

/// Which taps a launcher may be stuck with.
#[derive(Clone, Copy)]
enum Suspects {
    /// It has ended.
    None,
    One(TapId),
    All,
}

/// An attempt's streams that an earlier sitter's launcher read.
#[derive(Clone, Copy)]
pub(crate) struct Orphan<'a> {
    /// The attempt's directory.
    pub(crate) directory: &'a Rc<OwnedFd>,
    pub(crate) keep: Keep,
    /// How that says that it is ready.
    pub(crate) ready: Ready<&'a Rc<OwnedFd>>,
    /// Nothing is to be kept of what comes from now on.
    pub(crate) discards: bool,
    /// Nobody may have had the pipes open since.
    pub(crate) unattended: bool,
}

/// A launcher has a token for each of its sockets.
const TOKENS: u64 = 2;
/// How many of those are kept before old ones are looked for: no answer takes so long.
const EARLY: usize = 1_024;

impl<T> Launchers<T> {
    /// None yet. `first_token` and all above it are theirs.
    pub(crate) fn new(
        mark: CString,
        file_limit: FileLimit,
        first_token: Token,
        beat: Beat,
    ) -> io::Result<Self> {
        // Who may execute it need not be allowed to read it.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let program = rustix::fs::open("/proc/self/exe", flags, Mode::empty())?;
        Ok(Self {
            program,
            mark,
            file_limit,
            beat,
            first_token,
            tokens: 0,
            all: BTreeMap::new(),
            makers: BTreeMap::new(),
            left_behind: Vec::new(),
            last_number: 0,
            last_tap: TapId(0),
            early: BTreeMap::new(),
        })
    }

    /// Whether a newborn of this user can be asked for now.
    pub(crate) fn has_room(&self, user: &Option<Identity>) -> bool {
        let maker = self.makers.get(user).and_then(|token| self.all.get(token));
        maker.is_none_or(|launcher| {
            !launcher.full && launcher.dying.is_none() && launcher.in_flight.len() < IN_FLIGHT
        })
    }

    /// Whether what came of a request is still to be told.
    pub(crate) fn is_busy(&self) -> bool {
        self.all.values().any(|launcher| !launcher.in_flight.is_empty())
    }

    /// What requests are still to be answered for.
    pub(crate) fn awaited(&mut self) -> impl Iterator<Item = &mut T> {
        let launchers = self.all.values_mut();
        launchers.flat_map(|launcher| &mut launcher.in_flight).map(|launch| &mut launch.what)
    }

    /// A name that no tap has had.
    pub(crate) fn fresh_tap(&mut self) -> TapId {
        self.last_tap.0 += 1;
        self.last_tap
    }

    /// Asks for a newborn of a user, for `what`. `directories` are those of the request's tap.
    pub(crate) fn send(
        &mut self,
        poller: &Poller,
        user: &Option<Identity>,
        request: &Request<'_>,
        directories: Option<(&Rc<OwnedFd>, Ready<&Rc<OwnedFd>>)>,
        what: T,
        now: BootMillis,
    ) -> Result<(), NotSent<T>> {
        if !self.has_room(user) {
            return Err(NotSent::Later(what));
        }
        let token = match self.makers.get(user) {
            Some(token) => *token,
            None => match self.start(poller, Whose::Maker(user.clone()), now) {
                Ok(token) => token,
                Err(error) => return Err(NotSent::Never(what, error)),
            },
        };
        let reserve = match rustix::io::fcntl_dupfd_cloexec(&self.program, 3) {
            Ok(reserve) => reserve,
            Err(error) => return Err(NotSent::Never(what, LaunchError::Ask(error.into()))),
        };
        let number = self.last_number + 1;
        // It was put there above, where there was none.
        let Some(launcher) = self.all.get_mut(&token) else { return Err(NotSent::Later(what)) };
        match launcher.send(number, request) {
            Ok(()) => {}
            Err(Errno::AGAIN) if !launcher.in_flight.is_empty() => {
                launcher.full = true;
                return Err(NotSent::Later(what));
            }
            // It has ended, which is about to be told.
            Err(Errno::PIPE | Errno::CONNRESET) => {
                launcher.dying.get_or_insert(now);
                return Err(NotSent::Later(what));
            }
            Err(error) => return Err(NotSent::Never(what, LaunchError::Ask(error.into()))),
        }
        self.last_number = number;
        launcher.will_owe_a_launch(now);
        let tap = request.tap.map(|tap| tap.id);
        launcher.in_flight.push_back(Launch { number, what, tap, _reserve: reserve });
        if let (Some(tap), Some((directory, ready))) = (request.tap, directories) {
            let held = Held {
                directory: Rc::clone(directory),
                keep: tap.keep,
                ready: ready.map(Rc::clone),
                adopting: false,
                unattended: false,
                closing: 0,
                discards: false,
                moves: 0,
            };
            launcher.taps.insert(tap.id, held);
        }
        Ok(())
    }

    /// Has the pipes read of an attempt of this user that an earlier sitter started.
    pub(crate) fn adopt(
        &mut self,
        poller: &Poller,
        uid: u32,
        orphan: Orphan<'_>,
        now: BootMillis,
    ) -> Result<TapId, LaunchError> {
        let id = self.fresh_tap();
        let token = self.find_or_start(poller, &Whose::Reader(uid), now)?;
        let Orphan { directory, keep, ready, discards, unattended } = orphan;
        let held = Held {
            directory: Rc::clone(directory),
            keep,
            ready: ready.map(Rc::clone),
            adopting: true,
            unattended,
            closing: 0,
            discards,
            moves: 0,
        };
        if let Some(launcher) = self.all.get_mut(&token) {
            launcher.adopt(id, held, poller, now);
        }
        Ok(id)
    }

    /// Asks what was written to a tap; from now on it is thrown away. `false`: nobody has it.
    pub(crate) fn close(&mut self, poller: &Poller, id: TapId, now: BootMillis) -> bool {
        self.all.values_mut().any(|launcher| launcher.close(id, poller, now))
    }

    /// Has nobody read a tap any more.
    pub(crate) fn forget(&mut self, poller: &Poller, id: TapId, now: BootMillis) {
        self.all.values_mut().for_each(|launcher| launcher.forget(id, poller, now));
    }

    /// Has all of them move nothing by themselves, for this program is to be executed anew: what they
    /// have open keeps what is in it until the next launcher has it open too. Whether they do.
    ///
    /// A launcher that has a tap of its own is not waited for: it may be stuck.
    pub(crate) fn hold(&mut self, poller: &Poller, now: BootMillis) -> bool {
        let mut all = true;
        for launcher in self.all.values_mut() {
            if launcher.taps.is_empty() || matches!(launcher.whose, Whose::Alone(_)) {
                continue;
            }
            if launcher.hold == Hold::No && launcher.dying.is_none() {
                launcher.hold(true, poller, now);
            }
            all &= launcher.hold == Hold::Yes;
        }
        all
    }

    /// Has all of them go on, after [`Launchers::hold`].
    pub(crate) fn go_on(&mut self, poller: &Poller, now: BootMillis) {
        for launcher in self.all.values_mut().filter(|launcher| launcher.hold != Hold::No) {
            launcher.hold(false, poller, now);
        }
    }

    fn find_or_start(
        &mut self,
        poller: &Poller,
        whose: &Whose,
        now: BootMillis,
    ) -> Result<Token, LaunchError> {
        let mut all = self.all.values();
        let found = all.find(|launcher| launcher.whose == *whose && launcher.dying.is_none());
        match found {
            Some(launcher) => Ok(launcher.token),
            None => self.start(poller, whose.clone(), now),
        }
    }

    /// Makes a launcher. It is our own user's and executes our own program, so nobody can keep us
    /// waiting for it.
    fn start(
        &mut self,
        poller: &Poller,
        whose: Whose,
        now: BootMillis,
    ) -> Result<Token, LaunchError> {
        let failed = |error: Errno| LaunchError::Launcher(error.into());
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = || {
            let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
            let (ours, theirs) = pair.map_err(failed)?;
            rustix::io::ioctl_fionbio(&theirs, false).map_err(failed)?;
            Ok((ours, theirs))
        };
        let (socket, theirs) = pair()?;
        let (of_taps, their_taps) = pair()?;
        // Room for one request of any size; what is refused here leaves room for any but the largest.
        let _ = sockopt::set_socket_send_buffer_size_force(&socket, REQUEST_BYTES)
            .or_else(|_| sockopt::set_socket_send_buffer_size(&socket, REQUEST_BYTES));
        let page = shared_page().map_err(failed)?;
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let null = rustix::fs::open("/dev/null", flags, Mode::empty()).map_err(failed)?;
        let stderr = io::stderr();
        const _: () = assert!(SOCKET == 3 && PAGE == 4 && TAPS == 5);
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
                their_taps.as_fd(),
            ],
            identity: None,
            cgroup: None,
            limits: &[],
            settings: Settings::default(),
            file_limit: self.file_limit,
            no_new_privileges: false,
            sibling: None,
        });
        let spawned = spawned.map_err(LaunchError::LauncherProcess)?;
        let token = Token(self.first_token.0 + self.tokens);
        self.tokens += TOKENS;
        let process = (spawned.pid.as_raw_nonzero().get(), spawned.pidfd);
        let sockets = Sockets { launches: socket, taps: of_taps };
        let launcher = Launcher::new(whose, process, sockets, page, token, now);
        let user = match &launcher.whose {
            Whose::Maker(user) => user.as_ref(),
            // It is never asked for a newborn.
            Whose::Reader(_) | Whose::Alone(_) => None,
        };
        let Sockets { launches, taps } = &launcher.sockets;
        send(launches, &wire::encode_user(user), SendFlags::NOSIGNAL).map_err(failed)?;
        let both = [(launches, token), (taps, launcher.token_of_taps())];
        for (socket, token) in both {
            poller.add(socket, token, Interest::Read).map_err(LaunchError::Launcher)?;
        }
        tracing::debug!(pid = launcher.pid, whose = ?launcher.whose, "a launcher");
        if let Whose::Maker(user) = &launcher.whose {
            self.makers.insert(user.clone(), token);
        }
        self.all.insert(token, launcher);
        Ok(token)
    }

    /// Takes what is said at this token; nothing where it is no launcher's.
    pub(crate) fn receive(
        &mut self,
        poller: &Poller,
        token: Token,
        now: BootMillis,
    ) -> Vec<Said<T>> {
        let first = Token(token.0 - token.0.wrapping_sub(self.first_token.0) % TOKENS);
        let Some(launcher) = self.all.get_mut(&first) else { return Vec::new() };
        let said = launcher.receive(poller, &mut self.early, now);
        launcher.run_errands(poller, now);
        self.settle_down();
        said
    }

    /// A child of this number ended and is no attempt's: whether it was a launcher, and what comes of
    /// that.
    pub(crate) fn ended(
        &mut self,
        poller: &Poller,
        pid: i32,
        now: BootMillis,
    ) -> Option<Vec<Said<T>>> {
        if let Some(place) = self.left_behind.iter().position(|left| *left == pid) {
            self.left_behind.swap_remove(place);
            return Some(Vec::new());
        }
        let token = self.all.values().find(|launcher| launcher.pid == pid)?.token;
        let mut launcher = self.all.remove(&token)?;
        let mut said = launcher.receive(poller, &mut self.early, now);
        let (uid, awaited) = (launcher.whose.uid(), launcher.in_flight.len());
        let taps = launcher.taps.len();
        tracing::warn!(pid, uid, awaited, taps, "a launcher ended; another takes its place");
        self.bury(poller, launcher, Suspects::None, now, &mut said);
        Some(said)
    }

    /// Gives up a launcher that was killed and does not end.
    fn leave_behind(
        &mut self,
        poller: &Poller,
        token: Token,
        now: BootMillis,
        said: &mut Vec<Said<T>>,
    ) {
        let Some(launcher) = self.all.remove(&token) else { return };
        let culprit = launcher.taps.keys().copied().find(|id| launcher.touches(*id));
        // Where it touches none it is its end that does not come: it closes all pipes.
        let suspects = culprit.map_or(Suspects::All, Suspects::One);
        let (pid, uid) = (launcher.pid, launcher.whose.uid());
        tracing::error!(
            pid,
            uid,
            "a launcher does not end: a process that writes from memory which does not answer keeps \
             it waiting; another takes its place"
        );
        self.left_behind.push(pid);
        self.bury(poller, launcher, suspects, now, said);
    }

    /// Says what came of all that a launcher was asked for, and gives its taps to others. Suspects may
    /// stop others as well.
    fn bury(
        &mut self,
        poller: &Poller,
        mut launcher: Launcher<T>,
        suspects: Suspects,
        now: BootMillis,
        said: &mut Vec<Said<T>>,
    ) {
        self.makers.retain(|_, token| *token != launcher.token);
        launcher.unwatch(poller);
        for launch in std::mem::take(&mut launcher.in_flight) {
            let came = launcher.what_came_of(launch.number, &mut self.early);
            launcher.answer(launch.what, came, launch.tap, said);
        }
        for (id, held) in std::mem::take(&mut launcher.taps) {
            let whose = match suspects {
                Suspects::All => Whose::Alone(id),
                Suspects::One(suspect) if suspect == id => Whose::Alone(id),
                Suspects::One(_) | Suspects::None => launcher.whose.clone(),
            };
            if let Some(account) = self.move_tap(poller, &whose, id, held, now) {
                said.push(Said::Account(id, account));
            }
        }
        self.settle_down();
    }

    /// Gives a tap to another launcher. What is to be said of it at once.
    fn move_tap(
        &mut self,
        poller: &Poller,
        whose: &Whose,
        id: TapId,
        mut held: Held,
        now: BootMillis,
    ) -> Option<Account> {
        let given_up = Some(Account { over: true, written: None });
        held.moves += 1;
        held.unattended = true;
        let is_awaited = held.closing > 0;
        // Nobody waits for one more launcher that gets stuck with it.
        if held.moves > MOVES || (matches!(whose, Whose::Alone(_)) && (is_awaited || held.discards))
        {
            tracing::error!(tap = id.0, "nobody reads the output of an attempt any more");
            return given_up;
        }
        // Asked in vain twice, it is to be settled without an answer.
        let is_late = held.closing > 1;
        if is_late {
            (held.closing, held.discards) = (0, true);
        } else if is_awaited {
            held.closing += 1;
        }
        match self.find_or_start(poller, whose, now) {
            Ok(token) => self.all.get_mut(&token)?.adopt(id, held, poller, now),
            Err(error) => {
                let error = orchestra_model::chain(&error);
                tracing::error!(tap = id.0, error, "cannot have the output of an attempt read on");
                return given_up;
            }
        }
        is_late.then_some(Account { over: false, written: None })
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

    /// Does what is due: looks after launchers that are silent, gives up those that do not even end,
    /// and lets those go that had nothing to do for long.
    pub(crate) fn tick(&mut self, poller: &Poller, now: BootMillis) -> Vec<Said<T>> {
        let mut said = Vec::new();
        let is_left = |launcher: &Launcher<T>| launcher.left_at().is_some_and(|at| now >= at);
        let left = self.all.values().filter(|launcher| is_left(launcher));
        for token in left.map(|launcher| launcher.token).collect::<Vec<_>>() {
            self.leave_behind(poller, token, now, &mut said);
        }
        self.all.retain(|_, launcher| {
            if launcher.dying.is_some() {
                return true;
            }
            launcher.watch(now, self.beat);
            if launcher.owes() {
                if now >= launcher.look_at {
                    launcher.look_after(now);
                }
                return true;
            }
            // It ends with its socket.
            !launcher.taps.is_empty() || now < launcher.rests_at()
        });
        self.makers.retain(|_, token| self.all.contains_key(token));
        said
    }

    /// Gives up on launchers that are silent, because the sitter is to end: no user's newborns or pipes
    /// may keep it from that. What was begun is killed, and what was not comes back.
    pub(crate) fn hurry(&mut self, now: BootMillis) {
        for launcher in self.all.values_mut() {
            if launcher.is_silent_for(LOOK, now) && launcher.dying.is_none() {
                launcher.kill_with_newborns(now);
            }
        }
    }

    /// When [`Launchers::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<BootMillis> {
        let deadline = |launcher: &Launcher<T>| match launcher.left_at() {
            Some(at) => Some(at),
            None if launcher.owes() => Some(launcher.look_at),
            None if launcher.taps.is_empty() => Some(launcher.rests_at()),
            None => launcher.watch_at,
        };
        self.all.values().filter_map(deadline).min()
    }

    /// Processes that are no attempt's: launchers, and newborns that nobody has told of yet.
    pub(crate) fn processes(&self) -> impl Iterator<Item = i32> {
        let launchers = self.all.values().flat_map(|launcher| {
            let launches = launcher.in_flight.iter();
            let newborns = launches.filter_map(|launch| launcher.newborn(launch.number).pid());
            newborns.chain([launcher.pid])
        });
        launchers.chain(self.left_behind.iter().copied())
    }

    /// Kills them all, and every newborn that nobody has told of: nothing is to be started any more.
    /// What they were for.
    pub(crate) fn kill_all(&mut self) -> Vec<T> {
        let mut left = Vec::new();
        self.makers.clear();
        for mut launcher in std::mem::take(&mut self.all).into_values() {
            launcher.kill_with_newborns(BootMillis::default());
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
