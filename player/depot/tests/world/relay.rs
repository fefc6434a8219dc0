//! How the sources of a pretended world answer: truly, falsely, late, or not at all.

use std::collections::VecDeque;

use orchestra_depot::LinkNumber;
use orchestra_model::bundle::BundlePart;

use crate::{
    Dice,
    disk::{Disk, published},
};

/// How a source is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Honest,
    /// It gives little at a time, and never stops saying that it is there.
    Slow,
    /// It accepts whoever comes, and says nothing.
    Silent,
    /// Every third chunk is another one.
    Lying,
    /// Its manifest is another one.
    Forging,
    /// It sends what nobody asked for.
    Breaching,
    Refusing,
    /// It is not there.
    Dead,
}

/// What a source sends, as it comes to the child.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    Opened,
    Busy,
    Refused,
    /// What is asked for is not here yet.
    Waiting,
    Piece {
        piece: u32,
        is_right: bool,
    },
    Chunk {
        chunk: u32,
        value: u32,
    },
    Breach,
    Closed,
}

/// A connection between a child and a source.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) child: usize,
    pub(crate) source: usize,
    pub(crate) link: LinkNumber,
    is_greeted: bool,
    pub(crate) wanted: VecDeque<BundlePart>,
    /// What is on its way, and when it is there.
    pub(crate) answers: VecDeque<(u64, Answer)>,
    /// When something was sent last.
    said: u64,
}

/// How often a source says that it still waits (ms).
const WAITING_MS: u64 = 500;

impl Conn {
    pub(crate) fn new(child: usize, source: usize, link: LinkNumber, now: u64) -> Self {
        let (wanted, answers) = (VecDeque::new(), VecDeque::new());
        Self { child, source, link, is_greeted: false, wanted, answers, said: now }
    }

    fn say(&mut self, now: u64, delay: u64, answer: Answer) {
        // What is sent later comes later.
        let earliest = self.answers.back().map_or(0, |(due, _)| *due);
        self.answers.push_back(((now + delay).max(earliest), answer));
        self.said = now;
    }

    pub(crate) fn close(&mut self, now: u64) {
        self.say(now, 0, Answer::Closed);
    }

    /// The source does its part.
    pub(crate) fn serve(
        &mut self,
        now: u64,
        manner: Manner,
        disk: &Disk,
        is_fetching: bool,
        others: usize,
        dice: &mut Dice,
    ) {
        let delay = dice.one_of(&[0, 1, 10, 60]);
        match manner {
            Manner::Silent => return,
            Manner::Dead => return self.close(now),
            Manner::Refusing => return self.say(now, delay, Answer::Refused),
            _ => {}
        }
        if !self.is_greeted {
            self.is_greeted = true;
            let answer = if others >= SLOTS { Answer::Busy } else { Answer::Opened };
            return self.say(now, delay, answer);
        }
        let most = if manner == Manner::Slow { usize::from(dice.happens(10)) } else { 8 };
        for _ in 0..most.min(self.wanted.len()) {
            let Some(at) = self.wanted.iter().position(|part| has(disk, *part)) else { break };
            let Some(part) = self.wanted.remove(at) else { break };
            self.say(now, delay, answer(manner, disk, part));
        }
        let waits = !self.wanted.is_empty();
        if waits && manner != Manner::Slow && !is_fetching && !disk.is_settled() {
            self.say(now, delay, Answer::Refused);
        } else if waits && now >= self.said + WAITING_MS {
            self.say(now, 0, Answer::Waiting);
        }
        // Whoever jumps over time has to hear what was said meanwhile.
        self.said = self.said.max(now.saturating_sub(WAITING_MS));
    }
}

/// How many children a source serves.
const SLOTS: usize = 2;

fn has(disk: &Disk, part: BundlePart) -> bool {
    match part {
        BundlePart::ManifestPiece(_) => disk.has_manifest(),
        BundlePart::Chunk(chunk) => disk.is_settled() || disk.here().contains(chunk),
    }
}

fn answer(manner: Manner, disk: &Disk, part: BundlePart) -> Answer {
    match part {
        _ if manner == Manner::Breaching => Answer::Breach,
        BundlePart::ManifestPiece(piece) => {
            Answer::Piece { piece, is_right: manner != Manner::Forging }
        }
        BundlePart::Chunk(chunk) if manner == Manner::Lying && chunk % 3 == 0 => {
            Answer::Chunk { chunk, value: published(chunk) + 1 }
        }
        BundlePart::Chunk(chunk) => Answer::Chunk { chunk, value: disk.read(chunk) },
    }
}
