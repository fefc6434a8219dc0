//! Differences of two texts, line by line, as `diff -u` shows them.

use std::io;

use crate::view::{Page, Style, style::Tone};

/// Unchanged lines that are shown around a change.
const CONTEXT: usize = 3;

/// Most cells of the comparison table; beyond it, what differs is shown as replaced as a whole.
/// Four million cells take 16 MiB and some hundredths of a second.
const CELLS: usize = 4 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Same(&'a [u8]),
    Gone(&'a [u8]),
    New(&'a [u8]),
}

/// Writes what leads from `old` to `new`: changed lines with those around them.
pub(super) fn write(out: &mut dyn Page, old: &[u8], new: &[u8], style: Style) -> io::Result<()> {
    let lines = compare(&split(old), &split(new));
    let changed = |line: &Line<'_>| !matches!(line, Line::Same(_));
    let mut shown_to = 0;
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| changed(line)) {
        let from = at.saturating_sub(CONTEXT).max(shown_to);
        if from > shown_to {
            writeln!(out, "@@")?;
        }
        // Up to the change only: what follows is shown with the next change, or at the end.
        for line in lines.get(from..=at).unwrap_or_default() {
            write_line(out, line, style)?;
        }
        shown_to = at + 1;
        let next = lines.iter().skip(shown_to).position(changed);
        let after = next.unwrap_or(lines.len() - shown_to).min(CONTEXT);
        for line in lines.get(shown_to..shown_to + after).unwrap_or_default() {
            write_line(out, line, style)?;
        }
        shown_to += after;
    }
    Ok(())
}

fn write_line(out: &mut dyn Page, line: &Line<'_>, style: Style) -> io::Result<()> {
    let (sign, text, tone) = match line {
        Line::Same(text) => (" ", text, Tone::Plain),
        Line::Gone(text) => ("-", text, Tone::Bad),
        Line::New(text) => ("+", text, Tone::Good),
    };
    let (begin, end) = style.around(tone);
    write!(out, "{begin}{sign}")?;
    out.foreign(text)?;
    writeln!(out, "{end}")
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if text.is_empty() { Vec::new() } else { text.split(|b| *b == b'\n').collect() }
}

/// The longest common subsequence, between what both begin and end with.
fn compare<'a>(old: &[&'a [u8]], new: &[&'a [u8]]) -> Vec<Line<'a>> {
    let same = |(a, b): &(&&[u8], &&[u8])| a == b;
    let head = old.iter().zip(new).take_while(same).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(same).count();
    let (gone, end) = old_rest.split_at(old_rest.len() - tail);
    let (come, _) = new_rest.split_at(new_rest.len() - tail);
    let mut lines: Vec<Line<'a>> = old[..head].iter().map(|line| Line::Same(line)).collect();
    lines.extend(middle(gone, come));
    lines.extend(end.iter().map(|line| Line::Same(line)));
    lines
}

fn middle<'a>(old: &[&'a [u8]], new: &[&'a [u8]]) -> Vec<Line<'a>> {
    let replaced = || {
        let gone = old.iter().map(|line| Line::Gone(line));
        gone.chain(new.iter().map(|line| Line::New(line))).collect()
    };
    let width = new.len() + 1;
    if (old.len() + 1).saturating_mul(width) > CELLS {
        return replaced();
    }
    // How many lines what is left of both has in common, from each pair of places on.
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut lines = Vec::with_capacity(old.len() + new.len());
    while i < old.len() && j < new.len() {
        if old[i] == new[j] {
            lines.push(Line::Same(old[i]));
            (i, j) = (i + 1, j + 1);
        } else if common[(i + 1) * width + j] >= common[i * width + j + 1] {
            lines.push(Line::Gone(old[i]));
            i += 1;
        } else {
            lines.push(Line::New(new[j]));
            j += 1;
        }
    }
    lines.extend(old[i..].iter().map(|line| Line::Gone(line)));
    lines.extend(new[j..].iter().map(|line| Line::New(line)));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, old.as_bytes(), new.as_bytes(), Style::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn changes_are_shown_with_what_is_around_them() {
        assert_eq!(diff("a\nb\nc\n", "a\nx\nc\n"), " a\n-b\n+x\n c\n");
        assert_eq!(diff("a\n", "a"), "");
        assert_eq!(diff("", "a\n"), "+a\n");
        assert_eq!(diff("a\n", ""), "-a\n");
        assert_eq!(diff("a\nb\nc\nd\n", "b\nc\nd\ne\n"), "-a\n b\n c\n d\n+e\n");
        assert_eq!(
            diff("1\n2\n3\n4\n5\n6\n7\n8\n9\n0\nx\n", "1\n2\n3\n4\n5\n6\n7\n8\n9\n0\ny\n"),
            "@@\n 8\n 9\n 0\n-x\n+y\n"
        );
    }

    #[test]
    fn applying_a_difference_gives_the_new_text() {
        // A small exhaustive world: all texts of up to four lines of two kinds.
        let texts: Vec<String> = (0..5_u32)
            .flat_map(|n| (0..1_u32 << n).map(move |bits| (n, bits)))
            .map(|(n, bits)| {
                (0..n).map(|i| if bits >> i & 1 == 1 { "a\n" } else { "b\n" }).collect()
            })
            .collect();
        for old in &texts {
            for new in &texts {
                let (old, new) = (split(old.as_bytes()), split(new.as_bytes()));
                let lines = compare(&old, &new);
                let kept = |line: &Line<'_>| matches!(line, Line::Same(_) | Line::Gone(_));
                assert_eq!(lines.iter().filter(|line| kept(line)).count(), old.len());
                let made: Vec<&[u8]> = lines
                    .iter()
                    .filter_map(|line| match line {
                        Line::Same(text) | Line::New(text) => Some(*text),
                        Line::Gone(_) => None,
                    })
                    .collect();
                assert_eq!(made, new);
            }
        }
    }

    #[test]
    fn very_different_texts_are_replaced_as_a_whole() {
        let text = |word: &str| (0..3_000).map(|n| format!("{word}{n}\n")).collect::<String>();
        let lines = diff(&text("a"), &text("b"));
        assert_eq!(lines.lines().count(), 6_000);
        assert!(lines.starts_with("-a0\n-a1\n"));
    }
}
