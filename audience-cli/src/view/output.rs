//! Answers in both forms: text for a person, JSON for a program. Neither method has a default, so
//! an answer without one of them does not compile.

use std::io;

use serde::Serialize;

use super::{Page, Style};

/// An answer that is complete before any of it is written.
pub(crate) trait Output: Sized {
    /// The member of the document that holds it: `{"schema":1,"NOUN":…}`.
    fn noun(&self) -> &'static str;

    /// What a program reads.
    fn json(self) -> impl Serialize;

    /// What a person reads.
    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()>;

    /// What a person is told on standard error after the text.
    fn remark(&self) -> Option<String> {
        None
    }
}

/// Several answers of one kind, in one document: `{"schema":1,"NOUN":[…]}`.
pub(crate) struct Each<T>(pub(crate) Vec<T>, pub(crate) &'static str);

impl<T: Output> Output for Each<T> {
    fn noun(&self) -> &'static str {
        self.1
    }

    fn json(self) -> impl Serialize {
        self.0.into_iter().map(T::json).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        self.0.into_iter().try_for_each(|answer| answer.text(out, style))
    }

    fn remark(&self) -> Option<String> {
        let mut remarks: Vec<String> = self.0.iter().filter_map(T::remark).collect();
        remarks.dedup();
        (!remarks.is_empty()).then(|| remarks.join("\n"))
    }
}

/// A list that is written item by item as it comes, and is not kept.
pub(crate) trait Listing {
    /// What is listed.
    type Item;

    /// The member of the document that holds the list: `{"schema":1,"NOUN":[…]}`.
    const NOUN: &'static str;

    /// Notes an item, and returns whether it belongs to the answer.
    fn wants(&mut self, _item: &Self::Item) -> bool {
        true
    }

    /// What a program reads of an item.
    fn json(&self, item: &Self::Item) -> impl Serialize;

    /// What a person reads of an item.
    fn text(&self, item: &Self::Item, out: &mut dyn Page, style: Style) -> io::Result<()>;

    /// What a person reads before the first item.
    fn heading(&self, _out: &mut dyn Page) -> io::Result<()> {
        Ok(())
    }

    /// What a person is told on standard error after so many items.
    fn remark(&self, _told: usize) -> Option<String> {
        None
    }
}
