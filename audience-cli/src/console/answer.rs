//! The one way to standard output: an answer goes there in the form that `--json` chose.

use std::io::Write as _;

use orchestra_client::{ListPage, Pages};
use serde::Serialize;

use super::{Answer, Console, Screen, unwritten};
use crate::{
    error::Failure,
    view::{
        Each, Listing, Output,
        json::{self, Error, List},
    },
};

/// An answer that is fetched while it is written, and fetches different things in each form.
/// Neither method has a default, as with [`Output`].
pub(crate) trait Streamed {
    /// Writes what a person reads.
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure>;

    /// Writes what a program reads.
    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure>;
}

impl Console {
    /// Writes an answer.
    pub(crate) fn answer(&mut self, answer: impl Output) -> Result<(), Failure> {
        let screen = &mut self.screen;
        if self.json {
            screen.out.begin_document();
            let noun = answer.noun();
            json::document(&mut screen.out, noun, &answer.json()).map_err(unwritten)?;
            return screen.out.end_document().map_err(unwritten);
        }
        let remark = answer.remark();
        answer.text(&mut screen.out, screen.style).map_err(unwritten)?;
        screen.remark(remark)
    }

    /// Writes an answer while it comes. A document reaches standard output once it is whole, and not at
    /// all if something fails before.
    pub(crate) async fn stream(&mut self, answer: &mut impl Streamed) -> Result<(), Failure> {
        let screen = &mut self.screen;
        if !self.json {
            return answer.text(screen).await;
        }
        screen.out.begin_document();
        match answer.json(&mut screen.out).await {
            Ok(()) => screen.out.end_document().map_err(unwritten),
            Err(failure) => {
                screen.out.drop_document();
                Err(failure)
            }
        }
    }

    /// Writes a list page by page, as the conductor sends it.
    pub(crate) async fn list<L, P>(&mut self, listing: L, pages: Pages<P>) -> Result<(), Failure>
    where
        L: Listing,
        P: ListPage<Item = L::Item>,
    {
        self.stream(&mut Listed { listing, pages }).await
    }

    /// Writes answers of one kind: one alone as [`Console::answer`] does, several as a list that is
    /// called `noun`.
    pub(crate) fn answer_each<T: Output>(
        &mut self,
        mut answers: Vec<T>,
        noun: &'static str,
    ) -> Result<(), Failure> {
        match answers.pop() {
            Some(only) if answers.is_empty() => self.answer(only),
            last => {
                answers.extend(last);
                self.answer(Each(answers, noun))
            }
        }
    }

    /// Writes a line of JSON of many, at once: what `--jsonl` asks for.
    pub(crate) fn answer_line(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        let out = &mut self.screen.out;
        out.write_lines();
        let line = serde_json::to_string(line).map_err(|error| unwritten(error.into()))?;
        writeln!(out, "{line}").map_err(unwritten)?;
        out.finish()
    }

    /// Writes why there is no answer, where a program waits for a document and has got none.
    pub(crate) fn answer_failure(&mut self, error: &Error<'_>) -> Result<(), Failure> {
        if !self.json || self.screen.out.has_told {
            return Ok(());
        }
        let out = &mut self.screen.out;
        out.begin_document();
        json::document(out, Error::NOUN, error).map_err(unwritten)?;
        out.end_document().map_err(unwritten)
    }

    /// Writes what is buffered.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.screen.out.finish()
    }
}

impl Screen {
    /// Tells a remark on standard error, once the answer is out.
    fn remark(&mut self, remark: Option<String>) -> Result<(), Failure> {
        let Some(remark) = remark else { return Ok(()) };
        self.out.finish()?;
        self.narrate(remark);
        Ok(())
    }
}

/// A list, and how it looks.
struct Listed<L, P: ListPage> {
    listing: L,
    pages: Pages<P>,
}

impl<L: Listing, P: ListPage<Item = L::Item>> Listed<L, P> {
    /// The next item that belongs to the answer; `None` at the end.
    async fn next(&mut self) -> Result<Option<L::Item>, Failure> {
        while let Some(item) = self.pages.next_item().await? {
            if self.listing.wants(&item) {
                return Ok(Some(item));
            }
        }
        Ok(None)
    }
}

impl<L: Listing, P: ListPage<Item = L::Item>> Streamed for Listed<L, P> {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let mut told = 0;
        while let Some(item) = self.next().await? {
            if told == 0 {
                self.listing.heading(&mut screen.out).map_err(unwritten)?;
            }
            told += 1;
            self.listing.text(&item, &mut screen.out, screen.style).map_err(unwritten)?;
        }
        screen.remark(self.listing.remark(told))
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut list = List::begin(out, L::NOUN).map_err(unwritten)?;
        while let Some(item) = self.next().await? {
            list.add(&self.listing.json(&item)).map_err(unwritten)?;
        }
        list.end().map_err(unwritten)
    }
}
