//! The natural order of names, and sorting by it fast.
//!
//! A name is read as tokens: runs of digits, and single other bytes. Two names compare at their
//! first differing token: numbers by value and then by width (`1` before `01` before `2`), bytes
//! by themselves, a number against a byte as the digits' place in ASCII has it. Distinct names
//! never compare equal.

use std::cmp::Ordering;

use crate::names::HostName;

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

/// Sorts and removes duplicates.
pub(super) fn sorted(mut names: Vec<HostName>) -> Vec<HostName> {
    let rising = |pair: &[HostName]| natural_order(pair[0].as_str(), pair[1].as_str()).is_lt();
    if names.windows(2).all(rising) {
        return names;
    }
    let skip = shared_start(&names);
    let mut keyed: Vec<(u128, HostName)> =
        names.drain(..).map(|name| (sort_key(&name.as_str().as_bytes()[skip..]), name)).collect();
    keyed.sort_unstable_by(|(key_a, a), (key_b, b)| {
        key_a.cmp(key_b).then_with(|| natural_order(a.as_str(), b.as_str()))
    });
    keyed.dedup_by(|(key_a, a), (key_b, b)| key_a == key_b && a == b);
    names.extend(keyed.into_iter().map(|(_, name)| name));
    names
}

/// How many bytes at the start all names have in common, without cutting a number in two.
fn shared_start(names: &[HostName]) -> usize {
    let Some(first) = names.first() else { return 0 };
    let first = first.as_str().as_bytes();
    let shared = names.iter().fold(first.len(), |shared, name| {
        common_prefix(&first[..shared], name.as_str().as_bytes())
    });
    token_start(first, shared)
}

/// The first 16 bytes of an encoding whose byte order is the natural order: where two keys
/// differ, the names compare as the keys do.
///
/// Bytes stand for themselves; a number is `0`, how many digits it has without its leading zeros,
/// those digits, and how many leading zeros there are.
fn sort_key(name: &[u8]) -> u128 {
    let mut key = Key { bits: 0, left: 16 };
    let mut at = 0;
    while at < name.len() && key.left > 0 {
        if !name[at].is_ascii_digit() {
            key.push(name[at]);
            at += 1;
            continue;
        }
        let end = number_end(name, at);
        let (zeros, digits) = split_zeros(&name[at..end]);
        key.push(b'0');
        // Names are at most 253 bytes long, and so are their numbers.
        key.push(digits.len() as u8);
        digits.iter().for_each(|&digit| key.push(digit));
        key.push(zeros as u8);
        at = end;
    }
    // Nothing at all was pushed where the name ends with the part that was skipped.
    key.bits.checked_shl(8 * key.left).unwrap_or(0)
}

struct Key {
    bits: u128,
    left: u32,
}

impl Key {
    fn push(&mut self, byte: u8) {
        if self.left > 0 {
            self.bits = self.bits << 8 | u128::from(byte);
            self.left -= 1;
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
