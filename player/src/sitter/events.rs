//! What each event means: signals, ends of processes, messages of launchers, frames of the agent,
//! and deadlines.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use orchestra_link::ipc::ToSitter;
use orchestra_model::delivery::{AgentSession, Refusal};
use orchestra_spool::{Input, Plan};
use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, waitpid},
};

use super::{
    AGENT, ALARMS, GUARD, LAUNCHERS, LIFELINE, PROBERS, SIGNALS, Sitter,
    attempt::{Attempt, End, Main, Phase},
    clock::BootMillis,
    commands::{Command, CommandError, JobParts, Kind},
    ending::trail,
    host_policy::HostPolicy,
    places::LocalPlaces,
    poll::{Interest, Ready, Token},
    procfs::Stat,
    scores::Scores,
    signals::Event,
    start::{self, Admitted, Ordered},
    sys,
    unit::UnitCommand,
};

/// What a turn of the loop led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next turn follows.
    GoOn,
    /// The lifeline is at its end.
    KillEverything,
}

impl Sitter {
    /// Takes all that is ready. Ends of processes and output come before requests, so that an end
    /// wins over a cancel or a timeout of the same moment.
    pub(super) fn turn(&mut self, ready: &[Ready]) -> Verdict {
        let now = BootMillis::now();
        let is_ready = |token| ready.iter().any(|ready| ready.token == token);
        let signals = if is_ready(SIGNALS) { self.signals.take() } else { Vec::new() };
        // Launchers first: they tell who was born, before we see who has died, and what was
        // written.
        for Ready { token } in ready.iter().filter(|ready| ready.token >= LAUNCHERS) {
            self.hear_launcher(*token, now);
        }
        if signals.contains(&Event::Child) {
            self.reap(now);
        }
        for Ready { token } in ready.iter().filter(|ready| ready.token < LAUNCHERS) {
            match (PROBERS..ALARMS).contains(token) {
                true => self.hear_prober(*token, now),
                false => self.foreign_main_ready(*token, now),
            }
        }
        if is_ready(GUARD) {
            self.guard_ended(now);
        }
        if is_ready(LIFELINE) && self.lifeline_is_over() {
            return Verdict::KillEverything;
        }
        if is_ready(AGENT) {
            for frame in self.agent.receive(&self.poller) {
                self.heard(frame);
            }
        }
        for signal in signals {
            self.signalled(signal, now);
        }
        self.tick(now);
        Verdict::GoOn
    }

    fn signalled(&mut self, event: Event, now: BootMillis) {
        match event {
            Event::Child => {}
            Event::Rescan => {
                self.users.forget();
                self.scan();
                self.agent.reattach();
            }
            Event::RestartAgent => self.agent.restart(&self.poller),
            Event::Upgrade => {
                tracing::info!("executing the sitter anew in place");
                self.upgrade = true;
            }
            Event::Stop => {
                tracing::info!(running = self.attempts.len(), "asked to stop");
                self.end_deliveries(&Refusal::Stopping);
                self.stop_at.get_or_insert(now.after(self.config.stop_grace.0));
            }
        }
    }

    /// Scans scores and places, and reads the host's policy. A directory of scores that cannot be read changes nothing.
    pub(super) fn scan(&mut self) {
        match Scores::scan(&self.config.scores_dir, &self.scores) {
            Ok(scores) => {
                let (scores_found, disabled) = scores.counts();
                tracing::info!(scores = scores_found, disabled, "scanned the scores");
                let is_news = scores.confs() != self.scores.confs();
                self.scores = scores;
                if is_news && let Err(error) = self.spool_dir.remember_confs(self.scores.confs()) {
                    tracing::error!(%error, "cannot remember which scores have a .conf");
                }
            }
            Err(error) => {
                tracing::error!(error = %orchestra_model::chain(&error), "cannot scan the scores");
            }
        }
        self.host_policy = HostPolicy::load(self.config.policy.as_deref(), &self.host_policy);
        if let Some(entries) = self.host_policy.entries() {
            tracing::info!(entries, "read the host's policy");
        }
        self.places = LocalPlaces::scan(&self.config, &mut self.users, &self.places);
        let (places, disabled) = self.places.counts();
        if places > 0 {
            tracing::info!(places, disabled, "looked at the places");
        }
    }

    fn hear_launcher(&mut self, token: Token, now: BootMillis) {
        let said = self.launchers.receive(&self.poller, token, now);
        self.hear(said, now);
    }

    /// Reaps children, adopted ones too.
    pub(super) fn reap(&mut self, now: BootMillis) {
        while let Some(pid) = sys::ended_child() {
            // For a newborn that no launcher has told of yet, this is the last chance to read it.
            let stat = self.launchers.is_busy().then(|| Stat::of(pid)).flatten();
            match waitpid(Pid::from_raw(pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => self.child_ended(pid, status.as_raw(), stat, now),
                Err(Errno::INTR) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn child_ended(&mut self, pid: i32, wait_status: i32, stat: Option<Stat>, now: BootMillis) {
        if let Some(session) = self.agent.ended(pid, now) {
            if let Some(session) = session {
                self.detached(session);
            }
            return;
        }
        if let Some(answers) = self.probers.ended(pid, now) {
            return self.probed(answers);
        }
        let is_main = |main: &Main| main.child && main.pid == pid && !main.gone;
        let mut attempts = self.attempts.values_mut();
        let found = attempts.find(|attempt| attempt.main.as_ref().is_some_and(is_main));
        if let Some(attempt) = found {
            return attempt.main_ended(wait_status, now);
        }
        if self.run_child_ended(pid, wait_status) || self.check_child_ended(pid, wait_status) {
            return;
        }
        if let Some(said) = self.launchers.ended(&self.poller, pid, now) {
            return self.hear(said, now);
        }
        // This is an orphan that we adopted, a process whose end is known already, or a newborn.
        self.launchers.note_end(pid, wait_status, stat, now);
    }

    /// If the token is that of an attempt whose first process is not our child: that process ended.
    fn foreign_main_ready(&mut self, token: Token, now: BootMillis) {
        let Some(attempt) = self.attempts.get_mut(&token.0) else {
            return self.foreign_run_ready(token);
        };
        let Some(main) = &mut attempt.main else {
            return;
        };
        if main.gone {
            // Its end was noticed already when it was to be killed.
            return self.poller.remove(&main.pidfd);
        }
        match main.ended_or_unknowable() {
            End::Later => {
                let _ = self.poller.change(&main.pidfd, token, Interest::Hangup);
            }
            End::Known(wait_status) => {
                self.poller.remove(&main.pidfd);
                attempt.main_ended(wait_status, now);
            }
            End::Unknowable => {
                self.poller.remove(&main.pidfd);
                attempt.main_vanished(now);
            }
        }
    }

    /// Does what is due at this moment.
    fn tick(&mut self, now: BootMillis) {
        let grace = self.config.kill_grace.to_std();
        let spared = self.spared();
        let spool = self.surroundings.spool;
        for attempt in self.attempts.values_mut() {
            let trail = trail(attempt, spool, &spared);
            attempt.tick(grace, now, trail);
        }
        let said = self.launchers.tick(&self.poller, now);
        self.hear(said, now);
        let answers = self.probers.tick(now);
        self.probed(answers);
        self.agent.tick(&self.poller, &mut self.launchers, now);
        if self.rewrite_at.is_some_and(|at| now >= at) {
            self.rewrite(now);
        }
        self.expire_deliveries(now);
        self.tick_units(now);
        self.expire_kept(now);
        self.read_logs(now);
        self.sample(now);
    }

    /// Returns processes that certainly belong to no attempt that is hunted: first processes of
    /// attempts and runs, the agent, probers, the guard, and launchers with their newborns. Empty while no
    /// attempt has to be hunted.
    fn spared(&self) -> Arc<BTreeSet<i32>> {
        let hunted = |attempt: &Attempt| {
            attempt.leaf.is_none() && matches!(attempt.phase, Phase::Ending { .. })
        };
        if !self.attempts.values().any(hunted) {
            return Arc::default();
        }
        let of_runs = self.keeping.runs.values().filter_map(|run| run.main.as_ref());
        let mains = self.attempts.values().filter_map(|attempt| attempt.main.as_ref());
        let of_checks = self.keeping.checks.values().filter_map(|check| check.main.as_ref());
        let mains = mains.chain(of_runs).chain(of_checks);
        let mains = mains.filter(|main| !main.gone).map(|main| main.pid);
        let launchers = self.launchers.processes();
        Arc::new(
            mains
                .chain(self.agent.pid())
                .chain(self.probers.pids())
                .chain(self.guarding.process().map(|(pid, _)| pid))
                .chain(launchers)
                .collect(),
        )
    }

    fn heard(&mut self, frame: ToSitter) {
        match frame {
            ToSitter::Open { session } => {
                if let Some(before) = self.agent.session() {
                    self.spool.handle(Input::Detached { session: before });
                }
                self.agent.open(session);
                self.end_readings();
                self.vitals.end();
                self.parts = JobParts::default();
                self.spool.handle(Input::Opened { session });
            }
            ToSitter::Welcomed { session, store, .. } => {
                if self.agent.session() == Some(session) {
                    self.accept_unit_orders();
                    self.spool.handle(Input::Attached { session, store });
                    self.welcome(session, store);
                }
            }
            ToSitter::Closed { session } => {
                self.agent.close(session);
                self.detached(session);
            }
            ToSitter::Ask { session } => self.agent.answer(session),
            ToSitter::Fetched { fetch } => self.bundle_answered(fetch, Ok(())),
            ToSitter::NotFetched { fetch, why } => self.bundle_answered(fetch, Err(why)),
            ToSitter::Command { session, bytes } => {
                if self.agent.session() == Some(session) {
                    self.commanded(bytes);
                }
            }
        }
    }

    fn detached(&mut self, session: AgentSession) {
        self.end_readings();
        self.vitals.end();
        self.parts = JobParts::default();
        self.spool.handle(Input::Detached { session });
    }

    fn commanded(&mut self, bytes: Bytes) {
        match self.parts.decode(bytes) {
            Ok(Some(command)) => self.obey(command),
            Ok(None) => {}
            Err(CommandError::PartMissing) => {
                tracing::warn!("an order's job part is not here; asking for a new session");
                self.agent.reattach();
            }
            Err(error) => {
                tracing::warn!(error = %orchestra_model::chain(&error), "dropped a command");
            }
        }
    }

    fn obey(&mut self, command: Command) {
        let Command { store, term, kind } = command;
        let input = match kind {
            Kind::OfLog(said) => return self.hear_of_log(store, said),
            Kind::Leases(granted) => return self.hear_of_leases(store, term, granted),
            Kind::AskVitals { live_for } => return self.hear_of_vitals(store, live_for),
            Kind::Hello { issued } => Input::TermSeen { store, term, issued },
            Kind::Cancel { order, key, mac } => {
                return self.cancel_order(key, Input::Cancelled { term, order, key, mac });
            }
            Kind::Acknowledge { key, order } => Input::Acknowledged { term, key, order },
            Kind::Order { number, key, timeout, mac, instance, tree, part } => {
                let admitted = match (self.stop_at, part) {
                    (Some(_), _) => Err(Refusal::Stopping),
                    (None, Err(why)) => Err(why),
                    (None, Ok(part)) => {
                        if let Some(job) = part.unit.clone() {
                            let order = number;
                            let command =
                                UnitCommand { term, order, key, mac, instance, part, job };
                            return self.order_unit(&command);
                        }
                        self.admit(Ordered { key, timeout, part, tree })
                    }
                };
                let admission = admitted.map(|(plan, admitted)| {
                    self.admitted.insert(key, admitted);
                    plan
                });
                Input::Ordered { term, order: number, key, mac, admission }
            }
        };
        self.accept_unit_orders();
        self.spool.handle(input);
    }

    fn admit(&mut self, ordered: Ordered) -> Result<(Plan, Admitted), Refusal> {
        self.host_policy.check(&ordered.part.audience, &ordered.part.score)?;
        let is_live = |key| self.spool.state().live().contains_key(&key);
        start::admit(
            &self.config,
            &self.scores,
            (&self.places, &is_live),
            &mut self.users,
            self.cgroups.as_ref(),
            ordered,
        )
    }
}
