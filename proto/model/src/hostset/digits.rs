//! Numbers inside names: reading and writing them with their padding.

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
    text.extend(buffer[start..].iter().map(|&digit| char::from(digit)));
}
