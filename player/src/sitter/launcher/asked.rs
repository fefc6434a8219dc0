//! One launcher: what it was asked for, what it answers, and what its page says if it does not
//! answer.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs::File,
    os::unix::fs::FileExt,
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{MemfdFlags, SealFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    LOOK, NEWBORNS, REST, SLOW, TOUCHED, TOUCHES, WATCH,
    ahead::{Ahead, OfTap},
    errands::{self, Errands, Held, Hold},
    hearing::{launches_to_come, receive},
    outcome::{Born, LaunchError, Launched, Said},
    wire::{Account, Answer, Answers, Came, Request, Seen, TapId},
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Poller, Token},
    procfs::{self, Stat},
    sys::{BEGUN, Identity, SHARED_NUMBERS, SpawnError},
    vitals::Beat,
};

/// A child that ended before it was known.
pub(super) struct Early {
    pub(super) wait_status: i32,
    pub(super) seen: Option<Seen>,
    pub(super) at: BootMillis,
}

/// What a launcher is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// It makes newborns of this user, and reads what they write.
    Maker(Option<Identity>),
    /// It reads what processes of this user write that an earlier sitter started.
    Reader(u32),
    /// It reads one tap with which another launcher got stuck.
    Alone(TapId),
}

impl Whose {
    /// The user's number, for the log.
    pub(super) fn uid(&self) -> Option<u32> {
        match self {
            Whose::Maker(user) => user.as_ref().map(|user| user.uid),
            Whose::Reader(uid) => Some(*uid),
            Whose::Alone(_) => None,
        }
    }
}

/// One launcher's process, as the sitter has it.
pub(super) struct Launcher<T> {
    pub(super) whose: Whose,
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    /// The sockets of its first thread, which makes newborns, and of its second, which reads pipes.
    pub(super) sockets: Sockets,
    pub(super) page: File,
    pub(super) token: Token,
    /// The requests that it has not answered, in order.
    pub(super) in_flight: VecDeque<Launch<T>>,
    /// Whether its socket takes no more requests until it answers.
    pub(super) full: bool,
    /// The taps that it reads.
    pub(super) taps: BTreeMap<TapId, Held>,
    /// Those of them about which it was asked something, and some that were answered: so that no
    /// turn of the loop looks through all taps.
    pub(super) asked_about: BTreeSet<TapId>,
    /// What its second thread said of taps of requests that its first has not answered.
    ahead: Ahead,
    /// What is still to be told to it, in order.
    pub(super) errands: Errands,
    /// Whether it was asked to move nothing by itself.
    pub(super) hold: Hold,
    /// Since when it is certain to end, or to get stuck in its end.
    pub(super) dying: Option<BootMillis>,
    /// Since when each of its threads has been silent, or owed no answer.
    pub(super) silent_since: Silence,
    pub(super) look_at: BootMillis,
    /// When to look whether it is stuck although it owes nothing; `None` while nobody would suffer.
    pub(super) watch_at: Option<BootMillis>,
    /// Its count of touches at the last such look, if it was touching a tap then.
    watched: Option<i32>,
}

/// The sitter's ends.
pub(super) struct Sockets {
    pub(super) launches: OwnedFd,
    pub(super) taps: OwnedFd,
}

/// Since when each thread has been silent.
#[derive(Clone, Copy)]
pub(super) struct Silence {
    launches: BootMillis,
    taps: BootMillis,
}

/// A request that was not answered.
pub(super) struct Launch<T> {
    pub(super) number: u64,
    pub(super) what: T,
    pub(super) tap: Option<TapId>,
    /// Keeps a descriptor free for the pidfd that comes with the answer, so that no start begins
    /// whose pidfd would not fit.
    pub(super) reserve: Option<OwnedFd>,
}

/// What the page says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newborn {
    /// It was not begun.
    None,
    /// There may be a process, which has not said its number.
    Nameless,
    /// This process.
    Named(i32),
}

impl Newborn {
    pub(super) fn pid(self) -> Option<i32> {
        match self {
            Newborn::Named(pid) => Some(pid),
            Newborn::None | Newborn::Nameless => None,
        }
    }
}

impl<T> Launcher<T> {
    /// Returns a launcher whose process was just made.
    pub(super) fn new(
        whose: Whose,
        (pid, pidfd): (i32, OwnedFd),
        sockets: Sockets,
        page: File,
        token: Token,
        now: BootMillis,
    ) -> Self {
        Self {
            whose,
            pid,
            pidfd,
            sockets,
            page,
            token,
            in_flight: VecDeque::new(),
            full: false,
            taps: BTreeMap::new(),
            asked_about: BTreeSet::new(),
            ahead: Ahead::default(),
            errands: Errands::default(),
            hold: Hold::No,
            dying: None,
            silent_since: Silence { launches: now, taps: now },
            look_at: now,
            watch_at: None,
            watched: None,
        }
    }

    pub(super) fn send(&self, number: u64, request: &Request<'_>) -> Result<(), Errno> {
        // This field of the page may still hold the number of an earlier process.
        self.page.write_all_at(&[0; 4], place(number)).map_err(|_| Errno::IO)?;
        let (bytes, descriptors) = request.encode(number);
        errands::say(&self.sockets.launches, &bytes, &descriptors)
    }

    /// Returns whether it owes an answer.
    pub(super) fn owes(&self) -> bool {
        !self.in_flight.is_empty() || self.owes_of_taps()
    }

    /// Returns whether it owes an answer about its taps.
    fn owes_of_taps(&self) -> bool {
        // A tap that has a launcher of its own is not urgent until its attempt is to be settled.
        let adopts = !matches!(self.whose, Whose::Alone(_));
        let mut asked = self.asked_about.iter().filter_map(|id| self.taps.get(id));
        self.hold == Hold::Asked || asked.any(|held| held.closing > 0 || (adopts && held.adopting))
    }

    /// Returns whether it owes an answer and has been silent for so long.
    pub(super) fn is_silent_for(&self, long: Duration, now: BootMillis) -> bool {
        let for_long = |since: BootMillis| now >= since.after(long.as_millis() as u64);
        (!self.in_flight.is_empty() && for_long(self.silent_since.launches))
            || (self.owes_of_taps() && for_long(self.silent_since.taps))
    }

    /// Returns whether it or a newborn of it that executes no program yet is stopped by a signal.
    pub(super) fn is_stopped(&self) -> bool {
        let newborns = self
            .in_flight
            .iter()
            .filter_map(|launch| own_child(self.newborn(launch.number).pid()?));
        Stat::of(self.pid).into_iter().chain(newborns).any(|stat| stat.stopped)
    }

    /// Begins to count its silence, because it is about to be asked for a newborn.
    pub(super) fn will_owe_a_launch(&mut self, now: BootMillis) {
        if self.in_flight.is_empty() {
            self.silent_since.launches = now;
            self.look_in_time(now);
        }
    }

    /// Begins to count the silence of its second thread, because it is about to be asked something
    /// about its taps.
    pub(super) fn will_owe(&mut self, now: BootMillis) {
        if !self.owes_of_taps() {
            self.silent_since.taps = now;
            self.look_in_time(now);
        }
    }

    fn look_in_time(&mut self, now: BootMillis) {
        let at = now.after(LOOK.as_millis() as u64);
        self.look_at = if self.look_at > now { self.look_at.min(at) } else { at };
    }

    /// Returns the token of its second socket.
    pub(super) fn token_of_taps(&self) -> Token {
        Token(self.token.0 + 1)
    }

    pub(super) fn rests_at(&self) -> BootMillis {
        let Silence { launches, taps } = self.silent_since;
        launches.max(taps).after(REST.as_millis() as u64)
    }

    /// Stops waiting for its sockets.
    pub(super) fn unwatch(&self, poller: &Poller) {
        poller.remove(&self.sockets.launches);
        poller.remove(&self.sockets.taps);
    }

    /// Returns when it is given up although it has not ended.
    pub(super) fn left_at(&self) -> Option<BootMillis> {
        Some(self.dying?.after(LOOK.as_millis() as u64))
    }

    /// Takes what both of its threads say.
    pub(super) fn receive(
        &mut self,
        poller: &Poller,
        early: &mut BTreeMap<i32, Early>,
        now: BootMillis,
    ) -> Vec<Said<T>> {
        // Births come before what the newborns wrote.
        let mut said = self.receive_from(|sockets| &sockets.launches, poller, early, now);
        said.extend(self.receive_from(|sockets| &sockets.taps, poller, early, now));
        said
    }

    fn receive_from(
        &mut self,
        socket: impl Fn(&Sockets) -> &OwnedFd,
        poller: &Poller,
        early: &mut BTreeMap<i32, Early>,
        now: BootMillis,
    ) -> Vec<Said<T>> {
        let mut said = Vec::new();
        loop {
            let socket = socket(&self.sockets);
            // Answers come in order, so the oldest requests are answered now.
            let answered = match launches_to_come(socket) {
                Ok(count) => count.min(self.in_flight.len()),
                Err(Errno::AGAIN) => return said,
                Err(Errno::CONNRESET) => continue,
                Err(_) => 0,
            };
            self.in_flight.iter_mut().take(answered).for_each(|launch| launch.reserve = None);
            let understood = match receive(socket) {
                // The launcher has ended, which will show as the end of a child.
                Ok(None) => {
                    poller.remove(socket);
                    self.dying.get_or_insert(now);
                    return said;
                }
                // It has ended with something unread. That is told once, even before what it sent.
                Err(Errno::CONNRESET) => continue,
                Ok(Some((bytes, pidfds))) => {
                    let asked = self.in_flight.drain(..answered);
                    let asked =
                        asked.map(|launch| (launch.number, launch.what, launch.tap)).collect();
                    self.take(&bytes, pidfds, asked, early, now, &mut said)
                }
                Err(error) => {
                    tracing::error!(pid = self.pid, %error, "cannot hear a launcher");
                    false
                }
            };
            if !understood {
                tracing::error!(pid = self.pid, "a launcher makes no sense; killing it");
                self.unwatch(poller);
                self.kill(now);
                return said;
            }
        }
    }

    /// Takes a message. Returns whether it makes sense; if not, it is not known what came of the
    /// requests.
    fn take(
        &mut self,
        bytes: &[u8],
        pidfds: Vec<OwnedFd>,
        asked: Vec<(u64, T, Option<TapId>)>,
        early: &mut BTreeMap<i32, Early>,
        now: BootMillis,
        said: &mut Vec<Said<T>>,
    ) -> bool {
        let answers = Answers::decode(bytes);
        let mut understood =
            answers.as_ref().is_some_and(|answers| answers.launches.len() == asked.len());
        let Answers { launches, accounts, words, holds } = answers.unwrap_or_default();
        if launches.is_empty() {
            self.silent_since.taps = now;
        } else {
            (self.silent_since.launches, self.full) = (now, false);
        }
        let (mut launches, mut pidfds) = (launches.into_iter(), pidfds.into_iter());
        for (number, what, tap) in asked {
            let answer = launches.next().filter(|answer: &Answer| answer.number == number);
            let came = answer.and_then(|answer| came(answer.what, &mut pidfds, early));
            understood &= came.is_some();
            let launched = came.unwrap_or(Launched::Unknown);
            self.answer(what, launched, tap, said);
        }
        for (id, account) in accounts {
            if self.is_in_flight(id) {
                self.ahead.note_account(id, account);
                continue;
            }
            if let Some(held) = self.taps.get_mut(&id)
                && held.adopting
                && std::mem::take(&mut held.unattended)
            {
                said.push(Said::TakenOver(id));
            }
            if self.is_news(id, &account) {
                said.push(Said::Account(id, account));
            }
        }
        for (id, word) in words {
            match self.is_in_flight(id) {
                true => self.ahead.note_word(id, word),
                false => said.push(Said::Word(id, word)),
            }
        }
        if holds && self.hold == Hold::Asked {
            self.hold = Hold::Yes;
        }
        understood
    }

    fn is_in_flight(&self, tap: TapId) -> bool {
        self.in_flight.iter().any(|launch| launch.tap == Some(tap))
    }

    /// Takes the answer to a request, with what was said of its tap before.
    pub(super) fn answer(
        &mut self,
        what: T,
        launched: Launched,
        tap: Option<TapId>,
        said: &mut Vec<Said<T>>,
    ) {
        let is_born = !matches!(launched, Launched::NotBorn(_));
        said.push(Said::Launched(what, launched));
        let Some(tap) = tap else { return };
        let OfTap { words, account } = self.ahead.take(tap);
        if is_born {
            said.extend(words.into_iter().map(|word| Said::Word(tap, word)));
        }
        match account {
            Some(account) if is_born && self.is_news(tap, &account) => {
                said.push(Said::Account(tap, account));
            }
            _ if is_born => {}
            // Nothing else that is said of this tap matters.
            _ => {
                self.asked_about.remove(&tap);
                self.taps.remove(&tap);
            }
        }
    }

    /// Notes what is said of a tap. Returns whether the sitter waits for it.
    fn is_news(&mut self, id: TapId, account: &Account) -> bool {
        if account.over {
            self.asked_about.remove(&id);
            return self.taps.remove(&id).is_some();
        }
        let Some(held) = self.taps.get_mut(&id) else { return false };
        if std::mem::take(&mut held.adopting) {
            if held.closing == 0 {
                self.asked_about.remove(&id);
            }
            return false;
        }
        self.asked_about.remove(&id);
        held.discards = true;
        std::mem::take(&mut held.closing) > 0
    }

    /// Looks after a launcher that has been silent for a while. Something keeps a newborn from
    /// executing its program, or the launcher itself from working.
    pub(super) fn look_after(&mut self, now: BootMillis) {
        let uid = self.whose.uid();
        self.look_at = now.after(LOOK.as_millis() as u64);
        let silent =
            |since: BootMillis, long: Duration| now >= since.after(long.as_millis() as u64);
        let Silence { launches, taps } = self.silent_since;
        // A newborn that kept it waiting would have been killed and have ended by then.
        let hopeless = !self.in_flight.is_empty() && silent(launches, SLOW * 2);
        if hopeless || (self.owes_of_taps() && silent(taps, SLOW)) {
            tracing::warn!(pid = self.pid, uid, "killing a launcher that does nothing any more");
            return self.kill(now);
        }
        if self.in_flight.is_empty() || !silent(launches, LOOK) {
            return;
        }
        let too_long = silent(launches, SLOW);
        let launches = self.in_flight.iter().rev();
        let newborns = launches.filter_map(|launch| own_child(self.newborn(launch.number).pid()?));
        let stuck = { newborns }.find(|stat| !stat.executed && !stat.zombie);
        match stuck {
            Some(stat) if stat.stopped || too_long => {
                let (pid, stopped) = (stat.pid, stat.stopped);
                tracing::warn!(pid, uid, stopped, "killing a process that executes no program");
                kill_child(&stat);
            }
            None if too_long => {
                tracing::warn!(pid = self.pid, uid, "killing a launcher that does not answer");
                self.kill(now);
            }
            Some(_) | None => {}
        }
    }

    /// Looks whether it is stuck with one tap while others are to be read. Otherwise processes that
    /// write to those would wait until something else shows that the launcher is stuck.
    pub(super) fn watch(&mut self, now: BootMillis, beat: Beat) {
        let several = self.taps.values().filter(|held| !held.discards).nth(1).is_some();
        if !several || self.owes() {
            (self.watch_at, self.watched) = (None, None);
        } else if self.watch_at.is_none_or(|at| now >= at) {
            if Stat::of(self.pid).is_none_or(|stat| stat.exiting) {
                // It was killed. Its end is told only when it has closed all its pipes.
                self.dying = Some(now);
                return;
            }
            let touching = self.on_page(TOUCHED).filter(|mark| *mark != 0);
            let touches = touching.and_then(|_| self.on_page(TOUCHES));
            if touches.is_some() && touches == self.watched {
                let uid = self.whose.uid();
                tracing::warn!(pid = self.pid, uid, "killing a launcher that is stuck");
                return self.kill(now);
            }
            (self.watch_at, self.watched) =
                (Some(beat.after(now.after(WATCH.as_millis() as u64))), touches);
        }
    }

    /// Kills the launcher and its newborns that have executed nothing.
    pub(super) fn kill_with_newborns(&mut self, now: BootMillis) {
        self.kill(now);
        for launch in &self.in_flight {
            let newborn = self.newborn(launch.number).pid().and_then(own_child);
            if let Some(newborn) = newborn.filter(|newborn| !newborn.executed) {
                kill_child(&newborn);
            }
        }
    }

    fn kill(&mut self, now: BootMillis) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        self.dying.get_or_insert(now);
    }

    /// Returns whether it is touching this tap.
    pub(super) fn touches(&self, id: TapId) -> bool {
        self.on_page(TOUCHED) == Some(super::taps::mark_of(id))
    }

    fn on_page(&self, place: usize) -> Option<i32> {
        let mut number = [0; 4];
        self.page.read_exact_at(&mut number, place as u64 * 4).ok()?;
        Some(i32::from_le_bytes(number))
    }

    /// Returns what came of a request that will not be answered any more.
    pub(super) fn what_came_of(&self, number: u64, early: &mut BTreeMap<i32, Early>) -> Launched {
        let pid = match self.newborn(number) {
            Newborn::None => return Launched::NotBorn(LaunchError::Gone),
            Newborn::Nameless => return Launched::Unknown,
            Newborn::Named(pid) => pid,
        };
        let stat = own_child(pid);
        let pidfd = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match (stat, pidfd) {
            (Some(stat), Some(Ok(pidfd))) if stat.executed => {
                let start_ticks = stat.start_ticks;
                Launched::Born(Born { pid, start_ticks, pidfd, ended: None })
            }
            // It died and executed nothing. Its end belongs to nobody.
            (Some(stat), _) if stat.zombie && !stat.executed => {
                Launched::NotBorn(LaunchError::Killed)
            }
            // It is still on its way, and may execute before it dies.
            (Some(stat), _) => {
                kill_child(&stat);
                Launched::Unknown
            }
            (None, _) => match early.remove(&pid).and_then(|early| early.seen) {
                Some(Seen { executed: false, .. }) => Launched::NotBorn(LaunchError::Killed),
                _ => Launched::Unknown,
            },
        }
    }

    pub(super) fn newborn(&self, number: u64) -> Newborn {
        let mut pid = [0; 4];
        match self.page.read_exact_at(&mut pid, place(number)).map(|()| i32::from_le_bytes(pid)) {
            Ok(0) => Newborn::None,
            Err(_) | Ok(BEGUN) => Newborn::Nameless,
            Ok(pid) => Newborn::Named(pid),
        }
    }
}

/// Returns what an answer says, together with ends that were seen before it.
fn came(
    what: Came,
    pidfds: &mut impl Iterator<Item = OwnedFd>,
    early: &mut BTreeMap<i32, Early>,
) -> Option<Launched> {
    let (pid, seen) = match what {
        Came::Failed { step, errno } => {
            let error = SpawnError::from_numbers(step, errno)?;
            return Some(Launched::NotBorn(LaunchError::Spawn(error)));
        }
        Came::Born { pid, seen } => (pid, seen),
    };
    let pidfd = pidfds.next()?;
    // A process that was made at another time is another process.
    let is_it = |early: &Early| early.seen.is_none() || seen.is_none() || seen == early.seen;
    let ended = early.remove(&pid).filter(is_it);
    let Some(Seen { executed, start_ticks }) = seen.or(ended.as_ref().and_then(|early| early.seen))
    else {
        return Some(Launched::Unknown);
    };
    Some(match executed {
        true => {
            let ended = ended.map(|early| early.wait_status);
            Launched::Born(Born { pid, start_ticks, pidfd, ended })
        }
        false => Launched::NotBorn(LaunchError::Killed),
    })
}

/// Returns where the page has the newborn of a request.
fn place(number: u64) -> u64 {
    number % NEWBORNS as u64 * 4
}

/// Makes a file for [`sys::shared_numbers`].
pub(super) fn shared_page() -> Result<File, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let page = rustix::fs::memfd_create(c"newborns", flags | MemfdFlags::NOEXEC_SEAL);
    let page = match page {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"newborns", flags),
        made => made,
    }?;
    rustix::fs::ftruncate(&page, SHARED_NUMBERS as u64 * 4)?;
    rustix::fs::fcntl_add_seals(&page, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(page.into())
}

/// Returns a child of ours that was not reaped, so that the number still is its own.
fn own_child(pid: i32) -> Option<Stat> {
    Stat::of(pid).filter(|stat| stat.parent.unsigned_abs() == std::process::id())
}

fn kill_child(child: &Stat) {
    if let Some((pidfd, _)) = procfs::open(child.pid, child.start_ticks) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}

#[cfg(test)]
mod tests;
