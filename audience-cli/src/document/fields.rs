//! Taking a table apart by the names of its fields, collecting problems.

use std::{fmt::Display, str::FromStr};

use super::node::Node;
use crate::error::Failure;

/// Most problems that are told; the rest are counted.
const TOLD: usize = 20;

/// What is wrong with a document, in the order of finding.
#[derive(Debug, Default)]
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

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// All of them as one failure of reading `what`; `Ok` where there are none.
    pub fn into_result(self, what: &str) -> Result<(), Failure> {
        match self.told.as_slice() {
            [] => Ok(()),
            [one] => Err(Failure::usage(format!("{what}: {one}"))),
            several => {
                let mut text = format!("{what}: {} problems", several.len() + self.more);
                for problem in several {
                    text.push_str("\n  ");
                    text.push_str(problem);
                }
                if self.more > 0 {
                    text.push_str(&format!("\n  and {} more", self.more));
                }
                Err(Failure::usage(text))
            }
        }
    }
}

/// A field name that is not ours, and what to say of it.
#[derive(Clone, Copy, Debug)]
pub enum Foreign {
    /// Another tool's name for ours.
    Renamed(&'static str, &'static str),
    /// Ours, but later.
    Later(&'static str),
    /// Another tool's, with the way to say it here.
    Instead(&'static str, &'static str),
}

impl Foreign {
    fn name(self) -> &'static str {
        match self {
            Foreign::Renamed(name, _) | Foreign::Later(name) | Foreign::Instead(name, _) => name,
        }
    }
}

/// The fields of one table. Every field that is known is asked for once; what was not asked for
/// is unknown.
pub struct Fields<'a> {
    place: String,
    fields: &'a [(String, Node)],
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// Of a node that must be a table; else notes the problem.
    pub fn of(node: &'a Node, place: &str, problems: &mut Problems) -> Option<Fields<'a>> {
        match node {
            Node::Map(fields) => {
                Some(Fields { place: place.to_owned(), fields, asked: Vec::new() })
            }
            other => {
                let found = other.kind();
                problems.add(place, format_args!("expected a table of fields, found {found}"));
                None
            }
        }
    }

    /// The value of a field, where it is given.
    pub fn get(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'a Node> {
        self.asked.push(name);
        let (_, node) = self.fields.iter().find(|(key, _)| key == name)?;
        if *node == Node::Null {
            self.note(name, "it is empty; give it a value or leave it out", problems);
            return None;
        }
        Some(node)
    }

    /// The text of a field.
    pub fn text(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'a str> {
        match self.get(name, problems)? {
            Node::Text(text) => Some(text),
            other => {
                let found = other.kind();
                self.note(name, format_args!("expected text, found {found}"), problems);
                None
            }
        }
    }

    /// A field whose text, or whole number, parses.
    pub fn parsed<T>(&mut self, name: &'static str, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let parsed = match self.get(name, problems)? {
            Node::Text(text) => text.parse(),
            Node::Whole(n) => n.to_string().parse(),
            other => {
                let found = other.kind();
                self.note(name, format_args!("found {found}"), problems);
                return None;
            }
        };
        parsed.map_err(|error| self.note(name, error, problems)).ok()
    }

    /// The elements of a field that is a list.
    pub fn list(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'a [Node]> {
        match self.get(name, problems)? {
            Node::List(nodes) => Some(nodes),
            other => {
                let found = other.kind();
                self.note(name, format_args!("expected a list, found {found}"), problems);
                None
            }
        }
    }

    /// Notes a problem of a field.
    pub fn note(&self, name: &str, problem: impl Display, problems: &mut Problems) {
        problems.add(&self.place, format_args!("{name}: {problem}"));
    }

    /// Notes that a field is needed.
    pub fn missing(&self, name: &str, problems: &mut Problems) {
        problems.add(&self.place, format_args!("{name} is missing"));
    }

    /// Refuses every field that nobody asked for.
    pub fn finish(self, foreign: &[Foreign], problems: &mut Problems) {
        for (key, _) in self.fields {
            if self.asked.contains(&key.as_str()) {
                continue;
            }
            let shown: String = key.chars().take(60).collect();
            let said = foreign.iter().find(|foreign| foreign.name() == key);
            let problem = match said {
                Some(Foreign::Renamed(_, ours)) => {
                    format!("unknown field {shown:?}; here it is called {ours}")
                }
                Some(Foreign::Later(_)) => {
                    format!("field {shown:?} is not supported by this version")
                }
                Some(Foreign::Instead(_, way)) => format!("unknown field {shown:?}; {way}"),
                None => match nearest(key, self.asked.iter().copied()) {
                    Some(ours) => format!("unknown field {shown:?}; did you mean {ours}?"),
                    None => {
                        let known = self.asked.join(", ");
                        format!("unknown field {shown:?}; there are {known}")
                    }
                },
            };
            problems.add(&self.place, problem);
        }
    }
}

/// The known name that somebody most likely meant.
pub fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Longer names would cost time and are no slips of the finger.
    if written.len() > 40 {
        return None;
    }
    let plain = |text: &str| text.to_ascii_lowercase().replace('-', "_");
    let distance = |name: &str| strsim::damerau_levenshtein(&plain(written), &plain(name));
    known
        .map(|name| (distance(name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["parallel", "success", "retries", "max_failures"];
        for (written, meant) in [
            ("paralell", Some("parallel")),
            ("retry", None),
            ("Success", Some("success")),
            ("max-failures", Some("max_failures")),
            ("banana", None),
        ] {
            assert_eq!(nearest(written, known.into_iter()), meant, "{written}");
        }
    }

    #[test]
    fn all_problems_are_told_up_to_a_bound() {
        let mut problems = Problems::default();
        for n in 0..25 {
            problems.add("here", format_args!("problem {n}"));
        }
        let text = problems.into_result("reading x").unwrap_err().render();
        assert!(text.starts_with("error: reading x: 25 problems\n  here: problem 0\n"), "{text}");
        assert!(text.ends_with("  and 5 more\n"), "{text}");
    }
}
