//! From what happened to what is done about it, through the spool and its journal.
//!
//! The spool is told of ends, and what it wants durable is written in one batch. Only after that
//! its effects are performed. Attempts can end even if the journal cannot be written: new orders
//! are refused, attempts are reported from memory, and a fresh journal is tried until one can be
//! written.
//!
//! Launchers make the processes, and are asked for [`STARTS`] a turn. So ends, cancels and reports
//! never wait for a whole burst of starts, or for a process.

use std::io;

use orchestra_model::{
    delivery::{AttemptEnd, AttemptKey, EndBytes, EndTooLarge, Output, Refusal},
    score::BuiltIn,
};
use orchestra_proto::encode_end;
use orchestra_spool::{Effect, Input, Plan};
use rustix::fd::AsFd;

use super::{
    Sitter,
    attempt::{Attempt, Phase, Told, Why},
    clock::BootMillis,
    journal::Found,
    launcher::{Account, Launched, Said, TapId},
    poll::{Interest, Token},
    spool_dir::{SpoolDirError, attempt_name},
    start::{Expected, Newborn, Stage, StartError},
    stream,
    unit::Seen,
    wire,
};

/// How long after a failed write of a journal the next try is, in milliseconds.
const REWRITE_PAUSE: u64 = 1_000;
/// Most attempts whose processes are asked for in one turn of the loop. With fewer the journal
/// would be synced more often.
const STARTS: usize = 16;
/// Most attempts that are over and whose pipes are still read. Beyond that the oldest are released.
const LINGERING: usize = 1_024;

impl Sitter {
    /// Tells the spool what ended, makes durable what it wants durable, and performs its effects,
    /// until nothing more follows. Some of [`Sitter::starts`] may be left for a later turn.
    pub(super) fn settle(&mut self) {
        loop {
            self.settle_ends();
            let mut asked = 0;
            while asked < STARTS
                && let Some(place) = self.next_start()
                && let Some((key, plan)) = self.starts.remove(place)
            {
                self.start(key, plan);
                asked += 1;
            }
            if asked == STARTS {
                // Refusals become durable with the next turn.
                return;
            }
            if self.spool.unwritten().is_empty() {
                if self.starts.is_empty() {
                    self.admitted.clear();
                }
                return;
            }
        }
    }

    /// Returns the first start whose launcher has room now, so that users do not wait for each
    /// other.
    pub(super) fn next_start(&self) -> Option<usize> {
        let may_start = |(key, _): &(AttemptKey, Plan)| {
            let admitted = self.admitted.get(key);
            admitted.is_none_or(|admitted| self.launchers.has_room(&admitted.runner.identity))
        };
        self.starts.iter().position(may_start)
    }

    /// Does what [`Sitter::settle`] does, apart from the starts.
    fn settle_ends(&mut self) {
        loop {
            // Units come before the spool, which accepts only orders that the units have on disk.
            self.settle_units();
            self.report_ends();
            self.commit();
            self.forget_over();
            let mut idle = !self.settle_watches();
            while let Some(effect) = self.spool.poll_effect() {
                idle = false;
                self.perform(effect);
            }
            let units_are_idle = self.keeping.engine.unwritten().is_empty();
            if idle && self.spool.unwritten().is_empty() && units_are_idle {
                return;
            }
        }
    }

    /// Asks launchers for the accounts of attempts of which everything else is known.
    fn ask_for_accounts(&mut self) {
        let now = BootMillis::now();
        for attempt in self.attempts.values_mut() {
            if matches!(attempt.phase, Phase::Closing(_)) && attempt.streams.told == Told::Nothing {
                let mut close = |tap| self.launchers.close(&self.poller, tap, now);
                match attempt.streams.tap.is_some_and(&mut close) {
                    true => attempt.streams.told = Told::Asked,
                    false => attempt.accounted(Account { over: true, written: None }),
                }
            }
        }
    }

    fn report_ends(&mut self) {
        self.ask_for_accounts();
        let is_over = |attempt: &Attempt| matches!(attempt.phase, Phase::Over(_));
        let attempts = self.attempts.iter();
        let over: Vec<u64> =
            attempts.filter(|(_, attempt)| is_over(attempt)).map(|(id, _)| *id).collect();
        for id in over {
            let Some(attempt) = self.attempts.remove(&id) else {
                continue;
            };
            let may_be_kept = self.may_be_kept(attempt.key);
            if let Some(end) = attempt.report() {
                let key = attempt.key;
                tracing::info!(attempt = %key, outcome = ?end.outcome, "an attempt ended");
                self.note_change(key, end.outcome.is_ok());
                match encoded(key, end) {
                    Ok(end) => self.spool.handle(Input::Ended { key, end }),
                    Err(error) => tracing::error!(attempt = %key, %error, "cannot tell an end"),
                }
            }
            self.over.push((attempt, may_be_kept));
        }
    }

    /// Takes what an attempt did to a place, before its end is told.
    fn note_change(&mut self, key: AttemptKey, went_well: bool) {
        let live = self.spool.state().live().get(&key);
        let Some(what) = live.and_then(|live| BuiltIn::of(&live.plan.score)) else { return };
        if self.places.ended(key, what, went_well) {
            self.places_changed = true;
            self.tell_places();
        }
    }

    /// Tells a conductor of the places, if one of them was changed and somebody hears it.
    pub(super) fn tell_places(&mut self) {
        if let (true, Some(session)) = (self.places_changed, self.hearer()) {
            self.places_changed = false;
            self.agent.report_places(session, self.places.report());
        }
    }

    /// One write for all that is unwritten.
    fn commit(&mut self) {
        if self.spool.unwritten().is_empty() {
            return;
        }
        if self.journal.look(self.spool_dir.path()) != Found::Whole || !self.spool_dir.is_whole() {
            match self.write_journal_anew() {
                Ok(()) => self.spool.rewritten(),
                Err(error) => self.journal_failed(&error, BootMillis::now()),
            }
            return;
        }
        match self.journal.append(self.spool.unwritten()) {
            Ok(()) => self.spool.written(),
            Err(error) => {
                self.journal_failed(&error.to_string(), BootMillis::now());
                return;
            }
        }
        if self.journal.should_compact(self.spool.state())
            && let Err(error) = self.journal.compact(self.spool.state())
        {
            self.journal_failed(&error.to_string(), BootMillis::now());
        }
    }

    fn journal_failed(&mut self, why: &str, now: BootMillis) {
        tracing::error!(error = why, "cannot write the journal; new orders are refused");
        self.spool.write_failed(why);
        self.make_room_on_shelf();
        self.rewrite_at = Some(now.after(REWRITE_PAUSE));
    }

    pub(super) fn rewrite(&mut self, now: BootMillis) {
        match self.write_journal_anew() {
            Ok(()) => {
                tracing::info!("the journal can be written again");
                self.spool.rewritten();
                self.rewrite_at = None;
            }
            Err(error) => {
                tracing::error!(error, "still cannot write the journal");
                self.make_room_on_shelf();
                self.rewrite_at = Some(now.after(REWRITE_PAUSE));
            }
        }
    }

    /// Writes a fresh journal of all that is known. If a part of the spool was taken away, it is
    /// made anew first, because this process knows what was in it. If another journal lies there,
    /// it is of another spool, which is not touched.
    fn write_journal_anew(&mut self) -> Result<(), String> {
        let found = self.journal.look(self.spool_dir.path());
        self.make_spool_whole(found)?;
        self.journal.rewrite(self.spool.state()).map_err(|error| error.to_string())?;
        if !self.units_are_whole() {
            self.write_units_anew()?;
        }
        self.spool_dir.remember_confs(self.scores.confs()).map_err(|error| error.to_string())
    }

    /// Makes the spool's directory anew if it was taken away; `found` is what lies in the place of
    /// one of its journals.
    pub(super) fn make_spool_whole(&mut self, found: Found) -> Result<(), String> {
        if found == Found::Other {
            return Err(SpoolDirError::Replaced(self.spool_dir.path().to_owned()).to_string());
        }
        if found == Found::Nothing || !self.spool_dir.is_whole() {
            self.spool_dir.make_anew().map_err(|error| orchestra_model::chain(&error))?;
            let moved = self.journal.move_to(self.spool_dir.dir());
            let moved = moved.and_then(|()| self.move_units());
            moved.map_err(|error| error.to_string())?;
            tracing::warn!(spool = %self.spool_dir.path().display(), "made the spool anew");
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Snapshot { session, snapshot } => {
                let (max_tasks, grace) = (self.config.max_tasks, self.config.kill_grace);
                let units = self.units_for(session);
                let mut offers = self.scores.offers();
                offers.extend(BuiltIn::ALL.into_iter().filter_map(BuiltIn::offer));
                self.places_changed = false;
                let room = self.keeping.room;
                let places = self.places.report();
                let bytes =
                    wire::snapshot(snapshot, max_tasks, grace, offers, units, room, &places);
                self.agent.snapshot(session, bytes);
            }
            Effect::Report { session, report } => self.agent.report(session, report),
            Effect::Start { key, plan, .. } if plan.is_watching() => self.watch_begun(key),
            Effect::Start { key, plan, .. } => self.starts.push_back((key, plan)),
            Effect::Kill { key } if self.is_watching(key) => self.unwatch(key),
            Effect::Kill { key } => {
                let waits = self.starts.iter().position(|(starting, _)| *starting == key);
                if waits.and_then(|place| self.starts.remove(place)).is_some() {
                    self.admitted.remove(&key);
                    let refusal = Refusal::Cancelled;
                    return self.spool.handle(Input::StartFailed { key, refusal });
                }
                if self.end_delivery(key, Refusal::Cancelled) {
                    return;
                }
                if let Some(expected) = self.expected().find(|expected| expected.key == key) {
                    expected.cancelled = true;
                    return;
                }
                self.cancel(key, BootMillis::now());
            }
        }
    }

    fn is_watching(&self, key: AttemptKey) -> bool {
        self.spool.state().live().get(&key).is_some_and(|live| live.plan.is_watching())
    }

    /// Returns the attempts whose processes were asked for.
    pub(super) fn expected(&mut self) -> impl Iterator<Item = &mut Expected> {
        self.launchers.awaited().filter_map(|newborn| match newborn {
            Newborn::Attempt(expected) => Some(&mut **expected),
            Newborn::Agent
            | Newborn::Prober(_)
            | Newborn::Guard
            | Newborn::Check(_)
            | Newborn::Run(_) => None,
        })
    }

    fn start(&mut self, key: AttemptKey, plan: Plan) {
        let Some(admitted) = self.admitted.remove(&key) else {
            let why = "what it needs is not in memory any more".to_owned();
            let refusal = Refusal::SpawnFailed(why);
            return self.spool.handle(Input::StartFailed { key, refusal });
        };
        if admitted.awaits_bundle(&self.config.depot_dir) {
            return self.await_bundle(key, plan, admitted);
        }
        let alone = self.attempts.is_empty()
            && self.expected().next().is_none()
            && !self.keeping.is_anything_alive();
        let is_live = |key| self.spool.state().live().contains_key(&key);
        let mut stage = Stage {
            config: &self.config,
            spool_dir: &mut self.spool_dir,
            cgroups: self.cgroups.as_ref(),
            surroundings: &self.surroundings,
            places: &mut self.places,
            is_live: &is_live,
            null: self.null.as_fd(),
            launchers: &mut self.launchers,
            poller: &self.poller,
            now: BootMillis::now(),
        };
        match stage.start(key, &plan, &admitted, alone) {
            Ok(true) => {
                self.attempts.values_mut().for_each(|other| other.alone = false);
                self.expected().filter(|other| other.key != key).for_each(|o| o.alone = false);
            }
            Ok(false) => {
                self.admitted.insert(key, admitted);
                self.starts.push_front((key, plan));
            }
            Err(error) => self.start_failed(key, &error),
        }
    }

    fn start_failed(&mut self, key: AttemptKey, error: &StartError) {
        let (refusal, error) = (error.refusal(), orchestra_model::chain(error));
        tracing::warn!(attempt = %key, error, "cannot start an attempt");
        self.spool.handle(Input::StartFailed { key, refusal });
    }

    /// Takes what a launcher said, or what was concluded in its place.
    pub(super) fn hear(&mut self, said: Vec<Said<Newborn>>, now: BootMillis) {
        let mut seen = Seen::default();
        for said in said {
            match said {
                Said::Launched(newborn, launched) => self.launched(newborn, launched, now),
                Said::TakenOver(tap) => self.taken_over(tap),
                Said::Account(tap, account) => self.accounted(tap, account),
                Said::Word(tap, word) => self.heard_of_unit(tap, word, &mut seen, now),
            }
        }
    }

    fn taken_over(&mut self, tap: TapId) {
        let is_it = |attempt: &&mut Attempt| attempt.streams.tap == Some(tap);
        if let Some(attempt) = self.attempts.values_mut().find(is_it)
            && attempt.taken_over()
        {
            tracing::warn!(attempt = %attempt.key, "an attempt ended while nobody read what it wrote");
        }
    }

    fn accounted(&mut self, tap: TapId, account: Account) {
        let mut has_no_room = false;
        let is_it = |attempt: &&mut Attempt| attempt.streams.tap == Some(tap);
        if let Some(attempt) = self.attempts.values_mut().find(is_it) {
            for broken in account.written.iter().flatten().filter_map(|written| written.broken) {
                let error = io::Error::from_raw_os_error(broken.errno);
                let (key, kept) = (attempt.key, broken.at);
                tracing::warn!(attempt = %key, %error, kept, "could not keep all of an attempt's output");
                has_no_room |= broken.errno == libc::ENOSPC || broken.errno == libc::EDQUOT;
            }
            if account.written.is_none() {
                tracing::error!(attempt = %attempt.key, "nobody knows all that an attempt wrote");
            }
            attempt.accounted(account);
        } else if !self.check_accounted(tap, account)
            && account.over
            && let Some(name) = self.lingering.remove(&tap)
        {
            self.spool_dir.remove_attempt(&name);
            self.sweep();
        }
        if has_no_room {
            self.make_room_on_shelf();
        }
    }

    /// Takes what came of a request to a launcher.
    fn launched(&mut self, newborn: Newborn, launched: Launched, now: BootMillis) {
        let expected = match newborn {
            Newborn::Agent => {
                self.agent.launched(launched, &self.poller, now);
                return self.ask_for_bundles();
            }
            Newborn::Prober(token) => {
                let answers = self.probers.launched(token, launched, now);
                return self.probed(answers);
            }
            Newborn::Guard => return self.guard_launched(launched, now),
            Newborn::Check(unit) => return self.check_launched(&unit, launched),
            Newborn::Run(expected) => return self.run_launched(*expected, launched),
            Newborn::Attempt(expected) => *expected,
        };
        let (key, cancelled) = (expected.key, expected.cancelled);
        match launched {
            Launched::Born(born) => {
                let (score, pid) = (expected.score().clone(), born.pid);
                tracing::info!(attempt = %key, %score, pid, "started an attempt");
                let (attempt, process) = expected.born(born, self.boot, now);
                self.insert(attempt);
                self.spool.handle(Input::Started { key, process });
                if cancelled {
                    self.cancel(key, now);
                }
            }
            Launched::NotBorn(error) => {
                let why = expected.why_not(error);
                self.left.extend(expected.clear_away(&self.spool_dir));
                match cancelled {
                    true => {
                        let refusal = Refusal::Cancelled;
                        self.spool.handle(Input::StartFailed { key, refusal });
                    }
                    false => self.start_failed(key, &why),
                }
            }
            Launched::Unknown => {
                tracing::error!(attempt = %key, "a launcher ended while it started an attempt");
                self.insert(expected.lost(now));
            }
        }
    }

    pub(super) fn cancel(&mut self, key: AttemptKey, now: BootMillis) {
        let grace = self.config.kill_grace.to_std();
        let mut attempts = self.attempts.values_mut();
        if let Some(attempt) = attempts.find(|attempt| attempt.key == key) {
            attempt.end(Why::Cancelled, grace, now);
        }
    }

    /// Has the loop watch an attempt.
    pub(super) fn insert(&mut self, mut attempt: Attempt) {
        let id = self.fresh_id();
        let main = attempt.main.as_ref().filter(|main| !main.child && !main.gone);
        if let Some(main) = main
            && let Err(error) = self.poller.add(&main.pidfd, Token(id), Interest::Read)
        {
            tracing::error!(attempt = %attempt.key, %error, "cannot watch an attempt");
        }
        attempt.alone &= self.attempts.is_empty() && !self.keeping.is_anything_alive();
        self.attempts.values_mut().for_each(|other| other.alone = false);
        self.attempts.insert(id, attempt);
    }

    /// Removes the files of attempts whose end is durable, but for those that are kept. What they left behind lives on.
    fn forget_over(&mut self) {
        for (attempt, may_be_kept) in std::mem::take(&mut self.over) {
            if let Some(leaf) = attempt.leaf {
                self.left.push(leaf);
            }
            // Whoever reads has the files open. Another attempt must not write into them.
            let is_read = self.keep_what_is_read(attempt.key);
            if may_be_kept {
                self.shelve(attempt.key, &attempt.streams);
            }
            let (name, streams) = (attempt_name(attempt.key), attempt.streams);
            match (&streams.directory, streams.tap, streams.are_silent()) {
                (Some(directory), Some(tap), _) if !streams.are_over() => {
                    let _ = stream::remove_files(directory.as_fd());
                    self.linger(tap, name);
                }
                // No process has its pipes any more, neither to write nor to read.
                (Some(directory), _, Some(silent)) if attempt.ours && !is_read => {
                    self.spool_dir.give_back(&name, directory.as_fd(), silent);
                }
                _ => self.spool_dir.remove_attempt(&name),
            }
            self.sweep();
        }
    }

    /// Keeps the directory of an attempt that is over, because a process may still write to its
    /// pipes: a daemon that was left on purpose may do so for ever.
    ///
    /// A score has its pipes open for reading too, so a pipe that nobody reads does not break: it
    /// fills, and its writer waits for ever. So the launcher reads what comes and throws it away,
    /// until no other process has the pipes open. The directory stays as long, so that the next
    /// launcher can go on.
    pub(super) fn linger(&mut self, tap: TapId, name: String) {
        if self.lingering.len() >= LINGERING
            && let Some((oldest, name)) = self.lingering.pop_first()
        {
            tracing::warn!(attempt = name, "too many pipes are left; reading one no more");
            self.launchers.forget(&self.poller, oldest, BootMillis::now());
        }
        self.lingering.insert(tap, name);
    }

    /// Removes cgroups in which nothing lives any more.
    pub(super) fn sweep(&mut self) {
        self.left.retain(|leaf| !leaf.remove());
    }
}

/// Encodes an end, which is done only here. Its content is bounded far below what the spool takes.
/// If it is too long nevertheless, the output is left out, because the outcome matters more.
pub(super) fn encoded(key: AttemptKey, end: AttemptEnd) -> Result<EndBytes, EndTooLarge> {
    encode_end(&end).or_else(|error| {
        tracing::error!(attempt = %key, %error, "left the output of an attempt out");
        let nothing = || Output { truncated: true, ..Output::default() };
        let bare = AttemptEnd {
            response: Default::default(),
            stdout: nothing(),
            stderr: nothing(),
            ..end
        };
        encode_end(&bare)
    })
}
