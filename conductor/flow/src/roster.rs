//! Players: who belongs to the fleet, who is attached, what each can take, and which tasks wait
//! for it.
//!
//! A player never leaves the table, for history names it; what leaves is its membership. The
//! tasks parked on a player lie in one queue a score, so that finding the next that may start
//! looks at each score once, however many wait.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    HostName, Millis, ScoreName, Timestamp, WaitReason,
    delivery::{AttemptKey, OrderNumber, PlayerSnapshot, SpoolId},
    record::{Op, PlayerRecord, Record},
    score::{DEFAULT_TIMEOUT, ScoreOffer},
};

use crate::{input::SessionId, task::TaskRef};

/// A player's place in the engine's table: stable while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayerIx(pub(crate) u32);

impl PlayerIx {
    /// The index in the table, for those who keep tables of their own beside it.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A score's place in the table of score names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ScoreIx(u32);

/// What gates know of a score on one player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ScoreLimits {
    pub(crate) concurrency: Option<u32>,
    pub(crate) exclusive: bool,
    pub(crate) timeout: Millis,
}

/// A score that a player does not offer: the order is sent all the same, for the player alone
/// decides what it refuses.
const UNKNOWN: ScoreLimits =
    ScoreLimits { concurrency: None, exclusive: false, timeout: DEFAULT_TIMEOUT };

/// One player.
#[derive(Clone, Debug)]
pub struct Player {
    pub(crate) host: HostName,
    /// Whether the players file names it.
    pub(crate) member: bool,
    pub(crate) session: Option<SessionId>,
    /// When the last session ended; `None` while attached, or if it never was.
    pub(crate) detached_at: Option<Timestamp>,
    pub(crate) spool: Option<SpoolId>,
    pub(crate) last_order: OrderNumber,
    pub(crate) max_tasks: u32,
    pub(crate) kill_grace: Millis,
    scores: Arc<[(ScoreIx, ScoreLimits)]>,
    /// Orders that are out: at most `max_tasks`.
    pub(crate) in_flight: Vec<Flying>,
    /// Attempts that it runs and that no task of ours awaits: they take room all the same.
    pub(crate) strangers: Vec<AttemptKey>,
    /// It said that it is busy; nothing is sent before something ended there.
    pub(crate) said_busy: bool,
    parked: Vec<(ScoreIx, VecDeque<TaskRef>)>,
}

/// An order that is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flying {
    pub(crate) task: TaskRef,
    pub(crate) score: ScoreIx,
}

impl Player {
    fn new(host: HostName) -> Self {
        Self {
            host,
            member: false,
            session: None,
            detached_at: None,
            spool: None,
            last_order: OrderNumber(0),
            max_tasks: 1,
            kill_grace: Millis(0),
            scores: Arc::new([]),
            in_flight: Vec::new(),
            strangers: Vec::new(),
            said_busy: false,
            parked: Vec::new(),
        }
    }

    pub(crate) fn attached(&self) -> bool {
        self.session.is_some()
    }

    pub(crate) fn limits(&self, score: ScoreIx) -> ScoreLimits {
        self.scores
            .binary_search_by_key(&score, |(ix, _)| *ix)
            .map_or(UNKNOWN, |at| self.scores[at].1)
    }

    /// The first gate of this player that stops a task of `score`, if any: presence, credit,
    /// exclusiveness, the score's concurrency.
    pub(crate) fn gate(&self, score: ScoreIx) -> Option<WaitReason> {
        if !self.attached() {
            return Some(WaitReason::PlayerAbsent);
        }
        let taken = self.in_flight.len() + self.strangers.len();
        if self.said_busy || taken >= self.max_tasks as usize {
            return Some(WaitReason::PlayerBusy);
        }
        let limits = self.limits(score);
        let alone = |flying: &Flying| self.limits(flying.score).exclusive;
        if (limits.exclusive && taken > 0) || self.in_flight.iter().any(alone) {
            return Some(WaitReason::Exclusive);
        }
        let running = self.in_flight.iter().filter(|flying| flying.score == score).count();
        match limits.concurrency {
            Some(most) if running >= most as usize => Some(WaitReason::ScoreBusy),
            _ => None,
        }
    }

    /// Whether an exclusive task waits here for the player to become empty: newcomers then queue
    /// behind it, or it would wait for ever.
    pub(crate) fn exclusive_waits(&self) -> bool {
        self.parked.iter().any(|(score, _)| self.limits(*score).exclusive)
    }

    pub(crate) fn park(&mut self, score: ScoreIx, task: TaskRef) {
        match self.parked.iter_mut().find(|(ix, _)| *ix == score) {
            Some((_, queue)) => queue.push_back(task),
            None => self.parked.push((score, VecDeque::from([task]))),
        }
    }

    /// Takes the longest-waiting task whose score may start here. Where that is an exclusive one
    /// that has to wait until the player is empty, nothing overtakes it.
    pub(crate) fn unpark_next(&mut self) -> Option<TaskRef> {
        let (ix, score) = self
            .parked
            .iter()
            .enumerate()
            .filter(|(_, (score, _))| {
                matches!(self.gate(*score), None | Some(WaitReason::Exclusive))
            })
            .min_by_key(|(_, (_, queue))| queue.front().copied())
            .map(|(ix, (score, _))| (ix, *score))?;
        if self.gate(score).is_some() {
            return None;
        }
        let queue = &mut self.parked[ix].1;
        let task = queue.pop_front();
        if queue.is_empty() {
            self.parked.swap_remove(ix);
        }
        task
    }

    /// Everything that is parked here, in no particular order.
    pub(crate) fn parked(&self) -> impl Iterator<Item = TaskRef> {
        self.parked.iter().flat_map(|(_, queue)| queue.iter().copied())
    }

    /// Forgets the parked tasks for which `gone` holds.
    pub(crate) fn unpark(&mut self, gone: impl Fn(TaskRef) -> bool) {
        for (_, queue) in &mut self.parked {
            queue.retain(|task| !gone(*task));
        }
        self.parked.retain(|(_, queue)| !queue.is_empty());
    }

    pub(crate) fn record(&self) -> Op {
        Op::Put(Record::Player(PlayerRecord {
            host: self.host.clone(),
            spool: self.spool,
            last_order: self.last_order,
            detached_at: self.detached_at,
            removed: !self.member,
        }))
    }
}

/// The table of players and of score names.
#[derive(Clone, Debug, Default)]
pub struct Roster {
    players: Vec<Player>,
    by_host: BTreeMap<HostName, PlayerIx>,
    scores: BTreeMap<ScoreName, ScoreIx>,
    members: u32,
    attached: u32,
}

impl Roster {
    /// The player of that name, if the players file names it.
    pub fn member(&self, host: &HostName) -> Option<PlayerIx> {
        self.by_host.get(host).copied().filter(|ix| self[*ix].member)
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

    pub(crate) fn intern_score(&mut self, score: &ScoreName) -> ScoreIx {
        let next = ScoreIx(u32::try_from(self.scores.len()).unwrap_or(u32::MAX));
        *self.scores.entry(score.clone()).or_insert(next)
    }

    pub(crate) fn set_member(&mut self, player: PlayerIx, member: bool) {
        let was = std::mem::replace(&mut self[player].member, member);
        match (was, member) {
            (false, true) => self.members += 1,
            (true, false) => self.members -= 1,
            _ => {}
        }
    }

    /// Opens the player's session and takes over what it said of itself.
    pub(crate) fn attach(
        &mut self,
        ix: PlayerIx,
        session: SessionId,
        snapshot: &PlayerSnapshot,
    ) -> Option<SessionId> {
        let limits = |offer: &ScoreOffer| {
            offer.spec.as_ref().ok().map(|spec| ScoreLimits {
                concurrency: spec.concurrency,
                exclusive: spec.exclusive,
                timeout: spec.timeout,
            })
        };
        let mut scores: Vec<(ScoreIx, ScoreLimits)> = snapshot
            .scores
            .iter()
            .filter_map(|offer| {
                limits(offer).map(|limits| (self.intern_score(&offer.name), limits))
            })
            .collect();
        scores.sort_by_key(|(score, _)| *score);
        scores.dedup_by_key(|(score, _)| *score);
        let player = &mut self[ix];
        player.scores = scores.into();
        player.max_tasks = snapshot.max_tasks.max(1);
        player.kill_grace = snapshot.kill_grace;
        player.said_busy = false;
        player.detached_at = None;
        let before = player.session.replace(session);
        if before.is_none() {
            self.attached += 1;
        }
        before
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
