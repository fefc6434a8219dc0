//! From the engine's effect to a process: prepares all that a run needs, and asks the launcher of
//! its user.

use std::{ffi::CString, rc::Rc, sync::Arc};

use orchestra_model::{
    delivery::Refusal,
    process::ProcessMark,
    service::{ProcessRule, ReadySign, Umask, UnitOrder},
};
use orchestra_units::{RunEvent, RunId, UnitKey};
use rustix::fd::{AsFd, OwnedFd};

use super::{
    order::check_same_score,
    place::name_of,
    run::{Heard, Run},
    state_dir,
};
use crate::sitter::{
    Sitter,
    attempt::Main,
    cgroup::{Door, Leaf},
    clock::BootMillis,
    environment::{self, RunOf},
    launcher::{Keep, LaunchError, Launched, NotSent, Ready, Request, TapId, TapOf},
    poll::{Interest, Token},
    scores::{Image, Score},
    start::{Newborn, StartError, mark_of},
    stream,
    sys::Settings,
    users::Runner,
    vitals::RunMeter,
};

/// Longest path of a socket, in bytes: unix(7).
const SOCKET_PATH_BYTES: usize = 107;

/// A run that is to have a process.
pub(super) struct Waiting {
    unit: UnitKey,
    run: RunId,
    order: Arc<UnitOrder>,
    score: Score,
    runner: Runner,
}

/// A run whose process was asked for.
#[derive(Debug)]
pub(in crate::sitter) struct ExpectedRun {
    unit: UnitKey,
    id: RunId,
    pub(in crate::sitter) leaf: Option<Leaf>,
    marks: Vec<Vec<u8>>,
    tap: TapId,
    /// Its program.
    image: Rc<Image>,
}

/// All that a launcher needs to start a run.
struct Prepared {
    program: OwnedFd,
    arguments: [CString; 1],
    environment: Vec<CString>,
    log: Rc<OwnedFd>,
    own: Rc<OwnedFd>,
    leaf: Option<Leaf>,
    door: Option<Door>,
    /// Ways into further cgroups that limit it.
    limits: Vec<Door>,
}

impl Sitter {
    /// Has a run started as soon as its user's launcher has room, or tells why it cannot be.
    pub(super) fn will_spawn(&mut self, unit: UnitKey, run: RunId, order: Arc<UnitOrder>) {
        let found = self.score_of_unit(&order.score, &order.params);
        let found = found.and_then(|(score, runner)| {
            check_same_score(&order.upkeep, order.score_hash, &score)?;
            Ok((score, runner))
        });
        match found {
            Ok((score, runner)) => {
                let waiting = Waiting { unit, run, order, score, runner };
                self.keeping.waiting.push_back(waiting);
            }
            Err(refusal) => {
                let (why, passing) = (refusal.to_string(), refusal == Refusal::Busy);
                self.not_spawned(&unit, run, why, passing);
            }
        }
    }

    /// Returns the first run whose launcher has room now.
    pub(in crate::sitter) fn next_spawn(&self) -> Option<usize> {
        let may_start = |waiting: &Waiting| self.launchers.has_room(&waiting.runner.identity);
        self.keeping.waiting.iter().position(may_start)
    }

    pub(super) fn spawn_waiting(&mut self) {
        while let Some(place) = self.next_spawn()
            && let Some(waiting) = self.keeping.waiting.remove(place)
        {
            match self.ask_for_run(&waiting) {
                Ok(true) => {
                    // From now on orphans may be of this run, so attempts cannot claim them.
                    self.attempts.values_mut().for_each(|attempt| attempt.alone = false);
                    self.expected().for_each(|attempt| attempt.alone = false);
                }
                Ok(false) => return self.keeping.waiting.push_front(waiting),
                Err(error) => {
                    let why = orchestra_model::chain(&error);
                    let passing = matches!(error.refusal(), Refusal::Busy | Refusal::Spool(_));
                    self.not_spawned(&waiting.unit, waiting.run, why, passing);
                }
            }
        }
    }

    fn not_spawned(&mut self, unit: &UnitKey, run: RunId, why: String, passing: bool) {
        tracing::warn!(%unit, run = %run.number, why, "cannot start a run");
        self.keeping.tell(unit, run, RunEvent::NotSpawned { why, passing });
    }

    /// Asks for a run's process. Returns `Ok(false)` if the launcher has no room now.
    fn ask_for_run(&mut self, waiting: &Waiting) -> Result<bool, StartError> {
        let Prepared { program, arguments, environment, log, own, leaf, door, limits } =
            self.prepare_run(waiting)?;
        let limits: Vec<_> = limits.iter().map(|door| door.entrance().processes).collect();
        let sign = &waiting.order.upkeep.ready.sign;
        let tap = self.launchers.fresh_tap();
        let expected = ExpectedRun {
            unit: waiting.unit.clone(),
            id: waiting.run,
            leaf,
            marks: self.marks_of(&waiting.unit),
            tap,
            image: Rc::clone(&waiting.score.image),
        };
        let request = Request {
            program: program.as_fd(),
            arguments: &arguments,
            environment: &environment,
            descriptors: &[self.null.as_fd()],
            tap: Some(TapOf {
                id: tap,
                directory: log.as_fd(),
                keep: Keep::Log(waiting.run),
                ready: ready_of(sign, Some(&own)).map(AsFd::as_fd),
            }),
            cgroup: door.as_ref().map(Door::entrance),
            limits: &limits,
            settings: settings_of(&waiting.order.upkeep.process),
            no_new_privileges: false,
        };
        let (user, newborn) = (&waiting.runner.identity, Newborn::Run(Box::new(expected)));
        let now = BootMillis::now();
        let directories = Some((&log, ready_of(sign, Some(&own))));
        match self.launchers.send(&self.poller, user, &request, directories, newborn, now) {
            Ok(()) => Ok(true),
            Err(NotSent::Later(_)) => Ok(false),
            Err(NotSent::Never(_, error)) => Err(StartError::Launch(error)),
        }
    }

    fn prepare_run(&mut self, waiting: &Waiting) -> Result<Prepared, StartError> {
        let Waiting { unit, run, order, score, runner } = waiting;
        let leaf = self.empty_leaf(unit)?;
        let door = leaf.as_ref().map(Leaf::door).transpose().map_err(StartError::Cgroup)?;
        let limits = self.limit(unit, leaf.as_ref(), order.upkeep.resources.as_ref())?;
        let owner = runner.identity.as_ref();
        let sign = &order.upkeep.ready.sign;
        let own = self.keeping.place.make(unit, owner).map_err(StartError::RunDir)?;
        let own_user = owner.map(|owner| (owner.uid, owner.gid));
        self.give_params(unit, own_user, order).map_err(StartError::RunDir)?;
        let state_dir = order
            .upkeep
            .process
            .state_dir
            .then(|| state_dir::make(&self.config.services_dir, &unit.service, own_user));
        let state_dir = state_dir.transpose().map_err(StartError::StateDir)?;
        let log = self
            .spool_dir
            .make_log(&name_of(unit), self.config.log_budget)
            .map_err(StartError::Files)?;
        stream::make_pipes(log.as_fd(), owner).map_err(StartError::Files)?;
        if let ReadySign::Fd(_) = sign {
            stream::make_ready_pipe(log.as_fd(), owner).map_err(StartError::Files)?;
        }
        let notify = self.keeping.place.notify_of(unit);
        let given = self.keeping.place.given_of(unit);
        if *sign == ReadySign::Notify && notify.as_os_str().len() > SOCKET_PATH_BYTES {
            let why = format!("{} is too long for a socket's path", notify.display());
            return Err(StartError::RunDir(std::io::Error::other(why)));
        }
        let of = RunOf {
            unit,
            run: *run,
            order,
            score: &order.score,
            params: &order.params,
            run_dir: &self.keeping.place.run_dir_of(unit),
            notify: (*sign == ReadySign::Notify).then_some(&notify),
            state_dir: state_dir.as_deref(),
            params_file: order.upkeep.reload.is_some().then_some(&given),
            runner,
            scores_dir: &self.config.scores_dir,
        };
        let environment = environment::of_run(&self.surroundings, &of);
        let name = CString::new(order.score.as_str()).map_err(StartError::Environment)?;
        Ok(Prepared {
            program: score.image.open().map_err(StartError::Score)?,
            arguments: [name],
            environment: environment.map_err(StartError::Environment)?,
            log: Rc::new(log),
            own: Rc::new(own),
            leaf,
            door,
            limits,
        })
    }

    /// Returns the leaf of a unit, with no process in it. Processes that are still in it are
    /// killed, and the run waits.
    ///
    /// Each run gets a new leaf, because in a leaf that was killed as a whole no process can be
    /// born (Linux 6.18 kills it on its way).
    fn empty_leaf(&self, unit: &UnitKey) -> Result<Option<Leaf>, StartError> {
        let Some(cgroups) = &self.cgroups else { return Ok(None) };
        let Some(path) = cgroups.path_of_unit(&name_of(unit)) else { return Ok(None) };
        if let Some(leaf) = cgroups.find_leaf(&path).filter(|leaf| !leaf.remove()) {
            leaf.kill();
            return Err(StartError::Cgroup(rustix::io::Errno::AGAIN.into()));
        }
        self.empty_limits(unit)?;
        cgroups.make(&path).map_err(StartError::Cgroup)
    }

    /// Returns the leaf of a unit, if there is one.
    pub(super) fn leaf_of(&self, unit: &UnitKey) -> Option<Leaf> {
        let cgroups = self.cgroups.as_ref()?;
        cgroups.find_leaf(&cgroups.path_of_unit(&name_of(unit))?)
    }

    /// Returns what marks the processes of a unit's runs in their environments.
    pub(super) fn marks_of(&self, unit: &UnitKey) -> Vec<Vec<u8>> {
        environment::marks_of_unit(&self.keeping.place.run_dir_of(unit))
    }

    /// Takes what came of the request for a run.
    pub(in crate::sitter) fn run_launched(&mut self, expected: ExpectedRun, launched: Launched) {
        match launched {
            Launched::Born(born) => {
                let mark: ProcessMark = mark_of(&born, self.boot, BootMillis::now());
                let ended = born.ended;
                let main = Main::born(born);
                let score = expected.image.hash();
                let (unit, id, pid) = (expected.unit.clone(), expected.id, main.pid);
                tracing::info!(%unit, run = %id.number, pid, "started a run");
                let token = self.watch_run(expected.run(Some(main)));
                self.keeping.tell(&unit, id, RunEvent::Spawned { process: mark, score });
                self.look_at_memory(token);
                if let Some(wait_status) = ended {
                    if let Some(run) = self.keeping.runs.get_mut(&token)
                        && let Some(main) = &mut run.main
                    {
                        main.gone = true;
                    }
                    self.run_ended(token, super::run::run_end(wait_status));
                }
            }
            Launched::NotBorn(error) => {
                let passing = is_passing(&error);
                let error = expected.why_not(error);
                let why = orchestra_model::chain(&error);
                self.not_spawned(&expected.unit, expected.id, why, passing);
            }
            Launched::Unknown => {
                let (unit, id) = (expected.unit.clone(), expected.id);
                tracing::error!(%unit, run = %id.number, "a launcher ended while it started a run");
                self.watch_run(expected.run(None));
                let end = RunEvent::MainEnded(orchestra_model::service::RunEnd::Unknown);
                self.keeping.tell(&unit, id, end);
            }
        }
    }

    /// Has the loop watch a run. Returns its token.
    pub(super) fn watch_run(&mut self, run: Run) -> u64 {
        let id = self.fresh_id();
        let main = run.main.as_ref().filter(|main| !main.child && !main.gone);
        if let Some(main) = main
            && let Err(error) = self.poller.add(&main.pidfd, Token(id), Interest::Read)
        {
            tracing::error!(unit = %run.unit, %error, "cannot watch a run");
        }
        self.attempts.values_mut().for_each(|attempt| attempt.alone = false);
        self.keeping.runs.insert(id, run);
        self.watch_memory(id);
        // From now on its first process is known.
        self.look_after_leases(BootMillis::now());
        id
    }
}

impl ExpectedRun {
    fn run(self, main: Option<Main>) -> Run {
        let ExpectedRun { unit, id, leaf, marks, tap, .. } = self;
        let (tap, heard) = (Some(tap), Heard::default());
        Run {
            unit,
            id,
            leaf,
            marks,
            main,
            tap,
            heard,
            alarm: None,
            meter: RunMeter::default(),
            killing: None,
        }
    }

    /// Returns why the run has no process.
    fn why_not(&self, error: LaunchError) -> StartError {
        StartError::of_launch(error, Some(&self.image))
    }
}

pub(super) fn settings_of(rule: &ProcessRule) -> Settings {
    let ProcessRule { nofile, nice, oom_score_adj, umask, state_dir: _ } = *rule;
    Settings { nofile, nice, oom_score_adj, umask: umask.map(Umask::bits) }
}

/// Returns how a unit says that it is ready, as a launcher is told. `place` is the directory of its
/// socket.
pub(super) fn ready_of<'a>(
    sign: &ReadySign,
    place: Option<&'a Rc<OwnedFd>>,
) -> Ready<&'a Rc<OwnedFd>> {
    match (sign, place) {
        (ReadySign::Notify, Some(place)) => Ready::Notify(place),
        // The number is from 3 to 9, because the order was checked.
        (ReadySign::Fd(number), _) => Ready::At(*number as u8),
        (ReadySign::Started | ReadySign::Notify | ReadySign::Probe(_), _) => Ready::Unasked,
    }
}

/// Returns whether the host only lacks something for the moment.
fn is_passing(error: &LaunchError) -> bool {
    matches!(error, LaunchError::Gone)
        || error.cause().is_some_and(crate::sitter::start::is_shortage)
}
