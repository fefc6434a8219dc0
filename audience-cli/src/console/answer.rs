//! The one way to standard output: an answer goes there in the form that `--json` chose.

use orchestra_client::{Page as ListPage, Pages};

use super::{Answer, Console, unwritten};
use crate::{
    error::Failure,
    view::{
        Listing, Output,
        json::{self, List},
    },
};

/// An answer that is asked for while it is written, and that asks for different things in each
/// form. Neither method has a default, as with [`Output`].
pub(crate) trait Streamed {
    /// Writes what a person reads.
    async fn text(&mut self, console: &mut Console) -> Result<(), Failure>;

    /// Writes what a program reads.
    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure>;
}

impl Console {
    /// Writes an answer.
    pub(crate) fn answer(&mut self, answer: impl Output) -> Result<(), Failure> {
        if self.json {
            let noun = answer.noun();
            return json::document(&mut self.out, noun, &answer.json()).map_err(unwritten);
        }
        let remark = answer.remark();
        answer.text(&mut self.out, self.style).map_err(unwritten)?;
        self.tell_after(remark)
    }

    /// Writes an answer while it comes.
    pub(crate) async fn stream(&mut self, answer: &mut impl Streamed) -> Result<(), Failure> {
        if self.json { answer.json(&mut self.out).await } else { answer.text(self).await }
    }

    /// Writes a list page by page, as the conductor sends it.
    pub(crate) async fn list<L, P>(&mut self, listing: L, pages: Pages<P>) -> Result<(), Failure>
    where
        L: Listing,
        P: ListPage<Item = L::Item>,
    {
        self.stream(&mut Listed { listing, pages }).await
    }

    /// Tells a remark on standard error, once the answer is out.
    fn tell_after(&mut self, remark: Option<String>) -> Result<(), Failure> {
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
    async fn text(&mut self, console: &mut Console) -> Result<(), Failure> {
        let mut told = 0;
        while let Some(item) = self.next().await? {
            if told == 0 {
                self.listing.heading(&mut console.out).map_err(unwritten)?;
            }
            told += 1;
            self.listing.text(&item, &mut console.out, console.style).map_err(unwritten)?;
        }
        console.tell_after(self.listing.remark(told))
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut list = List::begin(out, L::NOUN).map_err(unwritten)?;
        while let Some(item) = self.next().await? {
            list.add(&self.listing.json(&item)).map_err(unwritten)?;
        }
        list.end().map_err(unwritten)
    }
}
