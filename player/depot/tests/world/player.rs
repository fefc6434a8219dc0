//! A player of a pretended world: its disk, and an agent that does what the engine asks, late and not
//! always in order.

use std::collections::BTreeSet;

use orchestra_depot::{Came, Effect, Fetch, Input, Keep, LinkNumber, WriteFailure};
use orchestra_model::{
    ByteSize, HostName,
    bundle::{BundlePart, BundleShape, ChunkRanges},
};

use crate::{
    Dice,
    disk::{Disk, published},
    reference::Reference,
    relay::{Answer, Manner},
};

pub(crate) struct Player {
    pub(crate) disk: Disk,
    pub(crate) manner: Manner,
    pub(crate) is_full: bool,
    /// Who may be asked, the best first.
    pub(crate) sources: Vec<HostName>,
    pub(crate) agent: Option<Agent>,
}

/// The agent while it fetches.
pub(crate) struct Agent {
    fetch: Fetch,
    reference: Reference,
    shape: BundleShape,
    work: Vec<Work>,
    heard: u64,
}

/// What the agent has yet to do.
#[derive(Clone, Debug)]
enum Work {
    Hash(LinkNumber, u32, u32),
    WritePiece(u32, bool),
    WriteChunk(u32, u32),
    Judge,
    Sync((u32, Vec<u32>)),
    Settle,
}

/// What an agent asks of the world.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Dial(LinkNumber, HostName),
    Part(LinkNumber, BundlePart),
    HangUp(LinkNumber),
}

impl Player {
    pub(crate) fn new(disk: Disk, sources: Vec<HostName>) -> Self {
        Self { disk, manner: Manner::Honest, is_full: false, sources, agent: None }
    }

    /// An agent begins with what the disk has.
    pub(crate) fn begin(&mut self, now: u64, shape: BundleShape, seed: u64) {
        let here = self.disk.begin();
        let has_manifest = self.disk.has_manifest();
        let numbers = here.iter().flat_map(|(first, end)| first..end);
        let known: BTreeSet<_> = numbers.map(BundlePart::Chunk).collect();
        let sources = self.sources.clone();
        let reference = Reference::new(&sources, known);
        let fetch = Fetch::new(now, shape, has_manifest, here, sources, seed);
        self.agent = Some(Agent { fetch, reference, shape, work: Vec::new(), heard: now });
    }

    /// The effects since the last time, as the world has to do them; each with its line of the trace.
    pub(crate) fn perform(&mut self, now: u64) -> (Vec<Asked>, Vec<String>) {
        let Some(agent) = &mut self.agent else { return Default::default() };
        let effects: Vec<Effect> = std::iter::from_fn(|| agent.fetch.poll_effect()).collect();
        agent.fetch.audit().unwrap();
        let is_whole = self.disk.has_manifest() && self.disk.here().count() == agent.shape.chunks();
        agent.reference.follow(now, &effects, is_whole);
        if !is_whole && agent.work.is_empty() && effects.is_empty() {
            assert!(!agent.reference.must_have_a_link(), "nobody is asked");
        }
        let mut asked = Vec::new();
        let trace = effects.iter().map(|effect| format!("{now} {effect:?}")).collect();
        for effect in effects {
            match effect {
                Effect::Dial { link, source } => asked.push(Asked::Dial(link, source)),
                Effect::Ask { link, part } => asked.push(Asked::Part(link, part)),
                Effect::HangUp { link } => asked.push(Asked::HangUp(link)),
                Effect::JudgeManifest => agent.work.push(Work::Judge),
                Effect::Sync => agent.work.push(Work::Sync(self.disk.mark())),
                Effect::Settle => agent.work.push(Work::Settle),
                Effect::Done => assert!(self.disk.is_settled(), "it is not in its place"),
                Effect::Complain { .. } | Effect::Fail(_) => {}
            }
        }
        if agent.reference.is_over {
            self.agent = None;
        }
        (asked, trace)
    }

    pub(crate) fn hear(&mut self, now: u64, link: LinkNumber, answer: Answer) {
        let Some(agent) = &mut self.agent else { return };
        match answer {
            Answer::Opened => agent.tell(now, Input::Opened { link }),
            Answer::Busy => agent.tell(now, Input::Busy { link }),
            Answer::Refused => agent.tell(now, Input::Refused { link, why: "no".to_owned() }),
            Answer::Waiting => agent.tell(now, Input::Heard { link }),
            Answer::Closed => agent.tell(now, Input::Closed { link, why: "reset".to_owned() }),
            Answer::Breach => {
                agent.tell(now, Input::Breached { link, what: "nonsense".to_owned() });
            }
            Answer::Piece { piece, is_right } => {
                let part = BundlePart::ManifestPiece(piece);
                if agent.take(now, Came { link, part, is_good: true }) {
                    agent.work.push(Work::WritePiece(piece, is_right));
                }
            }
            Answer::Chunk { chunk, value } => {
                agent.tell(now, Input::Landed { link, part: BundlePart::Chunk(chunk) });
                agent.work.push(Work::Hash(link, chunk, value));
            }
        }
    }

    pub(crate) fn name_sources(&mut self, now: u64, sources: Vec<HostName>) {
        self.sources.clone_from(&sources);
        if let Some(agent) = &mut self.agent {
            agent.tell(now, Input::SourcesNamed(sources));
        }
    }

    /// Does one thing of those that there are to do.
    pub(crate) fn work(&mut self, now: u64, dice: &mut Dice) {
        let Some(agent) = self.agent.as_mut().filter(|agent| !agent.work.is_empty()) else {
            return;
        };
        let work = agent.work.swap_remove(dice.below(agent.work.len()));
        if self.is_full && !matches!(work, Work::Judge | Work::Hash(..)) {
            let free = ByteSize(3);
            return agent.tell(now, Input::WriteFailed(WriteFailure::NoSpace { free }));
        }
        match work {
            Work::Hash(link, chunk, value) => {
                let (part, is_good) = (BundlePart::Chunk(chunk), value == published(chunk));
                if agent.take(now, Came { link, part, is_good }) {
                    agent.work.push(Work::WriteChunk(chunk, value));
                }
            }
            Work::WritePiece(piece, is_right) => {
                self.disk.write_piece(piece, is_right);
                agent.tell(now, Input::Written { part: BundlePart::ManifestPiece(piece) });
            }
            Work::WriteChunk(chunk, value) => {
                self.disk.write_chunk(chunk, value);
                agent.tell(now, Input::Written { part: BundlePart::Chunk(chunk) });
            }
            Work::Judge => {
                let is_good = self.disk.manifest_is_right();
                self.disk.put_manifest(is_good);
                // Sometimes an earlier bundle of the depot has a part of it.
                let mut found = ChunkRanges::default();
                if is_good && dice.below(3) == 0 {
                    let chunks = agent.shape.chunks();
                    for chunk in (0..chunks).filter(|_| dice.below(2) == 0).collect::<Vec<_>>() {
                        self.disk.write_chunk(chunk, published(chunk));
                        found.insert(chunk, chunk + 1);
                    }
                }
                agent.tell(now, Input::ManifestJudged { is_good, found });
            }
            Work::Sync(mark) => {
                self.disk.sync(mark);
                agent.tell(now, Input::Synced);
            }
            Work::Settle => {
                self.disk.settle();
                agent.tell(now, Input::Settled);
            }
        }
    }

    /// Says that time has passed, where the engine wants to know. What has come was told before.
    pub(crate) fn wake(&mut self, now: u64) {
        if let Some(agent) = &mut self.agent
            && agent.fetch.next_wake().is_some_and(|at| at <= now)
        {
            agent.tell(now, Input::Woken);
        }
    }
}

impl Agent {
    fn tell(&mut self, now: u64, input: Input) {
        assert!(now >= self.heard);
        self.heard = now;
        self.reference.told(now, &input);
        self.fetch.handle(now, input);
    }

    fn take(&mut self, now: u64, came: Came) -> bool {
        let keep = self.fetch.take(now, came);
        self.reference.came(now, came, keep == Keep::Write);
        keep == Keep::Write
    }
}
