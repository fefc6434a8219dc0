//! The table of players: who belongs to the fleet, and who is attached.
//!
//! A player never leaves the table, for history names it; what leaves is its membership.

use std::collections::BTreeMap;

use orchestra_model::{
    HostName, HostSet, Timestamp,
    delivery::{PlayerSnapshot, SpoolId},
    hostset::natural_order,
    record::{Drain, PlayerRecord},
};

use crate::{input::SessionId, player::Player};

/// A player's place in the engine's table: stable while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayerIx(pub(crate) u32);

impl PlayerIx {
    /// The index in the table, for those who keep tables of their own beside it.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table of players.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    players: Vec<Player>,
    by_host: BTreeMap<HostName, PlayerIx>,
    members: u32,
    attached: u32,
}

impl Roster {
    /// The player of that name, if the players file names it.
    pub fn member(&self, host: &HostName) -> Option<PlayerIx> {
        self.by_host.get(host).copied().filter(|ix| self[*ix].member)
    }

    /// The player of that name, also where the players file names it no more.
    pub(crate) fn known(&self, host: &HostName) -> Option<PlayerIx> {
        self.by_host.get(host).copied()
    }

    /// The place of a player among targets in host-set order.
    pub(crate) fn place_among(&self, targets: &[PlayerIx], player: PlayerIx) -> Option<u32> {
        let name = self.host(player).as_str();
        let by_name = |target: &PlayerIx| natural_order(self.host(*target).as_str(), name);
        let place = targets.binary_search_by(by_name).ok()?;
        u32::try_from(place).ok()
    }

    /// Who drained a player, if somebody did.
    pub fn drained(&self, player: PlayerIx) -> Option<&Drain> {
        self[player].drained.as_deref()
    }

    /// The name of a player.
    pub fn host(&self, player: PlayerIx) -> &HostName {
        &self[player].host
    }

    /// How many players the players file names.
    pub fn members(&self) -> u32 {
        self.members
    }

    /// How many of them are attached.
    pub fn attached(&self) -> u32 {
        self.attached
    }

    /// The session of a player.
    pub fn session(&self, player: PlayerIx) -> Option<SessionId> {
        self[player].session
    }

    /// When its last session ended; `None` while attached, or if it never was.
    pub fn detached_at(&self, player: PlayerIx) -> Option<Timestamp> {
        self[player].detached_at
    }

    /// How many orders are out to a player, and how many it takes.
    pub fn load(&self, player: PlayerIx) -> (u32, u32) {
        let player = &self[player];
        (u32::try_from(player.in_flight.len()).unwrap_or(u32::MAX), player.max_tasks)
    }

    /// The spool that answered last.
    pub fn spool(&self, player: PlayerIx) -> Option<SpoolId> {
        self[player].spool
    }

    /// Every member, in the order of their first mention.
    pub fn iter(&self) -> impl Iterator<Item = PlayerIx> {
        self.indices().filter(|ix| self[*ix].member)
    }

    pub(crate) fn indices(&self) -> impl Iterator<Item = PlayerIx> + use<> {
        (0..u32::try_from(self.players.len()).unwrap_or(u32::MAX)).map(PlayerIx)
    }

    /// The player of that name, member or not, made if it was never heard of.
    pub(crate) fn intern(&mut self, host: &HostName) -> PlayerIx {
        if let Some(ix) = self.by_host.get(host) {
            return *ix;
        }
        let ix = PlayerIx(u32::try_from(self.players.len()).unwrap_or(u32::MAX));
        self.players.push(Player::new(host.clone()));
        self.by_host.insert(host.clone(), ix);
        ix
    }

    /// Held against a players file: the hosts in it that are no members, and the members that it
    /// does not name.
    pub(crate) fn compare<'a>(&self, hosts: &'a HostSet) -> (Vec<&'a HostName>, Vec<PlayerIx>) {
        let mut joining = Vec::new();
        let mut named = vec![false; self.players.len()];
        for host in hosts {
            match self.member(host) {
                Some(player) => named[player.index()] = true,
                None => joining.push(host),
            }
        }
        let gone = self.iter().filter(|player| !named[player.index()]);
        (joining, gone.collect())
    }

    pub(crate) fn set_member(&mut self, player: PlayerIx, member: bool) {
        let was = std::mem::replace(&mut self[player].member, member);
        match (was, member) {
            (false, true) => self.members += 1,
            (true, false) => self.members -= 1,
            _ => {}
        }
    }

    /// Opens the player's session, which had ended, and takes over what it said of itself.
    pub(crate) fn attach(&mut self, ix: PlayerIx, session: SessionId, snapshot: &PlayerSnapshot) {
        let player = &mut self[ix];
        player.scores = snapshot.scores.clone();
        player.max_tasks = snapshot.max_tasks.max(1);
        player.kill_grace = snapshot.kill_grace;
        player.said_busy = false;
        player.detached_at = None;
        player.session = Some(session);
        self.attached += 1;
    }

    /// Ends the player's session.
    pub(crate) fn detach(&mut self, ix: PlayerIx, now: Timestamp) -> Option<SessionId> {
        let player = &mut self[ix];
        let ended = player.session.take()?;
        player.detached_at = Some(now);
        player.strangers.clear();
        self.attached -= 1;
        Some(ended)
    }

    /// Restores what the store remembers of a player.
    pub(crate) fn restore(&mut self, record: &PlayerRecord) {
        let ix = self.intern(&record.host);
        self.set_member(ix, !record.removed);
        let player = &mut self[ix];
        player.spool = record.spool;
        player.last_order = record.last_order;
        player.detached_at = record.detached_at;
        player.drained = record.drained.clone().map(Box::new);
    }
}

impl std::ops::Index<PlayerIx> for Roster {
    type Output = Player;

    fn index(&self, ix: PlayerIx) -> &Player {
        &self.players[ix.index()]
    }
}

impl std::ops::IndexMut<PlayerIx> for Roster {
    fn index_mut(&mut self, ix: PlayerIx) -> &mut Player {
        &mut self.players[ix.index()]
    }
}
