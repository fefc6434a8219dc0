//! JSON answers: one document `{"schema": 1, …}` each.
//!
//! States are in kebab-case, times RFC 3339 in UTC, durations whole numbers named `…_ms`. Fields
//! are added over time; what is there keeps its meaning while `schema` is 1. Everything is there
//! always: what is unknown is `null`.

use std::io::{self, Write};

use orchestra_model::time::Timestamp;
use serde::Serialize;

/// The version of every document.
pub(crate) const SCHEMA: u32 = 1;

/// A document under its noun: `{"schema":1,"flow":…}`.
pub(crate) fn document(out: &mut dyn Write, noun: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, "{{\"schema\":{SCHEMA},\"{noun}\":")?;
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"}\n")
}

/// Why there is no answer: `{"schema":1,"error":…}` on standard output, beside the words on standard
/// error.
#[derive(Debug, Serialize)]
pub(crate) struct Error<'a> {
    /// By which programs tell failures apart: a word for each exit code.
    pub(crate) kind: &'static str,
    pub(crate) exit: u8,
    pub(crate) message: &'a str,
    /// What can be done, for people.
    pub(crate) hint: Option<&'a str>,
    /// The request whose fate is not known, or which is held.
    pub(crate) request_id: Option<String>,
}

impl Error<'_> {
    pub(crate) const NOUN: &'static str = "error";
}

/// A document whose one member is a list that is written as it comes.
pub(crate) struct List<'a> {
    out: &'a mut dyn Write,
    empty: bool,
}

impl<'a> List<'a> {
    /// Begins `{"schema":1,"NOUN":[`.
    pub(crate) fn begin(out: &'a mut dyn Write, noun: &str) -> io::Result<Self> {
        write!(out, "{{\"schema\":{SCHEMA},\"{noun}\":[")?;
        Ok(Self { out, empty: true })
    }

    /// Adds a member.
    pub(crate) fn add(&mut self, member: &impl Serialize) -> io::Result<()> {
        self.separate()?;
        Ok(serde_json::to_writer(&mut *self.out, member)?)
    }

    fn separate(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.write_all(b",")?;
        }
        Ok(())
    }

    /// Ends the document.
    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(b"]}\n")
    }
}

/// Writes an object up to its closing brace, so that a member can follow that is written as it
/// comes.
pub(crate) fn open_object(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(object)?;
    out.write_all(text.strip_suffix(b"}").unwrap_or(&text))
}

/// How long something took that has ended.
pub(crate) fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    Some(to?.since(from?).0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_that_is_written_in_parts_is_whole() {
        let mut out = Vec::new();
        let mut list = List::begin(&mut out, "flows").unwrap();
        for n in 0..3 {
            list.add(&n).unwrap();
        }
        list.end().unwrap();
        assert_eq!(out, b"{\"schema\":1,\"flows\":[0,1,2]}\n");
        let mut out = Vec::new();
        open_object(&mut out, &json!({"a": 1})).unwrap();
        assert_eq!(out, b"{\"a\":1");
    }
}
