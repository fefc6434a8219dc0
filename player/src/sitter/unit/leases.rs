//! Leases: asking the conductor for them, writing them where the guard sees them, and telling the
//! engine.
//!
//! ```text
//! engine: which are needed ─▶ ask ─▶ conductor ─▶ grant ─▶ book ─▶ engine: Leased
//! ```
//!
//! The book comes before the engine: no run begins, or goes on, under a lease that the guard cannot
//! see. A lease counts from when it was asked for, so answers may be late.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use orchestra_model::{
    delivery::{AgentSession, StoreId, Term},
    service::{Lease, Leases, Placement},
};
use orchestra_units::{Input, Leased, UnitKey};

use super::{REWRITE_PAUSE, now, place::name_of};
use crate::{
    guard::book::{Book, Page},
    sitter::{Leaf, Sitter, clock::BootMillis, launcher::Launched},
};

/// How long a unit without a lease waits until it is asked for again, in milliseconds.
const AGAIN: u64 = 2_000;
/// The longest time between two renewals, in milliseconds.
const LONGEST: u64 = 60_000;
/// How long to wait for who has no room just now, in milliseconds.
const HURRIED: u64 = 100;
/// So many renewals are asked for within a lease: one that is lost does no harm.
const WITHIN: u64 = 4;

/// What the sitter knows of leases.
#[derive(Default)]
pub(in crate::sitter) struct Leasing {
    /// Those that were granted, of units that need one.
    held: BTreeMap<UnitKey, Leased>,
    /// What was asked for last, by whom and when.
    asked: Option<Asked>,
    /// The book as it lies there; `None` if that is not known.
    written: Option<Book>,
    /// Whether a failure to write it was told.
    is_told: bool,
    /// When to look next; `None`: when something has changed.
    next: Option<BootMillis>,
}

struct Asked {
    session: AgentSession,
    at: BootMillis,
    units: BTreeSet<(UnitKey, Placement)>,
}

impl Leasing {
    /// Returns when to ask for these leases, if the agent has this session. Units that were not asked
    /// for do not wait.
    fn ask_at(
        &self,
        session: AgentSession,
        needed: &[(UnitKey, Lease)],
        now: BootMillis,
    ) -> Option<BootMillis> {
        let asked = self.asked.as_ref().filter(|asked| asked.session == session);
        let Some(asked) = asked else { return (!needed.is_empty()).then_some(now) };
        let when = |(unit, lease): &(UnitKey, Lease)| {
            let holds = |held: &&Leased| held.placement == lease.placement && now.0 < held.until;
            let key = (unit.clone(), lease.placement);
            match (self.held.get(unit).filter(holds), asked.units.contains(&key)) {
                (_, false) => now,
                (None, true) => asked.at.after(AGAIN),
                (Some(_), true) => asked.at.after((lease.length.0 / WITHIN).clamp(1, LONGEST)),
            }
        };
        needed.iter().map(when).min()
    }

    /// When to look after leases next.
    pub(super) fn next(&self) -> Option<BootMillis> {
        self.next
    }

    /// Whether any unit needs a guard.
    pub(in crate::sitter) fn is_needed(&self) -> bool {
        self.written.as_ref().is_some_and(|book| book.is_needed)
    }
}

impl Sitter {
    /// Looks after leases, if something may have changed.
    pub(super) fn look_after_leases(&mut self, now: BootMillis) {
        let has_leases = self.keeping.engine.needed_leases().next().is_some();
        if has_leases || self.keeping.leasing.is_needed() {
            self.keeping.leasing.next = match self.keep_book(now) {
                true => self.go_on_with_leases(now),
                false => Some(now.after(REWRITE_PAUSE)),
            };
        }
    }

    /// Does the same when it is due.
    pub(super) fn tick_leases(&mut self, now: BootMillis) {
        if self.keeping.leasing.next.is_some_and(|at| now >= at) {
            self.look_after_leases(now);
        }
    }

    /// Sees to it that there is a guard, and asks for leases that are due. Returns when to look next.
    fn go_on_with_leases(&mut self, now: BootMillis) -> Option<BootMillis> {
        if !self.keeping.leasing.is_needed() {
            return None;
        }
        if !self.guarding.is_up(now) {
            let Self { keeping, guarding, poller, launchers, .. } = self;
            match keeping.place.directory() {
                Ok(directory) => guarding.keep(directory, poller, launchers, now),
                Err(error) => tracing::error!(%error, "cannot open the place of the guard's book"),
            }
            let next = self.guarding.next_deadline();
            return next.map(|at| at.max(now.after(HURRIED)));
        }
        let (session, store) =
            self.keeping.hearer.as_ref().and_then(|it| Some((it.session, it.store?)))?;
        let needed = self.needed_leases();
        let at = self.keeping.leasing.ask_at(session, &needed, now)?;
        if now < at {
            return Some(at);
        }
        if !self.agent.has_room() {
            return Some(now.after(HURRIED));
        }
        let of_store = needed.iter().filter(|(unit, _)| unit.store == store);
        let leases: Vec<Lease> = of_store.map(|(_, lease)| lease.clone()).collect();
        let units = needed.iter().map(|(unit, lease)| (unit.clone(), lease.placement));
        self.keeping.leasing.asked = Some(Asked { session, at: now, units: units.collect() });
        if !leases.is_empty() {
            self.agent.report_leases(session, Leases { asked_at: now.0, leases });
        }
        self.keeping.leasing.ask_at(session, &needed, now)
    }

    fn needed_leases(&self) -> Vec<(UnitKey, Lease)> {
        let needed = self.keeping.engine.needed_leases();
        needed.map(|(unit, lease)| (unit.clone(), lease)).collect()
    }

    /// Takes leases that a conductor grants. Those of a term before the one that is known are of a
    /// conductor that was superseded.
    pub(in crate::sitter) fn hear_of_leases(
        &mut self,
        store: StoreId,
        term: Term,
        granted: Leases,
    ) {
        let at = BootMillis::now();
        // Nothing was asked for in the future.
        let is_ours = granted.asked_at <= at.0 && term >= self.spool.state().term(store);
        if !is_ours || !self.guarding.is_up(at) {
            return;
        }
        let needed: BTreeMap<UnitKey, Lease> = self.needed_leases().into_iter().collect();
        let mut taken = Vec::new();
        for Lease { service, placement, length, grace } in granted.leases {
            let unit = UnitKey { store, service };
            let until = granted.asked_at.saturating_add(length.0);
            let is_needed = needed.get(&unit).is_some_and(|lease| lease.placement == placement);
            if is_needed && until > at.0 {
                taken
                    .push((unit, Leased { placement, until, gone: until.saturating_add(grace.0) }));
            }
        }
        let before = self.keeping.leasing.held.clone();
        for (unit, lease) in &mut taken {
            if let Some(held) = before.get(unit).filter(|it| it.placement == lease.placement) {
                lease.until = lease.until.max(held.until);
                lease.gone = lease.gone.max(held.gone);
            }
            self.keeping.leasing.held.insert(unit.clone(), *lease);
        }
        if !self.keep_book(at) {
            self.keeping.leasing.held = before;
            return;
        }
        for (unit, lease) in taken {
            self.keeping.engine.handle(now(), Input::Leased { unit, lease });
        }
        self.look_after_leases(at);
    }

    /// Writes the book, if it says something else than it should. Returns whether it lies there.
    pub(super) fn keep_book(&mut self, at: BootMillis) -> bool {
        let needed: BTreeMap<UnitKey, Lease> = self.needed_leases().into_iter().collect();
        let Leasing { held, written, .. } = &mut self.keeping.leasing;
        held.retain(|unit, _| needed.contains_key(unit));
        if needed.is_empty() && written.as_ref().is_none_or(|book| *book == Book::default()) {
            return true;
        }
        let book = self.book(!needed.is_empty(), at);
        if self.keeping.leasing.written.as_ref() == Some(&book) {
            return true;
        }
        let kept = self.keeping.place.keep_book(&book.encode());
        let leasing = &mut self.keeping.leasing;
        let failed = kept.as_ref().err().map(io::Error::to_string);
        if let Some(error) = &failed
            && !std::mem::replace(&mut leasing.is_told, true)
        {
            tracing::error!(error, "cannot write the guard's book: no lease is taken meanwhile");
        }
        if failed.is_none() {
            leasing.is_told = false;
            leasing.written = Some(book);
        }
        failed.is_none()
    }

    /// Returns what the book should say.
    fn book(&self, is_needed: bool, at: BootMillis) -> Book {
        let runs = &self.keeping.runs;
        let page = |(unit, lease): (&UnitKey, &Leased)| {
            let run = runs.values().find(|run| run.unit == *unit);
            // Without a run, a lease that is over says nothing.
            if run.is_none() && lease.until <= at.0 {
                return None;
            }
            let leaf = match run {
                Some(run) => run.leaf.clone(),
                None => self.place_of_leaf(unit),
            };
            let leader = run.and_then(|run| run.main.as_ref()).filter(|main| !main.gone);
            Some(Page {
                unit: unit.clone(),
                placement: lease.placement,
                until: lease.until,
                gone: lease.gone,
                leaf: leaf.map(|leaf| (leaf.dir().to_owned(), leaf.is_v2())),
                marks: self.marks_of(unit),
                leader: leader.map(|main| (main.pid, main.start_ticks)),
            })
        };
        let pages = self.keeping.leasing.held.iter().filter_map(page).collect();
        let (sitter, guard) = (self.guarding.sitter(), self.guarding.process());
        Book { boot: self.boot.0, is_needed, sitter, guard, pages }
    }

    /// Returns where the next run of a unit will have its leaf.
    fn place_of_leaf(&self, unit: &UnitKey) -> Option<Leaf> {
        let cgroups = self.cgroups.as_ref()?;
        Some(cgroups.leaf(&cgroups.path_of_unit(&name_of(unit))?))
    }

    /// Goes on with the leases and the guard of an earlier sitter.
    pub(super) fn adopt_leases(&mut self) {
        let bytes = self.keeping.place.book();
        let book = bytes.and_then(|bytes| Book::decode(&bytes));
        let Some(book) = book.filter(|book| book.boot == self.boot.0) else { return };
        if let Some(process) = book.guard {
            self.guarding.adopt(&self.poller, process);
        }
        for Page { unit, placement, until, gone, .. } in &book.pages {
            let lease = Leased { placement: *placement, until: *until, gone: *gone };
            self.keeping.leasing.held.insert(unit.clone(), lease);
            self.keeping.engine.handle(now(), Input::Leased { unit: unit.clone(), lease });
        }
        self.keeping.leasing.written = Some(book);
    }

    /// Takes that the guard has ended.
    pub(in crate::sitter) fn guard_ended(&mut self, now: BootMillis) {
        let is_needed = self.keeping.leasing.is_needed();
        self.guarding.ended(&self.poller, is_needed, now);
        if !is_needed {
            self.keeping.place.drop_book();
            self.keeping.leasing.written = None;
        }
        self.look_after_leases(now);
    }

    /// Takes what came of the request for a guard.
    pub(in crate::sitter) fn guard_launched(&mut self, launched: Launched, now: BootMillis) {
        self.guarding.launched(&self.poller, launched, now);
        self.look_after_leases(now);
    }
}
