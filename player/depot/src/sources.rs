//! The sources of one fetch: in which order they are asked, and which are not asked again.

use std::collections::BTreeMap;

use orchestra_model::{HostName, chance::Chance};

use crate::{bounds, effect::SourceFault};

/// The sources, and the round that goes through them.
///
/// A round asks each source once, the best first. When it is over, the next one begins: at once if this
/// one brought something, else after a pause that doubles.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    /// In the order in which they are asked.
    named: Vec<Named>,
    /// Those that are not asked again, whoever names them.
    faulty: BTreeMap<HostName, SourceFault>,
    /// How many bad chunks each has sent.
    bad: BTreeMap<HostName, u32>,
    /// Whether something has come since the round began.
    has_brought: bool,
    /// The next pause, in milliseconds, before chance.
    pause_ms: u64,
    chance: Chance,
}

#[derive(Clone, Debug)]
struct Named {
    source: HostName,
    /// Whether this round has been to it.
    was_asked: bool,
    /// Why it was left last.
    last: Option<String>,
}

/// Who is asked next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Source(HostName),
    /// Nobody for so long (ms).
    Pause(u64),
    /// None is left that may be asked.
    Nobody,
}

impl Sources {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            named: Vec::new(),
            faulty: BTreeMap::new(),
            bad: BTreeMap::new(),
            has_brought: false,
            pause_ms: bounds::PAUSE_MS,
            chance: Chance::new(seed),
        }
    }

    /// Takes a new order. What is known of a source stays known, and a new round begins.
    pub(crate) fn name(&mut self, sources: Vec<HostName>) {
        let mut named: Vec<Named> = Vec::new();
        for source in sources {
            if named.len() == bounds::SOURCES || named.iter().any(|it| it.source == source) {
                continue;
            }
            let before = self.named.iter().find(|it| it.source == source);
            let last = before.and_then(|it| it.last.clone());
            named.push(Named { source, was_asked: false, last });
        }
        self.named = named;
        self.pause_ms = bounds::PAUSE_MS;
    }

    pub(crate) fn is_named(&self, source: &HostName) -> bool {
        self.named.iter().any(|it| it.source == *source)
    }

    /// Who is asked next; it counts as asked.
    pub(crate) fn next(&mut self) -> Next {
        if let Some(source) = self.next_of_round() {
            return Next::Source(source);
        }
        if self.named.iter().all(|it| self.faulty.contains_key(&it.source)) {
            return Next::Nobody;
        }
        self.named.iter_mut().for_each(|it| it.was_asked = false);
        if std::mem::take(&mut self.has_brought) {
            return self.next_of_round().map_or(Next::Nobody, Next::Source);
        }
        let pause = self.pause_ms / 2 + self.chance.up_to(self.pause_ms / 2);
        self.pause_ms = (self.pause_ms * 2).min(bounds::LONGEST_PAUSE_MS);
        Next::Pause(pause)
    }

    fn next_of_round(&mut self) -> Option<HostName> {
        let faulty = &self.faulty;
        let mut named = self.named.iter_mut();
        let next = named.find(|it| !it.was_asked && !faulty.contains_key(&it.source))?;
        next.was_asked = true;
        Some(next.source.clone())
    }

    /// Something good came.
    pub(crate) fn note_brought(&mut self) {
        self.has_brought = true;
        self.pause_ms = bounds::PAUSE_MS;
    }

    /// A source was left, for this reason.
    pub(crate) fn note_left(&mut self, source: &HostName, why: String) {
        if let Some(named) = self.named.iter_mut().find(|it| it.source == *source) {
            named.last = Some(why);
        }
    }

    /// A source sent a chunk that is not what was published. Returns how many it has sent.
    pub(crate) fn note_bad_chunk(&mut self, source: &HostName) -> u32 {
        let count = self.bad.entry(source.clone()).or_default();
        *count += 1;
        *count
    }

    /// A source is not asked again.
    pub(crate) fn note_fault(&mut self, source: &HostName, fault: SourceFault) {
        self.faulty.entry(source.clone()).or_insert(fault);
    }

    pub(crate) fn is_faulty(&self, source: &HostName) -> bool {
        self.faulty.contains_key(source)
    }

    /// Every source that was named last and is not asked again, in order.
    pub(crate) fn faults(&self) -> Vec<(HostName, SourceFault)> {
        let fault = |it: &Named| Some((it.source.clone(), self.faulty.get(&it.source)?.clone()));
        self.named.iter().filter_map(fault).collect()
    }

    /// Why each source that was named last was left last, in order.
    pub(crate) fn left(&self) -> impl Iterator<Item = (&HostName, &str)> {
        self.named.iter().filter_map(|it| Some((&it.source, it.last.as_deref()?)))
    }

    pub(crate) fn count(&self) -> usize {
        self.named.len()
    }
}
