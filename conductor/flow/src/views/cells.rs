//! What the engine tells of cells and of the hosts that hold them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Deployments, FlowId, JobId,
    ledger::{CellStatus, Holder},
    record::Impact,
};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{player::Player, task::TaskRef},
};

impl Engine {
    /// The deployments in force.
    pub fn deployments(&self) -> &Arc<Deployments> {
        self.roster.ledger().deployments()
    }

    /// The status of at most `limit` cells from index `from` on, in the order of their keys. Looks
    /// at each of their hosts.
    pub fn cell_status(&self, from: usize, limit: usize) -> Vec<CellStatus> {
        let cells = self.deployments().cells();
        let end = from.saturating_add(limit).min(cells.as_slice().len());
        let page = cells.iter().take(end).skip(from);
        page.map(|(id, cell)| {
            let players = cell.hosts.iter().filter_map(|host| self.roster.known(host));
            let holders = players.filter(|ix| self.roster[*ix].holds());
            let mut waiting: BTreeMap<FlowId, u32> = BTreeMap::new();
            let ledger = self.roster.ledger();
            let mut all: BTreeSet<PlayerIx> = ledger.waiting_for(id).collect();
            // Players among these that hold nothing any more wait for room.
            all.extend(ledger.waiting_to_move(id).filter(|ix| self.roster[*ix].holds()));
            for ix in all {
                for flow in self.flows_waiting_at(ix) {
                    *waiting.entry(flow).or_default() += 1;
                }
            }
            CellStatus {
                key: cell.key.clone(),
                hosts: u32::try_from(cell.hosts.len()).unwrap_or(u32::MAX),
                limit: cell.limit,
                holders: holders.map(|ix| self.holder(ix)).collect(),
                waiting,
            }
        })
        .collect()
    }

    fn flows_waiting_at(&self, ix: PlayerIx) -> BTreeSet<FlowId> {
        let entries = self.roster[ix].parked_changes();
        let waits = |entry: &TaskRef| self.job(entry.job()).is_some_and(|j| j.awaits(entry.index));
        entries.filter(waits).map(|entry| entry.job().flow).collect()
    }

    /// A host that holds its cells, and what it holds them for.
    pub(crate) fn holder(&self, ix: PlayerIx) -> Holder {
        let player: &Player = &self.roster[ix];
        let runs = player.in_flight().iter().filter(|flying| flying.impact == Impact::Holds);
        let mut jobs: BTreeSet<JobId> = runs.map(|flying| flying.task.job()).collect();
        jobs.extend(player.down().as_ref().map(|down| down.job));
        Holder {
            host: player.host().clone(),
            jobs: jobs.into_iter().collect(),
            since: player.held_since(),
            down: player.down().as_ref().map(|down| down.state),
            units: player.units_down().to_vec(),
            absence: self.holder_absence(ix),
        }
    }

    /// Every host that holds its cells, also if it is in none.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        let holds = |ix: &PlayerIx| self.roster[*ix].holds();
        self.roster.indices().filter(holds).map(|ix| self.holder(ix))
    }
}
