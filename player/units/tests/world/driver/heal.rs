//! What has to come about when nothing goes wrong any more.

use orchestra_model::{
    FlowId, JobId, Millis, Params, ServiceName,
    delivery::{AttemptKey, OrderNumber},
    service::{RestartRule, UnitState, Wanted},
};
use orchestra_units::{Input, Ordered, Run, RunEvent, UnitKey};

use super::{STORES, World};

impl World {
    /// The world is whole again: what is wanted to run is ready in bounded steps, and then nobody is
    /// woken.
    pub(crate) fn heal(&mut self) {
        self.rewrite();
        self.perform();
        self.whole_from = Some(OrderNumber(self.orders + 1));
        let units: Vec<UnitKey> = self.units.state().units().keys().cloned().collect();
        for unit in units {
            let known = self.units.state().units()[&unit].clone();
            self.orders += 1;
            let order = OrderNumber(self.orders);
            let job = JobId { flow: FlowId(self.orders), slot: 1, job: 1 };
            let key = AttemptKey { store: unit.store, job, attempt: 1 };
            let mut asked = (*known.asked).clone();
            asked.wanted = Wanted::Running;
            // A version has one content, also where its parameters are gone.
            asked.params = Params::from_pairs([("v", asked.version.to_string())]).unwrap();
            // What had ended before is told only now.
            asked.upkeep.restart = RestartRule::default();
            asked.upkeep.ready.deadline = Millis::minutes(5);
            // It would be asked for ever.
            asked.upkeep.health = None;
            // Nobody renews any more.
            asked.upkeep.at_most_one = None;
            // What others have reserved may leave no room.
            asked.upkeep.resources = None;
            asked.deadline = Millis::minutes(60);
            let is_here = |other: &ServiceName| {
                let other = UnitKey { store: unit.store, service: other.clone() };
                self.units.state().units().contains_key(&other)
            };
            // Else it would wait for it for ever.
            asked.upkeep.linked_to.take_if(|other| !is_here(other));
            let ordered = Ordered { key, order, unit: asked, keep_params: true };
            self.sent.push(ordered.clone());
            self.give_order(&ordered);
        }
        for step in 0.. {
            assert!(step < 1_000, "it does not come to rest: {:?} {:?}", self.units, self.work);
            if !self.units.unwritten().is_empty() {
                self.write();
            }
            self.perform();
            if let Some(work) = self.work.pop() {
                self.do_work(work, false);
            } else if !self.say_ready() {
                let Some(wake) = self.units.next_wake() else { break };
                self.host.boot_ms = self.host.boot_ms.max(wake);
                self.handle(Input::Woken);
            }
        }
        for report in STORES.iter().flat_map(|store| self.units.reports(*store)) {
            assert_eq!(report.state, UnitState::Ready, "{report:?}");
        }
        for (unit, run, _) in self.units.runs() {
            let order = &self.units.state().units()[unit].asked;
            let given = &self.host.given[&(unit.clone(), run)];
            assert_eq!(*given, order.params, "{unit}: what it has is what was ordered");
        }
        let watches = self.units.state().watches();
        assert!(watches.is_empty(), "every attempt has the end of its watch: {watches:?}");
        let told = self.told.clone();
        self.attach();
        assert_eq!(told, self.told, "what was told last is how it is");
    }

    /// A process that has not said that it is ready says so, and wants no watchdog.
    fn say_ready(&mut self) -> bool {
        let quiet = |run: &Run| run.is_up() && (run.ready.is_none() || run.watchdog.is_some());
        let found = self.units.runs().find(|(_, _, run)| quiet(run));
        let Some((unit, run)) = found.map(|(unit, run, _)| (unit.clone(), run)) else {
            return false;
        };
        self.tell(unit.clone(), run, RunEvent::ReadyTold);
        self.tell(unit, run, RunEvent::WatchdogSet(Millis(0)));
        true
    }
}
