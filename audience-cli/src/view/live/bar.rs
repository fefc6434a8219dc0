//! A job's bar and its counts: what is over comes first, what waits last.

use orchestra_model::{state::TaskState, status::Counts};

use super::{Glyphs, Row};
use crate::view::style::Tone;

/// The parts of a bar, from the left.
const PARTS: [Part; 5] = [Part::Ok, Part::Failed, Part::Denied, Part::InFlight, Part::Waiting];

/// States that look alike in a bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Ok,
    Failed,
    /// Never ran, and will not.
    Denied,
    InFlight,
    Waiting,
}

impl Part {
    fn of(state: TaskState) -> Self {
        match state {
            TaskState::Ok => Part::Ok,
            TaskState::Failed | TaskState::TimedOut | TaskState::Refused | TaskState::Lost => {
                Part::Failed
            }
            TaskState::Unreachable | TaskState::Skipped | TaskState::Cancelled => Part::Denied,
            TaskState::Sent | TaskState::Running => Part::InFlight,
            TaskState::Waiting => Part::Waiting,
        }
    }

    fn glyph(self, glyphs: Glyphs) -> char {
        match (self, glyphs) {
            (Part::Ok, Glyphs::Blocks) => '█',
            (Part::InFlight, Glyphs::Blocks) => '▒',
            (Part::Waiting, Glyphs::Blocks) => '·',
            (Part::Ok, Glyphs::Ascii) => '#',
            (Part::InFlight, Glyphs::Ascii) => '=',
            (Part::Waiting, Glyphs::Ascii) => '.',
            (Part::Failed, _) => 'x',
            (Part::Denied, _) => '-',
        }
    }

    fn tone(self) -> Tone {
        match self {
            Part::Ok => Tone::Good,
            Part::Failed => Tone::Bad,
            Part::Denied => Tone::Care,
            Part::InFlight => Tone::Plain,
            Part::Waiting => Tone::Dim,
        }
    }
}

/// Returns a bar of `width` columns. Each part that has tasks has a column at least, if there are
/// enough columns for that.
pub(super) fn bar(counts: &Counts, width: usize, glyphs: Glyphs) -> Row {
    let mut tasks = [0; PARTS.len()];
    for (state, n) in counts.iter() {
        tasks[Part::of(state) as usize] += n as usize;
    }
    let mut row = Row::default();
    for (part, columns) in PARTS.into_iter().zip(shares(tasks, width)) {
        if columns > 0 {
            let text: String = std::iter::repeat_n(part.glyph(glyphs), columns).collect();
            row = row.tell(text, part.tone());
        }
    }
    row
}

/// Shares columns among parts by their tasks. What rounding leaves goes to the largest part, and it
/// gives what small parts need to be seen.
fn shares(tasks: [usize; PARTS.len()], width: usize) -> [usize; PARTS.len()] {
    let total: usize = tasks.iter().sum();
    let mut columns = [0; PARTS.len()];
    if total == 0 {
        return columns;
    }
    for (columns, tasks) in columns.iter_mut().zip(tasks) {
        *columns = if tasks == 0 { 0 } else { (tasks * width / total).max(1) };
    }
    loop {
        let taken: usize = columns.iter().sum();
        let Some(largest) = columns.iter_mut().max() else { return columns };
        if taken <= width {
            *largest += width - taken;
            return columns;
        }
        *largest -= 1;
    }
}

/// `10 ok, 2 failed, 50 running, 40 waiting`: what is over comes first.
pub(super) fn counted(counts: &Counts) -> Row {
    let is_open = |state: TaskState| !state.is_final();
    let over = counts.iter().filter(|(state, _)| !is_open(*state));
    let flying = counts.iter().filter(|(state, _)| state.is_in_flight());
    let waiting = counts.iter().filter(|(state, _)| *state == TaskState::Waiting);
    let mut row = Row::default();
    let mut is_first = true;
    for (state, n) in over.chain(flying).chain(waiting).filter(|(_, n)| *n > 0) {
        let comma = if std::mem::replace(&mut is_first, false) { "" } else { ", " };
        row = row.say(comma).tell(format!("{n} {state}"), state);
    }
    if is_first { Row::plain("no tasks") } else { row }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Style;

    fn of(each: &[(TaskState, u32)], width: usize) -> String {
        let mut counts = Counts::default();
        each.iter().for_each(|(state, n)| counts.set(*state, *n));
        bar(&counts, width, Glyphs::Ascii).render(99, Style::default()).0
    }

    #[test]
    fn a_bar_is_full_and_shows_what_is_rare() {
        use TaskState::{Failed, Ok, Running, Unreachable, Waiting};
        assert_eq!(of(&[(Ok, 10)], 10), "##########");
        assert_eq!(of(&[(Ok, 1), (Waiting, 2)], 10), "###.......");
        let all = [(Ok, 9_000), (Failed, 1), (Unreachable, 1), (Running, 500), (Waiting, 498)];
        assert_eq!(of(&all, 20), "################x-=.");
        assert_eq!(of(&[(Ok, 1), (Failed, 1), (Waiting, 1)], 2).len(), 2);
        assert_eq!(of(&[], 10), "");
    }

    #[test]
    fn every_share_adds_up() {
        for width in 0..40 {
            for n in 0..200 {
                let tasks = [n * 7 % 100, n % 3, n / 50, n * 3 % 11, n];
                let total: usize = shares(tasks, width).iter().sum();
                let wanted = if tasks.iter().sum::<usize>() == 0 { 0 } else { width };
                assert_eq!(total, wanted, "{tasks:?} in {width}");
            }
        }
    }
}
