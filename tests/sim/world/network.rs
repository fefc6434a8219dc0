//! Connections between players and the conductor.
//!
//! What is said on one arrives late, twice, in another order, or not at all; and either side learns
//! only later that it is broken.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orchestra_flow::{Command, SessionId};
use orchestra_model::{
    HostName, ScoreName,
    delivery::{KnownEnd, PlayerSnapshot, Report, StoreId, Term},
};

/// From a player to the conductor.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    /// The first message: its whole state.
    Attach(Box<PlayerSnapshot>),
    Report(Box<Report<KnownEnd>>),
}

/// From the conductor to a player.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    /// The first message: the attach is taken.
    Welcome { store: StoreId },
    /// Of a conductor with this term; an order with the score of its job.
    Command { term: Term, command: Command, score: Option<ScoreName> },
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) host: HostName,
    pub(crate) up: VecDeque<Up>,
    pub(crate) down: VecDeque<Down>,
    /// The order that arrived last, which may arrive again.
    pub(crate) ordered: Option<Down>,
    /// Nothing new gets in. What is under way arrives, and then each side learns that it is over.
    pub(crate) broken: bool,
    /// The player has not heard that it is over.
    pub(crate) player_open: bool,
    /// The conductor has not.
    pub(crate) conductor_open: bool,
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<SessionId, Link>,
    /// Hosts that are cut off: what is said to and by them waits.
    pub(crate) cut_off: BTreeSet<HostName>,
    next: u64,
}

impl Network {
    /// Opens a connection, if the host is not cut off.
    pub(crate) fn open(&mut self, host: &HostName) -> Option<SessionId> {
        if self.cut_off.contains(host) {
            return None;
        }
        self.next += 1;
        let session = SessionId(self.next);
        let link = Link {
            host: host.clone(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            ordered: None,
            broken: false,
            player_open: true,
            conductor_open: true,
        };
        self.links.insert(session, link);
        Some(session)
    }

    /// The player says something; into a broken connection, in vain.
    pub(crate) fn say(&mut self, session: SessionId, message: Up) {
        if let Some(link) = self.links.get_mut(&session).filter(|link| !link.broken) {
            link.up.push_back(message);
        }
    }

    /// The conductor says something.
    pub(crate) fn tell(&mut self, session: SessionId, message: Down) {
        if let Some(link) = self.links.get_mut(&session).filter(|link| !link.broken) {
            link.down.push_back(message);
        }
    }

    /// Breaks a connection; so many messages of each direction still arrive.
    pub(crate) fn break_off(&mut self, session: SessionId, up: usize, down: usize) {
        if let Some(link) = self.links.get_mut(&session) {
            link.broken = true;
            link.up.truncate(up);
            link.down.truncate(down);
        }
    }

    /// One side is no more: nothing of what it is to hear arrives, and the other side learns of it
    /// after what is under way.
    pub(crate) fn close_at_player(&mut self, session: SessionId) {
        if let Some(link) = self.links.get_mut(&session) {
            link.broken = true;
            link.player_open = false;
            link.down.clear();
        }
    }

    pub(crate) fn close_at_conductor(&mut self, session: SessionId) {
        if let Some(link) = self.links.get_mut(&session) {
            link.broken = true;
            link.conductor_open = false;
            link.up.clear();
        }
    }

    /// Forgets connections that are over on both sides.
    pub(crate) fn sweep(&mut self) {
        self.links.retain(|_, link| link.player_open || link.conductor_open);
    }

    /// Connections on which something can arrive at the conductor: a message, or the end.
    pub(crate) fn heard_by_conductor(&self) -> Vec<SessionId> {
        let is_heard = |link: &Link| {
            link.conductor_open
                && !self.cut_off.contains(&link.host)
                && (!link.up.is_empty() || link.broken)
        };
        self.links.iter().filter(|(_, link)| is_heard(link)).map(|(id, _)| *id).collect()
    }

    /// Sessions of which their player has something to hear.
    pub(crate) fn heard_by_players(&self) -> Vec<SessionId> {
        let is_heard = |link: &Link| {
            link.player_open
                && !self.cut_off.contains(&link.host)
                && (!link.down.is_empty() || link.broken)
        };
        self.links.iter().filter(|(_, link)| is_heard(link)).map(|(id, _)| *id).collect()
    }
}
