//! What must be so of one player's fetch, said a second time without the engine's tables.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_depot::{Came, Effect, FetchFailure, Input, LinkNumber, bounds};
use orchestra_model::{HostName, bundle::BundlePart};

/// What is known of the present link.
#[derive(Clone, Debug)]
struct RefLink {
    number: LinkNumber,
    source: HostName,
    is_open: bool,
    heard: u64,
    asked: BTreeSet<BundlePart>,
    /// What of it has come, and is being hashed.
    landed: BTreeSet<BundlePart>,
    /// Something happened for which it has to be left.
    has_to_go: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    named: Vec<HostName>,
    faulty: BTreeSet<HostName>,
    bad: BTreeMap<HostName, u32>,
    link: Option<RefLink>,
    /// Who was dialled in this round.
    round: BTreeSet<HostName>,
    here: BTreeSet<BundlePart>,
    writing: BTreeSet<BundlePart>,
    disk_failed: bool,
    pub(crate) is_over: bool,
}

impl Reference {
    pub(crate) fn new(sources: &[HostName], here: BTreeSet<BundlePart>) -> Self {
        Self { named: in_force(sources), here, ..Self::default() }
    }

    /// A part came, and the engine said whether it is written.
    pub(crate) fn came(&mut self, now: u64, came: Came, is_written: bool) {
        let Some(link) = self.link.as_mut().filter(|link| link.number == came.link) else {
            assert!(!is_written, "{came:?} of a link that is over is written");
            return;
        };
        link.heard = now;
        link.landed.remove(&came.part);
        let was_asked = link.asked.remove(&came.part);
        assert_eq!(is_written, was_asked && came.is_good, "{came:?}");
        if is_written {
            self.writing.insert(came.part);
        } else if !was_asked {
            link.has_to_go = true;
            self.faulty.insert(link.source.clone());
        } else {
            let bad = self.bad.entry(link.source.clone()).or_default();
            *bad += 1;
            if *bad == 2 {
                link.has_to_go = true;
                self.faulty.insert(link.source.clone());
            }
        }
    }

    pub(crate) fn told(&mut self, now: u64, input: &Input) {
        let present = self.link.as_mut();
        let present = present.filter(|link| of(input).is_none_or(|number| number == link.number));
        match (input, present) {
            (Input::Opened { .. }, Some(link)) => (link.is_open, link.heard) = (true, now),
            (Input::Heard { .. }, Some(link)) => link.heard = now,
            (Input::Landed { part, .. }, Some(link)) => {
                link.heard = now;
                if link.asked.contains(part) {
                    link.landed.insert(*part);
                }
            }
            (Input::Busy { .. } | Input::Refused { .. } | Input::Closed { .. }, Some(link)) => {
                link.has_to_go = true;
            }
            (Input::Breached { .. }, Some(link)) => {
                link.has_to_go = true;
                self.faulty.insert(link.source.clone());
            }
            (Input::SourcesNamed(sources), link) => {
                if let Some(link) = link {
                    link.has_to_go |= !sources.contains(&link.source);
                }
                self.named = in_force(sources);
                self.round.clear();
            }
            (Input::Written { part }, _) => {
                assert!(self.writing.remove(part), "{part:?}");
                // Pieces of the manifest count once all of them are one source's.
                if matches!(part, BundlePart::Chunk(_)) {
                    self.here.insert(*part);
                }
            }
            (Input::ManifestJudged { found, .. }, _) => {
                let found = found.iter().flat_map(|(first, end)| first..end);
                self.here.extend(found.map(BundlePart::Chunk));
            }
            (Input::WriteFailed(_), link) => {
                self.disk_failed = true;
                if let Some(link) = link {
                    link.has_to_go = true;
                }
            }
            (Input::Woken, Some(link)) => {
                let owes = !link.is_open || link.asked != link.landed;
                link.has_to_go |= owes && now >= link.heard + 2_000;
            }
            _ => {}
        }
    }

    /// Looks at what the engine asks for in answer.
    pub(crate) fn follow(&mut self, now: u64, effects: &[Effect], is_whole: bool) {
        assert!(!self.is_over || effects.is_empty(), "{effects:?} after the last one");
        for effect in effects {
            match effect {
                Effect::HangUp { link } => {
                    let left = self.link.take().unwrap();
                    assert_eq!(left.number, *link);
                    let lied = self.faulty.contains(&left.source);
                    let accused = effects.iter().any(|effect| {
                        matches!(effect, Effect::Complain { source, .. } if *source == left.source)
                    });
                    let why = left.has_to_go || is_whole || lied || accused;
                    assert!(why, "{} is left for nothing", left.source);
                }
                Effect::Dial { link, source } => {
                    assert!(self.link.is_none(), "two links");
                    assert!(self.named.contains(source), "{source} was not named");
                    assert!(!self.faulty.contains(source), "{source} has lied");
                    if !self.round.insert(source.clone()) {
                        let fit = self.named.iter().filter(|it| !self.faulty.contains(*it));
                        let skipped: Vec<_> = fit.filter(|it| !self.round.contains(*it)).collect();
                        assert!(skipped.is_empty(), "{skipped:?} were not asked in this round");
                        self.round = BTreeSet::from([source.clone()]);
                    }
                    let before = self.named.iter().take_while(|it| *it != source);
                    let passed =
                        before.filter(|it| !self.faulty.contains(*it) && !self.round.contains(*it));
                    assert_eq!(passed.count(), 0, "{source} is not the best one left");
                    let (number, source) = (*link, source.clone());
                    let (asked, landed) = (BTreeSet::new(), BTreeSet::new());
                    let (is_open, has_to_go) = (false, false);
                    self.link = Some(RefLink {
                        number,
                        source,
                        is_open,
                        heard: now,
                        asked,
                        landed,
                        has_to_go,
                    });
                }
                Effect::Ask { link, part } => {
                    let present = self.link.as_mut().unwrap();
                    assert!(present.is_open && present.number == *link, "{part:?} of nobody");
                    assert!(!self.here.contains(part), "{part:?} is here");
                    assert!(!self.writing.contains(part), "{part:?} is being written");
                    if present.asked == present.landed {
                        present.heard = now;
                    }
                    assert!(present.asked.insert(*part), "{part:?} twice");
                    let open = present.asked.len() + self.writing.len();
                    assert!(open <= bounds::WINDOW, "{open} chunks in memory");
                }
                Effect::Complain { source, .. } => {
                    self.faulty.insert(source.clone());
                }
                Effect::Done => {
                    assert!(is_whole, "it ended a chunk short");
                    self.is_over = true;
                }
                Effect::Fail(FetchFailure::NoSource(faults)) => {
                    assert!(self.named.iter().all(|it| self.faulty.contains(it)), "{faults:?}");
                    assert_eq!(faults.len(), self.named.len(), "each with its fault");
                    self.is_over = true;
                }
                Effect::Fail(failure) => {
                    assert!(self.disk_failed, "{failure}");
                    self.is_over = true;
                }
                Effect::JudgeManifest | Effect::Sync | Effect::Settle => {}
            }
        }
        let link = self.link.as_ref();
        let has_lied = |link: &&RefLink| link.has_to_go || self.faulty.contains(&link.source);
        assert!(link.filter(has_lied).is_none(), "{link:?} is not left");
    }

    /// Whether somebody has to be asked now: a part is missing, and this round has not been to all.
    pub(crate) fn must_have_a_link(&self) -> bool {
        let fit = |it: &&HostName| !self.faulty.contains(*it) && !self.round.contains(*it);
        !self.is_over && self.link.is_none() && self.named.iter().any(|it| fit(&it))
    }
}

/// The first six, each once.
fn in_force(sources: &[HostName]) -> Vec<HostName> {
    let mut once = BTreeSet::new();
    sources.iter().filter(|source| once.insert(*source)).take(6).cloned().collect()
}

/// Of which link something is told.
fn of(input: &Input) -> Option<LinkNumber> {
    match input {
        Input::Opened { link }
        | Input::Heard { link }
        | Input::Landed { link, .. }
        | Input::Busy { link }
        | Input::Refused { link, .. }
        | Input::Closed { link, .. }
        | Input::Breached { link, .. } => Some(*link),
        _ => None,
    }
}
