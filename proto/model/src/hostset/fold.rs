//! Writing a set of names in few words.
//!
//! Every name is a text with up to [`DIMENSIONS`] numbers in it, counted from its end. One pass a
//! dimension, from the last number to the first, joins the entries that differ in that number
//! alone: `r1n1,r1n2,r2n1,r2n2` becomes `r1n[1-2],r2n[1-2]` and then `r[1-2]n[1-2]`. A pass only
//! ever joins entries that are equal in all else, so every name is written exactly once.
//!
//! The result is the shortest for rectangles and close to it for what fleets look like; the
//! shortest in general is not worth its time. This runs over whole fleets, so equal texts, and
//! equal lists of ranges, are given equal numbers first: a pass then compares a few integers and
//! allocates nothing for a single name.

use super::{
    digits::{self, push_number},
    table::{Table, mix, mix_bytes},
};
use crate::names::HostName;

/// How many numbers of a name can become ranges; those further to the front stay as they are.
/// Four is enough for the longest address-like names (`ip-10-1-2-3`), and each costs a pass.
const DIMENSIONS: usize = 4;

/// The text whose parsing gives `names`, which are in natural order. Entries come in the order of
/// their first hosts.
pub(super) fn fold(names: &[HostName]) -> String {
    let mut folder = Folder::new(names);
    for dimension in 0..DIMENSIONS {
        folder.pass(dimension);
    }
    folder.text()
}

/// Names that are written as one.
#[derive(Clone, Copy)]
struct Entry {
    /// The first of its names.
    name: u32,
    /// Which text is around their numbers.
    text: u32,
    /// The numbers, the last one of the name first.
    parts: [Part; DIMENSIONS],
}

/// What stands in an entry for one number of its names. Equal parts are written equally.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Part(u64);

impl Part {
    /// The names have fewer numbers.
    const NONE: Part = Part(u64::MAX);
    /// Marks the index of a list; else it is a number, with how many digits it is written in
    /// above its value.
    const LIST: u64 = 1 << 63;
    const DIGITS: u32 = 57;

    fn number(text: &[u8]) -> Part {
        let value = digits::value(text).unwrap_or_default();
        Part((text.len() as u64) << Self::DIGITS | value)
    }

    fn list(index: u32) -> Part {
        Part(Self::LIST | u64::from(index))
    }

    fn as_list(self) -> Option<u32> {
        let is_list = self != Self::NONE && self.0 & Self::LIST != 0;
        is_list.then_some(self.0 as u32)
    }

    /// The value, and the width that it is padded to, or 0.
    fn value(self) -> (u64, u64) {
        let value = self.0 & ((1 << Self::DIGITS) - 1);
        let digits = self.digits();
        let padded = digits > 1 && value < 10u64.pow(digits as u32 - 1);
        (value, if padded { digits } else { 0 })
    }

    fn digits(self) -> u64 {
        self.0 >> Self::DIGITS
    }
}

struct Folder<'a> {
    names: &'a [HostName],
    texts: Vec<Text>,
    entries: Vec<Entry>,
    lists: Lists,
}

/// The entries of one text that have the same numbers to the front of a dimension. No others can be
/// joined by that dimension's pass, and natural order has them one after the other among those of
/// their text.
#[derive(Clone, Copy, Default)]
struct Run {
    /// The index of its first entry; `None` before there is one.
    first: Option<u32>,
    /// Whether the first entry is in the table. Mostly nobody looks for it there: it is alone, or
    /// the others are equal to it, as in the first pass all are.
    noted: bool,
}

impl<'a> Folder<'a> {
    /// One entry a name.
    fn new(names: &'a [HostName]) -> Self {
        let mut texts = Texts::new(names);
        let mut entries = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            if index % NEAR == 0 {
                fetch(names[index..].iter().take(NEAR).map(HostName::as_str));
            }
            let bytes = name.as_str().as_bytes();
            let numbers = Numbers::find(bytes);
            let text = texts.known_as(index, numbers);
            let parts = numbers.parts(bytes);
            let Text { name, varies, .. } = &mut texts.texts[text];
            // The first one of a text is about to become an entry.
            let first = entries.get(*name as usize).map_or(parts, |first: &Entry| first.parts);
            for dimension in 0..numbers.found().len() {
                varies[dimension] |= first[dimension] != parts[dimension];
            }
            // Sets are bounded far below 32 bits.
            entries.push(Entry { name: index as u32, text: text as u32, parts });
        }
        Folder { names, texts: texts.texts, entries, lists: Lists::default() }
    }

    /// Joins the entries that differ in the number of that dimension alone. What is joined away is
    /// overwritten by what follows, so the entries stay in the order of their first names.
    fn pass(&mut self, dimension: usize) {
        let Self { texts, entries, lists, .. } = self;
        let takes_part = |entry: &Entry| texts[entry.text as usize].varies[dimension];
        let count = entries.iter().filter(|entry| takes_part(entry)).count();
        if count < 2 {
            return;
        }
        let mut runs = vec![Run::default(); texts.len()];
        let mut table = Table::new(count);
        // Of the entries that stay.
        let mut open: Vec<OpenList> = Vec::with_capacity(entries.len());
        for read in 0..entries.len() {
            let entry = entries[read];
            if takes_part(&entry) {
                let run = &mut runs[entry.text as usize];
                if let Some(index) = run.find(&entry, (entries, open.len()), dimension, &mut table)
                {
                    let first = entries[index].parts[dimension];
                    lists.add(&mut open[index], first, entry.parts[dimension]);
                    continue;
                }
            }
            entries[open.len()] = entry;
            open.push(OpenList::default());
        }
        entries.truncate(open.len());
        let mut known = Table::new(open.iter().filter(|list| list.first.is_some()).count());
        for (entry, list) in entries.iter_mut().zip(open) {
            if let Some(first) = list.first {
                entry.parts[dimension] = Part::list(lists.known_as(first, &mut known));
            }
        }
    }

    fn text(&self) -> String {
        let mut text = String::with_capacity(self.entries.len() * 16);
        for (index, entry) in self.entries.iter().enumerate() {
            if index % NEAR == 0 {
                fetch(self.entries[index..].iter().take(NEAR).map(|entry| self.around(entry).0));
            }
            if !text.is_empty() {
                text.push(',');
            }
            let (around, spans) = self.around(entry);
            let mut written = 0;
            for (part, span) in entry.parts.iter().zip(spans).rev() {
                text.push_str(&around[written..span.start()]);
                match part.as_list() {
                    Some(list) => self.lists.write(list, &mut text),
                    None => push_number(&mut text, part.value().0, part.digits() as usize),
                }
                written = span.end();
            }
            text.push_str(&around[written..]);
        }
        text
    }

    /// A name with the text of an entry, and where the numbers are in it that are to be written; it
    /// is the entry's own where it is the only one.
    fn around(&self, entry: &Entry) -> (&'a str, &[Span]) {
        let text = &self.texts[entry.text as usize];
        let is_joined = entry.parts.iter().any(|part| part.as_list().is_some());
        let (name, spans) =
            if is_joined { (text.name, text.numbers.found()) } else { (entry.name, &[][..]) };
        (self.names[name as usize].as_str(), spans)
    }
}

impl Run {
    /// The index of the entry that this one is joined to, or `None` after noting that it stays, as
    /// `new`.
    fn find(
        &mut self,
        entry: &Entry,
        (entries, new): (&[Entry], usize),
        dimension: usize,
        table: &mut Table,
    ) -> Option<usize> {
        let is_equal = |index: usize| equal_but(&entries[index], entry, dimension);
        let front = dimension + 1..;
        let of_run = |first: &usize| entries[*first].parts[front.clone()] == entry.parts[front];
        let Some(first) = self.first.map(|first| first as usize).filter(of_run) else {
            *self = Run { first: Some(new as u32), noted: false };
            return None;
        };
        if is_equal(first) {
            return Some(first);
        }
        if !self.noted {
            self.noted = true;
            table.find_or_insert(hash_but(&entries[first], dimension), first, |_| false);
        }
        table.find_or_insert(hash_but(entry, dimension), new, is_equal)
    }
}

fn hash_but(entry: &Entry, dimension: usize) -> u64 {
    let mut parts = entry.parts;
    parts[dimension] = Part::NONE;
    parts.iter().fold(u64::from(entry.text), |hash, part| mix(hash, part.0))
}

fn equal_but(a: &Entry, b: &Entry, dimension: usize) -> bool {
    let mut parts = a.parts;
    parts[dimension] = b.parts[dimension];
    a.text == b.text && parts == b.parts
}

/// How many names are fetched from memory at a time.
const NEAR: usize = 32;

/// Has the processor fetch names that are needed next, all at the same time: sorted names are all
/// over the memory, and waiting for one after the other would take longer than all the rest.
fn fetch<'a>(names: impl Iterator<Item = &'a str>) {
    let ends = names.map(|name| match name.as_bytes() {
        [first, .., last] => first ^ last,
        _ => 0,
    });
    std::hint::black_box(ends.fold(0, |all: u8, ends| all ^ ends));
}

/// What is around the numbers of some names.
struct Text {
    /// The first of them.
    name: u32,
    /// Where its numbers are.
    numbers: Numbers,
    /// Which numbers are not the same in all of them: only these can become ranges.
    varies: [bool; DIMENSIONS],
}

/// The different texts around numbers.
struct Texts<'a> {
    names: &'a [HostName],
    table: Table,
    texts: Vec<Text>,
    /// The one found last; the next name is likely to have it too.
    latest: usize,
}

impl<'a> Texts<'a> {
    /// Stands for all names without a number: there is nothing to join, whatever they are.
    const BARE: usize = 0;

    fn new(names: &'a [HostName]) -> Self {
        let bare = Text { name: 0, numbers: Numbers::default(), varies: Default::default() };
        Texts { names, table: Table::new(names.len()), texts: vec![bare], latest: 0 }
    }

    /// The index that stands for the text around these numbers of a name.
    fn known_as(&mut self, name: usize, numbers: Numbers) -> usize {
        if numbers.found().is_empty() {
            return Self::BARE;
        }
        let Self { names, table, texts, latest } = self;
        let bytes = |name: usize| names[name].as_str().as_bytes();
        let same = |text: usize| {
            texts.get(text).is_some_and(|Text { name: other, numbers: its, .. }| {
                numbers.same_text(bytes(name), its, bytes(*other as usize))
            })
        };
        if !same(*latest) {
            let found = table.find_or_insert(numbers.text_hash(bytes(name)), texts.len(), same);
            *latest = found.unwrap_or(texts.len());
            if found.is_none() {
                texts.push(Text { name: name as u32, numbers, varies: Default::default() });
            }
        }
        *latest
    }
}

/// Where the numbers of a name are that can become ranges, the last one first.
#[derive(Clone, Copy, Default)]
struct Numbers {
    count: u8,
    spans: [Span; DIMENSIONS],
}

/// Start and end in a name, which is shorter than 256 bytes.
#[derive(Clone, Copy, Default)]
struct Span(u8, u8);

impl Span {
    fn start(self) -> usize {
        self.0.into()
    }

    fn end(self) -> usize {
        self.1.into()
    }
}

impl Numbers {
    fn find(name: &[u8]) -> Numbers {
        let mut numbers = Numbers::default();
        let runs = digits::Runs::new(name).filter(|run| run.len() <= digits::MOST);
        for (span, run) in numbers.spans.iter_mut().zip(runs) {
            *span = Span(run.start as u8, run.end as u8);
            numbers.count += 1;
        }
        numbers
    }

    fn found(&self) -> &[Span] {
        &self.spans[..self.count.into()]
    }

    fn parts(&self, name: &[u8]) -> [Part; DIMENSIONS] {
        let mut parts = [Part::NONE; DIMENSIONS];
        for (part, span) in parts.iter_mut().zip(self.found()) {
            *part = Part::number(&name[span.start()..span.end()]);
        }
        parts
    }

    fn text_hash(&self, name: &[u8]) -> u64 {
        let mut end = name.len();
        let hash = self.found().iter().fold(0, |hash, span| {
            let text = &name[span.end()..end];
            end = span.start();
            mix_bytes(hash, text)
        });
        mix_bytes(hash, &name[..end])
    }

    /// Whether the text around the numbers is that of another name.
    fn same_text(&self, name: &[u8], other: &Numbers, other_name: &[u8]) -> bool {
        if self.count != other.count {
            return false;
        }
        let (mut end, mut other_end) = (name.len(), other_name.len());
        for (span, other_span) in self.found().iter().zip(&other.spans) {
            if !same(&name[span.end()..end], &other_name[other_span.end()..other_end]) {
                return false;
            }
            (end, other_end) = (span.start(), other_span.start());
        }
        same(&name[..end], &other_name[..other_end])
    }
}

/// Whether two short texts are equal, looking at no byte behind them: `memcmp` looks at 32 at once,
/// and waits for those that belong to somebody else.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a == b)
}

/// All lists of ranges, each a chain through one arena.
#[derive(Default)]
struct Lists(Vec<Range>);

/// `low` to `high`, padded to `width` digits, or not where that is 0.
struct Range {
    low: u64,
    high: u64,
    width: u64,
    next: Option<u32>,
}

/// A list that a pass is adding to; empty for as long as there is one number only.
#[derive(Clone, Copy, Default)]
struct OpenList {
    first: Option<u32>,
    last: u32,
    /// The last one of other padding than `last`: `1,01,2,02` are two ranges that take turns.
    other: Option<u32>,
}

impl Lists {
    /// Adds a number, larger than those before it, to a list that `first` starts.
    fn add(&mut self, list: &mut OpenList, first: Part, number: Part) {
        if list.first.is_none() {
            list.last = self.push(first);
            list.first = Some(list.last);
        }
        // A number such as 10 may follow 09 as well as 9, and looks better after 9.
        let mut open = [Some(list.last), list.other];
        if self.0[list.last as usize].width > 0 {
            open.reverse();
        }
        if open.into_iter().flatten().any(|range| self.0[range as usize].extend(number)) {
            return;
        }
        let new = self.push(number);
        let last = &mut self.0[list.last as usize];
        last.next = Some(new);
        if last.width != number.value().1 {
            list.other = Some(list.last);
        }
        list.last = new;
    }

    fn push(&mut self, number: Part) -> u32 {
        let (value, width) = number.value();
        self.0.push(Range { low: value, high: value, width, next: None });
        // At most one a name and pass, and names are bounded far below 32 bits.
        (self.0.len() - 1) as u32
    }

    /// The index that stands for all lists equal to this one.
    fn known_as(&self, first: u32, known: &mut Table) -> u32 {
        let words = |range: &Range| [range.low, range.high, range.width];
        let hash = self.list(first).flat_map(words).fold(0, mix);
        let same = |index: usize| {
            self.list(index as u32).flat_map(words).eq(self.list(first).flat_map(words))
        };
        known.find_or_insert(hash, first as usize, same).map_or(first, |index| index as u32)
    }

    fn list(&self, first: u32) -> impl Iterator<Item = &Range> {
        let at = |index: u32| self.0.get(index as usize);
        std::iter::successors(at(first), move |range| range.next.and_then(at))
    }

    fn write(&self, first: u32, text: &mut String) {
        let mut before = '[';
        for range in self.list(first) {
            text.push(before);
            before = ',';
            push_number(text, range.low, range.width as usize);
            if range.high > range.low {
                text.push('-');
                push_number(text, range.high, range.width as usize);
            }
        }
        text.push(']');
    }
}

impl Range {
    /// Takes the number in where it is the next one, written in the same way.
    fn extend(&mut self, number: Part) -> bool {
        let (value, width) = number.value();
        let same_way = if self.width == 0 { width == 0 } else { self.width == number.digits() };
        let extends = same_way && value == self.high + 1;
        if extends {
            self.high = value;
        }
        extends
    }
}
