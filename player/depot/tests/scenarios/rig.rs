//! A fetch, and short ways to say what happens to it.

use orchestra_depot::{Came, Effect, Fetch, Input, Keep, LinkNumber, bounds};
use orchestra_model::{
    HostName,
    bundle::{BundlePart, BundleShape, CHUNK_BYTES, ChunkRanges},
};

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn chunk(number: u32) -> BundlePart {
    BundlePart::Chunk(number)
}

/// The manifest was judged, and nothing of the bundle is in the depot.
pub(crate) fn judged(is_good: bool) -> Input {
    Input::ManifestJudged { is_good, found: ChunkRanges::default() }
}

pub(crate) fn shape(chunks: u32) -> BundleShape {
    BundleShape { manifest_bytes: 1_000, content_bytes: u64::from(chunks) * CHUNK_BYTES }
}

pub(crate) struct Rig {
    pub(crate) fetch: Fetch,
    pub(crate) now: u64,
    /// The link that was dialled last.
    pub(crate) link: LinkNumber,
    /// What was asked for and has not come.
    pub(crate) asked: Vec<BundlePart>,
}

impl Rig {
    /// A fetch from these sources of so many chunks, whose manifest is here.
    pub(crate) fn new(chunks: u32, sources: &[&str]) -> (Self, Vec<Effect>) {
        Self::resumed(chunks, ChunkRanges::default(), sources)
    }

    pub(crate) fn resumed(chunks: u32, here: ChunkRanges, sources: &[&str]) -> (Self, Vec<Effect>) {
        let sources = sources.iter().map(|name| host(name)).collect();
        let fetch = Fetch::new(5_000, shape(chunks), true, here, sources, 1);
        Self::over(fetch)
    }

    /// A fetch of which nothing is here.
    pub(crate) fn from_nothing(chunks: u32, sources: &[&str]) -> (Self, Vec<Effect>) {
        Self::of(shape(chunks), sources)
    }

    /// A fetch of which nothing is here, and whose manifest has three pieces.
    pub(crate) fn of_three_pieces(sources: &[&str]) -> (Self, Vec<Effect>) {
        Self::of(BundleShape { manifest_bytes: 3 * CHUNK_BYTES, content_bytes: 0 }, sources)
    }

    fn of(shape: BundleShape, sources: &[&str]) -> (Self, Vec<Effect>) {
        let sources = sources.iter().map(|name| host(name)).collect();
        Self::over(Fetch::new(5_000, shape, false, ChunkRanges::default(), sources, 1))
    }

    fn over(fetch: Fetch) -> (Self, Vec<Effect>) {
        let mut rig = Rig { fetch, now: 5_000, link: LinkNumber(0), asked: Vec::new() };
        let effects = rig.effects();
        (rig, effects)
    }

    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        self.fetch.audit().unwrap();
        let effects: Vec<Effect> = std::iter::from_fn(|| self.fetch.poll_effect()).collect();
        for effect in &effects {
            match effect {
                Effect::Dial { link, .. } => self.link = *link,
                Effect::HangUp { .. } => self.asked.clear(),
                Effect::Ask { part, .. } => self.asked.push(*part),
                _ => {}
            }
        }
        effects
    }

    pub(crate) fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.fetch.handle(self.now, input);
        self.effects()
    }

    pub(crate) fn open(&mut self) -> Vec<Effect> {
        let link = self.link;
        self.tell(Input::Opened { link })
    }

    /// A part comes and is written.
    pub(crate) fn get(&mut self, part: BundlePart) -> Vec<Effect> {
        let mut effects = self.come(part, true, Keep::Write);
        effects.extend(self.tell(Input::Written { part }));
        effects
    }

    /// A chunk comes that is another one.
    pub(crate) fn get_bad(&mut self, number: u32) -> Vec<Effect> {
        self.come(chunk(number), false, Keep::Drop)
    }

    pub(crate) fn come(&mut self, part: BundlePart, is_good: bool, keep: Keep) -> Vec<Effect> {
        self.asked.retain(|asked| *asked != part);
        let came = Came { link: self.link, part, is_good };
        assert_eq!(self.fetch.take(self.now, came), keep);
        self.effects()
    }

    /// All that is asked for comes, until nothing is.
    pub(crate) fn get_all(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(part) = self.asked.first().copied() {
            effects.extend(self.get(part));
        }
        effects
    }

    /// Time passes, and who wants to is woken.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        let until = self.now + ms;
        let mut effects = Vec::new();
        while let Some(at) = self.fetch.next_wake().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            effects.extend(self.tell(Input::Woken));
        }
        self.now = until;
        effects
    }

    /// Everything is synced and put into its place.
    pub(crate) fn finish(&mut self) {
        assert_eq!(self.tell(Input::Synced), [Effect::Settle]);
        assert_eq!(self.tell(Input::Settled), [Effect::Done]);
        assert_eq!(self.fetch.next_wake(), None);
    }
}

/// Who is dialled.
pub(crate) fn dialled(effects: &[Effect]) -> Vec<String> {
    let dialled = effects.iter().filter_map(|effect| match effect {
        Effect::Dial { source, .. } => Some(source.to_string()),
        _ => None,
    });
    dialled.collect()
}

/// What is asked for.
pub(crate) fn asks(effects: &[Effect]) -> Vec<BundlePart> {
    let asks = effects.iter().filter_map(|effect| match effect {
        Effect::Ask { part, .. } => Some(*part),
        _ => None,
    });
    asks.collect()
}

/// The first so many parts that are asked for at once.
pub(crate) fn window(first: u32) -> Vec<BundlePart> {
    (first..).take(bounds::WINDOW).map(chunk).collect()
}
