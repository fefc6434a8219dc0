//! What an order does to a unit, its run and its watch.

use std::sync::Arc;

use orchestra_model::{
    ByteSize, Params,
    delivery::{AttemptKey, OrderNumber},
    service::{UnitOrder, Wanted},
};

use crate::{
    bounds,
    effect::{Effect, WatchEnd},
    entry::Entry,
    input::{Now, Ordered, Rejection},
    rules::signals::Fate,
    state::{RecentRestarts, Signals, Stage, Turns, Unit, UnitKey, Watch},
    units::Units,
};

impl Units {
    /// Takes an order. Its attempt may be accepted from [`Effect::Watching`] on. The same order
    /// again is never refused and changes nothing but its watch, which goes on until the attempt
    /// has its end.
    pub fn order(&mut self, now: Now, ordered: Ordered) -> Result<(), Rejection> {
        self.set_time(now);
        let unit = UnitKey { store: ordered.key.store, service: ordered.unit.service.clone() };
        if let Some(why) = &self.broken {
            return Err(Rejection::Broken(why.clone()));
        }
        if self.is_repeated(&unit, &ordered) {
            self.repeat_order(&unit, ordered);
        } else {
            self.check_order(&unit, &ordered)?;
            let before = self.neighbours(&unit);
            self.take_order(&unit, ordered);
            self.follow_links(before);
        }
        self.follow(&unit);
        Ok(())
    }

    fn is_repeated(&self, unit: &UnitKey, ordered: &Ordered) -> bool {
        let known = self.state.units().get(unit);
        known.is_some_and(|unit| (unit.attempt, unit.order) == (ordered.key, ordered.order))
    }

    fn check_order(&self, unit: &UnitKey, ordered: &Ordered) -> Result<(), Rejection> {
        let Ordered { key, order, unit: asked, .. } = ordered;
        let placement = asked.instance.placement;
        if order.0 > bounds::REACHABLE || placement.0 > bounds::REACHABLE {
            return Err(Rejection::Unreachable);
        }
        let known = match self.state.units().get(unit) {
            Some(known) => Some((known.order, known.asked.instance.placement)),
            // The order that removed the unit may come again, and finds nothing to do.
            None => self.state.tombstones().get(unit).map(|gone| {
                let again = (gone.attempt, gone.order) == (*key, *order);
                (if again { OrderNumber(0) } else { gone.order }, gone.last.placement)
            }),
        };
        if let Some((known, _)) = known.filter(|(known, _)| order <= known) {
            return Err(Rejection::Older { known });
        }
        if let Some((_, known)) = known.filter(|(_, known)| placement < *known) {
            return Err(Rejection::Fenced { known });
        }
        let is_new = !self.state.units().contains_key(unit) && asked.wanted != Wanted::Gone;
        if is_new && self.state.units().len() >= self.capacity.units {
            return Err(Rejection::Full(self.capacity.units));
        }
        self.check_reserve(unit, asked)
    }

    /// Checks that the host has as much memory as the order reserves. Orders whose resources need
    /// not be enforced, or that do not want the unit to run, are not checked.
    fn check_reserve(&self, unit: &UnitKey, order: &UnitOrder) -> Result<(), Rejection> {
        let enforced = order.upkeep.resources.is_some_and(|resources| resources.enforced);
        let Some(asked) = reserve_of(order).filter(|_| enforced) else { return Ok(()) };
        let others = self.reserved(Some(unit));
        let host = self.capacity.memory;
        let all = others.0.saturating_add(asked.0);
        match host {
            Some(host) if all <= host.0 => Ok(()),
            _ => Err(Rejection::Reserved { asked, others, host }),
        }
    }

    /// Returns whether units reserve more memory than the host has. They can, because some
    /// resources need not be enforced.
    pub fn reserves_too_much(&self) -> bool {
        self.reserved(None) > self.capacity.memory.unwrap_or_default()
    }

    /// Returns how much memory is reserved for units whose last orders want them to run; the unit
    /// `but` is left out.
    pub fn reserved(&self, but: Option<&UnitKey>) -> ByteSize {
        let units = self.state.units().iter().filter(|(key, _)| Some(*key) != but);
        let reserves = units.filter_map(|(_, unit)| reserve_of(&unit.asked));
        ByteSize(reserves.fold(0, |sum, reserve| sum.saturating_add(reserve.0)))
    }

    fn take_order(&mut self, key: &UnitKey, ordered: Ordered) {
        let Ordered { key: attempt, order, unit: asked, keep_params } = ordered;
        let known = self.state.units().get(key);
        // Restarts are kept as their rule counts them: another one cannot go on from there.
        let counts_alike =
            known.is_some_and(|unit| unit.asked.upkeep.restart == asked.upkeep.restart);
        let before = known.and_then(|unit| unit.watch);
        if let Some(before) = before.filter(|before| *before != attempt) {
            self.end_watch(before, WatchEnd::Superseded);
        }
        let fate = self.fate_of_run(key, &asked);
        let wanted = asked.wanted;
        let whole = Arc::new(asked);
        let kept = if keep_params { Arc::clone(&whole) } else { Arc::new(bare(&whole)) };
        let (unit, stop) = (key.clone(), whole.upkeep.stop);
        self.record(Entry::Ordered {
            unit,
            order,
            attempt,
            asked: kept,
            keeps_params: keep_params,
        });
        self.note_grounds(key);
        self.tend(key).order = Some(Arc::clone(&whole));
        // An open probe is of the rule before. Signals are sent again.
        self.tend(key).asking = None;
        self.tend(key).signalling = Signals::default();
        self.note_ties(key);

        let Some(mut status) = self.status(key) else { return };
        let at = self.at;
        if !wanted.continues() || !counts_alike {
            status.restarts = 0;
            status.waits = 0;
            status.recent = RecentRestarts::default();
            status.turns = Turns::default();
        }
        if fate == Fate::Ends {
            status.changed = order;
        }
        match (status.run_mut(), fate) {
            (Some(run), Fate::GoesOn(signals)) => {
                run.of = order;
                run.signals.insert_all(signals);
                // Without a health rule nothing would make the run healthy again.
                if whole.upkeep.health.is_none() && run.unhealthy.is_some() {
                    run.recover_at(at);
                }
                run.stop = stop;
            }
            (Some(_), Fate::Ends) => {}
            (None, _) => match wanted {
                // Such an order begins no run anew, but a stopped unit is to run.
                wanted if wanted.continues() && status.stage != Stage::Stopped => {}
                wanted if wanted.is_to_run() => status.stage = Stage::Waiting { until: at },
                _ => status.stage = Stage::Stopped,
            },
        }
        self.record_status(key, status);
        self.watch(key, attempt, order);
    }

    /// Takes an order that is known already. Its attempt may lack the end of its watch, or a spool
    /// that had forgotten the attempt knows it again.
    fn repeat_order(&mut self, unit: &UnitKey, ordered: Ordered) {
        let Ordered { key, order, unit: asked, .. } = ordered;
        self.tend(unit).order.get_or_insert_with(|| Arc::new(asked));
        match self.state.watches().get(&key).map(|watch| watch.end.clone()) {
            Some(Some(end)) => {
                self.act(Effect::Watching { key, order });
                self.act(Effect::EndWatch { key, order, end });
            }
            Some(None) => self.act(Effect::Watching { key, order }),
            None => self.watch(unit, key, order),
        }
    }

    /// Begins to watch a unit for an attempt. An earlier watch of the same attempt is over.
    fn watch(&mut self, unit: &UnitKey, key: AttemptKey, order: OrderNumber) {
        if self.state.watches().contains_key(&key) {
            self.record(Entry::WatchForgotten { key });
        }
        let watch = Watch { unit: unit.clone(), order, accepted: self.at, end: None };
        self.record(Entry::Watch { key, watch });
        self.act(Effect::Watching { key, order });
    }

    /// Returns whether an order changes nothing for a unit's processes. The same version has the
    /// same content, so parameters that are gone are taken for those of their version.
    pub(super) fn is_alike(&self, key: &UnitKey, unit: &Unit, asked: &UnitOrder) -> bool {
        let before = &unit.asked;
        let whole = self.tended.get(key).and_then(|tended| tended.order.as_ref());
        before.version == asked.version
            && before.instance == asked.instance
            && before.score == asked.score
            && whole.is_none_or(|whole| whole.params == asked.params)
    }

    pub(super) fn find_params(&mut self, key: &UnitKey, order: OrderNumber, params: Params) {
        let Some(unit) = self.state.units().get(key) else { return };
        let is_missing = self.tended.get(key).is_some_and(|tended| tended.order.is_none());
        if unit.order == order && is_missing {
            let asked = UnitOrder { params, ..bare(&unit.asked) };
            self.tend(key).order = Some(Arc::new(asked));
            self.follow(key);
        }
    }
}

/// Returns the order without its parameters.
fn bare(order: &UnitOrder) -> UnitOrder {
    UnitOrder {
        service: order.service.clone(),
        version: order.version,
        instance: order.instance,
        wanted: order.wanted,
        score: order.score.clone(),
        score_hash: order.score_hash,
        audience: order.audience.clone(),
        params: Params::default(),
        upkeep: order.upkeep.clone(),
        healthy_for: order.healthy_for,
        deadline: order.deadline,
    }
}

/// Returns how much of the host's memory an order reserves.
fn reserve_of(order: &UnitOrder) -> Option<ByteSize> {
    order.upkeep.resources.filter(|_| order.wanted.is_to_run())?.reserve
}
