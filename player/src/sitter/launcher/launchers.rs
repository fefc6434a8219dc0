//! All launchers, as the sitter has them: which there are, and what they are asked for.

use std::{collections::BTreeMap, ffi::CString, io, rc::Rc};

use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair, sockopt},
};

use super::{
    IN_FLIGHT, LOOK, MOVES, PAGE, PATIENCE, REST, SOCKET, TAPS,
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
    /// This very program, even if its path leads to another one by now: sitter and launcher must be
    /// of one build.
    program: OwnedFd,
    /// What marks launchers, and newborns that have executed nothing, `KEY=VALUE`.
    mark: CString,
    file_limit: FileLimit,
    /// The moments at which to look whether launchers are stuck.
    beat: Beat,
    /// The first of their tokens.
    first_token: Token,
    tokens: u64,
    all: BTreeMap<Token, Launcher<T>>,
    /// The launchers that make newborns, by user.
    makers: BTreeMap<Option<Identity>, Token>,
    /// Launchers that were given up: they were killed and have not ended. They hold nothing of
    /// ours.
    left_behind: Vec<i32>,
    last_number: u64,
    last_tap: TapId,
    /// Children that ended before a launcher told of them: newborns that were quicker than the
    /// answer.
    early: BTreeMap<i32, Early>,
}

/// With which taps a launcher may be stuck.
#[derive(Clone, Copy)]
enum Suspects {
    /// It has ended.
    None,
    One(TapId),
    All,
}

/// The streams of an attempt or run that a launcher of an earlier sitter read.
#[derive(Clone, Copy)]
pub(crate) struct Orphan<'a> {
    /// The attempt's directory.
    pub(crate) directory: &'a Rc<OwnedFd>,
    pub(crate) keep: Keep,
    /// How a unit's run says that it is ready.
    pub(crate) ready: Ready<&'a Rc<OwnedFd>>,
    /// Whether what comes from now on is thrown away.
    pub(crate) discards: bool,
    /// Whether there may have been a time when no process had the pipes open.
    pub(crate) unattended: bool,
}

/// A launcher has a token for each of its sockets.
const TOKENS: u64 = 2;
/// How many early ends are kept before old ones are removed: no answer takes that long.
const EARLY: usize = 1_024;

impl<T> Launchers<T> {
    /// Returns no launchers yet. `first_token` and all tokens above it are theirs.
    pub(crate) fn new(
        mark: CString,
        file_limit: FileLimit,
        first_token: Token,
        beat: Beat,
    ) -> io::Result<Self> {
        // We may execute the program, but need not be allowed to read it.
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

    /// Returns whether a newborn of this user can be asked for now.
    pub(crate) fn has_room(&self, user: &Option<Identity>) -> bool {
        let maker = self.makers.get(user).and_then(|token| self.all.get(token));
        maker.is_none_or(|launcher| {
            !launcher.full && launcher.dying.is_none() && launcher.in_flight.len() < IN_FLIGHT
        })
    }

    /// Returns whether any request is not answered.
    pub(crate) fn is_busy(&self) -> bool {
        self.all.values().any(|launcher| !launcher.in_flight.is_empty())
    }

    /// Returns what the unanswered requests are for.
    pub(crate) fn awaited(&mut self) -> impl Iterator<Item = &mut T> {
        let launchers = self.all.values_mut();
        launchers.flat_map(|launcher| &mut launcher.in_flight).map(|launch| &mut launch.what)
    }

    /// Returns a name that no tap has had.
    pub(crate) fn fresh_tap(&mut self) -> TapId {
        self.last_tap.0 += 1;
        self.last_tap
    }

    /// Asks for a newborn of a user, for `what`. `directories` belong to the request's tap.
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
        // The lines above have made it if there was none.
        let Some(launcher) = self.all.get_mut(&token) else { return Err(NotSent::Later(what)) };
        match launcher.send(number, request) {
            Ok(()) => {}
            Err(Errno::AGAIN) if !launcher.in_flight.is_empty() => {
                launcher.full = true;
                return Err(NotSent::Later(what));
            }
            // The launcher has ended, which is about to be told.
            Err(Errno::PIPE | Errno::CONNRESET) => {
                launcher.dying.get_or_insert(now);
                return Err(NotSent::Later(what));
            }
            Err(error) => return Err(NotSent::Never(what, LaunchError::Ask(error.into()))),
        }
        self.last_number = number;
        launcher.will_owe_a_launch(now);
        let tap = request.tap.map(|tap| tap.id);
        launcher.in_flight.push_back(Launch { number, what, tap, reserve: Some(reserve) });
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

    /// Has a launcher read the pipes of an attempt of this user that an earlier sitter started.
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

    /// Asks what was written to a tap, and has what follows thrown away. Returns whether a launcher
    /// has the tap.
    pub(crate) fn close(&mut self, poller: &Poller, id: TapId, now: BootMillis) -> bool {
        self.all.values_mut().any(|launcher| launcher.close(id, poller, now))
    }

    /// Has lines written into the log of a run, if its launcher has room for that now.
    pub(crate) fn note(&self, id: TapId, lines: &[u8]) {
        let mut launchers = self.all.values();
        if let Some(launcher) = launchers.find(|launcher| launcher.taps.contains_key(&id)) {
            launcher.note(id, lines);
        }
    }

    /// Has the launcher of a tap release it.
    pub(crate) fn forget(&mut self, poller: &Poller, id: TapId, now: BootMillis) {
        self.all.values_mut().for_each(|launcher| launcher.forget(id, poller, now));
    }

    /// Has all launchers move nothing by themselves, because this program is to be executed anew.
    /// The pipes that they have open keep their content until the next launchers have them open
    /// too. Returns whether all of them hold.
    ///
    /// A launcher that reads a single tap is not waited for, because it may be stuck.
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

    /// Has all launchers go on after [`Launchers::hold`].
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

    /// Makes a launcher. It runs as our own user and executes our own program, so nobody can make
    /// us wait for it.
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
        // Makes room for one request of any size. If that is refused, all but the largest still
        // fit.
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
            // It is never asked for a newborn, so it needs no user.
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

    /// Takes what the launcher of this token says; nothing if the token is not a launcher's.
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

    /// Takes the end of the child `pid`, which is of no attempt. Returns what follows if it was a
    /// launcher.
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

    /// Gives up a launcher that was killed and has not ended.
    fn leave_behind(
        &mut self,
        poller: &Poller,
        token: Token,
        now: BootMillis,
        said: &mut Vec<Said<T>>,
    ) {
        let Some(launcher) = self.all.remove(&token) else { return };
        let culprit = launcher.taps.keys().copied().find(|id| launcher.touches(*id));
        // If it touches no tap, it is stuck in its end, where it closes all pipes.
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

    /// Tells what came of all requests to a launcher, and gives its taps to other launchers.
    /// Suspects are kept apart, because they may stop any launcher.
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

    /// Gives a tap to another launcher. Returns what is to be said of the tap at once.
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
        // No further launcher is to get stuck with this tap.
        if held.moves > MOVES || (matches!(whose, Whose::Alone(_)) && (is_awaited || held.discards))
        {
            tracing::error!(tap = id.0, "nobody reads the output of an attempt any more");
            return given_up;
        }
        // After two launchers did not answer, the attempt is settled without an answer.
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

    /// Notes the end of a child that is not known. It may be a newborn whose answer is still to
    /// come. `stat` is what was known of it before it was reaped.
    pub(crate) fn note_end(
        &mut self,
        pid: i32,
        wait_status: i32,
        stat: Option<Stat>,
        now: BootMillis,
    ) {
        if self.is_busy() {
            if self.early.len() >= EARLY {
                // The old ones were orphans of scores.
                self.early.retain(|_, early| now < early.at.after(REST.as_millis() as u64));
            }
            let seen =
                stat.map(|stat| Seen { executed: stat.executed, start_ticks: stat.start_ticks });
            self.early.insert(pid, Early { wait_status, seen, at: now });
        }
    }

    /// Does what is due: looks after launchers that are silent, gives up those that were killed and
    /// do not end, and ends those that had nothing to do for long.
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
            // A launcher ends when its socket closes.
            !launcher.taps.is_empty() || now < launcher.rests_at()
        });
        self.makers.retain(|_, token| self.all.contains_key(token));
        said
    }

    /// Gives up launchers that are silent, because the sitter is to end and no user's newborns or
    /// pipes may delay that. Newborns that were begun are killed; requests that were not begun come
    /// back.
    pub(crate) fn hurry(&mut self, now: BootMillis) {
        for launcher in self.all.values_mut() {
            let long = if launcher.is_stopped() { LOOK } else { PATIENCE };
            if launcher.is_silent_for(long, now) && launcher.dying.is_none() {
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

    /// Returns processes that belong to no attempt: launchers, and newborns of which no launcher
    /// has told yet.
    pub(crate) fn processes(&self) -> impl Iterator<Item = i32> {
        let launchers = self.all.values().flat_map(|launcher| {
            let launches = launcher.in_flight.iter();
            let newborns = launches.filter_map(|launch| launcher.newborn(launch.number).pid());
            newborns.chain([launcher.pid])
        });
        launchers.chain(self.left_behind.iter().copied())
    }

    /// Kills all launchers, and every newborn of which they have not told, because nothing is to be
    /// started any more. Returns what the newborns were for.
    pub(crate) fn kill_all(&mut self) -> Vec<T> {
        let mut left = Vec::new();
        self.makers.clear();
        for mut launcher in std::mem::take(&mut self.all).into_values() {
            launcher.kill_with_newborns(BootMillis::default());
            left.extend(launcher.in_flight.into_iter().map(|launch| launch.what));
        }
        left
    }

    /// Forgets early ends to which no answer can belong any more.
    fn settle_down(&mut self) {
        if !self.is_busy() {
            self.early.clear();
        }
    }
}
