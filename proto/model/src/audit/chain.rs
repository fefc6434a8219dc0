//! Whether the record of who did what is whole: each line carries a link to the one before, and what
//! is known from elsewhere says where the record begins and how far it goes.
//!
//! ```text
//!   base ──▶ line ──▶ line ──▶ line ──▶ line      mark: number and link of one of them,
//!   number and link    link = mac(link of the     kept elsewhere: by the store, by the
//!   of the last line   line before, this line)    conductor that runs, or by a person
//!   that was removed
//! ```
//!
//! A line that was changed does not fit its link, and one that is missing leaves a gap. A tail that was
//! cut leaves nothing, so only a mark shows it. A beginning that was cut looks like lines that were
//! kept long enough; but the removal of those is a line itself, which names the last of them.

use std::fmt;

use super::{AuditRecord, Deed, Happening, Object};
use crate::proof::Mac;

/// Most breaks that a report names; further ones are counted.
const MOST_BREAKS: usize = 100;
/// What the first line's link is made over, in the place of a link before.
const NO_LINK: Mac = Mac([0; 16]);

/// A line, by its number and its link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AuditMark {
    /// 0: no line.
    pub number: u64,
    /// `None` where the line has none, or its link is not known.
    pub link: Option<Mac>,
}

impl AuditMark {
    /// Returns the link that the next line's is made over.
    pub fn previous(&self) -> Mac {
        self.link.unwrap_or(NO_LINK)
    }
}

/// Where the record is not as it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainBreak {
    /// These lines are missing.
    Missing { from: u64, to: u64 },
    /// These are missing at the end.
    CutTail { from: u64, to: u64 },
    /// Lines up to `base` are not there, but only those up to `told` are on record as removed.
    CutBeginning { base: u64, told: u64 },
    /// This line, or the link of the one before, is not what was written.
    Changed(u64),
    /// This line has no link, although earlier ones have.
    Unlinked(u64),
    /// This line is not the one of a mark: from here on, or before, the record was written anew.
    Differs(u64),
}

impl fmt::Display for ChainBreak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { from, to } if from == to => write!(f, "line {from} is missing"),
            Self::Missing { from, to } => write!(f, "lines {from} to {to} are missing"),
            Self::CutTail { from, to } => {
                write!(f, "lines {from} to {to} are missing at the end")
            }
            Self::CutBeginning { base, told } => write!(
                f,
                "lines up to {base} are not there, and only those up to {told} are on record as removed"
            ),
            Self::Changed(number) => {
                write!(f, "line {number}, or the link of the line before, is not what was written")
            }
            Self::Unlinked(number) => {
                write!(f, "line {number} has no link: another program wrote it")
            }
            Self::Differs(number) => write!(
                f,
                "line {number} is not the one that was there: the record was written anew, or the \
                 store was restored"
            ),
        }
    }
}

impl ChainBreak {
    /// Returns its kind in a word, and its numbers.
    pub fn to_parts(self) -> (&'static str, u64, u64) {
        match self {
            Self::Missing { from, to } => ("missing", from, to),
            Self::CutTail { from, to } => ("cut-tail", from, to),
            Self::CutBeginning { base, told } => ("cut-beginning", told, base),
            Self::Changed(number) => ("changed", number, number),
            Self::Unlinked(number) => ("unlinked", number, number),
            Self::Differs(number) => ("differs", number, number),
        }
    }

    /// Reads what [`ChainBreak::to_parts`] returns; `None` if the kind is not known.
    pub fn from_parts(kind: &str, from: u64, to: u64) -> Option<Self> {
        Some(match kind {
            "missing" => Self::Missing { from, to },
            "cut-tail" => Self::CutTail { from, to },
            "cut-beginning" => Self::CutBeginning { base: to, told: from },
            "changed" => Self::Changed(from),
            "unlinked" => Self::Unlinked(from),
            "differs" => Self::Differs(from),
            _ => return None,
        })
    }
}

/// What came of a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainReport {
    /// How many lines were looked at.
    pub lines: u64,
    /// How many of them are from before the first link, so that nothing shows whether they were
    /// changed.
    pub unlinked: u64,
    /// The first line that is there; 0 if there is none.
    pub first: u64,
    /// The last line.
    pub head: AuditMark,
    /// What is wrong, in the order of lines; at most a hundred.
    pub breaks: Vec<ChainBreak>,
    /// How many more breaks there are.
    pub further: u64,
}

impl ChainReport {
    /// Returns whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.breaks.is_empty() && self.further == 0
    }
}

/// Looks at the lines of a record, oldest first.
#[derive(Clone, Debug)]
pub struct ChainCheck {
    /// Up to which line they are not there, and the link of that one.
    base: AuditMark,
    marks: Vec<AuditMark>,
    last: AuditMark,
    /// Up to which line removals are on record.
    removed: u64,
    is_linked: bool,
    report: ChainReport,
}

impl ChainCheck {
    /// Returns a check of the lines after `base`, of which `marks` are known from elsewhere.
    pub fn new(base: AuditMark, marks: Vec<AuditMark>) -> Self {
        Self {
            base,
            marks,
            last: base,
            removed: 0,
            is_linked: base.link.is_some(),
            report: ChainReport::default(),
        }
    }

    /// Returns the number of the line after which lines are wanted next.
    pub fn last(&self) -> u64 {
        self.last.number
    }

    /// Takes note that lines were removed by now up to another one, because they had been kept long
    /// enough.
    pub fn rebase(&mut self, base: AuditMark) {
        self.base = base;
        if base.number > self.last.number {
            self.last = base;
        }
    }

    /// Looks at the next line. `confirm` says whether a link was made over the link before and these
    /// bytes by whoever writes this record.
    pub fn line(&mut self, line: &AuditRecord, confirm: impl FnOnce(Mac, &[u8], Mac) -> bool) {
        let number = line.number;
        let follows = number == self.last.number + 1;
        if !follows {
            self.note(ChainBreak::Missing { from: self.last.number + 1, to: number - 1 });
        }
        match line.link {
            // What comes after a gap cannot be held against the line before.
            Some(link) if follows => {
                if !confirm(self.last.previous(), &line.to_bytes(), link) {
                    self.note(ChainBreak::Changed(number));
                }
            }
            Some(_) => {}
            None if self.is_linked => self.note(ChainBreak::Unlinked(number)),
            None => self.report.unlinked += 1,
        }
        self.is_linked |= line.link.is_some();
        let is_other = |mark: &AuditMark| {
            mark.number == number && mark.link.is_some() && mark.link != line.link
        };
        if self.marks.iter().any(is_other) {
            self.note(ChainBreak::Differs(number));
        }
        // The first line with a link tells up to where there are lines of earlier releases, of which
        // no removal is on record.
        if let (
            Deed::Happened(Happening::AuditPruned | Happening::ChainBegan),
            Object::Lines(upto),
        ) = (line.entry.deed, &line.entry.on)
        {
            self.removed = self.removed.max(*upto);
        }
        self.report.lines += 1;
        if self.report.first == 0 {
            self.report.first = number;
        }
        self.last = AuditMark { number, link: line.link };
    }

    /// Returns what came of it, now that there are no more lines.
    pub fn finish(mut self) -> ChainReport {
        let (base, told) = (self.base.number, self.removed);
        if base > told {
            self.note(ChainBreak::CutBeginning { base, told });
        }
        let last = self.last.number;
        let end = self.marks.iter().map(|mark| mark.number).max().unwrap_or_default();
        if end > last {
            self.note(ChainBreak::CutTail { from: last + 1, to: end });
        }
        self.report.head = self.last;
        self.report
    }

    fn note(&mut self, found: ChainBreak) {
        match self.report.breaks.len() < MOST_BREAKS {
            true => self.report.breaks.push(found),
            false => self.report.further += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Asker, AuditEntry, Verb},
        time::Timestamp,
    };

    /// A mac that is good enough to tell texts apart.
    fn link(before: Mac, bytes: &[u8]) -> Mac {
        let mut mac = before.0;
        for (at, byte) in bytes.iter().enumerate() {
            let (near, far) = (at % 16, (at * 7 + 3) % 16);
            mac[near] = mac[near].wrapping_mul(31).wrapping_add(*byte).rotate_left(3);
            mac[far] ^= mac[near].wrapping_add(at as u8);
        }
        Mac(mac)
    }

    fn confirm(before: Mac, bytes: &[u8], known: Mac) -> bool {
        link(before, bytes) == known
    }

    fn entry(deed: Deed, on: Object) -> AuditEntry {
        AuditEntry::new(Asker::Keeper, deed, on, "done")
    }

    /// Returns lines after a mark.
    fn written(mut after: AuditMark, entries: Vec<AuditEntry>) -> Vec<AuditRecord> {
        let mut lines = Vec::new();
        for entry in entries {
            let number = after.number + 1;
            let mut line = AuditRecord { number, at: Timestamp(number), entry, link: None };
            line.link = Some(link(after.previous(), &line.to_bytes()));
            after = AuditMark { number, link: line.link };
            lines.push(line);
        }
        lines
    }

    fn ten() -> Vec<AuditRecord> {
        let begin = entry(Deed::Happened(Happening::ChainBegan), Object::Lines(0));
        let drains = (0..9).map(|_| entry(Deed::Done(Verb::Drain), Object::Conductor));
        written(AuditMark::default(), [begin].into_iter().chain(drains).collect())
    }

    fn mark(line: &AuditRecord) -> AuditMark {
        AuditMark { number: line.number, link: line.link }
    }

    fn check(base: AuditMark, marks: Vec<AuditMark>, lines: &[AuditRecord]) -> ChainReport {
        let mut check = ChainCheck::new(base, marks);
        lines.iter().for_each(|line| check.line(line, confirm));
        check.finish()
    }

    #[test]
    fn each_line_that_is_removed_changed_or_cut_is_found() {
        let (lines, none) = (ten(), AuditMark::default());
        let head = mark(&lines[9]);
        let whole = check(none, vec![head], &lines);
        assert!(whole.is_whole(), "{whole:?}");
        assert_eq!((whole.lines, whole.first, whole.head), (10, 1, head));
        for at in 0..10 {
            let number = lines[at].number;
            let mut removed = lines.clone();
            removed.remove(at);
            let found = check(none, vec![head], &removed).breaks;
            let missing = match at {
                9 => ChainBreak::CutTail { from: 10, to: 10 },
                _ => ChainBreak::Missing { from: number, to: number },
            };
            assert_eq!(found, [missing]);

            let mut changed = lines.clone();
            changed[at].entry.answer = "undone".into();
            assert_eq!(check(none, vec![head], &changed).breaks, [ChainBreak::Changed(number)]);

            // With a link that fits the change only for who has the key, the next one does not fit.
            changed[at].link = Some(Mac([9; 16]));
            let found = check(none, vec![head], &changed).breaks;
            assert!(found.starts_with(&[ChainBreak::Changed(number)]) && found.len() == 2);

            let mut bare = lines.clone();
            bare[at].link = None;
            assert!(!check(none, vec![head], &bare).is_whole(), "{number}");

            let cut = &lines[..at];
            let tail = ChainBreak::CutTail { from: number, to: 10 };
            assert_eq!(check(none, vec![head], cut).breaks, [tail]);

            // Lines that follow are numbered anew, so that there is no gap.
            let mut closed = removed;
            closed[at..].iter_mut().for_each(|line| line.number -= 1);
            assert!(!check(none, vec![head], &closed).is_whole(), "{number}");
        }
    }

    #[test]
    fn breaks_are_read_from_their_parts() {
        for found in [
            ChainBreak::Missing { from: 1, to: 2 },
            ChainBreak::CutTail { from: 1, to: 2 },
            ChainBreak::CutBeginning { base: 2, told: 1 },
            ChainBreak::Changed(3),
            ChainBreak::Unlinked(3),
            ChainBreak::Differs(3),
        ] {
            let (kind, from, to) = found.to_parts();
            assert_eq!(ChainBreak::from_parts(kind, from, to), Some(found));
        }
        assert_eq!(ChainBreak::from_parts("else", 1, 2), None);
    }

    #[test]
    fn a_beginning_is_removed_with_a_line_that_says_so() {
        let (mut lines, none) = (ten(), AuditMark::default());
        let said = entry(Deed::Happened(Happening::AuditPruned), Object::Lines(4));
        lines.extend(written(mark(&lines[9]), vec![said]));
        let (head, base) = (mark(&lines[10]), mark(&lines[3]));
        assert!(check(base, vec![head], &lines[4..]).is_whole());
        // More than that was cut off, and the store says that this is how it begins.
        for at in 5..10 {
            let base = mark(&lines[at - 1]);
            let found = check(base, vec![head], &lines[at..]).breaks;
            assert_eq!(found, [ChainBreak::CutBeginning { base: base.number, told: 4 }]);
        }
        // Nothing says how it begins.
        let found = check(none, vec![head], &lines[4..]).breaks;
        assert_eq!(found, [ChainBreak::Missing { from: 1, to: 4 }]);
        // A line before was taken for the first one.
        assert!(!check(mark(&lines[2]), vec![head], &lines[4..]).is_whole());
    }

    #[test]
    fn lines_of_earlier_releases_are_counted_and_those_of_others_found() {
        let mut lines = written(
            AuditMark::default(),
            (0..3).map(|_| entry(Deed::Done(Verb::Drain), Object::Conductor)).collect(),
        );
        lines.iter_mut().for_each(|line| line.link = None);
        let began = entry(Deed::Happened(Happening::ChainBegan), Object::Lines(3));
        let other = entry(Deed::Done(Verb::Drain), Object::Conductor);
        lines.extend(written(AuditMark { number: 3, link: None }, vec![began, other]));
        let report = check(AuditMark::default(), vec![mark(&lines[4])], &lines);
        assert!(report.is_whole() && report.unlinked == 3, "{report:?}");
        // The first of them were removed by a release that kept no record of that.
        let base = AuditMark { number: 2, link: None };
        assert!(check(base, vec![mark(&lines[4])], &lines[2..]).is_whole());
        let bare = AuditRecord { number: 6, link: None, ..lines[4].clone() };
        lines.push(bare);
        let found = check(AuditMark::default(), Vec::new(), &lines).breaks;
        assert_eq!(found, [ChainBreak::Unlinked(6)]);
    }

    #[test]
    fn a_record_that_was_written_anew_is_not_the_one_of_a_mark() {
        let lines = ten();
        let mut other = ten()[..5].to_vec();
        let anew = entry(Deed::Done(Verb::Undrain), Object::Conductor);
        other.extend(written(mark(&other[4]), vec![anew.clone(), anew]));
        let head = mark(&other[6]);
        for (at, line) in lines.iter().enumerate() {
            let found = check(AuditMark::default(), vec![head, mark(line)], &other).breaks;
            let expected = match at {
                0..5 => Vec::new(),
                5..7 => vec![ChainBreak::Differs(line.number)],
                _ => vec![ChainBreak::CutTail { from: 8, to: line.number }],
            };
            assert_eq!(found, expected);
        }
    }
}
