//! Whole numbers as people and programs write them.

use std::str::FromStr;

/// Reads a whole number that all programs read alike: digits, after a `-` at most, without leading
/// zeros, and not `-0`. A leading zero makes it octal to some programs, and no number to others; a `+`,
/// which Rust takes, is a slip. `None` also where `T` does not hold the number.
pub fn whole<T: FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let is_plain = match digits {
        [] => false,
        [b'0'] => text == "0",
        [b'0', ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    };
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_one_way() {
        for (text, number) in [("0", 0), ("7", 7), ("-7", -7), ("1024", 1024), ("-10", -10)] {
            assert_eq!(whole::<i64>(text), Some(number), "{text}");
        }
        for bad in ["", "-", "+1", "-0", "00", "01", "-01", "0x1", "1.0", " 1", "1 ", "1e3", "٣"] {
            assert_eq!(whole::<i64>(bad), None, "{bad:?}");
        }
        assert_eq!(whole::<u32>("-1"), None);
        assert_eq!(whole::<u8>("256"), None);
    }
}
