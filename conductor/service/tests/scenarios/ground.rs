//! The choice of players, over fleets that chance makes: each chosen one may be chosen and is the best,
//! and what was changed one by one is the same as what is made anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    HostName, ScoreName, ServiceName,
    names::{LabelKey, LabelValue},
    score::{Offers, ScoreOffer, ScoreSpec},
    service::{Labels, Layout, Need, Ordinal, PlaceRule, PlayerFacts, Room, Spread},
    size::ByteSize,
};
use orchestra_service::placement::{Ground, Standing, Wish, choose, surplus};

use crate::{random::Chance, world::h};

/// A fleet, as simple tables.
struct Fleet {
    facts: BTreeMap<HostName, PlayerFacts>,
    /// What each attached player told: whether it offers the score, and its room.
    told: BTreeMap<HostName, (bool, Room)>,
    drained: BTreeSet<HostName>,
    taken: BTreeMap<HostName, BTreeMap<ServiceName, Need>>,
    ground: Ground,
}

impl Fleet {
    fn new(chance: &mut Chance) -> Self {
        let labels: Vec<Arc<Labels>> = (0..4).map(|_| Arc::new(labels(chance))).collect();
        let count = 1 + chance.below(20);
        let facts = (0..count).map(|n| {
            let labels = Arc::clone(&labels[usize::try_from(chance.below(4)).unwrap()]);
            (h(&format!("p{n}")), PlayerFacts { labels, room: room(chance) })
        });
        let facts: BTreeMap<_, _> = facts.collect();
        let mut ground = Ground::default();
        ground.load(facts.clone());
        let (told, drained, taken) = Default::default();
        Self { facts, told, drained, taken, ground }
    }

    fn host(&self, chance: &mut Chance) -> HostName {
        let nth = usize::try_from(chance.below(self.facts.len() as u64)).unwrap();
        self.facts.keys().nth(nth).unwrap().clone()
    }

    /// Something happens to a player.
    fn step(&mut self, chance: &mut Chance) {
        let host = self.host(chance);
        match chance.below(8) {
            0 => {
                self.told.remove(&host);
                self.ground.detached(&host);
            }
            1..=3 => {
                let (has_score, room) = (chance.below(4) > 0, room(chance));
                self.ground.attached(&host, Some(&offers(has_score)), room);
                self.told.insert(host, (has_score, room));
            }
            4 => {
                let drained = chance.below(3) == 0;
                self.ground.drained(&host, drained);
                match drained {
                    true => drop(self.drained.insert(host)),
                    false => drop(self.drained.remove(&host)),
                }
            }
            _ => {
                let service = service(chance.below(4));
                let need = (chance.below(3) > 0).then(|| need(chance));
                self.ground.take(&host, &service, need);
                let taken = self.taken.entry(host).or_default();
                match need {
                    Some(need) => drop(taken.insert(service, need)),
                    None => drop(taken.remove(&service)),
                }
            }
        }
    }

    fn used(&self, host: &HostName) -> Need {
        let taken = self.taken.get(host).into_iter().flat_map(BTreeMap::values);
        taken.fold(Need::default(), |all, need| all.plus(*need))
    }

    fn may_be_chosen(&self, host: &HostName, wish: &Wish) -> bool {
        let labels = &self.facts[host].labels;
        let suits = wish.rule.require.iter().all(|(key, value)| labels.get(key) == Some(value));
        let in_zone = match &wish.layout {
            Layout::Count(_) => true,
            Layout::Zones(zones) => labels.get("zone").is_some_and(|zone| zones.contains_key(zone)),
        };
        let is_open = self.told.get(host).is_some_and(|(has_score, _)| *has_score);
        let is_free = self.taken.get(host).is_none_or(|it| !it.contains_key(&wish.service));
        let told = self.told.get(host).map(|(_, room)| *room).unwrap_or_default();
        let fits = self.used(host).plus(wish.need).fits(self.facts[host].room.least(told));
        suits && in_zone && is_open && !self.drained.contains(host) && is_free && fits
    }

    fn zone(&self, host: &HostName) -> Option<LabelValue> {
        self.facts[host].labels.get("zone").cloned()
    }

    /// A ground of the same players and instances, made anew in another order.
    fn made_anew(&self) -> Ground {
        let mut ground = Ground::default();
        ground.load(self.facts.clone());
        for (host, taken) in &self.taken {
            for (service, need) in taken.iter().rev() {
                ground.take(host, service, Some(*need));
            }
        }
        for host in &self.drained {
            ground.drained(host, true);
        }
        for (host, (has_score, room)) in self.told.iter().rev() {
            ground.attached(host, Some(&offers(*has_score)), *room);
        }
        ground
    }
}

fn labels(chance: &mut Chance) -> Labels {
    let mut labels = Labels::new();
    for (key, most) in [("zone", 4), ("disk", 2)] {
        let value = chance.below(most);
        if value > 0 {
            let value = LabelValue::new(&value.to_string()).unwrap();
            labels.insert(LabelKey::new(key).unwrap(), value);
        }
    }
    labels
}

fn room(chance: &mut Chance) -> Room {
    let memory = chance.below(4);
    Room { memory: (memory > 0).then_some(ByteSize(memory * 10)), cpu: None }
}

fn need(chance: &mut Chance) -> Need {
    Need { memory: ByteSize(chance.below(3) * 5), cpu: 0 }
}

fn service(n: u64) -> ServiceName {
    ServiceName::new(&format!("s{n}")).unwrap()
}

fn offers(has_score: bool) -> Offers {
    let spec = if has_score { Ok(ScoreSpec::default()) } else { Err("disabled".to_owned()) };
    vec![ScoreOffer { name: ScoreName::new("run").unwrap(), hash: None, spec }].into()
}

fn wish(chance: &mut Chance) -> Wish {
    let layout = match chance.below(3) {
        0 => {
            let count = |chance: &mut Chance| u32::try_from(chance.below(4)).unwrap();
            let zones = ["1", "2"].map(|zone| (LabelValue::new(zone).unwrap(), count(chance)));
            Layout::Zones(zones.into())
        }
        _ => Layout::Count(u32::try_from(chance.below(12)).unwrap()),
    };
    let disk = (LabelKey::new("disk").unwrap(), LabelValue::new("1").unwrap());
    let require = if chance.below(3) == 0 { [disk].into() } else { Labels::new() };
    let spread = Spread::ALL[usize::try_from(chance.below(3)).unwrap()];
    let rule = PlaceRule { layout: layout.clone(), require, spread };
    let scores = vec![ScoreName::new("run").unwrap()];
    let same_scores = Vec::new();
    let (service, need) = (service(chance.below(4)), need(chance));
    Wish { service, scores, same_scores, rule, layout, need }
}

/// Chooses, and looks at each choice in its turn.
fn choose_and_look(fleet: &mut Fleet, wish: &Wish) {
    let standing: Vec<HostName> =
        fleet.facts.keys().filter(|host| has(fleet, host, &wish.service)).cloned().collect();
    let chosen = choose(&fleet.ground, wish, &standing, (100..).map(Ordinal));
    assert_eq!(chosen, choose(&fleet.made_anew(), wish, &standing, (100..).map(Ordinal)));
    let before = fleet.taken.clone();
    let by_zone = wish.rule.spread == Spread::Zone || matches!(wish.layout, Layout::Zones(_));
    let mut counts: BTreeMap<Option<LabelValue>, u32> = BTreeMap::new();
    for host in &standing {
        *counts.entry(fleet.zone(host)).or_default() += 1;
    }
    for (_, host) in &chosen.instances {
        assert!(fleet.may_be_chosen(host, wish), "{host}");
        let zone = fleet.zone(host);
        if wish.rule.spread == Spread::Zone && matches!(wish.layout, Layout::Count(_)) {
            let others = fleet.facts.keys().filter(|other| fleet.may_be_chosen(other, wish));
            let fewest = others.map(|other| counts.get(&fleet.zone(other)).copied().unwrap_or(0));
            assert_eq!(Some(counts.get(&zone).copied().unwrap_or(0)), fewest.min(), "{host}");
        }
        let rivals = fleet.facts.keys().filter(|rival| {
            fleet.may_be_chosen(rival, wish) && (!by_zone || fleet.zone(rival) == zone)
        });
        let instances = |host: &HostName| before.get(host).map_or(0, BTreeMap::len);
        let alike = |rival: &&HostName| {
            let bare = |host: &HostName| fleet.used(host) == Need::default();
            bare(host) && bare(rival)
        };
        for rival in rivals.filter(alike) {
            match wish.rule.spread {
                Spread::Pack => assert!(instances(rival) <= instances(host), "{host}, {rival}"),
                _ => assert!(instances(rival) >= instances(host), "{host}, {rival}"),
            }
        }
        *counts.entry(zone).or_default() += 1;
        fleet.taken.entry(host.clone()).or_default().insert(wish.service.clone(), wish.need);
    }
    for (zone, count) in &chosen.missing {
        let mut others = fleet.facts.keys().filter(|host| {
            fleet.may_be_chosen(host, wish) && (zone.is_none() || fleet.zone(host) == *zone)
        });
        assert_eq!(others.next(), None, "{count} are missing in {zone:?}");
    }
    for (_, host) in &chosen.instances {
        fleet.ground.take(host, &wish.service, Some(wish.need));
    }
    let of_part = |zone: Option<&LabelValue>| -> u32 {
        let counts = counts.iter().filter(|(of, _)| zone.is_none() || of.as_ref() == zone);
        counts.map(|(_, count)| *count).sum()
    };
    for (zone, wanted) in wish.layout.parts() {
        let missing = chosen.missing.iter().find(|(of, _)| of.as_ref() == zone);
        let missing = missing.map_or(0, |(_, count)| *count);
        assert!(of_part(zone) + missing >= wanted, "{zone:?}");
    }
}

fn has(fleet: &Fleet, host: &HostName, service: &ServiceName) -> bool {
    fleet.taken.get(host).is_some_and(|taken| taken.contains_key(service))
}

/// Takes those that are too many, and looks at what is left.
fn take_and_look(fleet: &Fleet, wish: &Wish, chance: &mut Chance) {
    let standing: Vec<Standing> = fleet
        .facts
        .keys()
        .filter(|host| has(fleet, host, &wish.service))
        .zip(1..)
        .map(|(host, n)| Standing {
            host: host.clone(),
            ordinal: Ordinal(n),
            is_ready: chance.below(3) > 0,
        })
        .collect();
    let gone: BTreeSet<HostName> = surplus(&fleet.ground, wish, &standing).into_iter().collect();
    for (zone, wanted) in wish.layout.parts() {
        let of_part =
            standing.iter().filter(|one| zone.is_none() || fleet.zone(&one.host).as_ref() == zone);
        let (went, stay): (Vec<_>, Vec<_>) = of_part.partition(|one| gone.contains(&one.host));
        let most = usize::try_from(wanted).unwrap();
        assert_eq!(stay.len(), most.min(went.len() + stay.len()), "{zone:?}");
        let sick_stay = stay.iter().any(|one| !one.is_ready);
        assert!(!sick_stay || went.iter().all(|one| !one.is_ready), "a ready one goes first");
    }
}

#[test]
fn whatever_the_fleet_the_best_players_are_chosen() {
    for seed in 0..2_000 {
        let told = std::panic::catch_unwind(|| {
            let mut chance = Chance(seed);
            let mut fleet = Fleet::new(&mut chance);
            for _ in 0..40 {
                fleet.step(&mut chance);
                fleet.ground.audit().unwrap();
            }
            for _ in 0..4 {
                let wish = wish(&mut chance);
                choose_and_look(&mut fleet, &wish);
                take_and_look(&fleet, &wish, &mut chance);
            }
        });
        assert!(told.is_ok(), "seed {seed}");
    }
}
