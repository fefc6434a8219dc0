//! "Did you mean": the known word closest to one that is not known.

/// The one of `known` that is fewest edits away from `word`, if that is few enough to look like a
/// slip: a third of the word's letters, rounded up. The first of equals.
///
/// An edit is a letter added, left out, or replaced, or two neighbours swapped; case, `-` and `_`
/// do not count.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Longer than any word of ours; what is longer still is nobody's slip.
    const LONGEST: usize = 64;
    let word = letters(word);
    if word.len() > LONGEST {
        return None;
    }
    let allowed = word.len().div_ceil(3);
    known
        .into_iter()
        .map(|candidate| (edits(&word, &letters(candidate)), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

fn letters(word: &str) -> Vec<char> {
    word.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// The optimal string alignment distance.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_none() {
        let known = ["timeout", "concurrency", "user", "description"];
        for (word, meant) in [
            ("timeuot", "timeout"),
            ("time-out", "timeout"),
            ("Concurency", "concurrency"),
            ("desc_ription", "description"),
            ("users", "user"),
        ] {
            assert_eq!(nearest(word, known), Some(meant), "{word}");
        }
        for word in ["", "x", "colour", &"timeout".repeat(20)] {
            assert_eq!(nearest(word, known), None, "{word}");
        }
        let known = ["parallel", "success", "retries", "max_failures"];
        for (word, meant) in [
            ("paralell", Some("parallel")),
            ("Success", Some("success")),
            ("max-failures", Some("max_failures")),
            ("retry", None),
            ("banana", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
