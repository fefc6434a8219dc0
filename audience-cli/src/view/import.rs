//! What another tool's file is as a file of ours.

use std::io;

use serde::Serialize;

use super::{Output, Page, Style, one_line};

/// A file of ours, and what its reader has to know.
pub(crate) struct Imported {
    /// The file, in YAML.
    pub(crate) written: String,
    /// What was left out, or means something else here; each with where it stood.
    pub(crate) notes: Vec<String>,
    /// What to do next, for a person.
    pub(crate) next: &'static str,
}

impl Output for Imported {
    fn noun(&self) -> &'static str {
        "import"
    }

    fn json(self) -> impl Serialize {
        Told { file: self.written, notes: self.notes }
    }

    /// A file that can be used as it is: notes are its comments.
    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        self.notes.iter().try_for_each(|note| writeln!(out, "# {}", one_line(note)))?;
        write!(out, "{}", self.written)
    }

    fn remark(&self) -> Option<String> {
        Some(self.next.to_owned())
    }
}

#[derive(Serialize)]
struct Told {
    file: String,
    notes: Vec<String>,
}
