//! Orders and watches: the units' engine decides about them, and the spool reports them until they
//! are acknowledged.
//!
//! The units' engine takes an order first. The spool accepts it once the units have it on disk. An
//! order that the spool answers by itself (a duplicate, a stale term, an order that was cancelled
//! ahead) never reaches the units.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    ParamKey, Params, ScoreName,
    delivery::{AttemptEnd, AttemptKey, JobPart, OrderNumber, Outcome, Output, Refusal, Term},
    process::ProcessMark,
    proof::Mac,
    score::{Interface, ScoreHash, ScoreSpec},
    service::{Instance, OfInstance, UnitJob, UnitOrder, Upkeep, params_in},
};
use orchestra_spool::{Input, Plan};
use orchestra_units::{Input as UnitInput, Ordered, Rejection, UnitKey, WatchEnd};

use super::{now, place::name_of, secrets};
use crate::sitter::{
    Sitter, clock,
    clock::BootMillis,
    scores::Score,
    settle::encoded,
    start::{runner_of, unavailable},
    users::Runner,
};

/// What the spool will be told of an order once the units have it on disk.
pub(super) struct Accepting {
    term: Term,
    order: OrderNumber,
    mac: Option<Mac>,
    plan: Plan,
    unit: UnitKey,
    /// Its parameters, if they must not be written to the units' file.
    secret: Option<Secret>,
    /// Cancels that came meanwhile.
    cancels: Vec<Input>,
}

/// Parameters that may be secrets.
pub(super) struct Secret {
    params: Params,
    /// Whether the service asks for them to be kept on the disk.
    is_kept: bool,
}

/// An order about a unit, as it came.
pub(in crate::sitter) struct UnitCommand {
    pub(in crate::sitter) term: Term,
    pub(in crate::sitter) order: OrderNumber,
    pub(in crate::sitter) key: AttemptKey,
    pub(in crate::sitter) mac: Option<Mac>,
    pub(in crate::sitter) instance: Option<Instance>,
    pub(in crate::sitter) part: Arc<JobPart>,
    pub(in crate::sitter) job: Arc<UnitJob>,
}

impl Sitter {
    /// Takes an order about a unit.
    pub(in crate::sitter) fn order_unit(&mut self, command: &UnitCommand) {
        let UnitCommand { term, order, key, mac, .. } = *command;
        if self.keeping.accepting.contains_key(&key) {
            return;
        }
        let taken = match self.spool.is_open_to(term, order, key) {
            true => self.take_unit_order(command),
            // The spool has its own answer to such an order.
            false => Err(Refusal::Busy),
        };
        match taken {
            Ok((plan, secret)) => {
                let cancels = Vec::new();
                let unit = UnitKey { store: key.store, service: command.job.service.clone() };
                let accepting = Accepting { term, order, mac, plan, unit, secret, cancels };
                self.keeping.accepting.insert(key, accepting);
            }
            Err(refusal) => {
                self.accept_unit_orders();
                let admission = Err(refusal);
                self.spool.handle(Input::Ordered { term, order, key, mac, admission });
            }
        }
    }

    /// Gives the spool the orders about units that came before its next input. After a later number
    /// the spool would take them for orders that it has already answered.
    pub(in crate::sitter) fn accept_unit_orders(&mut self) {
        if !self.keeping.accepting.is_empty() {
            self.settle_units();
            debug_assert!(
                self.keeping.accepting.is_empty(),
                "each is on disk, or its watch is over"
            );
        }
    }

    fn take_unit_order(
        &mut self,
        command: &UnitCommand,
    ) -> Result<(Plan, Option<Secret>), Refusal> {
        let UnitCommand { order, key, part, job, .. } = command;
        let nowhere = || Refusal::SpawnFailed("it names no instance for this player".to_owned());
        let instance = command.instance.ok_or_else(nowhere)?;
        let runs = job.wanted.is_to_run();
        let (params, upkeep, spec) = match runs {
            true => {
                self.host_policy.check(&part.audience, &part.score)?;
                let player = self.surroundings.player.clone();
                let params = job.upkeep.ports.fill_params(&part.params, instance.ordinal, &player);
                let params = params.map_err(|why| Refusal::Parameters(why.to_string()))?;
                let (score, runner) = self.score_of_unit(&part.score, &params)?;
                check_same_score(&job.upkeep, job.score_hash, &score)?;
                // A value is as secret as what was put into it.
                let is_open = |key: &ParamKey| {
                    let value = part.params.get(key.as_str()).unwrap_or_default();
                    let mut all = std::iter::once(key.clone()).chain(params_in(value));
                    all.all(|key| is_no_secret(&score.spec, &key))
                };
                let (ordinal, player, of) = (instance.ordinal, &player, &params);
                let of_instance = OfInstance { ordinal, player, params: of, is_open: &is_open };
                let upkeep = job.upkeep.of(of_instance);
                let upkeep = upkeep.map_err(|why| Refusal::Parameters(why.to_string()))?;
                self.examine_checks(&upkeep, &params, &runner, &part.audience)?;
                (params, upkeep, Some(score.spec))
            }
            false => (part.params.clone(), job.upkeep.clone(), None),
        };
        if runs {
            self.check_limits(&job.service, job.upkeep.resources.as_ref())?;
        }
        let unit = UnitOrder {
            service: job.service.clone(),
            version: job.version,
            instance,
            wanted: job.wanted,
            score: part.score.clone(),
            score_hash: job.score_hash,
            audience: part.audience.clone(),
            params: params.clone(),
            upkeep,
            healthy_for: job.healthy_for,
            deadline: job.deadline,
        };
        let keep_params = may_lie_on_disk(&unit, spec.as_deref());
        if runs {
            self.check_reload(&unit, keep_params)?;
        }
        let ordered = Ordered { key: *key, order: *order, unit, keep_params };
        let reserves = job.upkeep.resources.is_some_and(|resources| resources.reserve.is_some());
        self.keeping.engine.order(now(), ordered).map_err(|why| match why {
            Rejection::Reserved { .. } => Refusal::Limits(format!(
                "{why}. With resources.enforced: false it runs nevertheless"
            )),
            why => Refusal::Spool(why.to_string()),
        })?;
        if reserves && self.keeping.engine.reserves_too_much() {
            let reserved = self.keeping.engine.reserved(None);
            tracing::warn!(unit = %job.service, %reserved, "more memory is reserved than the host has");
        }
        let is_kept = job.upkeep.keep_secrets;
        let secret = (runs && !keep_params).then_some(Secret { params, is_kept });
        Ok((Plan::watching(part.score.clone(), job.deadline), secret))
    }

    /// Returns the score of a unit and the user as whom it runs, or why it cannot run.
    pub(super) fn score_of_unit(
        &mut self,
        name: &ScoreName,
        params: &Params,
    ) -> Result<(Score, Runner), Refusal> {
        let score = self.scores.get(name).map_err(unavailable)?;
        if score.spec.interface == Interface::Pipe {
            let why = "interface = \"pipe\" is for scores that end, and a service does not";
            return Err(Refusal::ScoreDisabled(why.to_owned()));
        }
        score.spec.check(params).map_err(|why| Refusal::Parameters(why.to_string()))?;
        let runner = runner_of(&score.spec, &self.config, &mut self.users)?;
        Ok((score, runner))
    }

    /// Takes a cancel. If the spool does not know the order yet, the cancel waits for it.
    pub(in crate::sitter) fn cancel_order(&mut self, key: AttemptKey, cancel: Input) {
        match self.keeping.accepting.get_mut(&key) {
            Some(accepting) => accepting.cancels.push(cancel),
            None => self.spool.handle(cancel),
        }
    }

    /// Has the spool take an order that the units have on disk.
    pub(super) fn accept(&mut self, key: AttemptKey) {
        let Some(accepting) = self.keeping.accepting.remove(&key) else { return };
        let Accepting { term, order, mac, plan, unit, secret, cancels } = accepting;
        self.keep_secret(&unit, order, secret);
        self.spool.handle(Input::Ordered { term, order, key, mac, admission: Ok(plan) });
        for cancel in cancels {
            self.spool.handle(cancel);
        }
    }

    /// Keeps parameters for the next sitter: in the spool if the service asks for that, else in a
    /// memory file system, if there is one. Those of earlier orders are erased from the spool.
    fn keep_secret(&mut self, unit: &UnitKey, order: OrderNumber, secret: Option<Secret>) {
        let (spool, name) = (self.spool_dir.path(), name_of(unit));
        match secret {
            Some(Secret { params, is_kept: true }) => {
                if let Err(error) = secrets::keep(spool, &name, order, &params) {
                    tracing::error!(%unit, %error, "cannot keep a unit's parameters in the spool");
                }
                self.keeping.place.drop_params(unit);
            }
            Some(Secret { params, is_kept: false }) => {
                secrets::forget(spool, &name);
                self.keep_in_memory(unit, order, &params);
            }
            None => secrets::forget(spool, &name),
        }
    }

    fn keep_in_memory(&mut self, unit: &UnitKey, order: OrderNumber, params: &Params) {
        match self.keeping.place.keep_params(unit, order, params) {
            Ok(true) => {}
            Ok(false) => {
                tracing::info!(%unit, "run_dir is on a disk: a sitter that comes after this one has to be told the unit's parameters");
                self.keeping.place.drop_params(unit);
            }
            Err(error) => {
                tracing::warn!(%unit, %error, "cannot keep a unit's parameters in run_dir");
            }
        }
    }

    /// Takes that the spool has accepted an attempt that watches. From now on it counts as started.
    pub(in crate::sitter) fn watch_begun(&mut self, key: AttemptKey) {
        // No process has this number, so none is found by it.
        let process = ProcessMark {
            pid: 0,
            start_ticks: 0,
            boot: self.boot,
            started_at: clock::wall(),
            boot_ms: BootMillis::now().0,
        };
        self.spool.handle(Input::Started { key, process });
    }

    /// Ends the watch of an attempt that was cancelled.
    pub(in crate::sitter) fn unwatch(&mut self, key: AttemptKey) {
        self.keeping.engine.handle(now(), UnitInput::Unwatched { key });
    }

    /// Ends the attempt of a watch that is over.
    pub(super) fn end_watch(&mut self, key: AttemptKey, order: OrderNumber, end: WatchEnd) {
        if let Some(accepting) = self.keeping.accepting.remove(&key) {
            let Accepting { term, order, mac, cancels, .. } = accepting;
            let admission = Err(Refusal::Spool(why_refused(end)));
            self.spool.handle(Input::Ordered { term, order, key, mac, admission });
            cancels.into_iter().for_each(|cancel| self.spool.handle(cancel));
        } else if let Some(live) = self.spool.state().live().get(&key) {
            let started_at = live.process.map(|process| process.started_at);
            let end = AttemptEnd { started_at, ..attempt_end(end) };
            tracing::info!(attempt = %key, outcome = ?end.outcome, "a watch ended");
            match encoded(key, end) {
                Ok(end) => self.spool.handle(Input::Ended { key, end }),
                Err(error) => tracing::error!(attempt = %key, %error, "cannot tell an end"),
            }
        }
        self.keeping.settling.push((key, order));
    }

    /// Tells the units of which watches the end is durable in the spool. Returns whether there were
    /// any.
    pub(in crate::sitter) fn settle_watches(&mut self) -> bool {
        if !self.spool.unwritten().is_empty() || self.spool.broken().is_some() {
            return false;
        }
        let settled = std::mem::take(&mut self.keeping.settling);
        for (key, order) in &settled {
            let settled = UnitInput::WatchSettled { key: *key, order: *order };
            self.keeping.engine.handle(now(), settled);
        }
        !settled.is_empty()
    }
}

/// Checks that a score is the version's, if the service asks for that.
pub(super) fn check_same_score(
    upkeep: &Upkeep,
    wanted: Option<ScoreHash>,
    score: &Score,
) -> Result<(), Refusal> {
    if !upkeep.require_same_score {
        return Ok(());
    }
    let held = score.image.hash();
    match wanted {
        Some(wanted) if wanted == held => Ok(()),
        Some(wanted) => Err(Refusal::ScoreDisabled(format!(
            "require_same_score: it is {}, and the version's is {}",
            held.short(),
            wanted.short()
        ))),
        None => Err(Refusal::ScoreDisabled(
            "require_same_score: which one is the version's is not known".to_owned(),
        )),
    }
}

/// Returns whether a unit's parameters may be written to the units' file: none of them may be a secret.
fn may_lie_on_disk(unit: &UnitOrder, spec: Option<&ScoreSpec>) -> bool {
    let is_plain = |key: &ParamKey| spec.is_some_and(|spec| is_no_secret(spec, key));
    unit.params.iter().all(|(key, _)| is_plain(key))
}

/// Returns whether a parameter is certainly no secret: the score's `.conf` lists it, and not as
/// sensitive.
fn is_no_secret(spec: &ScoreSpec, key: &ParamKey) -> bool {
    let known = spec.params.as_ref().and_then(|known| known.get(key));
    known.is_some_and(|param| !param.sensitive)
}

fn why_refused(end: WatchEnd) -> String {
    match end {
        WatchEnd::Unwritten(why) => format!("the units' file cannot be written: {why}"),
        _ => "another order for the unit came before this one was written".to_owned(),
    }
}

/// Returns the end that a conductor is told for a watch that is over.
fn attempt_end(end: WatchEnd) -> AttemptEnd {
    let (outcome, response) = match end {
        WatchEnd::Ready => (Outcome::Exited(0), Vec::new()),
        WatchEnd::TimedOut => (Outcome::TimedOut, Vec::new()),
        WatchEnd::Cancelled | WatchEnd::Superseded => (Outcome::Cancelled, Vec::new()),
        WatchEnd::Failed { failure, cause } => {
            let said = vec![("failure", failure.to_string()), ("cause", cause.to_string())];
            (Outcome::Exited(1), said)
        }
        WatchEnd::Unwritten(why) => {
            let failure = format!("the units' file cannot be written: {why}");
            (Outcome::Exited(1), vec![("failure", failure)])
        }
    };
    let said = response.into_iter().map(|(key, value)| (key.to_owned(), value));
    AttemptEnd {
        outcome,
        started_at: None,
        ended_at: clock::wall(),
        response: said.collect::<BTreeMap<_, _>>(),
        stdout: Output::default(),
        stderr: Output::default(),
    }
}
