//! The world: players in a row, of whom the first has the bundle, and what happens to them.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName,
    bundle::{BundleShape, CHUNK_BYTES},
};

use crate::{
    Dice,
    disk::Disk,
    player::{Asked, Player},
    relay::{Answer, Conn, Manner},
};

const MANNERS: [Manner; 12] = [
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Honest,
    Manner::Slow,
    Manner::Slow,
    Manner::Silent,
    Manner::Lying,
    Manner::Forging,
    Manner::Breaching,
    Manner::Refusing,
    Manner::Dead,
];

/// Nothing lasts longer once all is whole: so many steps.
const HEALED_WITHIN: usize = 20_000;

pub(crate) struct World {
    dice: Dice,
    now: u64,
    shape: BundleShape,
    players: Vec<Player>,
    conns: Vec<Conn>,
    seeds: u64,
    /// What was asked for, in order.
    pub(crate) trace: Vec<String>,
}

fn host(n: usize) -> HostName {
    HostName::new(&format!("host{n}")).unwrap()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let chunks = dice.one_of(&[0, 1, 5, 30, 70]);
        let manifest_bytes = dice.one_of(&[1, 3]) * CHUNK_BYTES;
        let shape = BundleShape { manifest_bytes, content_bytes: chunks * CHUNK_BYTES };
        let (pieces, chunks) = (shape.manifest_pieces(), shape.chunks());
        let mut players = vec![Player::new(Disk::whole(pieces, chunks), Vec::new())];
        for n in 1..=dice.one_of(&[1, 2, 3, 5]) {
            let sources = (0..n).rev().map(host).collect();
            players.push(Player::new(Disk::new(pieces, chunks), sources));
        }
        Self { dice, now: 1_000, shape, players, conns: Vec::new(), seeds: 0, trace: Vec::new() }
    }

    /// A little time passes, and something goes wrong.
    pub(crate) fn step(&mut self) {
        self.pass();
        if self.dice.happens(25) {
            self.go_wrong();
        }
        if self.dice.happens(30) {
            self.begin();
        }
    }

    /// Everything is whole again, and stays so: every player gets the bundle.
    pub(crate) fn heal(&mut self) {
        for player in &mut self.players {
            player.manner = Manner::Honest;
            player.is_full = false;
            player.disk.mend();
        }
        for n in 1..self.players.len() {
            let sources = (0..n).rev().map(host).collect();
            self.players[n].name_sources(self.now, sources);
            self.perform(n);
        }
        for _ in 0..HEALED_WITHIN {
            if self.players.iter().all(|player| player.disk.is_settled()) {
                return;
            }
            self.begin();
            self.pass();
        }
        let missing: Vec<usize> =
            (0..self.players.len()).filter(|n| !self.players[*n].disk.is_settled()).collect();
        panic!(
            "{missing:?} wait for ever; {:#?}",
            &self.trace[self.trace.len().saturating_sub(20)..]
        );
    }

    fn pass(&mut self) {
        self.now += self.dice.one_of(&[1, 5, 20, 100, 400, 450]);
        self.serve();
        self.deliver();
        for n in 0..self.players.len() {
            for _ in 0..self.dice.below(6) {
                self.players[n].work(self.now, &mut self.dice);
                self.perform(n);
            }
            self.players[n].wake(self.now);
            self.perform(n);
        }
    }

    fn serve(&mut self) {
        for at in 0..self.conns.len() {
            let source = self.conns[at].source;
            let others = self.conns[..at].iter().filter(|conn| conn.source == source).count();
            let Player { disk, manner, agent, .. } = &self.players[source];
            let conn = &mut self.conns[at];
            conn.serve(self.now, *manner, disk, agent.is_some(), others, &mut self.dice);
        }
    }

    /// What is there comes to the children, who may hang up over it.
    fn deliver(&mut self) {
        let mut at = 0;
        while at < self.conns.len() {
            let conn = &mut self.conns[at];
            let (child, link) = (conn.child, conn.link);
            match conn.answers.front() {
                Some((due, _)) if *due <= self.now => {}
                _ => {
                    at += 1;
                    continue;
                }
            }
            let Some((_, answer)) = conn.answers.pop_front() else { continue };
            if matches!(answer, Answer::Closed | Answer::Busy | Answer::Refused) {
                self.conns.remove(at);
            }
            self.players[child].hear(self.now, link, answer);
            self.perform(child);
        }
    }

    fn perform(&mut self, n: usize) {
        let (asked, trace) = self.players[n].perform(self.now);
        self.trace.extend(trace.into_iter().map(|line| format!("{n}: {line}")));
        for asked in asked {
            match asked {
                Asked::Dial(link, source) => {
                    let source = (0..n).find(|it| host(*it) == source).unwrap();
                    self.conns.push(Conn::new(n, source, link, self.now));
                }
                Asked::Part(link, part) => {
                    let own = |conn: &&mut Conn| conn.child == n && conn.link == link;
                    if let Some(conn) = self.conns.iter_mut().find(own) {
                        conn.wanted.push_back(part);
                    }
                }
                Asked::HangUp(link) => {
                    self.conns.retain(|conn| conn.child != n || conn.link != link);
                }
            }
        }
    }

    /// A player that has nothing to do is asked to fetch.
    fn begin(&mut self) {
        for n in 1..self.players.len() {
            let player = &mut self.players[n];
            if player.agent.is_none() && !player.disk.is_settled() {
                self.seeds += 1;
                player.begin(self.now, self.shape, self.seeds);
                self.perform(n);
            }
        }
    }

    fn go_wrong(&mut self) {
        let n = self.dice.below(self.players.len());
        match self.dice.below(10) {
            0 | 1 => self.players[n].manner = self.dice.one_of(&MANNERS),
            2 => self.kill(n),
            3 => {
                self.kill(n);
                let Player { disk, .. } = &mut self.players[n];
                if !disk.is_settled() {
                    disk.lose_power(&mut self.dice);
                }
                self.conns.iter_mut().filter(|it| it.source == n).for_each(|it| it.close(self.now));
            }
            4 if !self.conns.is_empty() => {
                let at = self.dice.below(self.conns.len());
                self.conns[at].close(self.now);
            }
            5 => self.rename(n),
            6 => self.players[n].is_full = self.dice.happens(30),
            7 if self.players[n].disk.is_settled() && self.shape.chunks() > 0 => {
                let chunk = self.dice.below(self.shape.chunks() as usize);
                self.players[n].disk.flip(u32::try_from(chunk).unwrap());
            }
            _ => self.players[n].manner = Manner::Honest,
        }
    }

    /// An agent is killed; its disk keeps what it wrote.
    fn kill(&mut self, n: usize) {
        self.players[n].agent = None;
        self.conns.retain(|conn| conn.child != n);
    }

    /// The conductor names some of those before it, in any order, and somebody twice.
    fn rename(&mut self, n: usize) {
        let mut left: BTreeSet<usize> = (0..n).collect();
        let mut sources = Vec::new();
        while !left.is_empty() && !self.dice.happens(20) {
            let all: Vec<usize> = left.iter().copied().collect();
            let one = self.dice.one_of(&all);
            left.remove(&one);
            sources.push(host(one));
        }
        if let Some(first) = sources.first().cloned() {
            sources.push(first);
            self.players[n].name_sources(self.now, sources);
            self.perform(n);
        }
    }
}
