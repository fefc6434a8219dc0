//! Numbers inside names: reading and writing them with their padding.

use std::ops::Range;

/// Most digits of a number that takes part in ranges; up to here its arithmetic cannot overflow.
/// Longer ones are text.
pub(super) const MOST: usize = 17;

/// The value of up to [`MOST`] digits; `None` where a byte is not a digit.
pub(super) fn value(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value: u64, byte| {
        byte.is_ascii_digit().then(|| value * 10 + u64::from(byte - b'0'))
    })
}

/// Whether the number is written longer than it needs to be.
pub(super) fn padded(digits: &[u8]) -> bool {
    digits.len() > 1 && digits[0] == b'0'
}

/// Where the runs of digits of a name are, the last one first.
///
/// Digits and letters of a name may come in any order, which no processor can foresee: so it is
/// first said of all bytes what they are, without a branch.
pub(super) struct Runs {
    /// A bit where a run starts or ends; a name is shorter than 256 bytes.
    edges: [u64; 4],
    /// The last of these that may not be zero.
    word: usize,
}

impl Runs {
    pub(super) fn new(name: &[u8]) -> Self {
        let mut edges = [0; 4];
        let mut before = 0;
        for (edges, bytes) in edges.iter_mut().zip(name.chunks(64).chain([&[][..]])) {
            let digit = |all, byte: &u8| all << 1 | u64::from(byte.is_ascii_digit());
            let digits = bytes.iter().rev().fold(0, digit);
            *edges = digits ^ (digits << 1 | before);
            before = digits >> 63;
        }
        Self { edges, word: name.len() / 64 }
    }

    fn last_edge(&mut self) -> Option<usize> {
        while self.edges[self.word] == 0 {
            self.word = self.word.checked_sub(1)?;
        }
        let bit = self.edges[self.word].ilog2();
        self.edges[self.word] ^= 1 << bit;
        Some(64 * self.word + bit as usize)
    }
}

impl Iterator for Runs {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let end = self.last_edge()?;
        Some(self.last_edge()?..end)
    }
}

/// Appends `number` with at least `width` digits.
pub(super) fn push_number(text: &mut String, mut number: u64, width: usize) {
    // A u64 has at most 20 digits.
    let mut buffer = [b'0'; 20];
    let mut start = buffer.len();
    while number > 0 || start == buffer.len() {
        start -= 1;
        buffer[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    start = start.min(buffer.len() - width.min(buffer.len()));
    // Digits are ASCII.
    text.push_str(str::from_utf8(&buffer[start..]).unwrap_or_default());
}
