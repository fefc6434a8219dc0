//! What an earlier sitter left: its file of units, runs that live, and unknown runs of a spool that
//! was wiped.

use std::{collections::BTreeSet, io, rc::Rc};

use orchestra_model::{
    delivery::{AttemptEnd, AttemptKey, Outcome, Output, SpoolId},
    process::{BootId, ProcessMark},
    service::{MilliCores, ReadySign, Room, RunEnd},
};
use orchestra_spool::Input;
use orchestra_units::{Capacity, Input as UnitInput, RunEvent, RunId, State, UnitKey, Units};
use rustix::fd::AsFd;

use super::{
    Keeping, now,
    place::{Place, name_of},
    run::{Heard, Run},
    secrets,
    spawn::ready_of,
};
use crate::{
    config::Config,
    sitter::{
        Sitter,
        attempt::Main,
        cgroup::{Cgroups, Leaf},
        clock,
        clock::BootMillis,
        environment,
        hunt::Trail,
        journal::{Journal, JournalError, Opened},
        launcher::{Keep, Orphan, TapId},
        procfs,
        settle::encoded,
        spool_dir::SpoolDir,
        stream,
        vitals::host_memory,
    },
};

/// How long a start waits until the unknown runs of a wiped spool are gone, in milliseconds.
const LAST_WAIT: u64 = 2_000;

/// Opens the units' file of a spool. If there is none, or if it is of another spool, all units that
/// may run at this place are ended first.
pub(in crate::sitter) fn open(
    config: &Config,
    spool_dir: &SpoolDir,
    spool: SpoolId,
    place: Place,
    cgroups: Option<&Cgroups>,
    boot: BootId,
) -> Result<Keeping, JournalError> {
    let invalid = |error| match error {
        JournalError::Invalid(cause) => JournalError::InvalidUnits(cause),
        other => other,
    };
    let opened = Journal::<State>::open(spool_dir.dir(), || Ok(spool)).map_err(invalid)?;
    let Opened { mut journal, mut state, is_new } = opened;
    if is_new || state.id() != spool {
        end_unknown(&place, cgroups);
        state = State::new(spool);
        journal.rewrite(&state).map_err(JournalError::Io)?;
    }
    let mut seed = [0; 8];
    rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| JournalError::Io(error.into()))?;
    let of_cgroup = cgroups.and_then(|cgroups| cgroups.limits().memory());
    let memory = [host_memory(), of_cgroup].into_iter().flatten().min();
    let cores = std::thread::available_parallelism().ok();
    let cpu = cores.and_then(|cores| u32::try_from(cores.get()).ok()?.checked_mul(1_000));
    let room = Room { memory, cpu: cpu.map(MilliCores) };
    let capacity = Capacity { units: config.max_units as usize, memory };
    let engine = Units::recover(state, capacity, u64::from_le_bytes(seed), now(), boot);
    Ok(Keeping {
        engine,
        room,
        journal,
        rewrite_at: None,
        place,
        accepting: Default::default(),
        settling: Vec::new(),
        waiting: Default::default(),
        runs: Default::default(),
        restless: Default::default(),
        checks: Default::default(),
        noted: Default::default(),
        unchecked: Default::default(),
        hearer: None,
        leasing: Default::default(),
        readings: Default::default(),
    })
}

/// Ends everything that runs as a unit of this place, because no order for it is known any more.
fn end_unknown(place: &Place, cgroups: Option<&Cgroups>) {
    let leaves: Vec<Leaf> = cgroups.map(Cgroups::units).unwrap_or_default();
    let trail = |name: String| Trail {
        marks: environment::marks_of_unit(&place.run_dir_named(&name)),
        leader: None,
        orphans: false,
        spared: Default::default(),
    };
    let trails: Vec<Trail> = place.names().into_iter().map(trail).collect();
    end_all(leaves, &trails, "the spool knows no units; ending those that run");
}

/// Kills everything in these cgroups and on these trails, for a bounded time; `why` goes to the log if
/// there is anything. What is empty then is removed.
fn end_all(leaves: Vec<Leaf>, trails: &[Trail], why: &str) {
    let until = BootMillis::now().after(LAST_WAIT);
    let mut told = false;
    loop {
        let living = leaves.iter().filter(|leaf| !leaf.is_empty());
        let living = living.inspect(|leaf| leaf.kill()).count();
        let left = living + trails.iter().map(Trail::kill).sum::<usize>();
        if left > 0 && !std::mem::replace(&mut told, true) {
            tracing::warn!("{why}");
        }
        if left == 0 || BootMillis::now() >= until {
            break;
        }
        let nap = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        let _ = rustix::event::poll(&mut [], Some(&nap));
    }
    for leaf in leaves {
        leaf.remove();
    }
}

impl Sitter {
    /// Ends the checks that run. What they would say is of no use: whoever asked is gone, or goes.
    pub(in crate::sitter) fn end_checks(&mut self) {
        let names = self.spool_dir.check_names();
        if names.is_empty() {
            return;
        }
        let leaves = names.iter().flat_map(|name| self.leaves_of_check(name)).collect();
        let marks = environment::marks_of_checks(self.surroundings.spool);
        let trail = Trail { marks, leader: None, orphans: false, spared: Default::default() };
        end_all(leaves, &[trail], "ending checks of units that nobody waits for any more");
        self.spool_dir.remove_checks();
    }

    /// Goes on with what the units' file says, before anything else happens.
    pub(in crate::sitter) fn adopt_units(&mut self) {
        self.end_checks();
        self.forget_secrets();
        let bare = self.keeping.engine.state().units().iter();
        let bare = bare.filter(|(_, unit)| !unit.keeps_params).map(|(key, _)| key.clone());
        for unit in bare.collect::<Vec<_>>() {
            let kept = secrets::read(self.spool_dir.path(), &name_of(&unit));
            if let Some((order, params)) = kept.or_else(|| self.keeping.place.params(&unit)) {
                let found = UnitInput::ParamsFound { unit, order, params };
                self.keeping.engine.handle(now(), found);
            }
        }
        self.adopt_leases();
        let watching = self.spool.live().filter(|(_, live)| live.plan.is_watching());
        let watching: Vec<(AttemptKey, bool, _)> =
            watching.map(|(key, live)| (key, live.cancelling, live.process)).collect();
        for (key, cancelling, process) in watching {
            if self.keeping.engine.watches().all(|(known, _)| known != key) {
                self.lose_watch(key, process);
            } else if cancelling {
                self.unwatch(key);
            } else if process.is_none() {
                self.watch_begun(key);
            }
        }
    }

    /// Erases what the spool keeps of parameters that no unit's order keeps any more: the sitter before
    /// may have ended before it could.
    fn forget_secrets(&self) {
        let units = self.keeping.engine.state().units().iter();
        let kept = units.filter(|(_, unit)| {
            let asked = &unit.asked;
            !unit.keeps_params && asked.upkeep.keep_secrets && asked.wanted.is_to_run()
        });
        let kept: BTreeSet<String> = kept.map(|(key, _)| name_of(key)).collect();
        secrets::retain(self.spool_dir.path(), |name| kept.contains(name));
    }

    /// Ends, as lost, an attempt that watches a unit that is not known.
    fn lose_watch(&mut self, key: AttemptKey, process: Option<ProcessMark>) {
        let why = "the units' file is gone, and with it what was watched".to_owned();
        let end = AttemptEnd {
            outcome: Outcome::Lost(why),
            started_at: process.map(|process| process.started_at),
            ended_at: clock::wall(),
            response: Default::default(),
            stdout: Output::default(),
            stderr: Output::default(),
        };
        match encoded(key, end) {
            Ok(end) => self.spool.handle(Input::Ended { key, end }),
            Err(error) => tracing::error!(attempt = %key, %error, "cannot tell an end"),
        }
    }

    /// Looks for the process of a run that an earlier sitter started.
    pub(super) fn find_run(&mut self, unit: &UnitKey, run: RunId, process: ProcessMark) {
        let found = i32::try_from(process.pid).ok().filter(|_| process.boot == self.boot);
        let found = found.and_then(|pid| procfs::open(pid, process.start_ticks));
        let main = found.map(|(pidfd, stat)| Main {
            pid: stat.pid,
            start_ticks: stat.start_ticks,
            pidfd,
            child: stat.parent.unsigned_abs() == std::process::id(),
            gone: false,
        });
        let is_found = main.is_some();
        let tap = self.adopt_streams(unit, run);
        let it = Run { main, tap, ..self.run_without_process(unit.clone(), run) };
        let id = self.watch_run(it);
        match is_found {
            true => {
                tracing::info!(%unit, run = %run.number, pid = process.pid, "found a run");
                self.keeping.tell(unit, run, RunEvent::Found);
                self.look_at_memory(id);
            }
            false => self.run_ended(id, RunEnd::Unknown),
        }
        // A process that is our child may have ended before signals were caught.
        self.reap(BootMillis::now());
    }

    /// Returns a run of which only the leaf and the marks of its processes are known.
    pub(super) fn run_without_process(&self, unit: UnitKey, run: RunId) -> Run {
        let (leaf, marks) = (self.leaf_of(&unit), self.marks_of(&unit));
        Run {
            unit,
            id: run,
            leaf,
            marks,
            main: None,
            tap: None,
            heard: Heard::default(),
            alarm: None,
            meter: Default::default(),
            killing: None,
        }
    }

    /// Has a launcher read the streams of a run that an earlier sitter started.
    fn adopt_streams(&mut self, unit: &UnitKey, run: RunId) -> Option<TapId> {
        let directory =
            Rc::new(self.spool_dir.make_log(&name_of(unit), self.config.log_budget).ok()?);
        let uid = stream::owner_of_pipes(directory.as_fd())?;
        let sign = self.keeping.engine.state().units().get(unit)?.asked.upkeep.ready.sign.clone();
        let place = match sign {
            ReadySign::Notify => self.keeping.place.own(unit).ok().map(Rc::new),
            ReadySign::Started | ReadySign::Fd(_) | ReadySign::Probe(_) => None,
        };
        let ready = ready_of(&sign, place.as_ref());
        let orphan = Orphan {
            directory: &directory,
            keep: Keep::Log(run),
            ready,
            discards: false,
            unattended: false,
        };
        let adopted = self.launchers.adopt(&self.poller, uid, orphan, BootMillis::now());
        let failed = |error| {
            let error = orchestra_model::chain(&error);
            tracing::error!(%unit, error, "cannot have the output of a run read");
        };
        adopted.map_err(failed).ok()
    }
}

/// Returns an id that no spool has had.
pub(in crate::sitter) fn fresh_spool_id() -> io::Result<SpoolId> {
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
    Ok(SpoolId(id))
}
