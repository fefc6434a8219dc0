//! Services that are placed: the conductor chooses their players, and a choice stands until somebody
//! asks for another, or the player is gone.
//!
//! Instances for which no player has room wait. They are looked at again when a player has more room
//! than before, so a full fleet costs nothing.

use std::collections::BTreeMap;

use orchestra_model::{
    HostName, HostSet, ServiceName,
    names::LabelValue,
    record::{Op, Record},
    service::{Goal, Layout, Need, Ordinal, PlayerFacts, ServiceSpec, UnitState, Waiting},
    time::Millis,
};

use crate::{
    effect::Effect,
    placement::{Chosen, Standing, Wish, choose, surplus},
    services::Services,
    tables::Service,
};

/// How long players have to come back after a start of the conductor. Until then, or until all are
/// there, nothing is placed: the first to come would get everything.
pub(crate) const COME_BACK: Millis = Millis::seconds(45);

impl Services {
    /// Takes the players of the conductor's files. A placed service leaves those that are not among
    /// them any more.
    pub(crate) fn players_loaded(&mut self, players: BTreeMap<HostName, PlayerFacts>) {
        let cleaned = self.forget_hosts_to_clean(|host| players.contains_key(host));
        self.ground.load(players);
        for host in self.drained.clone() {
            self.ground.drained(&host, true);
        }
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in &names {
            let placed = self.services.get(name).into_iter().flat_map(|it| it.placements.keys());
            let hosts: Vec<HostName> = placed.cloned().collect();
            for host in hosts {
                self.tally(name, &host);
            }
        }
        self.recheck_brakes();
        for name in names {
            if self.fill(&name) {
                self.advance(&name);
                self.follow_links(&name);
            } else if cleaned.contains(&name) {
                self.advance(&name);
            }
        }
    }

    /// Notes what a service takes of a player.
    pub(crate) fn tally(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get(name) else { return };
        let need = service.placements.contains_key(host).then(|| service.need());
        if self.ground.take(host, name, need) {
            self.roomier.insert(host.clone());
        }
    }

    /// Gives instances that wait to players that have more room than before.
    pub(crate) fn use_room(&mut self) {
        if !self.is_settled() {
            // Nothing is placed before that, and then all of it is looked at.
            self.roomier.clear();
        }
        while let Some(host) = self.roomier.pop_first() {
            let short: Vec<ServiceName> = self.short.iter().cloned().collect();
            for name in short {
                let has_room = |wish: Wish| self.ground.has_room(&host, &wish);
                if self.wish(&name).is_some_and(has_room) {
                    self.fill_and_follow(&name);
                }
            }
        }
    }

    /// Looks anew at every service that has not all of its instances.
    pub(crate) fn fill_short(&mut self) {
        let short: Vec<ServiceName> = self.short.iter().cloned().collect();
        for name in short {
            self.fill_and_follow(&name);
        }
    }

    pub(super) fn fill_and_follow(&mut self, name: &ServiceName) {
        if self.fill(name) {
            self.advance(name);
            self.follow_links(name);
        }
    }

    /// Returns whether players had their time to come back since the start.
    pub(crate) fn is_settled(&self) -> bool {
        self.has_settled
    }

    /// Goes on to place instances once all players are back.
    pub(crate) fn settle_if_whole(&mut self) {
        if !self.is_settled() && self.ground.is_whole() {
            self.settled_at = self.now;
            self.settle_if_due();
        }
    }

    /// Goes on to place instances once players had their time to come back.
    pub(crate) fn settle_if_due(&mut self) {
        if !self.has_settled && self.now >= self.settled_at {
            self.has_settled = true;
            self.recheck_brakes();
            self.fill_short();
        }
    }

    /// Returns what a placed service asks of players; `None` if it is not placed, or was removed.
    pub(crate) fn wish(&self, name: &ServiceName) -> Option<Wish> {
        let service = self.services.get(name)?;
        let record = &service.record;
        let layout = record.surged.clone().or_else(|| record.layout.clone())?;
        let wish = self.wish_of(service.spec()?, layout)?;
        let same_scores = self.same_scores(name);
        Some(Wish { same_scores, ..wish }).filter(|_| service.record.goal != Goal::Removed)
    }

    /// Returns what a spec asks of players; `None` if it is not placed. What is linked to the service
    /// comes with it.
    fn wish_of(&self, spec: &ServiceSpec, layout: Layout) -> Option<Wish> {
        let rule = spec.place.clone()?;
        let mut scores: Vec<_> = spec.scores().cloned().collect();
        let mut need = Need::of(spec.upkeep.resources.as_ref());
        for linked in self.linked_to(&spec.name) {
            let Some(linked) = self.services.get(&linked) else { continue };
            scores.extend(linked.spec().into_iter().flat_map(ServiceSpec::scores).cloned());
            need = need.plus(linked.need());
        }
        let (service, same_scores) = (spec.name.clone(), Vec::new());
        Some(Wish { service, scores, same_scores, rule, layout, need })
    }

    /// Returns those hosts of a service where it may stay under a spec by which it is placed.
    pub(crate) fn hosts_to_keep(&self, spec: &ServiceSpec) -> HostSet {
        let Some(rule) = &spec.place else { return HostSet::default() };
        let wish = self.wish_of(spec, rule.layout.clone());
        let known = self.services.get(&spec.name).filter(|it| it.record.goal != Goal::Removed);
        let Some((wish, service)) = wish.zip(known) else { return HostSet::default() };
        let stays = |host: &&HostName| {
            service.placements.contains_key(*host) && self.ground.may_stay(host, &wish)
        };
        HostSet::from_names(service.record.hosts.iter().filter(stays).cloned())
    }

    /// Returns the hosts that a service would leave if it were placed as a spec says.
    pub(crate) fn hosts_to_leave(&self, spec: &ServiceSpec) -> HostSet {
        let Some(service) = self.services.get(&spec.name) else { return HostSet::default() };
        let layout = spec.place.as_ref().map(|rule| rule.layout.clone());
        let Some(wish) = layout.and_then(|layout| self.wish_of(spec, layout)) else {
            return HostSet::default();
        };
        let kept = self.hosts_to_keep(spec);
        let standing = service.standing(&kept, |host| self.is_reachable(host));
        let surplus = HostSet::from_names(surplus(&self.ground, &wish, &standing));
        service.record.hosts.minus(&kept.minus(&surplus))
    }

    /// Places a service anew whose wanted version is another one than before, if that one is placed.
    pub(crate) fn place_as_wanted(&mut self, name: &ServiceName) {
        let spec = self.services.get(name).and_then(|service| service.spec().cloned());
        let Some(spec) = spec.filter(|spec| spec.place.is_some()) else {
            self.short.remove(name);
            return;
        };
        let hosts = self.hosts_to_keep(&spec);
        if let Some(service) = self.services.get_mut(name) {
            service.record.hosts = hosts;
        }
        self.fill(name);
        self.effects.push_back(Effect::RecountCells);
    }

    /// Gives a placed service as many instances as it is to have, as far as there is room, and takes
    /// those that are too many. Returns whether anything has changed.
    pub(crate) fn fill(&mut self, name: &ServiceName) -> bool {
        self.short.remove(name);
        if self.is_settled() {
            self.note_score(name);
            self.plan_surge(name);
        }
        let Some(wish) = self.wish(name) else { return false };
        let Some(service) = self.services.get(name) else { return false };
        let runs = service.record.goal == Goal::Running;
        let is_known = |host: &&HostName| self.ground.knows(host);
        let known = HostSet::from_names(service.record.hosts.iter().filter(is_known).cloned());
        let standing = service.standing(&known, |host| self.is_reachable(host));
        let gone = HostSet::from_names(surplus(&self.ground, &wish, &standing));
        let left = known.minus(&gone);
        let is_short = runs && (left.len() as u64) < wish.layout.total();
        let chosen = match (is_short, self.is_settled()) {
            (true, true) => choose(&self.ground, &wish, &left, service.ordinals_beside(&left)),
            (true, false) => {
                Chosen { missing: vec![(None, missing(&wish, &left))], ..Chosen::default() }
            }
            (false, _) => Chosen::default(),
        };
        let Chosen { instances, missing } = chosen;
        let hosts = left.union(&HostSet::from_names(instances.iter().map(|it| it.1.clone())));
        let Some(service) = self.services.get_mut(name) else { return false };
        service.missing = missing;
        self.limit_surge(name);
        let wanted = self.wish(name).map_or(0, |wish| wish.layout.total());
        if runs && (hosts.len() as u64) < wanted {
            self.short.insert(name.clone());
        }
        let Some(service) = self.services.get_mut(name) else { return false };
        let mut changed = service.record.hosts.symmetric_difference(&hosts);
        service.record.hosts = hosts;
        for (ordinal, host) in instances {
            self.settle_on(name, &host, ordinal);
        }
        if runs && self.is_settled() {
            changed = changed.union(&self.move_away(name));
        } else if runs {
            // What is on players that are drained or away is looked at when players had their time
            // to come back.
            self.short.insert(name.clone());
        }
        if changed.is_empty() {
            return false;
        }
        self.put_service(name);
        self.effects.push_back(Effect::RecountCells);
        for host in &changed {
            self.recheck(name, host);
            self.tell_unwell(host);
            // Whoever waits for the instance here may wait for another one now.
            self.recheck_leaving(name, host);
        }
        true
    }

    /// Returns what is told of instances that wait for a player.
    pub(crate) fn waiting(&self, name: &ServiceName) -> Vec<Waiting> {
        let Some((service, wish)) = self.services.get(name).zip(self.wish(name)) else {
            return Vec::new();
        };
        let waiting = |(zone, count): &(Option<LabelValue>, u32)| match self.is_settled() {
            true => self.ground.why_waiting(&wish, zone.as_ref(), *count),
            // Nobody looks for players yet.
            false => Waiting { count: *count, zone: zone.clone(), ..Waiting::default() },
        };
        service.missing.iter().map(waiting).collect()
    }

    /// Gives a player an instance with this ordinal, by a new placement.
    pub(super) fn settle_on(&mut self, name: &ServiceName, host: &HostName, ordinal: Ordinal) {
        let Some(service) = self.services.get_mut(name) else { return };
        service.place(host, ordinal);
        // What a flow did here before was about an earlier instance.
        service.ordered.remove(host);
        service.relief.ordered.remove(host);
        service.given_up.remove(host);
        if let Some(record) = service.placement_record(host) {
            self.persist(Op::Put(Record::Placement(record)));
        }
        self.note_host(host, name);
        self.tally(name, host);
    }
}

/// Returns how many instances have no player.
fn missing(wish: &Wish, standing: &HostSet) -> u32 {
    let count = wish.layout.total().saturating_sub(standing.len() as u64);
    u32::try_from(count).unwrap_or(u32::MAX)
}

impl Service {
    /// What one instance needs of its player.
    pub(crate) fn need(&self) -> Need {
        Need::of(self.spec().and_then(|spec| spec.upkeep.resources.as_ref()))
    }

    /// Returns the instances on these hosts. One is ready if its player can be reached.
    fn standing(&self, hosts: &HostSet, is_there: impl Fn(&HostName) -> bool) -> Vec<Standing> {
        let standing = |host: &HostName| {
            let placed = self.placements.get(host)?;
            let state = placed.report.as_ref().map(|report| report.state);
            let is_ready = is_there(host) && state == Some(UnitState::Ready);
            Some(Standing { host: host.clone(), ordinal: placed.instance.ordinal, is_ready })
        };
        // A host without an instance is to get one, whose number will be the highest.
        let unplaced = |host: &HostName| Standing {
            host: host.clone(),
            ordinal: Ordinal(u32::MAX),
            is_ready: false,
        };
        hosts.iter().map(|host| standing(host).unwrap_or_else(|| unplaced(host))).collect()
    }
}
