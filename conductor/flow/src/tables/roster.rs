//! The table of players: who belongs to the fleet, and who is attached.
//!
//! A player never leaves the table, for history names it; what leaves is its membership.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    HostName, HostSet, Timestamp,
    delivery::{PlayerSnapshot, SpoolId},
    hostset::natural_order,
    record::{Drain, PlayerRecord},
};

use crate::{
    ids::{PlayerIx, SessionId},
    tables::{player::Player, quarantine::Quarantine},
};

/// The table of players.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    players: Vec<Player>,
    by_host: BTreeMap<HostName, PlayerIx>,
    members: u32,
    attached: u32,
    quarantined: BTreeSet<PlayerIx>,
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

    /// How many of them have a session, quarantined ones among them.
    pub fn attached(&self) -> u32 {
        self.attached
    }

    /// Those that have a session and get nothing, because they claim what they cannot prove.
    pub fn quarantined(&self) -> impl ExactSizeIterator<Item = PlayerIx> + '_ {
        self.quarantined.iter().copied()
    }

    /// Why a player is quarantined, if so.
    pub fn why_quarantined(&self, player: PlayerIx) -> Option<&str> {
        self[player].quarantine.as_deref().map(|quarantine| quarantine.why.as_str())
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

    /// Opens the player's session, which had ended, and quarantines it: what it said of itself is not
    /// taken over.
    pub(crate) fn attach_quarantined(
        &mut self,
        ix: PlayerIx,
        session: SessionId,
        quarantine: Quarantine,
    ) {
        self[ix].session = Some(session);
        self.attached += 1;
        self.set_quarantine(ix, Some(quarantine));
    }

    /// Quarantines a player that is there. It counts as absent from now on.
    pub(crate) fn quarantine(&mut self, ix: PlayerIx, now: Timestamp, quarantine: Quarantine) {
        let player = &mut self[ix];
        player.detached_at = Some(now);
        player.strangers.clear();
        self.set_quarantine(ix, Some(quarantine));
    }

    /// Ends the player's session, and its quarantine. One that counted as absent already has been so
    /// since then.
    pub(crate) fn detach(&mut self, ix: PlayerIx, now: Timestamp) {
        let player = &mut self[ix];
        if player.attached() {
            player.detached_at = Some(now);
            player.strangers.clear();
        }
        if player.session.take().is_some() {
            self.attached -= 1;
        }
        self.set_quarantine(ix, None);
    }

    fn set_quarantine(&mut self, ix: PlayerIx, quarantine: Option<Quarantine>) {
        match quarantine.is_some() {
            true => self.quarantined.insert(ix),
            false => self.quarantined.remove(&ix),
        };
        self[ix].quarantine = quarantine.map(Box::new);
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
