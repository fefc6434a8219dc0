//! A player: its sitter over a disk, its one process, its book and its guard.

use orchestra_model::{
    Asker, FlowId, JobId, Params, ScoreName, Timestamp,
    delivery::{AttemptKey, OrderNumber, SpoolId},
    process::{BootId, ProcessMark},
    score::ScoreHash,
    service::{Instance, Leases, Placement, RunEnd, UnitJob, UnitOrder, UnitReport},
};
use orchestra_units::{
    Capacity, Effect, Input, Leased, Now, Ordered, RunEvent, RunId, UnitKey, Units, journal,
};

use super::{Clock, Message, STORE, web};
use crate::chance::Chance;

const CAPACITY: Capacity = Capacity { units: 4, memory: None };
const BOOT: BootId = BootId([5; 16]);
/// A lease is asked for so often within its length.
const WITHIN: u64 = 4;

#[derive(Debug)]
pub(super) struct Player {
    clock: Clock,
    units: Units,
    disk: Vec<u8>,
    seed: u64,
    orders: u64,
    /// What lives: its run, and whether its first process does.
    process: Option<(RunId, bool)>,
    /// What the guard and the next sitter know.
    book: Option<Leased>,
    /// When it asked last, by its own clock.
    asked_at: u64,
    pub(super) is_stopped: bool,
    pub(super) is_there: bool,
}

fn key() -> UnitKey {
    UnitKey { store: STORE, service: web() }
}

impl Player {
    pub(super) fn new(clock: Clock, seed: u64) -> Self {
        let now = Now { boot_ms: clock.at(0), wall: Timestamp(0) };
        let units = Units::new(SpoolId([9; 16]), CAPACITY, seed, now, BOOT);
        let disk = journal::compacted(units.state());
        Player {
            clock,
            units,
            disk,
            seed,
            orders: 0,
            process: None,
            book: None,
            asked_at: 0,
            is_stopped: false,
            is_there: true,
        }
    }

    fn now(&self, t: u64) -> Now {
        Now { boot_ms: self.clock.at(t), wall: Timestamp(t) }
    }

    pub(super) fn alive(&self) -> Option<Placement> {
        self.process.map(|(run, _)| run.placement)
    }

    pub(super) fn reports(&self) -> Vec<UnitReport> {
        self.units.reports(STORE).collect()
    }

    /// Kills what should be gone, whoever else stands still.
    pub(super) fn guard(&mut self, t: u64) {
        if self.book.is_some_and(|lease| lease.gone <= self.clock.at(t)) {
            self.process = None;
        }
    }

    /// A sitter begins, with what is on disk and in the book.
    pub(super) fn restart(&mut self, t: u64) {
        let replayed = journal::replay(&self.disk).unwrap();
        self.units = Units::recover(replayed.state, CAPACITY, self.seed, self.now(t), BOOT);
        (self.is_there, self.is_stopped) = (true, false);
        if let Some(lease) = self.book {
            self.handle(t, Input::Leased { unit: key(), lease });
        }
    }

    fn handle(&mut self, t: u64, input: Input) {
        let now = self.now(t);
        self.units.handle(now, input);
    }

    pub(super) fn ordered(&mut self, t: u64, job: &UnitJob, instance: Instance) {
        if !self.is_there {
            return;
        }
        self.orders += 1;
        let unit = UnitOrder {
            service: web(),
            version: job.version,
            instance,
            wanted: job.wanted,
            score: ScoreName::new("run-web").unwrap(),
            score_hash: job.score_hash,
            audience: Asker::from_word("alice").unwrap(),
            params: Params::default(),
            upkeep: job.upkeep.clone(),
            healthy_for: job.healthy_for,
            deadline: job.deadline,
        };
        let order = OrderNumber(self.orders);
        let job = JobId { flow: FlowId(self.orders), slot: 1, job: 1 };
        let key = AttemptKey { store: STORE, job, attempt: 1 };
        // One for an earlier placement is refused.
        let _ = self.units.order(self.now(t), Ordered { key, order, unit, keep_params: true });
    }

    /// Takes what was granted, as a sitter does: into the book first.
    pub(super) fn granted(&mut self, t: u64, granted: Leases) {
        let now = self.clock.at(t);
        let needed = self.units.needed_leases().map(|(_, lease)| lease.placement).next();
        for lease in granted.leases {
            let until = granted.asked_at + lease.length.0;
            if !self.is_there || until <= now || needed != Some(lease.placement) {
                continue;
            }
            let gone = until + lease.grace.0;
            let mut leased = Leased { placement: lease.placement, until, gone };
            if let Some(before) = self.book.filter(|it| it.placement == lease.placement) {
                leased.until = leased.until.max(before.until);
                leased.gone = leased.gone.max(before.gone);
            }
            self.book = Some(leased);
            self.handle(t, Input::Leased { unit: key(), lease: leased });
        }
    }

    /// The sitter does what is due, unless it stands still. Returns what it says. `heeds`: the process
    /// ends when it is told to.
    pub(super) fn pass(&mut self, t: u64, heeds: bool, chance: &mut Chance) -> Vec<Message> {
        if self.is_stopped || !self.is_there {
            return Vec::new();
        }
        let mut said = Vec::new();
        self.notice_end(t);
        if chance.below(400) == 0 {
            // It ends by itself.
            self.process = None;
            self.notice_end(t);
        }
        let now = self.clock.at(t);
        if self.units.next_wake().is_some_and(|wake| wake <= now) {
            self.handle(t, Input::Woken);
        }
        for _ in 0..20 {
            let frame = journal::frame(self.disk.len() as u64, self.units.unwritten());
            self.disk.extend(frame);
            self.units.written();
            let effects: Vec<Effect> = std::iter::from_fn(|| self.units.poll_effect()).collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                self.perform(t, effect, heeds, &mut said);
            }
        }
        self.units.audit().unwrap();
        let needed: Vec<_> = self.units.needed_leases().map(|(_, lease)| lease).collect();
        let length = needed.first().map_or(0, |lease| lease.length.0);
        if !needed.is_empty() && now >= self.asked_at + length / WITHIN {
            self.asked_at = now;
            said.push(Message::Asked(Leases { asked_at: now, leases: needed }));
        }
        said
    }

    /// Notices that a run has ended that was killed, or ended by itself.
    fn notice_end(&mut self, t: u64) {
        let known = self.units.runs().find(|(_, _, run)| run.process.is_some());
        let Some((unit, run)) = known.map(|(unit, run, _)| (unit.clone(), run)) else { return };
        if self.process.is_none() {
            let event = RunEvent::MainEnded(RunEnd::Signalled(9));
            self.handle(t, Input::Run { unit: unit.clone(), run, event });
            self.handle(t, Input::Run { unit, run, event: RunEvent::Emptied });
        }
    }

    fn perform(&mut self, t: u64, effect: Effect, heeds: bool, said: &mut Vec<Message>) {
        match effect {
            Effect::Spawn { unit, run, .. } => {
                assert!(self.process.is_none(), "two runs live: {:?} and {run:?}", self.process);
                self.process = Some((run, true));
                let process = ProcessMark {
                    pid: 7,
                    start_ticks: t,
                    boot: BOOT,
                    started_at: Timestamp(t),
                    boot_ms: self.clock.at(t),
                };
                self.handle(
                    t,
                    Input::Run {
                        unit,
                        run,
                        event: RunEvent::Spawned { process, score: ScoreHash([6; 32]) },
                    },
                );
            }
            Effect::Find { unit, run, .. } => {
                let event = match self.process {
                    Some((alive, true)) if alive == run => RunEvent::Found,
                    _ => RunEvent::MainEnded(RunEnd::Unknown),
                };
                self.handle(t, Input::Run { unit, run, event });
            }
            Effect::Terminate { .. } if heeds => self.process = None,
            Effect::KillAll { unit, run } => {
                self.process = None;
                self.handle(t, Input::Run { unit, run, event: RunEvent::Emptied });
            }
            Effect::EndWatch { key, order, .. } => {
                self.handle(t, Input::WatchSettled { key, order });
            }
            Effect::Report { report, .. } => said.push(Message::Told(Box::new(report))),
            _ => {}
        }
    }
}
