//! One bundle that is being fetched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orchestra_model::{
    ByteSize, HostName,
    bundle::{BundlePart, BundleShape, ChunkRanges},
};

use crate::{
    bounds,
    effect::{Effect, FetchFailure, SourceFault},
    input::{Came, Input, Keep, LinkNumber, WriteFailure},
    manifest::ManifestStage,
    sources::{Next, Sources},
};

/// One bundle that is being fetched.
#[derive(Clone, Debug)]
pub struct Fetch {
    pub(crate) shape: BundleShape,
    pub(crate) sources: Sources,
    pub(crate) link: Option<Link>,
    /// How many links there were.
    links: u64,
    /// Nobody is asked before this moment.
    pause_until: Option<u64>,
    pub(crate) manifest: ManifestStage,
    /// The chunks that are verified and written.
    pub(crate) here: ChunkRanges,
    /// What the present link was asked for.
    pub(crate) asked: BTreeSet<BundlePart>,
    /// What of it has come, and was not taken yet.
    pub(crate) landed: BTreeSet<BundlePart>,
    /// What came and is being written, and over which link it came.
    pub(crate) writing: BTreeMap<BundlePart, LinkNumber>,
    pub(crate) sync: Sync,
    pub(crate) stage: Stage,
    /// The moment of the last input, in milliseconds.
    now: u64,
    effects: VecDeque<Effect>,
}

/// A connection to a source.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    number: LinkNumber,
    pub(crate) source: HostName,
    pub(crate) is_open: bool,
    /// When it was heard last, or began to owe an answer.
    heard: u64,
}

/// What of the written chunks may not be on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sync {
    /// Whether something was written, or read from a journal, since the last sync began.
    pub(crate) is_needed: bool,
    /// How many chunks were written since, and when the first of them.
    chunks: u32,
    since: u64,
    pub(crate) is_running: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Fetching,
    /// Everything is here and synced.
    Settling,
    /// The last effect was given.
    Ended,
}

/// How far a fetch is, for whoever waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchProgress {
    /// How much of the content is here.
    pub here: ByteSize,
    /// How much content there is.
    pub all: ByteSize,
    /// Who is asked at the moment.
    pub source: Option<HostName>,
    /// Why the other sources were left last.
    pub left: Vec<(HostName, String)>,
}

impl Fetch {
    /// Begins to fetch a bundle of this shape, of which so much is here already: the whole manifest or
    /// nothing of it, and chunks that were verified since this process began or are certainly on disk.
    /// Without a manifest no chunk counts. `now` is in milliseconds of a clock that nobody sets.
    pub fn new(
        now: u64,
        shape: BundleShape,
        manifest_is_here: bool,
        here: ChunkRanges,
        sources: Vec<HostName>,
        seed: u64,
    ) -> Self {
        let manifest = match manifest_is_here {
            true => ManifestStage::Here,
            false => ManifestStage::absent(),
        };
        let mut fetch = Self {
            shape,
            sources: Sources::new(seed),
            link: None,
            links: 0,
            pause_until: None,
            manifest,
            here: if manifest_is_here { here } else { ChunkRanges::default() },
            asked: BTreeSet::new(),
            landed: BTreeSet::new(),
            writing: BTreeMap::new(),
            sync: Sync { is_needed: true, chunks: 0, since: now, is_running: false },
            stage: Stage::Fetching,
            now,
            effects: VecDeque::new(),
        };
        fetch.sources.name(sources);
        fetch.advance();
        fetch
    }

    /// A part has come. Says what becomes of its bytes.
    pub fn take(&mut self, now: u64, came: Came) -> Keep {
        self.now = now.max(self.now);
        let Came { link, part, is_good } = came;
        if !self.hear(link) {
            return Keep::Drop;
        }
        self.landed.remove(&part);
        let keep = if !self.asked.remove(&part) {
            self.breach("it sent a part that it was not asked for".to_owned());
            Keep::Drop
        } else if is_good {
            self.writing.insert(part, link);
            Keep::Write
        } else {
            self.note_bad(part);
            Keep::Drop
        };
        self.advance();
        keep
    }

    /// Something happened.
    pub fn handle(&mut self, now: u64, input: Input) {
        self.now = now.max(self.now);
        if self.stage == Stage::Ended {
            return;
        }
        match input {
            Input::SourcesNamed(sources) => self.name_sources(sources),
            Input::Opened { link } => {
                if self.hear(link)
                    && let Some(link) = &mut self.link
                {
                    link.is_open = true;
                }
            }
            Input::Heard { link } => {
                self.hear(link);
            }
            Input::Landed { link, part } => {
                if self.hear(link) && self.asked.contains(&part) {
                    self.landed.insert(part);
                }
            }
            Input::Busy { link } => self.lose(link, "it serves as many as it may".to_owned()),
            Input::Refused { link, why } | Input::Closed { link, why } => self.lose(link, why),
            Input::Breached { link, what } => {
                if self.is_present(link) {
                    self.breach(what);
                }
            }
            Input::Written { part } => self.written(part),
            Input::WriteFailed(why) => self.fail_for_disk(why),
            Input::ManifestJudged { is_good, found } => self.judged(is_good, &found),
            Input::Synced => self.sync.is_running = false,
            Input::Settled => {
                debug_assert_eq!(self.stage, Stage::Settling, "nobody asked for it");
                self.end(Effect::Done);
            }
            Input::Woken => self.leave_if_silent(),
        }
        self.advance();
    }

    /// When `Woken` is to be said.
    pub fn next_wake(&self) -> Option<u64> {
        if self.stage != Stage::Fetching {
            return None;
        }
        let pause = self.pause_until.filter(|_| self.link.is_none());
        [pause, self.silent_at(), self.sync_at()].into_iter().flatten().min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// How far it is.
    pub fn progress(&self) -> FetchProgress {
        FetchProgress {
            here: ByteSize(self.bytes_here()),
            all: ByteSize(self.shape.content_bytes),
            source: self.link.as_ref().map(|link| link.source.clone()),
            left: self
                .sources
                .left()
                .map(|(source, why)| (source.clone(), why.to_owned()))
                .collect(),
        }
    }

    fn bytes_here(&self) -> u64 {
        let len_of = |number| self.shape.place_of(BundlePart::Chunk(number)).map_or(0, |it| it.1);
        // All chunks but the last one are of one length.
        let Some(last) = self.shape.chunks().checked_sub(1) else { return 0 };
        let all_as_long = u64::from(self.here.count()) * len_of(0);
        match self.here.contains(last) {
            true => all_as_long - len_of(0) + len_of(last),
            false => all_as_long,
        }
    }

    fn is_present(&self, number: LinkNumber) -> bool {
        self.stage == Stage::Fetching && self.link.as_ref().is_some_and(|it| it.number == number)
    }

    /// Notes a sign of life, where it is of the present link.
    fn hear(&mut self, number: LinkNumber) -> bool {
        let is_present = self.is_present(number);
        if is_present && let Some(link) = &mut self.link {
            link.heard = self.now;
        }
        is_present
    }

    /// A link has ended by itself. One that is not the present one was hung up before.
    fn lose(&mut self, number: LinkNumber, why: String) {
        if self.is_present(number) {
            self.leave(why);
        }
    }

    /// Leaves the present source, whose answers are not waited for.
    fn leave(&mut self, why: String) {
        if let Some(link) = self.link.take() {
            self.effects.push_back(Effect::HangUp { link: link.number });
            self.sources.note_left(&link.source, why);
            self.asked.clear();
            self.landed.clear();
        }
    }

    /// The present source is not asked again for this bundle.
    fn blame(&mut self, fault: SourceFault) {
        let Some(source) = self.link.as_ref().map(|link| link.source.clone()) else { return };
        self.leave(fault.to_string());
        self.accuse(source, fault);
    }

    fn accuse(&mut self, source: HostName, fault: SourceFault) {
        self.sources.note_fault(&source, fault.clone());
        self.effects.push_back(Effect::Complain { source, fault });
    }

    fn breach(&mut self, what: String) {
        self.blame(SourceFault::Breach(what));
    }

    /// A chunk is not what was published. The same source is asked for it once more: one flipped bit
    /// may be of the network.
    fn note_bad(&mut self, part: BundlePart) {
        let Some(link) = &self.link else { return };
        let BundlePart::Chunk(last) = part else {
            debug_assert!(false, "a piece of the manifest has no hash");
            return;
        };
        let count = self.sources.note_bad_chunk(&link.source);
        if count >= bounds::BAD_CHUNKS {
            self.blame(SourceFault::BadChunks { count, last });
        }
    }

    fn name_sources(&mut self, sources: Vec<HostName>) {
        self.sources.name(sources);
        self.pause_until = None;
        // Who is asked stays asked, wherever it stands in the new order.
        let is_named = |link: &Link| self.sources.is_named(&link.source);
        if self.link.as_ref().is_some_and(|link| !is_named(link)) {
            self.leave("the conductor named other sources".to_owned());
        }
    }

    fn written(&mut self, part: BundlePart) {
        let link = self.writing.remove(&part);
        debug_assert!(link.is_some(), "{part:?} was not being written");
        match (part, &mut self.manifest) {
            (BundlePart::Chunk(number), _) => {
                self.here.insert(number, number + 1);
                self.sources.note_brought();
                self.sync.note_written(self.now);
            }
            (BundlePart::ManifestPiece(number), ManifestStage::Coming { from, pieces }) => {
                // One of an earlier source is no part of what this one gives.
                if link.is_some() && link == from.as_ref().map(|(link, _)| *link) {
                    pieces.insert(number, number + 1);
                }
            }
            (BundlePart::ManifestPiece(_), _) => {
                debug_assert!(false, "all pieces of the manifest are here");
            }
        }
        self.judge_if_complete();
    }

    fn judge_if_complete(&mut self) {
        let ManifestStage::Coming { from: Some((_, source)), pieces } = &self.manifest else {
            return;
        };
        if pieces.count() == self.shape.manifest_pieces() {
            self.manifest = ManifestStage::Judged { source: source.clone() };
            self.effects.push_back(Effect::JudgeManifest);
        }
    }

    fn judged(&mut self, is_good: bool, found: &ChunkRanges) {
        let before = std::mem::replace(&mut self.manifest, ManifestStage::absent());
        let ManifestStage::Judged { source } = before else {
            debug_assert!(false, "nobody asked for it");
            self.manifest = before;
            return;
        };
        if is_good {
            self.manifest = ManifestStage::Here;
            self.sources.note_brought();
            if !found.is_empty() {
                self.here.extend(found);
                self.sync.note_written(self.now);
            }
            return;
        }
        let fault = SourceFault::WrongManifest;
        if self.link.as_ref().is_some_and(|link| link.source == source) {
            self.leave(fault.to_string());
        }
        self.accuse(source, fault);
    }

    fn fail_for_disk(&mut self, why: WriteFailure) {
        let failure = match why {
            WriteFailure::NoSpace { free } => FetchFailure::NoSpace {
                needed: ByteSize(self.shape.content_bytes - self.bytes_here()),
                free,
            },
            WriteFailure::Other(why) => FetchFailure::Disk(why),
        };
        self.end(Effect::Fail(failure));
    }

    fn end(&mut self, last: Effect) {
        self.leave(String::new());
        self.stage = Stage::Ended;
        self.effects.push_back(last);
    }

    /// Does all that follows from how things are.
    fn advance(&mut self) {
        if self.stage != Stage::Fetching {
            return;
        }
        if self.is_whole() {
            self.leave(String::new());
            if !self.sync.is_needed && !self.sync.is_running {
                self.stage = Stage::Settling;
                self.effects.push_back(Effect::Settle);
                return;
            }
        } else {
            self.ask_on();
        }
        if self.stage == Stage::Fetching && self.sync_at().is_some_and(|at| at <= self.now) {
            self.sync = Sync { is_needed: false, chunks: 0, since: self.now, is_running: true };
            self.effects.push_back(Effect::Sync);
        }
    }

    /// Whether every part is verified and written.
    pub(crate) fn is_whole(&self) -> bool {
        self.manifest == ManifestStage::Here && self.here.count() == self.shape.chunks()
    }

    fn ask_on(&mut self) {
        if self.link.is_none() && self.next_part().is_some() {
            self.dial_next();
        }
        let Some(link) = self.link.as_ref().filter(|link| link.is_open) else { return };
        let (number, source) = (link.number, link.source.clone());
        if let ManifestStage::Coming { from, pieces } = &mut self.manifest
            && from.as_ref().is_none_or(|(link, _)| *link != number)
        {
            *pieces = ChunkRanges::default();
            *from = Some((number, source));
        }
        while self.asked.len() + self.writing.len() < bounds::WINDOW
            && let Some(part) = self.next_part()
        {
            if self.asked.len() == self.landed.len() {
                // From now on it owes an answer.
                self.hear(number);
            }
            self.asked.insert(part);
            self.effects.push_back(Effect::Ask { link: number, part });
        }
    }

    /// The first part that is neither here nor asked for nor being written.
    fn next_part(&self) -> Option<BundlePart> {
        let (ranges, end, part_of): (_, _, fn(u32) -> BundlePart) = match &self.manifest {
            ManifestStage::Coming { pieces, .. } => {
                (pieces, self.shape.manifest_pieces(), BundlePart::ManifestPiece)
            }
            ManifestStage::Judged { .. } => return None,
            ManifestStage::Here => (&self.here, self.shape.chunks(), BundlePart::Chunk),
        };
        let mut number = ranges.first_missing(0);
        while number < end {
            let part = part_of(number);
            if !self.asked.contains(&part) && !self.writing.contains_key(&part) {
                return Some(part);
            }
            number = ranges.first_missing(number + 1);
        }
        None
    }

    fn dial_next(&mut self) {
        if self.pause_until.is_some_and(|until| until > self.now) {
            return;
        }
        self.pause_until = None;
        match self.sources.next() {
            Next::Source(source) => {
                self.links += 1;
                let number = LinkNumber(self.links);
                self.effects.push_back(Effect::Dial { link: number, source: source.clone() });
                self.link = Some(Link { number, source, is_open: false, heard: self.now });
            }
            Next::Pause(ms) => self.pause_until = Some(self.now.saturating_add(ms)),
            Next::Nobody => self.end(Effect::Fail(FetchFailure::NoSource(self.sources.faults()))),
        }
    }

    fn leave_if_silent(&mut self) {
        if self.silent_at().is_some_and(|at| at <= self.now) {
            self.leave(format!("it said nothing for {} s", bounds::SILENCE_MS / 1_000));
        }
    }

    /// When the present source was silent for too long, if it owes something.
    fn silent_at(&self) -> Option<u64> {
        let link = self.link.as_ref()?;
        let owes = !link.is_open || self.asked.len() > self.landed.len();
        owes.then(|| link.heard.saturating_add(bounds::SILENCE_MS))
    }

    /// When what was written is to be synced.
    fn sync_at(&self) -> Option<u64> {
        let Sync { is_needed, chunks, since, is_running } = self.sync;
        if is_running || !is_needed {
            return None;
        }
        if self.is_whole() || chunks >= bounds::SYNC_CHUNKS {
            return Some(self.now);
        }
        (chunks > 0).then(|| since.saturating_add(bounds::SYNC_MS))
    }
}

impl Sync {
    fn note_written(&mut self, now: u64) {
        if self.chunks == 0 {
            self.since = now;
        }
        self.is_needed = true;
        self.chunks = self.chunks.saturating_add(1);
    }
}
