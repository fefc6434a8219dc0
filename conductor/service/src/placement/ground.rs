//! Players, by what they have to offer to instances.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    HostName, ScoreName, ServiceName,
    names::LabelValue,
    score::{Offers, ScoreHash},
    service::{Labels, Layout, Need, PlaceRule, PlayerFacts, Room, Spread, Waiting, ZONE_LABEL},
};

use super::hash;

/// What a service asks of players.
#[derive(Clone, Debug)]
pub struct Wish {
    pub service: ServiceName,
    /// The scores that a player has to offer.
    pub scores: Vec<ScoreName>,
    /// What it has to hold of some of them.
    pub same_scores: Vec<SameScore>,
    pub rule: PlaceRule,
    /// How many instances there are to be; the rule's own layout does not count.
    pub layout: Layout,
    /// What one instance needs.
    pub need: Need,
}

/// What a player has to hold as a score, byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SameScore {
    pub score: ScoreName,
    pub hash: ScoreHash,
}

/// Players, by what they have to offer to instances.
#[derive(Clone, Debug, Default)]
pub struct Ground {
    /// In the order of their names.
    pub(super) plots: Vec<Plot>,
    index: BTreeMap<HostName, u32>,
    /// How many players are attached.
    attached: usize,
    /// The kinds of players that there are, or were.
    pub(super) kinds: Vec<Alike>,
    known_kinds: BTreeMap<Kind, u32>,
    /// Every list of scores that players offer, once, so that equal ones are the same.
    scores: BTreeSet<Arc<[ScoreName]>>,
    /// The hash of each zone's name; the first zone is that of players without the label.
    pub(super) zones: Vec<u64>,
    known_zones: BTreeMap<LabelValue, u32>,
    /// Of each zone.
    census: Vec<Census>,
    /// Every player that was ever there.
    met: BTreeSet<HostName>,
}

/// How many players a zone has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Those of the conductor's files.
    pub players: u32,
    /// Those of them that were ever there.
    pub met: u32,
    pub attached: u32,
}

/// The open players of one kind.
#[derive(Clone, Debug)]
pub(super) struct Alike {
    pub(super) kind: Kind,
    /// By [`Ground::zones`].
    pub(super) zone: u32,
    pub(super) ranks: BTreeSet<Rank>,
}

/// What makes players alike to every filter but that of room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) labels: Arc<Labels>,
    /// Those that are offered and not disabled, in the order of their names.
    pub(super) scores: Arc<[ScoreName]>,
}

/// How much of a player is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Load {
    /// Of its memory or its processors, whichever is more, in thousandths of its room.
    reserved: u32,
    /// How many instances it has, of whatever services.
    instances: u32,
}

/// The order of players of a kind: by load, then by the hash of their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) load: Load,
    pub(super) hash: u64,
    pub(super) plot: u32,
}

/// A player of the conductor's files.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) host: HostName,
    pub(super) facts: PlayerFacts,
    pub(super) hash: u64,
    /// By [`Ground::zones`].
    pub(super) zone: u32,
    /// By [`Ground::kinds`]; `None` while it is not attached.
    kind: Option<u32>,
    /// What the player told when it attached; `None` while it is not attached.
    told: Option<Told>,
    drained: bool,
    /// What each service needs here that has an instance here, or is to have one.
    pub(super) taken: BTreeMap<ServiceName, Need>,
    used: Need,
    /// A bit of each service in `taken`, by its hash: most services that have nothing here are told by
    /// that alone.
    services: u64,
}

/// What a player told when it attached.
#[derive(Clone, Debug)]
struct Told {
    keeps_units: bool,
    scores: Arc<[ScoreName]>,
    offers: Offers,
    room: Room,
}

impl Ground {
    /// Takes the players of the conductor's files. What players told, and which of them are drained,
    /// is kept; what is taken of them is not.
    pub fn load(&mut self, players: impl IntoIterator<Item = (HostName, PlayerFacts)>) {
        let mut before = std::mem::take(self);
        self.met = std::mem::take(&mut before.met);
        self.zones.push(hash::of_text(""));
        for (host, facts) in players {
            let known = before.index.remove(&host);
            let known = known.and_then(|ix| before.plots.get_mut(ix as usize));
            let plot = Plot {
                hash: hash::of_text(host.as_str()),
                zone: self.zone_id(facts.zone()),
                kind: None,
                services: 0,
                facts,
                told: known.as_ref().and_then(|known| known.told.clone()),
                drained: known.is_some_and(|known| known.drained),
                taken: BTreeMap::new(),
                used: Need::default(),
                host: host.clone(),
            };
            self.index.insert(host, u32::try_from(self.plots.len()).unwrap_or(u32::MAX));
            self.plots.push(plot);
        }
        self.attached = self.plots.iter().filter(|plot| plot.told.is_some()).count();
        for ix in 0..self.plots.len() {
            self.sort_in(ix);
            self.enter(ix);
        }
        self.count();
    }

    /// Takes which players were ever there.
    pub fn meet(&mut self, met: impl IntoIterator<Item = HostName>) {
        self.met.extend(met);
        self.count();
    }

    /// Counts the players of each zone.
    fn count(&mut self) {
        self.census = vec![Census::default(); self.zones.len()];
        for plot in &self.plots {
            let Some(zone) = self.census.get_mut(plot.zone as usize) else { continue };
            zone.players += 1;
            zone.met += u32::from(self.met.contains(&plot.host));
            zone.attached += u32::from(plot.told.is_some());
        }
    }

    /// Returns how many players each zone has that has some: first those without a zone, then by name.
    pub fn census(&self) -> impl Iterator<Item = (Option<&LabelValue>, Census)> {
        let zones = self.known_zones.iter().map(|(zone, ix)| (Some(zone), *ix));
        let all = std::iter::once((None, 0)).chain(zones);
        let counted =
            all.map(|(zone, ix)| (zone, self.census.get(ix as usize).copied().unwrap_or_default()));
        counted.filter(|(_, census)| census.players > 0)
    }

    /// Returns the number of a zone.
    fn zone_id(&mut self, zone: Option<&LabelValue>) -> u32 {
        let Some(zone) = zone else { return 0 };
        let next = u32::try_from(self.zones.len()).unwrap_or(u32::MAX);
        if let Some(known) = self.known_zones.get(zone) {
            return *known;
        }
        self.zones.push(hash::of_text(zone.as_str()));
        self.known_zones.insert(zone.clone(), next);
        next
    }

    /// Returns the number of a zone that some player is in.
    pub(super) fn known_zone(&self, zone: &LabelValue) -> Option<u32> {
        self.known_zones.get(zone).copied()
    }

    /// Notes of which kind a player is, now that it has told what it offers.
    fn sort_in(&mut self, ix: usize) {
        let Some(plot) = self.plots.get(ix) else { return };
        let kind = plot.told.as_ref().map(|told| Kind {
            labels: Arc::clone(&plot.facts.labels),
            scores: Arc::clone(&told.scores),
        });
        let zone = plot.zone;
        let id = kind.map(|kind| self.kind_id(kind, zone));
        if let Some(plot) = self.plots.get_mut(ix) {
            plot.kind = id;
        }
    }

    fn kind_id(&mut self, mut kind: Kind, zone: u32) -> u32 {
        if let Some(known) = self.known_kinds.get(&kind) {
            return *known;
        }
        match self.scores.get(&kind.scores) {
            Some(known) => kind.scores = Arc::clone(known),
            None => drop(self.scores.insert(Arc::clone(&kind.scores))),
        }
        let next = u32::try_from(self.kinds.len()).unwrap_or(u32::MAX);
        self.kinds.push(Alike { kind: kind.clone(), zone, ranks: BTreeSet::new() });
        self.known_kinds.insert(kind, next);
        next
    }

    /// Takes that a player attached. `offers` is `None` if its release keeps no units; `room` is
    /// what it says of itself.
    pub fn attached(&mut self, host: &HostName, offers: Option<&Offers>, room: Room) {
        let keeps_units = offers.is_some();
        let offers = offers.cloned().unwrap_or_default();
        let enabled = offers.iter().filter(|offer| offer.spec.is_ok());
        let scores = enabled.map(|offer| offer.name.clone()).collect();
        let told = Told { keeps_units, scores, offers, room };
        self.change(host, true, |plot| plot.told = Some(told));
    }

    /// Takes that a player is not attached any more.
    pub fn detached(&mut self, host: &HostName) {
        self.change(host, true, |plot| plot.told = None);
    }

    /// Takes whether a player is drained.
    pub fn drained(&mut self, host: &HostName, drained: bool) {
        self.change(host, false, |plot| plot.drained = drained);
    }

    /// Takes what a service needs on a player; `None` if it has no instance there. Returns whether
    /// the player has more room than before.
    pub fn take(&mut self, host: &HostName, service: &ServiceName, need: Option<Need>) -> bool {
        let Some(plot) = self.plot(host) else { return false };
        if plot.taken.get(service) == need.as_ref() {
            return false;
        }
        let before = plot.used;
        self.change(host, false, |plot| plot.take(service, need));
        need.is_none_or(|need| before > need)
    }

    /// Returns whether every player is attached.
    pub fn is_whole(&self) -> bool {
        self.attached == self.plots.len()
    }

    /// Returns whether a player is one of the conductor's files.
    pub fn knows(&self, host: &HostName) -> bool {
        self.index.contains_key(host)
    }

    /// Returns what the files say of a player.
    pub fn facts(&self, host: &HostName) -> Option<&PlayerFacts> {
        self.plot(host).map(|plot| &plot.facts)
    }

    /// Returns every player, in the order of their names.
    pub fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.plots.iter().map(|plot| &plot.host)
    }

    /// Returns whether an instance may be on a player by labels and zones, now that it is there.
    pub fn may_stay(&self, host: &HostName, wish: &Wish) -> bool {
        self.plot(host).is_some_and(|plot| wish.suits(&plot.facts.labels))
    }

    /// Returns whether a player could get an instance now.
    pub fn has_room(&self, host: &HostName, wish: &Wish) -> bool {
        self.plot(host).is_some_and(|plot| {
            plot.is_open()
                && wish.suits(&plot.facts.labels)
                && plot.told.as_ref().is_some_and(|told| told.suits(wish))
                && plot.has_room(wish, hash::of_service(&wish.service))
        })
    }

    /// Counts, for so many instances that wait, why no player can get one. `zone` is the one that they
    /// are for.
    pub fn why_waiting(&self, wish: &Wish, zone: Option<&LabelValue>, count: u32) -> Waiting {
        let need = wish.need;
        let mut why = Waiting { count, zone: zone.cloned(), need, ..Waiting::default() };
        let layout = match zone {
            Some(zone) => Layout::Zones([(zone.clone(), count)].into()),
            None => Layout::Count(count),
        };
        let wish = Wish { layout, ..wish.clone() };
        for plot in &self.plots {
            why.players += 1;
            let count = match &plot.told {
                _ if !wish.suits(&plot.facts.labels) => &mut why.elsewhere,
                _ if plot.taken.contains_key(&wish.service) => &mut why.taken,
                None => &mut why.absent,
                _ if plot.drained => &mut why.drained,
                Some(told) if !told.keeps_units => &mut why.too_old,
                Some(told) if !told.suits(&wish) => &mut why.without_score,
                // What has room would have been chosen.
                Some(_) => {
                    let (used, room) = (plot.used.plus(need), plot.room());
                    why.short_of_memory += u32::from(!used.fits_memory(room));
                    why.short_of_cpu += u32::from(!used.fits_cpu(room));
                    &mut why.full
                }
            };
            *count += 1;
        }
        why
    }

    /// Checks every rule over all players.
    pub fn audit(&self) -> Result<(), String> {
        let ranked: usize = self.kinds.iter().map(|alike| alike.ranks.len()).sum();
        let open = self.plots.iter().filter(|plot| plot.is_open()).count();
        if ranked != open {
            return Err(format!("{ranked} players can be chosen, and {open} are open"));
        }
        for plot in &self.plots {
            let used = plot.taken.values().fold(Need::default(), |all, need| all.plus(*need));
            let zone = self.census.get(plot.zone as usize);
            if zone.is_none_or(|zone| zone.met < zone.attached || zone.players < zone.met) {
                return Err(format!("{}: its zone is counted wrong", plot.host));
            }
            if plot.used != used || plot.services != plot.bits() {
                return Err(format!("{}: what is taken of it is counted wrong", plot.host));
            }
        }
        Ok(())
    }

    /// Returns how much of a player is taken.
    pub(crate) fn load_of(&self, host: &HostName) -> Load {
        self.plot(host).map(Plot::load).unwrap_or_default()
    }

    /// Returns how much of a player would be taken if a service needed so much of it; `None`: nothing.
    pub(crate) fn load_of_with(
        &self,
        host: &HostName,
        service: &ServiceName,
        need: Option<Need>,
    ) -> Load {
        let Some(mut plot) = self.plot(host).cloned() else { return Load::default() };
        plot.take(service, need);
        plot.load()
    }

    /// Returns what is taken of a player by a service.
    pub fn taken(&self, host: &HostName, service: &ServiceName) -> Option<Need> {
        self.plot(host).and_then(|plot| plot.taken.get(service).copied())
    }

    pub(super) fn ix(&self, host: &HostName) -> Option<usize> {
        self.index.get(host).map(|ix| *ix as usize)
    }

    fn plot(&self, host: &HostName) -> Option<&Plot> {
        self.plots.get(self.ix(host)?)
    }

    /// Changes a player, and puts it where it is to be found from then on. `is_told`: it told what it
    /// offers, or is away.
    fn change(&mut self, host: &HostName, is_told: bool, change: impl FnOnce(&mut Plot)) {
        let Some(ix) = self.ix(host) else { return };
        self.leave(ix);
        if let Some(plot) = self.plots.get_mut(ix) {
            let before = plot.told.is_some();
            change(plot);
            let is_there = plot.told.is_some();
            self.attached = self.attached + usize::from(is_there) - usize::from(before);
            if let Some(zone) = self.census.get_mut(plot.zone as usize) {
                zone.attached = zone.attached + u32::from(is_there) - u32::from(before);
                let is_new = is_there && self.met.insert(plot.host.clone());
                zone.met += u32::from(is_new);
            }
        }
        if is_told {
            self.sort_in(ix);
        }
        self.enter(ix);
    }

    /// Puts a player among those of its kind, if it is open.
    fn enter(&mut self, ix: usize) {
        let Some((kind, rank)) = self.rank(ix) else { return };
        if let Some(alike) = self.kinds.get_mut(kind as usize) {
            alike.ranks.insert(rank);
        }
    }

    fn leave(&mut self, ix: usize) {
        let Some((kind, rank)) = self.rank(ix) else { return };
        if let Some(alike) = self.kinds.get_mut(kind as usize) {
            alike.ranks.remove(&rank);
        }
    }

    fn rank(&self, ix: usize) -> Option<(u32, Rank)> {
        let plot = self.plots.get(ix).filter(|plot| plot.is_open())?;
        let number = u32::try_from(ix).unwrap_or(u32::MAX);
        Some((plot.kind?, Rank { load: plot.load(), hash: plot.hash, plot: number }))
    }
}

impl Census {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            players: self.players + other.players,
            met: self.met + other.met,
            attached: self.attached + other.attached,
        }
    }
}

impl Load {
    /// How many thousandths of its room a player has to have more than another one to be clearly above
    /// it: an instance is not moved for less.
    const CLEARLY: u32 = 50;

    /// Whether clearly more is taken: of what is reserved, or, where that is equal, in instances.
    pub(crate) fn is_clearly_above(self, other: Self) -> bool {
        self.reserved >= other.reserved.saturating_add(Self::CLEARLY)
            || (self.reserved == other.reserved && self.instances > other.instances)
    }
}

impl Plot {
    /// Whether something may begin here.
    fn is_open(&self) -> bool {
        !self.drained && self.told.as_ref().is_some_and(|told| told.keeps_units)
    }

    /// How much of it is for instances: what the files say, and no more than it says of itself.
    fn room(&self) -> Room {
        let told = self.told.as_ref().map(|told| told.room).unwrap_or_default();
        self.facts.room.least(told)
    }

    /// Whether it has no instance of the service, whose name has this hash, holds the very scores that
    /// are asked for, and has as much left as one needs.
    pub(super) fn has_room(&self, wish: &Wish, service: u64) -> bool {
        let is_taken =
            self.services & hash::bit(service) > 0 && self.taken.contains_key(&wish.service);
        let holds = self.told.as_ref().is_some_and(|told| told.holds(&wish.same_scores));
        !is_taken && holds && self.used.plus(wish.need).fits(self.room())
    }

    /// Notes what a service needs here; `None`: nothing.
    fn take(&mut self, service: &ServiceName, need: Option<Need>) {
        let known = match need {
            Some(need) => self.taken.insert(service.clone(), need),
            None => self.taken.remove(service),
        };
        let others = self.used.minus(known.unwrap_or_default());
        self.used = others.plus(need.unwrap_or_default());
        match need {
            Some(_) => self.services |= hash::bit(hash::of_service(service)),
            None => self.services = self.bits(),
        }
    }

    /// A bit of each service in `taken`.
    fn bits(&self) -> u64 {
        let services = self.taken.keys().map(|service| hash::bit(hash::of_service(service)));
        services.fold(0, |bits, bit| bits | bit)
    }

    fn load(&self) -> Load {
        let share = |used: u64, most: Option<u64>| {
            let most = most.filter(|most| *most > 0)?;
            u32::try_from(u128::from(used) * 1_000 / u128::from(most)).ok()
        };
        let room = self.room();
        let memory = share(self.used.memory.0, room.memory.map(|size| size.0));
        let cpu = share(self.used.cpu, room.cpu.map(|cores| u64::from(cores.0)));
        Load {
            reserved: memory.unwrap_or(0).max(cpu.unwrap_or(0)),
            instances: u32::try_from(self.taken.len()).unwrap_or(u32::MAX),
        }
    }
}

impl Told {
    /// Whether all scores of a wish are offered, as it asks for them.
    fn suits(&self, wish: &Wish) -> bool {
        wish.is_offered(&self.scores) && self.holds(&wish.same_scores)
    }

    fn holds(&self, same: &[SameScore]) -> bool {
        let hash_of = |score| self.offers.get(score).and_then(|offer| offer.hash);
        same.iter().all(|it| hash_of(&it.score) == Some(it.hash))
    }
}

impl Wish {
    /// Whether labels are those that are asked for, zones among them.
    pub(super) fn suits(&self, labels: &Labels) -> bool {
        let mut required = self.rule.require.iter();
        let in_zone = match &self.layout {
            Layout::Count(_) => true,
            Layout::Zones(zones) => zone_of(labels).is_some_and(|zone| zones.contains_key(zone)),
        };
        in_zone && required.all(|(key, value)| labels.get(key) == Some(value))
    }

    /// Whether all of its scores are among these, which are in the order of their names.
    pub(super) fn is_offered(&self, scores: &[ScoreName]) -> bool {
        self.scores.iter().all(|score| scores.binary_search(score).is_ok())
    }

    /// Whether players with most reserved come first.
    pub(crate) fn packs(&self) -> bool {
        self.rule.spread == Spread::Pack
    }

    /// Whether instances are spread over zones.
    pub(crate) fn is_by_zone(&self) -> bool {
        self.rule.spread == Spread::Zone || matches!(self.layout, Layout::Zones(_))
    }
}

/// The zone of a player with these labels.
pub(super) fn zone_of(labels: &Labels) -> Option<&LabelValue> {
    labels.get(ZONE_LABEL)
}
