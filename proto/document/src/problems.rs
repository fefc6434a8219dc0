//! What is wrong with a document: all of it at once.

use std::fmt::{self, Display};

/// Most problems that are told; the rest are counted.
const TOLD: usize = 20;

/// What is wrong with a document, in the order of finding.
///
/// As an error it reads as the one problem, or as their number with a line for each.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    told: Vec<String>,
    more: usize,
}

impl Problems {
    /// Notes a problem at a place; an empty place is the document as a whole.
    pub fn add(&mut self, place: &str, problem: impl Display) {
        if self.told.len() == TOLD {
            self.more += 1;
        } else if place.is_empty() {
            self.told.push(problem.to_string());
        } else {
            self.told.push(format!("{place}: {problem}"));
        }
    }

    /// Notes a problem at a line of the document, where it is known, and a place.
    pub fn add_at(&mut self, line: Option<usize>, place: &str, problem: impl Display) {
        match line {
            Some(line) if place.is_empty() => self.add(&format!("line {line}"), problem),
            Some(line) => self.add(&format!("line {line}: {place}"), problem),
            None => self.add(place, problem),
        }
    }

    /// Takes in what is wrong with a part, which is at `place` in this whole.
    pub fn take_in(&mut self, place: &str, part: Problems) {
        for problem in part.told {
            self.add(place, problem);
        }
        self.more += part.more;
    }

    /// How many there are, told or not.
    pub fn len(&self) -> usize {
        self.told.len() + self.more
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// All of them in one line, for where there is room for one.
    pub fn in_one_line(&self) -> String {
        let mut text = self.told.join("; ");
        if self.more > 0 {
            text.push_str(&format!("; and {} more", self.more));
        }
        text
    }

    /// `Ok` where there are none, else all of them as one error.
    pub fn into_result(self) -> Result<(), Problems> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let ([one], 0) = (self.told.as_slice(), self.more) {
            return f.write_str(one);
        }
        write!(f, "{} problems", self.len())?;
        for problem in &self.told {
            write!(f, "\n  {problem}")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_up_to_a_bound() {
        let mut problems = Problems::default();
        for n in 0..25 {
            problems.add("here", format_args!("problem {n}"));
        }
        let text = problems.clone().into_result().unwrap_err().to_string();
        assert!(text.starts_with("25 problems\n  here: problem 0\n"), "{text}");
        assert!(text.ends_with("  and 5 more"), "{text}");
        assert!(problems.in_one_line().ends_with("; here: problem 19; and 5 more"));
        let mut whole = Problems::default();
        whole.add("", "it is blue");
        assert_eq!(whole.to_string(), "it is blue");
        whole.take_in("there", problems);
        let text = whole.to_string();
        assert!(
            text.starts_with("26 problems\n  it is blue\n  there: here: problem 0\n"),
            "{text}"
        );
        assert!(text.ends_with("  and 6 more"), "{text}");
    }
}
