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
    let mut folder = Folder { names, entries: entries(names), lists: Lists::default() };
    for dimension in 0..DIMENSIONS {
        folder.pass(dimension);
    }
    folder.text()
}

/// Names that are written as one.
#[derive(Clone, Copy)]
struct Entry {
    /// The first of its names; whatever is not a list is written as there.
    name: u32,
    /// The same for all names with the same text around their numbers.
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
    entries: Vec<Entry>,
    lists: Lists,
}

impl Folder<'_> {
    /// Joins the entries that differ in the number of that dimension alone. What is joined away is
    /// overwritten by what follows, so the entries stay in the order of their first names.
    fn pass(&mut self, dimension: usize) {
        let Self { entries, lists, .. } = self;
        let takes_part = |entry: &Entry| entry.parts[dimension] != Part::NONE;
        let count = entries.iter().filter(|entry| takes_part(entry)).count();
        if count < 2 {
            return;
        }
        let mut table = Table::new(count);
        // Of the entries that stay.
        let mut open: Vec<OpenList> = Vec::with_capacity(entries.len());
        for read in 0..entries.len() {
            let entry = entries[read];
            if takes_part(&entry) {
                let hash = hash_but(&entry, dimension);
                let same = |index: usize| equal_but(&entries[index], &entry, dimension);
                if let Some(index) = table.find_or_insert(hash, open.len(), same) {
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
        let name_of = |entry: &Entry| &self.names[entry.name as usize];
        for (index, entry) in self.entries.iter().enumerate() {
            if index % NEAR == 0 {
                fetch(self.entries[index..].iter().take(NEAR).map(name_of));
            }
            if !text.is_empty() {
                text.push(',');
            }
            let name = name_of(entry).as_str();
            let numbers = Numbers::find(name.as_bytes());
            let mut written = 0;
            for (part, span) in entry.parts.iter().zip(numbers.spans).rev() {
                if let Some(list) = part.as_list() {
                    text.push_str(&name[written..span.start()]);
                    self.lists.write(list, &mut text);
                    written = span.end();
                }
            }
            text.push_str(&name[written..]);
        }
        text
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

/// One entry a name.
fn entries(names: &[HostName]) -> Vec<Entry> {
    let mut texts = Texts { table: Table::new(names.len()), texts: Vec::new(), latest: 0 };
    let mut entries = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        if index % NEAR == 0 {
            fetch(names[index..].iter().take(NEAR));
        }
        let bytes = name.as_str().as_bytes();
        let numbers = Numbers::find(bytes);
        let mut parts = [Part::NONE; DIMENSIONS];
        for (part, span) in parts.iter_mut().zip(&numbers.spans[..numbers.count]) {
            *part = Part::number(&bytes[span.start()..span.end()]);
        }
        // Without a number there is nothing to join, whatever the text.
        let text = if numbers.count == 0 { 0 } else { texts.known_as(bytes, numbers) };
        // Sets are bounded far below 32 bits.
        entries.push(Entry { name: index as u32, text, parts });
    }
    entries
}

/// How many names are fetched from memory at a time.
const NEAR: usize = 32;

/// Has the processor fetch names that are needed next, all at the same time: sorted names are all
/// over the memory, and waiting for one after the other would take longer than all the rest.
fn fetch<'a>(names: impl Iterator<Item = &'a HostName>) {
    let ends = names.map(|name| match name.as_str().as_bytes() {
        [first, .., last] => first ^ last,
        _ => 0,
    });
    std::hint::black_box(ends.fold(0, |all: u8, ends| all ^ ends));
}

/// The different texts around numbers.
struct Texts<'a> {
    table: Table,
    texts: Vec<(&'a [u8], Numbers)>,
    /// The one found last; the next name is likely to have it too.
    latest: usize,
}

impl<'a> Texts<'a> {
    /// The index that stands for all texts equal to this one.
    fn known_as(&mut self, name: &'a [u8], numbers: Numbers) -> u32 {
        let Self { table, texts, latest } = self;
        let same = |text: usize| {
            texts.get(text).is_some_and(|(other, its)| numbers.same_text(name, its, other))
        };
        if !same(*latest) {
            let found = table.find_or_insert(numbers.text_hash(name), texts.len(), same);
            *latest = found.unwrap_or(texts.len());
            if found.is_none() {
                texts.push((name, numbers));
            }
        }
        // As many as there are names at most, and those are counted in 32 bits.
        *latest as u32
    }
}

/// Where the numbers of a name are that can become ranges, the last one first.
#[derive(Clone, Copy)]
struct Numbers {
    count: usize,
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
        let mut numbers = Numbers { count: 0, spans: Default::default() };
        let mut end = name.len();
        while end > 0 && numbers.count < DIMENSIONS {
            if !name[end - 1].is_ascii_digit() {
                end -= 1;
                continue;
            }
            let length = name[..end].iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let start = end - length;
            if length <= digits::MOST {
                numbers.spans[numbers.count] = Span(start as u8, end as u8);
                numbers.count += 1;
            }
            end = start;
        }
        numbers
    }

    fn text_hash(&self, name: &[u8]) -> u64 {
        let mut end = name.len();
        let hash = self.spans[..self.count].iter().fold(0, |hash, span| {
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
        for (span, other_span) in self.spans[..self.count].iter().zip(&other.spans) {
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
