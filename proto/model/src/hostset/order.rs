//! The natural order of names, and sorting by it fast.
//!
//! A name is read as tokens: runs of digits, and single other bytes. Two names compare at their
//! first differing token: numbers by value and then by width (`1` before `01` before `2`), bytes
//! by themselves, a number against a byte as the digits' place in ASCII has it. Distinct names
//! never compare equal.

use std::cmp::Ordering;

/// Compares two names by value where they hold numbers: `fe2` before `fe10`.
pub fn natural_order(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let same = common_prefix(a, b);
    // A number that the names share in part is compared from its first digit.
    let start = token_start(a, same);
    let number_a = &a[start..number_end(a, same)];
    let number_b = &b[start..number_end(b, same)];
    if number_a.is_empty() || number_b.is_empty() {
        return a.get(same).cmp(&b.get(same));
    }
    number_order(number_a, number_b).then_with(|| a.get(same).cmp(&b.get(same)))
}

/// Where the names are in natural order, each name once. `name` tells which is at a place below
/// `count`.
pub(super) fn in_order<'a>(count: usize, name: impl Fn(u32) -> &'a str) -> Vec<u32> {
    // Sets are bounded far below 32 bits.
    let places = 0..count as u32;
    // Ranges, and sets that were sorted before, mostly come so.
    let rises = |place: u32| natural_order(name(place - 1), name(place)).is_lt();
    if places.clone().skip(1).all(rises) {
        return places.collect();
    }
    let skip = shared_start(places.clone().map(&name));
    // Numbers are sorted several times as fast as what has to be looked up.
    let mut keyed: Vec<u128> = places
        .map(|place| sort_key(&name(place).as_bytes()[skip..]) << u32::BITS | u128::from(place))
        .collect();
    keyed.sort_unstable();
    let mut order: Vec<u32> = Vec::with_capacity(count);
    for alike in keyed.chunk_by(|a, b| a >> u32::BITS == b >> u32::BITS) {
        let places = alike.iter().map(|key| *key as u32);
        if alike.len() == 1 {
            order.extend(places);
        } else {
            let mut places: Vec<u32> = places.collect();
            places.sort_unstable_by(|a, b| natural_order(name(*a), name(*b)));
            places.dedup_by(|a, b| name(*a) == name(*b));
            order.append(&mut places);
        }
    }
    order
}

/// How many bytes at the start all names have in common, without cutting a number in two.
fn shared_start<'a>(mut names: impl Iterator<Item = &'a str>) -> usize {
    let Some(first) = names.next() else { return 0 };
    let first = first.as_bytes();
    let shared =
        names.fold(first.len(), |shared, name| common_prefix(&first[..shared], name.as_bytes()));
    token_start(first, shared)
}

/// The first 96 bits of an encoding whose order is the natural order: where two keys differ, the
/// names compare as the keys do.
///
/// A byte is five bits, for hosts' names have no more than [`LETTERS`]. A number is the five bits of
/// `0`, how many digits it has without its leading zeros, four bits for each of them, and how many
/// leading zeros there are.
fn sort_key(name: &[u8]) -> u128 {
    let mut key = Key { bits: 0, left: 96 };
    let mut at = 0;
    while at < name.len() && key.left > 0 {
        key.push(LETTERS[usize::from(name[at])].into(), 5);
        if !name[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let end = number_end(name, at);
        let (zeros, digits) = split_zeros(&name[at..end]);
        key.push_count(digits.len());
        for digits in digits.chunks(16) {
            let number =
                digits.iter().fold(0, |number, digit| number << 4 | u64::from(digit - b'0'));
            key.push(number, 4 * digits.len() as u32);
        }
        key.push_count(zeros);
        at = end;
    }
    key.bits
}

/// The bytes of hosts' names, counted from 1 in their order; all digits are one. 0 is the end.
const LETTERS: [u8; 256] = {
    let mut letters = [0; 256];
    let (mut byte, mut count) = (0, 0);
    while byte < letters.len() {
        let is_next = matches!(byte as u8, b'-' | b'.' | b'0' | b'_' | b'a'..=b'z');
        count += is_next as u8;
        letters[byte] = count;
        byte += 1;
    }
    letters
};

/// Bits from the highest down; those beyond the last are left out.
struct Key {
    bits: u128,
    left: u32,
}

impl Key {
    fn push(&mut self, value: u64, bits: u32) {
        let beyond = bits.saturating_sub(self.left);
        self.left -= bits - beyond;
        self.bits |= u128::from(value.checked_shr(beyond).unwrap_or(0)) << self.left;
    }

    /// A count of bytes in a name: four bits, or twelve for the rare long ones.
    fn push_count(&mut self, count: usize) {
        const LONG: usize = 15;
        self.push(count.min(LONG) as u64, 4);
        if count >= LONG {
            // Names are at most 253 bytes long.
            self.push(count as u64, 8);
        }
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let (words_a, _) = a.as_chunks::<8>();
    let (words_b, _) = b.as_chunks::<8>();
    let same = 8 * words_a.iter().zip(words_b).take_while(|(x, y)| x == y).count();
    same + a[same..].iter().zip(&b[same..]).take_while(|(x, y)| x == y).count()
}

/// Where the run of digits that ends just before `at` starts; `at` itself where there is none.
fn token_start(name: &[u8], at: usize) -> usize {
    at - name[..at].iter().rev().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Where the run of digits that includes `at` ends; `at` itself where there is none.
fn number_end(name: &[u8], at: usize) -> usize {
    at + name[at..].iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// By value, then by width.
fn number_order(a: &[u8], b: &[u8]) -> Ordering {
    let (zeros_a, digits_a) = split_zeros(a);
    let (zeros_b, digits_b) = split_zeros(b);
    digits_a
        .len()
        .cmp(&digits_b.len())
        .then_with(|| digits_a.cmp(digits_b))
        .then(zeros_a.cmp(&zeros_b))
}

fn split_zeros(number: &[u8]) -> (usize, &[u8]) {
    let zeros = number.iter().take_while(|digit| **digit == b'0').count();
    (zeros, &number[zeros..])
}
