//! What a player may claim that is not true. Whatever it is, it concerns that player alone.

use orchestra_flow::Input;
use orchestra_model::{
    FlowId, HostName, HostSet, JobId,
    delivery::{
        AttemptKey, LiveAttempt, OrderNumber, PlayerSnapshot, Refusal, Report, SettledAttempt, Term,
    },
    proof::{Evidence, Mac, Proof},
};

use super::{STORE, World};
use crate::{chance::Chance, reference::Note};

/// A claim beyond what the store has issued.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lie {
    Mark(OrderNumber),
    Term(Term),
    Live(FlowId, OrderNumber),
    Settled(FlowId, OrderNumber),
    /// With a proof that nobody made.
    Proof(OrderNumber, Term),
}

impl Lie {
    /// A near miss, or far beyond anything.
    pub(crate) fn by_chance(chance: &mut Chance) -> Self {
        let far = [100, 900_000, 2_000_000, 1 << 50, u64::MAX];
        let number = *chance.pick(&far).unwrap() - chance.below(5) as u64;
        let order = OrderNumber(number);
        match chance.below(5) {
            0 => Self::Mark(order),
            1 => Self::Term(Term(number)),
            2 => Self::Live(FlowId(number), order),
            3 => Self::Settled(FlowId(number), OrderNumber(chance.below(3) as u64)),
            _ => Self::Proof(order, Term(number)),
        }
    }

    /// Says it in a snapshot.
    pub(super) fn spoil(self, said: &mut PlayerSnapshot) {
        let job = |flow| JobId { flow, slot: 1, job: 1 };
        let key = |flow| AttemptKey { store: STORE, job: job(flow), attempt: 1 };
        match self {
            Self::Mark(mark) => said.mark = mark,
            Self::Term(term) => said.term = term,
            Self::Live(flow, order) => {
                said.live.push(LiveAttempt {
                    key: key(flow),
                    order,
                    started_at: None,
                    proof: None,
                });
            }
            Self::Settled(flow, order) => {
                said.settled.push(SettledAttempt { key: key(flow), order, proof: None });
            }
            Self::Proof(order, term) => {
                let proof = Proof { term, mac: Mac([9; 16]) };
                (said.mark, said.term) = (order, term);
                said.evidence = Some(Evidence { order, attempt: None, proof });
                said.live.iter_mut().for_each(|live| live.proof = Some(proof));
            }
        }
    }
}

impl World {
    /// A player lies when it attaches next, which it does at once; or it says of an order that it has
    /// seen a later term.
    pub(super) fn lie(&mut self, host: &HostName, chance: &mut Chance) {
        if chance.percent(20) {
            return self.lie_about_term(host, chance);
        }
        self.lies.insert(host.clone(), Lie::by_chance(chance));
        self.come_back(host);
    }

    fn lie_about_term(&mut self, host: &HostName, chance: &mut Chance) {
        let Some(player) = self.conductor().engine.roster().member(host) else { return };
        let Some(session) = self.conductor().engine.roster().session(player) else { return };
        let seen = Term(chance.between(1, 1_000_000) as u64);
        let job = JobId { flow: FlowId(1), slot: 1, job: 1 };
        let refusal = Refusal::StaleTerm { seen, evidence: None };
        let report = Report::Refused {
            key: AttemptKey { store: STORE, job, attempt: 1 },
            order: OrderNumber(1),
            refusal,
        };
        self.tell(|| format!("  {host} lies: term {}", seen.0));
        let report = Box::new(report);
        let listens = self.conductor().engine.stale().is_none();
        let note = Note::Reported(host.clone(), session, report.clone(), listens);
        self.take(note, Input::Reported { player, session, report });
    }

    /// A player dials anew, with what it really knows unless it lies.
    pub(super) fn come_back(&mut self, host: &HostName) {
        if self.roster.contains(host) {
            self.dial(host);
        }
    }

    /// Somebody has looked at the hosts that are quarantined: they come back and do not lie.
    pub(super) fn correct_liars(&mut self) {
        self.lies.clear();
        for host in self.quarantined() {
            self.come_back(&host);
        }
    }

    /// Somebody goes on with quarantined players, whatever they claim.
    pub(super) fn release_liars(&mut self) {
        let hosts = HostSet::from_names(self.quarantined());
        if !hosts.is_empty() {
            self.ask(Note::Other, |reply| Input::ReleasePlayersRequested { reply, hosts });
        }
    }

    fn quarantined(&self) -> Vec<HostName> {
        let roster = self.conductor().engine.roster();
        roster.quarantined().map(|player| roster.host(player).clone()).collect()
    }
}
