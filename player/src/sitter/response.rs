//! A `pipe` score's answer: lines `KEY=VALUE` of its standard output.
//!
//! A key is `[A-Za-z_][A-Za-z0-9_]{0,63}`, from the line's start to its first `=`; the value is the
//! rest of the line, unchanged. Other lines are no answers and stay in the output alone. The last
//! value of a key wins. The last line need not have an end; `\r\n` ends a line too.
//!
//! Values are UTF-8 on the wire. Other bytes become U+FFFD, so that one bad byte costs a character,
//! not the answer. NUL stays, because it is UTF-8. What exceeds the bounds of [`limits`] is left
//! out: a new key beyond [`limits::RESPONSE_PAIRS`], or a value that would make all values together
//! larger than [`limits::RESPONSE_BYTES`]. With such a value an earlier value of its key is left
//! out too, because none is better than an outdated one.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
};

use orchestra_model::limits;

/// Longest line that can be an answer, in bytes; longer ones are skipped in pieces.
const LINE_BYTES: u64 = (limits::RESPONSE_BYTES + limits::NAME_BYTES + 2) as u64;

/// Reads an answer from all that was captured of standard output.
pub(crate) fn parse(mut output: impl BufRead) -> io::Result<BTreeMap<String, String>> {
    let mut response = Response::default();
    let mut line = Vec::new();
    // Whether `line` goes on where a too long one was cut.
    let mut cut = false;
    loop {
        line.clear();
        let read = io::Read::take(&mut output, LINE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(response.pairs);
        }
        let ended = line.last() == Some(&b'\n');
        let overlong = !ended && read as u64 == LINE_BYTES;
        if !cut {
            response.take(&line, overlong);
        }
        cut = !ended && (cut || overlong);
    }
}

#[derive(Default)]
struct Response {
    pairs: BTreeMap<String, String>,
    bytes: usize,
}

impl Response {
    fn take(&mut self, line: &[u8], overlong: bool) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            return;
        };
        let (key, value) = (&line[..equals], &line[equals + 1..]);
        if !is_key(key) {
            return;
        }
        let key = String::from_utf8_lossy(key).into_owned();
        let value = String::from_utf8_lossy(value).into_owned();
        if let Some(old) = self.pairs.remove(&key) {
            self.bytes -= key.len() + old.len();
        }
        let bytes = self.bytes + key.len() + value.len();
        if !overlong && self.pairs.len() < limits::RESPONSE_PAIRS && bytes <= limits::RESPONSE_BYTES
        {
            self.bytes = bytes;
            self.pairs.insert(key, value);
        }
    }
}

fn is_key(key: &[u8]) -> bool {
    let starts = key.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte == b'_');
    let plain = key.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    starts && plain && key.len() <= limits::NAME_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(output: &[u8]) -> Vec<(String, String)> {
        parse(output).unwrap().into_iter().collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_last_value_of_a_key_wins() {
        let output = b"talk\nA=1\nB=x=y \nA=2\n =no\n1=no\na-b=no\n=no\nC=";
        assert_eq!(pairs(output), [pair("A", "2"), pair("B", "x=y "), pair("C", "")]);
        assert_eq!(pairs(b"A=1\r\nB=2"), [pair("A", "1"), pair("B", "2")]);
        assert_eq!(pairs(b""), []);
    }

    #[test]
    fn bad_utf_8_costs_a_character() {
        assert_eq!(pairs(b"A=x\xffy\n\xff=1\n"), [pair("A", "x\u{fffd}y")]);
    }

    #[test]
    fn bounds_hold() {
        let many: String = (0..300).map(|n| format!("K{n:03}=v\n")).collect();
        assert_eq!(pairs(many.as_bytes()).len(), limits::RESPONSE_PAIRS);
        let long = format!("A=old\nB=b\nA={}\nC=c\n", "x".repeat(limits::RESPONSE_BYTES));
        assert_eq!(pairs(long.as_bytes()), [pair("B", "b"), pair("C", "c")]);
        let key = format!("{}=v", "K".repeat(limits::NAME_BYTES + 1));
        assert_eq!(pairs(key.as_bytes()), []);
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line_all_the_same() {
        let mut output = b"A=1\nT".to_vec();
        output.extend(vec![b'x'; 3 * LINE_BYTES as usize]);
        output.extend(b"B=no\nC=3\n");
        assert_eq!(pairs(&output), [pair("A", "1"), pair("C", "3")]);
        let mut exact = vec![b'x'; LINE_BYTES as usize];
        exact.extend(b"\nD=4\n");
        assert_eq!(pairs(&exact), [pair("D", "4")]);
    }
}
