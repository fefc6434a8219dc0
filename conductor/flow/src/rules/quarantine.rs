//! Whether a player's claims agree with the store, and what becomes of one whose claims do not.
//!
//! A player that has had more orders than the store has issued to it proves that the store is an
//! old copy, restored from a backup. From then on nothing is sent to anybody, until an operator
//! says to go on from it. Only proof can have that effect. What a player claims without proof
//! concerns that player alone (SECURITY.md):
//!
//! | the player shows or claims | then |
//! |---|---|
//! | nothing beyond what the store has issued | it works |
//! | proof of a later term, of a higher order, or of a flow that the store does not know | the store is an old copy; after a recovery that the player has not heard of, the store catches up |
//! | any of these without proof | the player is quarantined |
//!
//! A quarantined player keeps its session, gets nothing, and counts as absent. Its reports about
//! attempts that this store sent to it are accepted. Quarantine is not recorded: each attach
//! decides anew whether the player is quarantined, and an operator can release it.

use orchestra_model::{
    FlowId, HostSet, TaskState,
    delivery::{AttemptKey, OrderNumber, PlayerSnapshot, Term},
    proof::Proof,
    record::Record,
};

use crate::{
    Engine,
    answer::{self, Rejection, ReplyTo},
    effect::CloseReason,
    ids::PlayerIx,
    rules::recover::SKIPPED,
    tables::quarantine::Quarantine,
};

/// One attempt that a snapshot mentions.
struct Claimed {
    key: AttemptKey,
    order: OrderNumber,
    proof: Option<Proof>,
}

/// What a snapshot proves: the highest of each kind of number.
#[derive(Debug, Default)]
pub(crate) struct Proven {
    order: OrderNumber,
    term: Term,
    flow: Option<FlowId>,
}

impl Proven {
    fn add(&mut self, order: OrderNumber, flow: Option<FlowId>, proof: &Proof) {
        self.order = self.order.max(order);
        self.term = self.term.max(proof.term);
        self.flow = self.flow.max(flow);
    }
}

impl Engine {
    /// Compares a snapshot with the store. Returns what it proves, and why its player is to be
    /// quarantined, if it claims more than that. Changes nothing.
    pub(crate) fn judge(
        &mut self,
        ix: PlayerIx,
        snapshot: &PlayerSnapshot,
    ) -> (Proven, Option<Quarantine>) {
        let claimed = self.claimed(snapshot);
        let mut proven = Proven::default();
        if let Some(evidence) = &snapshot.evidence {
            let flow = evidence.attempt.map(|attempted| attempted.job.flow);
            proven.add(evidence.order, flow, &evidence.proof);
        }
        for Claimed { key, order, proof } in &claimed {
            if let Some(proof) = proof {
                proven.add(*order, Some(key.job.flow), proof);
            }
        }
        let quarantine = self.doubt(ix, snapshot, &claimed, &proven);
        (proven, quarantine)
    }

    fn claimed(&self, snapshot: &PlayerSnapshot) -> Vec<Claimed> {
        let live = snapshot.live.iter();
        let live = live.map(|live| Claimed { key: live.key, order: live.order, proof: live.proof });
        let settled = snapshot.settled.iter();
        let settled = settled.map(|of| Claimed { key: of.key, order: of.order, proof: of.proof });
        live.chain(settled).filter(|claimed| claimed.key.store == self.store).collect()
    }

    /// Returns whether what is proven shows that the store is an old copy: a later term, or more
    /// than the store knows although the player has heard of the last recovery. If so, nothing is
    /// sent from now on.
    pub(crate) fn note_old_copy(
        &mut self,
        ix: PlayerIx,
        snapshot: &PlayerSnapshot,
        proven: &Proven,
    ) {
        let (is_ahead, unknown) = self.is_ahead(ix, proven);
        let has_heard = snapshot.term >= self.recovered.term;
        let is_old_copy = proven.term > self.term || (is_ahead && has_heard);
        if !is_old_copy {
            return;
        }
        let mut why = format!(
            "player {} has proof of order {} and of term {}; this store has issued order {} to it, and \
             is at term {}",
            self.roster.host(ix),
            proven.order,
            proven.term.0,
            self.roster[ix].last_order(),
            self.term.0,
        );
        if let Some(flow) = unknown {
            why.push_str(&format!(", and knows no flow {flow}"));
        }
        self.find_stale(why);
    }

    /// Lets the store catch up with what is proven, after a recovery that the player has not heard
    /// of. The player's scores have to be known before, because they say what may have changed its
    /// host.
    pub(crate) fn catch_up_with(
        &mut self,
        ix: PlayerIx,
        snapshot: &PlayerSnapshot,
        proven: &Proven,
    ) {
        let (is_ahead, unknown) = self.is_ahead(ix, proven);
        if is_ahead && proven.term <= self.term && snapshot.term < self.recovered.term {
            self.catch_up(ix, proven.order, unknown);
        }
    }

    /// Whether more is proven than the store knows, and a proven flow that it does not know.
    fn is_ahead(&self, ix: PlayerIx, proven: &Proven) -> (bool, Option<FlowId>) {
        let unknown = proven.flow.filter(|flow| *flow >= self.next_flow);
        let is_ahead = proven.order > self.roster[ix].last_order() || unknown.is_some();
        (is_ahead, unknown)
    }

    /// Sends nothing from now on, for this reason. If nothing was sent already, the first reason is
    /// kept.
    pub(crate) fn find_stale(&mut self, why: String) {
        self.stale.get_or_insert(why);
    }

    /// After a recovery: the player had orders that this store has forgotten. Its numbers go on
    /// above those. Any task that waited for it then may have run in the forgotten time, so it is
    /// `lost`.
    fn catch_up(&mut self, ix: PlayerIx, order: OrderNumber, unknown: Option<FlowId>) {
        if let Some(flow) = unknown.filter(|flow| *flow < FlowId::MAX) {
            self.next_flow = flow.next();
            self.put(Record::NextFlow(self.next_flow));
        }
        self.roster.change(ix, |player| player.raise_last_order(order));
        for task in self.waiting_for(|player| player == ix) {
            if task.job().flow < self.recovered.half_known {
                self.suspect(ix, task);
                self.finish(
                    task,
                    TaskState::Lost,
                    Some("it may have run in the time that the restored store has forgotten"),
                );
            }
        }
    }

    /// Why the player is to be doubted, if it is: what it claims beyond what the store has issued,
    /// and does not prove.
    fn doubt(
        &mut self,
        ix: PlayerIx,
        snapshot: &PlayerSnapshot,
        claimed: &[Claimed],
        proven: &Proven,
    ) -> Option<Quarantine> {
        // A tolerated attempt that the player claims no more need not be tolerated any longer.
        let is_claimed = |key: &AttemptKey| claimed.iter().any(|claimed| claimed.key == *key);
        self.roster.change(ix, |player| player.retain_tolerated(is_claimed));
        let player = &self.roster[ix];
        // What is proven was issued, whether or not the store remembers it.
        let last = player.last_order().max(proven.order);
        let next_flow = proven.flow.map_or(self.next_flow, |flow| self.next_flow.max(flow.next()));
        let is_unfounded = |claimed: &&Claimed| {
            let is_beyond = claimed.order > last || claimed.key.job.flow >= next_flow;
            is_beyond && claimed.proof.is_none() && !player.tolerated().contains(&claimed.key)
        };
        let attempts: Vec<&Claimed> = claimed.iter().filter(is_unfounded).collect();
        let mut why = Vec::new();
        if snapshot.mark > last {
            why.push(format!("order {} of {last}", snapshot.mark));
        }
        if snapshot.term > self.term.max(proven.term) {
            why.push(format!("term {} of {}", snapshot.term.0, self.term.0));
        }
        if let Some(first) = attempts.first() {
            why.push(format!("attempt {} by order {}", first.key, first.order));
        }
        if why.is_empty() {
            return None;
        }
        let orders = attempts.iter().map(|claimed| claimed.order);
        Some(Quarantine {
            why: format!("it claims, without proof, {}", why.join(", and ")),
            highest: orders.chain([snapshot.mark]).max().unwrap_or_default(),
            term: snapshot.term,
            attempts: attempts.iter().map(|claimed| claimed.key).collect(),
        })
    }

    /// Quarantines a player that is attached, because it claims to have seen a term that this store
    /// never had.
    pub(crate) fn doubt_term(&mut self, ix: PlayerIx, seen: Term) {
        if !self.roster[ix].attached() {
            return;
        }
        let quarantine = Quarantine {
            why: format!("it claims, without proof, term {} of {}", seen.0, self.term.0),
            highest: self.roster[ix].last_order(),
            term: seen,
            attempts: Vec::new(),
        };
        self.roster.quarantine(ix, self.now, quarantine);
        self.note_absence(ix);
        self.tell_away(ix);
    }

    /// Releases players from quarantine, whatever they claimed: what is in flight to them is
    /// `lost`, and their numbers go on above the highest that they claim. Either all of them are
    /// released, or none.
    pub(crate) fn release_players(
        &mut self,
        reply: ReplyTo<answer::ReleasedPlayers>,
        hosts: &HostSet,
    ) {
        let unknown = hosts.unknown(|host| self.roster.member(host).is_some());
        if !unknown.is_empty() {
            return self.reject(reply, Rejection::UnknownPlayers(unknown));
        }
        let named = hosts.iter().filter_map(|host| self.roster.member(host));
        let meant: Vec<PlayerIx> =
            named.filter(|ix| self.roster[*ix].quarantine().is_some()).collect();
        let beyond = meant.iter().filter(|ix| !self.can_reach(**ix));
        let beyond: Vec<_> = beyond.map(|ix| self.host(*ix)).collect();
        if !beyond.is_empty() {
            let beyond = HostSet::from_names(beyond);
            return self.reject(reply, Rejection::OutOfReach(beyond));
        }
        let mut lost = 0;
        for ix in &meant {
            lost += self.release_player(*ix);
        }
        let hosts = HostSet::from_names(meant.iter().map(|ix| self.host(*ix)));
        self.answer(reply, answer::ReleasedPlayers { hosts, lost });
    }

    /// Whether numbers can go on above what a player claims: it claims at most [`SKIPPED`] orders
    /// more than this store has issued, so that it cannot use numbers up, and no term above this
    /// store's.
    fn can_reach(&self, ix: PlayerIx) -> bool {
        let player = &self.roster[ix];
        player.quarantine().is_some_and(|quarantine| {
            quarantine.highest.0.saturating_sub(player.last_order().0) <= SKIPPED
                && quarantine.term <= self.term
        })
    }

    /// Ends a player's quarantine and its session. Returns how many tasks are lost by that.
    fn release_player(&mut self, ix: PlayerIx) -> u32 {
        let in_flight = self.roster[ix].in_flight().to_vec();
        for flying in &in_flight {
            let why = "its player was released from quarantine";
            self.finish(flying.task, TaskState::Lost, Some(why));
        }
        let (record, session) = self.roster.change(ix, |player| {
            player.let_claims_pass();
            (player.record(), player.session())
        });
        self.put(record);
        if let Some(session) = session {
            self.detach(ix, session);
            self.close(ix, session, CloseReason::Released);
        }
        u32::try_from(in_flight.len()).unwrap_or(u32::MAX)
    }
}
