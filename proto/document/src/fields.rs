//! Taking a table apart by the names of its fields, collecting problems.

use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
};

use orchestra_model::{HostName, TlsFiles, nearest};

use crate::{
    node::{Key, Node},
    problems::Problems,
};

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
    fields: &'a [(Key, Node)],
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

    /// A table in this one; where it is not given, one without fields, so that what it has to have is
    /// told as missing. `None`, and noted, where it is something else.
    pub fn table(&mut self, name: &'static str, problems: &mut Problems) -> Option<Fields<'a>> {
        let place =
            if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        let fields = match self.get(name, problems) {
            Some(Node::Map(fields)) => fields.as_slice(),
            Some(other) => {
                let found = other.kind();
                self.note(
                    name,
                    format_args!("expected a table of fields, found {found}"),
                    problems,
                );
                return None;
            }
            None if self.is_given(name) => return None,
            None => &[],
        };
        Some(Fields { place, fields, asked: Vec::new() })
    }

    fn field(&self, name: &str) -> Option<&'a (Key, Node)> {
        self.fields.iter().find(|(key, _)| *key == *name)
    }

    /// Whether a field is given, whatever its value.
    pub fn is_given(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The value of a field, where it is given.
    pub fn get(&mut self, name: &'static str, problems: &mut Problems) -> Option<&'a Node> {
        self.asked.push(name);
        let (_, node) = self.field(name)?;
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

    /// A field that is the name of a host. A number is none, whatever it would read like.
    pub fn host_name(&mut self, name: &'static str, problems: &mut Problems) -> Option<HostName> {
        let read = HostName::new(self.text(name, problems)?);
        read.map_err(|error| self.note(name, error, problems)).ok()
    }

    /// A field whose text, or whole number, parses.
    pub fn parsed<T>(&mut self, name: &'static str, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let node = self.get(name, problems)?;
        self.parse(name, node, problems)
    }

    /// A field whose text, or number with or without a fraction, parses. For what means the same however
    /// its number is written.
    pub fn number<T>(&mut self, name: &'static str, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        match self.get(name, problems)? {
            Node::Fraction(text) => self.parse(name, &Node::Text(text.clone()), problems),
            node => self.parse(name, node, problems),
        }
    }

    /// A field whose text, or whole number, parses, and is within bounds.
    pub fn within<T>(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<T>,
        problems: &mut Problems,
    ) -> Option<T>
    where
        T: FromStr<Err: Display> + Display + PartialOrd,
    {
        let value: T = self.parsed(name, problems)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let (least, most) = bounds.into_inner();
        let problem = format!("\"{value}\": expected {least} to {most}");
        self.note(name, problem, problems);
        None
    }

    /// A field that is a whole number within bounds.
    pub fn whole<T>(
        &mut self,
        name: &'static str,
        bounds: RangeInclusive<T>,
        problems: &mut Problems,
    ) -> Option<T>
    where
        T: TryFrom<i128> + Display + PartialOrd,
    {
        let node = self.get(name, problems)?;
        let value = match node {
            Node::Whole(number) => T::try_from(*number).ok(),
            _ => None,
        };
        if let Some(value) = value.filter(|value| bounds.contains(value)) {
            return Some(value);
        }
        let (least, most) = bounds.into_inner();
        let problem = match node {
            Node::Whole(number) => {
                format!("{number}: expected a whole number from {least} to {most}")
            }
            other => {
                format!("expected a whole number from {least} to {most}, found {}", other.kind())
            }
        };
        self.note(name, problem, problems);
        None
    }

    /// A field that is a path; a relative one starts at `base`.
    pub fn path(
        &mut self,
        name: &'static str,
        base: &Path,
        problems: &mut Problems,
    ) -> Option<PathBuf> {
        self.text(name, problems).map(|text| base.join(text))
    }

    /// The table `tls`, which every daemon has: where its certificates and its key are. Relative
    /// paths start at `base`.
    pub fn tls_files(&mut self, base: &Path, problems: &mut Problems) -> Option<TlsFiles> {
        let mut tls = self.table("tls", problems)?;
        let ca = tls.path("ca", base, problems);
        let cert = tls.path("cert", base, problems);
        let key = tls.path("key", base, problems);
        let crl = tls.path("crl", base, problems);
        for name in ["ca", "cert", "key"] {
            tls.needed(name, problems);
        }
        tls.finish(&[], problems);
        Some(TlsFiles { ca: ca?, cert: cert?, key: key?, crl })
    }

    fn parse<T>(&self, name: &'static str, node: &Node, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let parsed = match node {
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

    /// The elements of a field that is a list of texts.
    pub fn texts(&mut self, name: &'static str, problems: &mut Problems) -> Option<Vec<String>> {
        let mut texts = Vec::new();
        for node in self.list(name, problems)? {
            match node {
                Node::Text(text) => texts.push(text.clone()),
                other => {
                    let expected = format_args!("expected texts in quotes, found {}", other.kind());
                    self.note(name, expected, problems);
                    return None;
                }
            }
        }
        Some(texts)
    }

    /// Notes a problem of a field.
    pub fn note(&self, name: &str, problem: impl Display, problems: &mut Problems) {
        let line = self.field(name).and_then(|(key, _)| key.line());
        problems.add_at(line, &self.place, format_args!("{name}: {problem}"));
    }

    /// Notes that a field is needed, where it is not given.
    pub fn needed(&self, name: &str, problems: &mut Problems) {
        if !self.is_given(name) {
            self.missing(name, problems);
        }
    }

    /// Notes that a field is needed.
    pub fn missing(&self, name: &str, problems: &mut Problems) {
        problems.add(&self.place, format_args!("{name} is missing"));
    }

    /// Refuses every field that nobody asked for.
    pub fn finish(self, foreign: &[Foreign], problems: &mut Problems) {
        for (key, _) in self.fields {
            if self.asked.contains(&&**key) {
                continue;
            }
            let shown: String = key.chars().take(60).collect();
            let said = foreign.iter().find(|foreign| *key == *foreign.name());
            let problem = match said {
                Some(Foreign::Renamed(_, ours)) => {
                    format!("unknown field {shown:?}; here it is called {ours}")
                }
                Some(Foreign::Later(_)) => format!("field {shown:?} is not offered yet"),
                Some(Foreign::Instead(_, way)) => format!("unknown field {shown:?}; {way}"),
                None => match nearest(key, self.asked.iter().copied()) {
                    Some(ours) => format!("unknown field {shown:?}; did you mean {ours}?"),
                    None => {
                        let known = self.asked.join(", ");
                        format!("unknown field {shown:?}; there are {known}")
                    }
                },
            };
            problems.add_at(key.line(), &self.place, problem);
        }
    }
}
