//! One check: a score that tells by its exit code how a unit's run is, from its process to its answer.
//!
//! ```text
//! starting ─ born ─▶ running ─ exits, is too late, or is of no use any more ─▶ ending: KILL
//!                                                                                │
//!     removed ◀─ nothing of it is left ── answered ◀─ nothing is left, or 1 s ───┘
//! ```
//!
//! Whatever a check made is killed when its first process ends: it may leave nothing. An answer that
//! tells a failure waits for what the check wrote to standard error, whose last line goes with it.

use std::rc::Rc;

use orchestra_model::{Millis, ScoreName, service::RunEnd};
use orchestra_units::{ProbeNumber, ProbeOutcome, bounds::TROUBLE_BYTES};
use rustix::process::Signal;

use super::run::run_end;
use crate::{
    prober::too_late,
    sitter::{
        attempt::{Main, Streams, Told},
        cgroup::Leaf,
        clock::BootMillis,
        hunt::Trail,
        scores::Image,
        stream::{STREAMS, Stream},
    },
};

/// After KILL, how long an answer waits for the end of everything that the check made, in milliseconds.
const LAST_LOOK: u64 = 1_000;
/// After so many milliseconds of being killed a check counts as one that hangs, and so has failed.
const HANGS: u64 = 10_000;
/// Most lines of each stream of a failed check that go into the unit's log.
const NOTED: usize = 20;
/// While it is being killed: the first wait before looking whether anything is left, and the longest,
/// in milliseconds.
const LOOK: (u64, u64) = (2, 500);

/// A check whose process was asked for, or lives, or is being killed.
#[derive(Debug)]
pub(in crate::sitter) struct Check {
    pub(super) score: ScoreName,
    /// The question that it answers.
    pub(super) number: ProbeNumber,
    pub(super) timeout: Millis,
    /// What is still to be answered; `None`: the answer was given, or nobody waits for one any more.
    answer: Option<ProbeOutcome>,
    pub(in crate::sitter) main: Option<Main>,
    pub(super) leaf: Option<Leaf>,
    /// What the environments of its processes hold.
    pub(super) marks: Vec<Vec<u8>>,
    pub(super) streams: Streams,
    /// Its program.
    pub(super) image: Rc<Image>,
    /// What is to be written into the unit's log, once it has failed.
    pub(super) notes: Vec<u8>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its launcher has not answered.
    Starting,
    Running {
        /// When it is too late.
        deadline: BootMillis,
    },
    Ending {
        since: BootMillis,
        /// When to look whether anything is left, and how long the last wait was, in milliseconds.
        look: (BootMillis, u64),
    },
    /// Nothing of it is left.
    Gone,
}

/// What is to be done about a check.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing yet.
    Wait,
    /// Ask its launcher what it wrote.
    AskForAccount,
    /// Give this answer.
    Answer(ProbeOutcome),
    /// Forget it.
    Remove,
}

impl Check {
    /// One whose process is being asked for.
    pub(super) fn new(
        score: ScoreName,
        (number, timeout): (ProbeNumber, Millis),
        (leaf, marks): (Option<Leaf>, Vec<Vec<u8>>),
        streams: Streams,
        image: Rc<Image>,
    ) -> Self {
        // Until it is known better.
        let answer = Some(ProbeOutcome::Unknown);
        let (main, phase) = (None, Phase::Starting);
        let notes = Vec::new();
        Self { score, number, timeout, answer, main, leaf, marks, streams, image, notes, phase }
    }

    /// Its process is there. `is_asked`: somebody still wants to know.
    pub(super) fn born(&mut self, main: Main, is_asked: bool, now: BootMillis) {
        self.main = Some(main);
        self.phase = Phase::Running { deadline: now.after(self.timeout.0) };
        if !is_asked {
            self.drop_question(now);
        }
    }

    /// It has no process that anybody knows. What there may be is killed.
    pub(super) fn not_born(&mut self, now: BootMillis) {
        self.end(now);
    }

    /// Its first process ended.
    pub(super) fn main_ended(&mut self, end: &RunEnd, now: BootMillis) {
        if let Some(main) = &mut self.main {
            main.gone = true;
        }
        if let Phase::Running { .. } = self.phase {
            self.answer = Some(match end {
                RunEnd::Exited(0) => ProbeOutcome::Healthy,
                end => ProbeOutcome::Unhealthy(format!("{} {end}", self.score)),
            });
        }
        self.end(now);
    }

    /// Nobody waits for its answer any more.
    pub(super) fn drop_question(&mut self, now: BootMillis) {
        self.answer = None;
        if let Phase::Running { .. } = self.phase {
            self.end(now);
        }
    }

    /// Whether somebody waits for its answer.
    pub(super) fn owes_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// Whether it is being killed for so long that the next one would hang as well.
    pub(super) fn hangs(&self, now: BootMillis) -> bool {
        matches!(self.phase, Phase::Ending { since, .. } if now >= since.after(HANGS))
    }

    fn end(&mut self, now: BootMillis) {
        let look = (now, LOOK.0);
        match &mut self.phase {
            Phase::Ending { look, .. } => look.0 = now,
            Phase::Starting | Phase::Running { .. } => {
                self.phase = Phase::Ending { since: now, look };
            }
            Phase::Gone => {}
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: BootMillis) {
        match self.phase {
            Phase::Running { deadline } if now >= deadline => {
                // A true end that came before wins.
                if let Some(wait_status) = self.main.as_mut().and_then(Main::ended) {
                    return self.main_ended(&run_end(wait_status), now);
                }
                self.answer = Some(match too_late(deadline, self.timeout, now) {
                    ProbeOutcome::Unhealthy(why) => {
                        ProbeOutcome::Unhealthy(format!("{} gave {why}", self.score))
                    }
                    unknown => unknown,
                });
                self.end(now);
            }
            _ => {}
        }
        if let Phase::Ending { look: (at, _), .. } = self.phase
            && now >= at
        {
            self.kill(now);
        }
    }

    /// When [`Check::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        match self.phase {
            Phase::Running { deadline } => Some(deadline),
            Phase::Ending { look: (at, _), .. } => Some(at),
            Phase::Starting | Phase::Gone => None,
        }
    }

    fn kill(&mut self, now: BootMillis) {
        let Phase::Ending { since, look: (_, waited) } = self.phase else { return };
        if !self.is_empty() {
            if let Some(main) = &self.main {
                main.signal_group(Signal::KILL);
            }
            match &self.leaf {
                Some(leaf) => leaf.kill(),
                None => drop(self.trail().kill()),
            }
        }
        self.phase = match self.is_empty() {
            true => Phase::Gone,
            false => {
                let wait = (waited * 2).min(LOOK.1);
                Phase::Ending { since, look: (now.after(wait), wait) }
            }
        };
    }

    fn trail(&self) -> Trail {
        let leader = self.main.as_ref().map(|main| (main.pid, main.start_ticks));
        let spared = Default::default();
        Trail { marks: self.marks.clone(), leader, orphans: false, spared }
    }

    fn is_empty(&mut self) -> bool {
        let main_gone = self.main.as_mut().is_none_or(Main::is_gone);
        main_gone && self.leaf.as_ref().map_or_else(|| self.trail().is_gone(), Leaf::is_empty)
    }

    /// What is to be done about it now. An answer is given once.
    pub(super) fn next(&mut self, now: BootMillis) -> Next {
        let may_answer = match self.phase {
            Phase::Starting | Phase::Running { .. } => return Next::Wait,
            Phase::Ending { since, .. } => now >= since.after(LAST_LOOK),
            Phase::Gone => true,
        };
        let is_over = self.phase == Phase::Gone;
        match (&self.answer, self.streams.told) {
            (None, _) if is_over => return Next::Remove,
            (None, _) => return Next::Wait,
            _ if !may_answer => return Next::Wait,
            (Some(ProbeOutcome::Unhealthy(_)), Told::Nothing) => {
                self.streams.told = Told::Asked;
                return Next::AskForAccount;
            }
            (Some(ProbeOutcome::Unhealthy(_)), Told::Asked) => return Next::Wait,
            (Some(_), _) => {}
        }
        match self.answer.take() {
            Some(ProbeOutcome::Unhealthy(why)) => {
                self.notes = self.to_note(&why);
                let said = self.last_words().map_or(why.clone(), |said| format!("{why}: {said}"));
                Next::Answer(ProbeOutcome::Unhealthy(said))
            }
            Some(outcome) => Next::Answer(outcome),
            None => Next::Wait,
        }
    }

    /// The last line of standard error with something in it.
    fn last_words(&self) -> Option<String> {
        last_line(&self.last_bytes(Stream::Stderr))
    }

    /// The last bytes of what it wrote that are kept.
    fn last_bytes(&self, stream: Stream) -> Vec<u8> {
        let kept = self.streams.kept(stream).ok().flatten();
        let output = kept.and_then(|kept| kept.output().ok()).unwrap_or_default();
        if output.tail.is_empty() { output.head } else { output.tail }
    }

    /// What goes into the unit's log of a check that failed: why, and its last lines, each with the
    /// name of the check before it.
    fn to_note(&self, why: &str) -> Vec<u8> {
        let mut notes = format!("[{why}]\n").into_bytes();
        for stream in STREAMS {
            let bytes = self.last_bytes(stream);
            let lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            let lines = lines.iter().filter(|line| !line.trim_ascii().is_empty());
            let lines: Vec<_> = lines.rev().take(NOTED).collect();
            for line in lines.into_iter().rev() {
                notes.extend(format!("[{}] ", self.score).into_bytes());
                notes.extend_from_slice(line);
                notes.push(b'\n');
            }
        }
        notes
    }
}

/// The last line that is not blank, cut to what is told of trouble.
fn last_line(text: &[u8]) -> Option<String> {
    let lines = text.rsplit(|byte| *byte == b'\n');
    let line = lines.map(<[u8]>::trim_ascii).find(|line| !line.is_empty())?;
    let line = &line[..line.len().min(TROUBLE_BYTES)];
    Some(String::from_utf8_lossy(line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_are_a_line_with_something_in_it() {
        for (text, line) in [
            ("", None),
            ("\n \n", None),
            ("refused", Some("refused")),
            ("trying\nrefused by db1 \r\n\n", Some("refused by db1")),
        ] {
            assert_eq!(last_line(text.as_bytes()).as_deref(), line, "{text:?}");
        }
        assert_eq!(last_line(b"a\xffb").as_deref(), Some("a\u{fffd}b"));
        let long = last_line(&[b'x'; 10_000]).unwrap();
        assert_eq!(long.len(), TROUBLE_BYTES);
    }
}
