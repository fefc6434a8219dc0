//! Orders: new ones, and those that were sent before.

use orchestra_model::{
    Asker, ByteSize, FlowId, JobId, Millis, Params, ScoreName, ServiceName,
    delivery::{AttemptKey, OrderNumber},
    score::ScoreHash,
    service::{
        AtMostOne, HealthRule, Instance, MilliCores, Ordinal, Placement, Probe, ReadyRule,
        ReadySign, ReloadRule, Resources, RestartRule, RestartWhen, ServiceVersion, StopRule,
        Target, UnitOrder, Upkeep, Wanted,
    },
};
use orchestra_units::{Input, Ordered, UnitKey};

use super::{CAPACITY, STORES, World};
use crate::Dice;

impl World {
    pub(super) fn cancel(&mut self) {
        if let Some(order) = self.pick_sent() {
            self.handle(Input::Unwatched { key: order.key });
        }
    }

    fn pick_sent(&mut self) -> Option<Ordered> {
        let index = self.dice.below(self.sent.len() as u64);
        self.sent.get(usize::try_from(index).unwrap()).cloned()
    }

    /// A new order, or one that was sent before.
    pub(super) fn send_order(&mut self) {
        let again = self.dice.happens(25).then(|| self.pick_sent()).flatten();
        let order = match again {
            Some(mut order) => {
                if self.dice.happens(20) {
                    // This attempt comes by a further number.
                    self.orders += 1;
                    order.order = OrderNumber(self.orders);
                    self.sent.push(order.clone());
                }
                order
            }
            None => self.draw_order(),
        };
        self.give_order(&order);
    }

    pub(super) fn give_order(&mut self, order: &Ordered) {
        let unit = UnitKey { store: order.key.store, service: order.unit.service.clone() };
        let takes = self.reference.takes(&unit, order, &CAPACITY);
        let taken = self.units.order(self.host.now(), order.clone());
        self.heard = self.at();
        assert_eq!(taken.is_ok(), takes, "{taken:?} of {order:?} by {:?}", self.reference);
        if takes {
            if !order.keep_params {
                let kept = (order.order, order.unit.params.clone());
                self.host.memory.insert(unit.clone(), kept);
            }
            let at = self.at();
            self.reference.ordered(&unit, order, at);
        }
        self.follow(false);
    }

    fn draw_order(&mut self) -> Ordered {
        self.orders += 1;
        let dice = &mut self.dice;
        let store = dice.one_of(&STORES);
        let service = ServiceName::new(dice.one_of(&["web", "db"])).unwrap();
        let turns_easily = self.is_calm && dice.happens(70);
        if dice.happens(15) {
            self.placements += 1;
        }
        let fenced = if dice.happens(5) { 1 } else { 0 };
        let placement = Placement(1 + self.placements.saturating_sub(fenced));
        let (running, restarted) = (Wanted::Running, Wanted::Restarted);
        let signalled = Wanted::Signalled(dice.one_of(&[1, 10]));
        let wanted = [
            running,
            running,
            running,
            restarted,
            signalled,
            Wanted::Healthy,
            Wanted::Younger(Millis(dice.one_of(&[0, 1_000, 30_000]))),
            Wanted::Stopped,
            Wanted::Gone,
        ];
        let version = 1 + dice.below(2);
        // Often nothing is other than in the order before but the version and its parameters.
        let before = |sent: &&Ordered| sent.unit.service == service && sent.key.store == store;
        let before = self.sent.iter().rev().find(before).filter(|_| dice.happens(60));
        let mut upkeep =
            before.map_or_else(|| draw_upkeep(dice), |before| before.unit.upkeep.clone());
        if let Some(rule) = upkeep.health.as_mut().filter(|_| turns_easily) {
            (rule.every, rule.fall, rule.rise) = (Millis(1_000), 1, 1);
        }
        let placement = before.map_or(placement, |before| before.unit.instance.placement);
        if service.as_str() == "db" && before.is_none() && dice.happens(60) {
            upkeep.linked_to = ServiceName::new("web").ok();
        }
        let unit = UnitOrder {
            service,
            version: ServiceVersion(version),
            instance: Instance { ordinal: Ordinal(1), placement },
            wanted: dice.one_of(&wanted),
            score: ScoreName::new("run").unwrap(),
            score_hash: Some(ScoreHash([version as u8; 32])),
            audience: Asker::from_word("alice").unwrap(),
            params: Params::from_pairs([("v", version.to_string())]).unwrap(),
            upkeep,
            healthy_for: Millis(dice.one_of(&[0, 1_000, 10_000])),
            deadline: Millis(dice.one_of(&[15_000, 120_000])),
        };
        let job = JobId { flow: FlowId(self.orders), slot: 1, job: 1 };
        let (key, order) = (AttemptKey { store, job, attempt: 1 }, OrderNumber(self.orders));
        let ordered = Ordered { key, order, unit, keep_params: self.dice.happens(60) };
        self.sent.push(ordered.clone());
        ordered
    }
}

fn draw_upkeep(dice: &mut Dice) -> Upkeep {
    let when =
        [RestartWhen::Always, RestartWhen::Always, RestartWhen::OnFailure, RestartWhen::Never];
    let restart = RestartRule {
        when: dice.one_of(&when),
        first: Millis(dice.one_of(&[0, 0, 2_000])),
        max_delay: Millis(dice.one_of(&[150, 2_000, 60_000])),
        attempts: dice.one_of(&[None, None, Some(0), Some(1), Some(3)]),
        window: Millis(dice.one_of(&[5_000, 60_000])),
        stable_after: Millis(dice.one_of(&[1_000, 10_000])),
    };
    let check = Probe::Score(ScoreName::new("check").unwrap());
    let probe = match restart.when {
        RestartWhen::Always => Probe::Tcp(Target::Port(80)),
        RestartWhen::OnFailure | RestartWhen::Never => check,
    };
    let sign = match dice.below(4) {
        0 => ReadySign::Started,
        1 => ReadySign::Notify,
        2 => ReadySign::Fd(3),
        _ => ReadySign::Probe(probe.clone()),
    };
    let health = dice.happens(50).then(|| HealthRule {
        every: Millis(dice.one_of(&[1_000, 7_000])),
        fall: dice.one_of(&[1, 2, 3]),
        rise: dice.one_of(&[1, 2]),
        ..HealthRule::new(probe)
    });
    let ready = ReadyRule { sign, deadline: Millis(dice.one_of(&[4_000, 60_000])) };
    let linger = Millis(dice.one_of(&[0, 0, 3_000, 20_000]));
    let stop = StopRule { linger, signal: 15, grace: Millis(dice.one_of(&[0, 1_000, 30_000])) };
    let reserve = Some(ByteSize(dice.one_of(&[1, 15, 25]) << 20));
    let limited = Resources { reserve, processes: Some(20), ..Resources::NONE };
    let unenforced =
        Resources { cpu: Some(MilliCores(200)), reserve, enforced: false, ..Resources::NONE };
    let resources = dice.one_of(&[None, Some(limited), Some(limited), Some(unenforced)]);
    let reload = dice.one_of(&[None, Some(ReloadRule { signal: 1 })]);
    let at_most_one = dice.one_of(&[None, None, Some(AtMostOne { lease: Some(Millis(10_000)) })]);
    Upkeep { restart, ready, stop, resources, health, reload, at_most_one, ..Upkeep::default() }
}
