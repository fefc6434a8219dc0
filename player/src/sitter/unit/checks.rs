//! Checks: from the engine's word to a score's process, and from that to an answer.
//!
//! A check is the unit's, and no attempt: it takes no `max_tasks` place, the spool does not know it, and
//! nothing of it is durable. It runs as the user of the unit's score, with what the run has in its
//! environment, in a cgroup of its own beside the run's: so its memory is not the run's, and it is never
//! in the way of the next run. There is one of a unit at a time, and a bounded number on the host. It
//! ends at its timeout, and whenever the engine does not ask any more, because its run is over or an
//! order came.
//!
//! What cannot be started says nothing of the unit: the answer is *unknown*.

use std::{ffi::CString, rc::Rc};

use orchestra_model::{
    Asker, Millis, Params, ScoreName,
    delivery::Refusal,
    service::{Probe, ReadySign, Resources, UnitOrder, Upkeep},
};
use orchestra_units::{ProbeNumber, ProbeOutcome, UnitKey};
use rustix::fd::{AsFd, OwnedFd};

use super::{
    check::{Check, Next},
    place::name_of,
    run::run_end,
    spawn::settings_of,
};
use crate::sitter::{
    Sitter,
    attempt::{Main, Streams, Told},
    cgroup::{Cgroups, Door, Leaf},
    clock::BootMillis,
    environment::{self, RunOf},
    launcher::{Account, Keep, Launched, NotSent, Ready, Request, TapId, TapOf},
    scores::Score,
    start::{Newborn, StartError, runner_of, unavailable},
    stream,
    users::Runner,
};

/// How long the same words of a unit's failed checks are not written into its log again, and how long
/// others are not, in milliseconds.
const AGAIN: u64 = 600_000;
const NEXT: u64 = 10_000;
/// Most checks on a host at once: what more is to be asked is unknown meanwhile.
const AT_ONCE: usize = 64;
/// Most processes and threads of a check, where a cgroup can count them.
const PROCESSES: u32 = 64;
/// How many first bytes are kept of what a check writes, and of the last ones as many.
const KEPT: u64 = 4 << 10;
/// What follows a unit's name in that of its check's cgroup: in no service's name.
const SUFFIX: &str = "~check";

/// Why a check is not started.
enum NotStarted {
    /// The host lacks something for the moment.
    Passing(String),
    /// It will be so the next time too.
    Lasting(String),
    /// The one before does not end.
    Hangs,
}

impl From<StartError> for NotStarted {
    fn from(error: StartError) -> Self {
        let why = orchestra_model::chain(&error);
        match error.refusal() {
            Refusal::Busy => Self::Passing(why),
            _ => Self::Lasting(why),
        }
    }
}

/// A check that is to be started.
struct Wanted<'a> {
    unit: &'a UnitKey,
    number: ProbeNumber,
    timeout: Millis,
    name: &'a ScoreName,
    score: &'a Score,
    /// What of the unit's parameters it is given.
    params: &'a Params,
    /// What the unit was ordered.
    order: &'a UnitOrder,
    runner: &'a Runner,
}

/// All that a launcher needs for a check.
struct Prepared {
    program: OwnedFd,
    arguments: [CString; 1],
    environment: Vec<CString>,
    directory: Rc<OwnedFd>,
    leaf: Option<Leaf>,
    door: Option<Door>,
    /// Ways into the cgroups that limit it beside that.
    limits: Vec<Door>,
}

impl Sitter {
    /// Has a unit's run checked by a score. Where that cannot be, that is the answer.
    pub(super) fn check_unit(
        &mut self,
        unit: UnitKey,
        number: ProbeNumber,
        score: &ScoreName,
        timeout: Millis,
    ) {
        let outcome = match self.start_check(&unit, number, score, timeout) {
            Ok(()) => {
                self.keeping.unchecked.remove(&unit);
                return;
            }
            Err(NotStarted::Hangs) => {
                let why = "the one before does not end, although it was killed";
                ProbeOutcome::Unhealthy(format!("{score} cannot run: {why}"))
            }
            Err(NotStarted::Passing(why)) => {
                tracing::debug!(%unit, %score, why, "a unit is not checked");
                ProbeOutcome::Unknown
            }
            Err(NotStarted::Lasting(why)) => {
                self.say_unchecked(&unit, score, why);
                ProbeOutcome::Unknown
            }
        };
        self.probed(vec![(unit, number, outcome)]);
    }

    /// Says once for each reason that nobody knows how a unit is.
    fn say_unchecked(&mut self, unit: &UnitKey, score: &ScoreName, why: String) {
        if self.keeping.unchecked.get(unit) != Some(&why) {
            tracing::warn!(%unit, %score, why, "a unit cannot be checked; it stays what it is");
            self.keeping.unchecked.insert(unit.clone(), why);
        }
    }

    fn start_check(
        &mut self,
        unit: &UnitKey,
        number: ProbeNumber,
        name: &ScoreName,
        timeout: Millis,
    ) -> Result<(), NotStarted> {
        let now = BootMillis::now();
        match self.keeping.checks.get(unit) {
            Some(before) if before.hangs(now) => return Err(NotStarted::Hangs),
            Some(_) => return Err(NotStarted::Passing("the one before is being ended".into())),
            None if self.keeping.checks.len() >= AT_ONCE => {
                return Err(NotStarted::Passing(format!("{AT_ONCE} checks run on this host")));
            }
            None => {}
        }
        let lasting = |why: &str| NotStarted::Lasting(why.to_owned());
        let order = self.keeping.engine.order_of(unit).cloned();
        let order = order.ok_or_else(|| lasting("the unit's parameters are not here"))?;
        let runner = self.runner_of_run(unit, &order)?;
        let (score, params) =
            self.score_of_check(name, &order.params, &runner).map_err(NotStarted::Lasting)?;
        if !self.launchers.has_room(&runner.identity) {
            return Err(NotStarted::Passing("the launcher of its user is busy".into()));
        }
        let wanted = Wanted {
            unit,
            number,
            timeout: timeout.min(score.spec.timeout),
            name,
            score: &score,
            params: &params,
            order: &order,
            runner: &runner,
        };
        let prepared = self.prepare_check(&wanted)?;
        self.ask_for_check(&wanted, prepared, now)
    }

    /// Who a unit's run runs as: its score may name somebody else by now.
    fn runner_of_run(&mut self, unit: &UnitKey, order: &UnitOrder) -> Result<Runner, NotStarted> {
        let told = |why: Refusal| match why {
            Refusal::Busy => NotStarted::Passing(why.to_string()),
            why => NotStarted::Lasting(why.to_string()),
        };
        let score = self.scores.get(&order.score).map_err(|why| told(unavailable(why)))?;
        let runner = runner_of(&score.spec, &self.config, &mut self.users).map_err(told)?;
        let (_, owner) = self.keeping.place.run(unit).map_err(StartError::RunDir)?;
        let own = rustix::process::geteuid().as_raw();
        let user = runner.identity.as_ref().map_or(own, |user| user.uid);
        match user == owner {
            true => Ok(runner),
            false => Err(NotStarted::Lasting(format!(
                "{} runs as another user from its next run on",
                order.score
            ))),
        }
    }

    /// The score of a check, and which of the unit's parameters it is given: those that its `.conf`
    /// lists, or all where it lists none. Or why it can be no check of a unit that runs as this user.
    fn score_of_check(
        &mut self,
        name: &ScoreName,
        params: &Params,
        runner: &Runner,
    ) -> Result<(Score, Params), String> {
        let score = self.scores.get(name).map_err(|why| unavailable(why).to_string())?;
        let spec = &score.spec;
        if spec.disruptive {
            return Err("a check changes nothing: its .conf has to say disruptive = false".into());
        }
        if spec.user.is_some() {
            let own = runner_of(spec, &self.config, &mut self.users).map_err(|why| why.to_string());
            if own?.identity != runner.identity {
                return Err("its .conf names another user than the service runs as".into());
            }
        }
        let is_known = |key: &str| {
            spec.params.as_ref().is_none_or(|known| known.keys().any(|k| k.as_str() == key))
        };
        let given = params.iter().filter(|(key, _)| is_known(key.as_str()));
        let given = Params::from_pairs(given.map(|(key, value)| (key.as_str(), value)));
        let given = given.map_err(|why| why.to_string())?;
        spec.check(&given).map_err(|why| Refusal::Parameters(why.to_string()).to_string())?;
        Ok((score, given))
    }

    /// Whether the scores that a unit is to be checked by can do that on this host.
    pub(super) fn examine_checks(
        &mut self,
        upkeep: &Upkeep,
        params: &Params,
        runner: &Runner,
        audience: &Asker,
    ) -> Result<(), Refusal> {
        for name in scores_of_checks(upkeep) {
            self.host_policy.check(audience, name)?;
            self.score_of_check(name, params, runner)
                .map_err(|why| Refusal::ScoreDisabled(format!("its check {name}: {why}")))?;
        }
        Ok(())
    }

    fn prepare_check(&mut self, wanted: &Wanted<'_>) -> Result<Prepared, StartError> {
        let Wanted { unit, name, score, params, order, runner, .. } = *wanted;
        let run = self.keeping.engine.state().units().get(unit).map(|unit| unit.status.last);
        let state_dir = self.config.services_dir.join(unit.service.as_str());
        let given = self.keeping.place.given_of(unit);
        let of = RunOf {
            unit,
            run: run.unwrap_or_default(),
            order,
            score: name,
            params,
            run_dir: &self.keeping.place.run_dir_of(unit),
            // What a check says is no word of the run's.
            notify: None,
            state_dir: order.upkeep.process.state_dir.then_some(&*state_dir),
            params_file: order.upkeep.reload.is_some().then_some(&*given),
            runner,
            scores_dir: &self.config.scores_dir,
        };
        let environment = environment::of_check(&self.surroundings, &of);
        let environment = environment.map_err(StartError::Environment)?;
        let argument = CString::new(name.as_str()).map_err(StartError::Environment)?;
        let program = score.image.open().map_err(StartError::Score)?;
        let leaf = self.empty_leaf_of_check(unit)?;
        let door = leaf.as_ref().map(Leaf::door).transpose().map_err(StartError::Cgroup)?;
        let limits = self.limit_check(unit, leaf.as_ref())?;
        let directory = self.spool_dir.make_check(&name_of(unit)).map_err(StartError::Files)?;
        stream::make_pipes(directory.as_fd(), runner.identity.as_ref())
            .map_err(StartError::Files)?;
        let directory = Rc::new(directory);
        let arguments = [argument];
        Ok(Prepared { program, arguments, environment, directory, leaf, door, limits })
    }

    fn ask_for_check(
        &mut self,
        wanted: &Wanted<'_>,
        prepared: Prepared,
        now: BootMillis,
    ) -> Result<(), NotStarted> {
        let Wanted { unit, number, timeout, name, score, order, runner, .. } = *wanted;
        let Prepared { program, arguments, environment, directory, leaf, door, limits } = prepared;
        let limits: Vec<_> = limits.iter().map(|door| door.entrance().processes).collect();
        let id = self.launchers.fresh_tap();
        let request = Request {
            program: program.as_fd(),
            arguments: &arguments,
            environment: &environment,
            descriptors: &[self.null.as_fd()],
            tap: Some(TapOf {
                id,
                directory: directory.as_fd(),
                keep: Keep::First(KEPT),
                ready: Ready::Unasked,
            }),
            cgroup: door.as_ref().map(Door::entrance),
            limits: &limits,
            settings: settings_of(&order.upkeep.process),
            no_new_privileges: false,
        };
        let directories = Some((&directory, Ready::Unasked));
        let newborn = Newborn::Check(unit.clone());
        let user = &runner.identity;
        let sent = self.launchers.send(&self.poller, user, &request, directories, newborn, now);
        let refused = match sent {
            Ok(()) => None,
            Err(NotSent::Later(_)) => {
                Some(NotStarted::Passing("the launcher of its user is busy".into()))
            }
            Err(NotSent::Never(_, error)) => Some(StartError::Launch(error).into()),
        };
        if let Some(why) = refused {
            self.clear_after_check(unit, leaf);
            return Err(why);
        }
        let tap = Some(id);
        let directory = Some(directory);
        let streams = Streams { tap, directory, limit: KEPT, told: Told::Nothing, cut: false };
        let marks = environment::marks_of_check(&self.keeping.place.run_dir_of(unit));
        let image = Rc::clone(&score.image);
        let check = Check::new(name.clone(), (number, timeout), (leaf, marks), streams, image);
        self.keeping.checks.insert(unit.clone(), check);
        Ok(())
    }

    /// A launcher has said what came of a check.
    pub(in crate::sitter) fn check_launched(&mut self, unit: &UnitKey, launched: Launched) {
        let now = BootMillis::now();
        let open = self.keeping.engine.open_probe(unit);
        let Some(check) = self.keeping.checks.get_mut(unit) else { return };
        match launched {
            Launched::Born(born) => {
                let ended = born.ended;
                check.born(Main::born(born), open == Some(check.number), now);
                if let Some(wait_status) = ended {
                    check.main_ended(&run_end(wait_status), now);
                }
            }
            Launched::NotBorn(error) => {
                let error = StartError::of_launch(error, Some(&check.image));
                let score = check.score.clone();
                check.not_born(now);
                if let NotStarted::Lasting(why) = error.into() {
                    self.say_unchecked(unit, &score, why);
                }
            }
            Launched::Unknown => check.not_born(now),
        }
        self.look_after_checks(now);
    }

    /// A child of this number ended: whether it was a check's first process.
    pub(in crate::sitter) fn check_child_ended(&mut self, pid: i32, wait_status: i32) -> bool {
        let is_main = |main: &Main| main.pid == pid && !main.gone;
        let mut checks = self.keeping.checks.values_mut();
        let found = checks.find(|check| check.main.as_ref().is_some_and(is_main));
        let Some(check) = found else { return false };
        let now = BootMillis::now();
        check.main_ended(&run_end(wait_status), now);
        self.look_after_checks(now);
        true
    }

    /// A launcher has told what was written to a tap: whether that is a check's.
    pub(in crate::sitter) fn check_accounted(&mut self, tap: TapId, account: Account) -> bool {
        let mut checks = self.keeping.checks.values_mut();
        let Some(check) = checks.find(|check| check.streams.tap == Some(tap)) else { return false };
        check.streams.told = Told::Account(account);
        self.look_after_checks(BootMillis::now());
        true
    }

    /// Ends checks that the engine does not ask for any more: their runs are over, or to be ended.
    pub(super) fn end_unasked_checks(&mut self) {
        let now = BootMillis::now();
        let Self { keeping, .. } = self;
        let engine = &keeping.engine;
        let unasked = keeping.checks.iter_mut().filter(|(unit, check)| {
            check.owes_answer() && engine.open_probe(unit) != Some(check.number)
        });
        let count = unasked.map(|(_, check)| check.drop_question(now)).count();
        if count > 0 {
            self.look_after_checks(now);
        }
    }

    /// Does what is due of checks.
    pub(super) fn look_after_checks(&mut self, now: BootMillis) {
        self.keeping.checks.values_mut().for_each(|check| check.tick(now));
        for unit in self.keeping.checks.keys().cloned().collect::<Vec<_>>() {
            while let Some(check) = self.keeping.checks.get_mut(&unit) {
                match check.next(now) {
                    Next::Wait => break,
                    Next::AskForAccount => {
                        let tap = check.streams.tap;
                        let mut close = |tap| self.launchers.close(&self.poller, tap, now);
                        if !tap.is_some_and(&mut close)
                            && let Some(check) = self.keeping.checks.get_mut(&unit)
                        {
                            let nothing = Account { over: true, written: None };
                            check.streams.told = Told::Account(nothing);
                        }
                    }
                    Next::Answer(outcome) => {
                        let (number, notes) = (check.number, std::mem::take(&mut check.notes));
                        self.note_check(&unit, notes, now);
                        self.probed(vec![(unit.clone(), number, outcome)]);
                    }
                    Next::Remove => self.remove_check(&unit, now),
                }
            }
        }
    }

    /// Writes what a failed check said into the log of its unit, so that it can be read where the
    /// unit's own words are. A check that fails again and again does not push those out: what was
    /// said before is said again after [`AGAIN`], and something else after [`NEXT`].
    fn note_check(&mut self, unit: &UnitKey, notes: Vec<u8>, now: BootMillis) {
        let runs = self.keeping.runs.values();
        let tap = runs.filter(|run| run.unit == *unit).find_map(|run| run.tap);
        let Some(tap) = tap.filter(|_| !notes.is_empty()) else { return };
        if let Some((at, before)) = self.keeping.noted.get(unit) {
            let pause = if *before == notes { AGAIN } else { NEXT };
            if now < at.after(pause) {
                return;
            }
        }
        self.launchers.note(tap, &notes);
        self.keeping.noted.insert(unit.clone(), (now, notes));
    }

    fn remove_check(&mut self, unit: &UnitKey, now: BootMillis) {
        let Some(check) = self.keeping.checks.remove(unit) else { return };
        if let Some(tap) = check.streams.tap {
            self.launchers.forget(&self.poller, tap, now);
        }
        self.clear_after_check(unit, check.leaf);
    }

    /// Removes what was made for a check.
    fn clear_after_check(&mut self, unit: &UnitKey, leaf: Option<Leaf>) {
        self.spool_dir.remove_check(&name_of(unit));
        let leaves = leaf.into_iter().chain(self.limiting_leaves_of_check(&name_of(unit)));
        self.left.extend(leaves.filter(|leaf| !leaf.remove()));
    }

    /// The leaf of a unit's check, with nothing in it.
    fn empty_leaf_of_check(&self, unit: &UnitKey) -> Result<Option<Leaf>, StartError> {
        let Some(cgroups) = &self.cgroups else { return Ok(None) };
        let Some(path) = cgroups.path_of_unit(&leaf_name(&name_of(unit))) else { return Ok(None) };
        let before = self.leaves_of_check(&name_of(unit)).into_iter();
        // A check of another sitter, that this one could not end.
        if before.filter(|leaf| !leaf.remove()).inspect(Leaf::kill).count() > 0 {
            return Err(StartError::Cgroup(rustix::io::Errno::AGAIN.into()));
        }
        cgroups.make(&path).map_err(StartError::Cgroup)
    }

    /// Bounds the processes of a check, where something can count them.
    fn limit_check(&self, unit: &UnitKey, leaf: Option<&Leaf>) -> Result<Vec<Door>, StartError> {
        let Some(cgroups) = &self.cgroups else { return Ok(Vec::new()) };
        let most = cgroups.processes_max().map_or(PROCESSES, |most| most.min(PROCESSES));
        let bound = Resources { processes: Some(most), enforced: false, ..Resources::NONE };
        let name = cgroups.leaf_name_of_unit(&leaf_name(&name_of(unit)));
        let beside = cgroups.limits().lay(&name, leaf, &bound).map_err(StartError::Limit)?;
        let doors = beside.iter().map(Leaf::door).collect::<Result<_, _>>();
        doors.map_err(StartError::Cgroup)
    }

    /// All leaves of the check of a unit of this name.
    pub(super) fn leaves_of_check(&self, name: &str) -> Vec<Leaf> {
        let Some(cgroups) = &self.cgroups else { return Vec::new() };
        let path = cgroups.path_of_unit(&leaf_name(name));
        let leaf = path.and_then(|path| cgroups.find_leaf(&path));
        leaf.into_iter().chain(self.limiting_leaves_of_check(name)).collect()
    }

    /// Those of v1 that stand beside the one that it is killed by.
    fn limiting_leaves_of_check(&self, name: &str) -> Vec<Leaf> {
        let of_check = |cgroups: &Cgroups| {
            cgroups.limits().beside(&cgroups.leaf_name_of_unit(&leaf_name(name)))
        };
        self.cgroups.as_ref().map(of_check).unwrap_or_default()
    }
}

fn leaf_name(unit: &str) -> String {
    format!("{unit}{SUFFIX}")
}

/// The scores that a unit is checked by.
fn scores_of_checks(upkeep: &Upkeep) -> impl Iterator<Item = &ScoreName> {
    let ready = match &upkeep.ready.sign {
        ReadySign::Probe(probe) => Some(probe),
        ReadySign::Started | ReadySign::Notify | ReadySign::Fd(_) => None,
    };
    let health = upkeep.health.as_ref().map(|rule| &rule.probe);
    ready.into_iter().chain(health).filter_map(Probe::check_score)
}
