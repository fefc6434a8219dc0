//! The line of an end that people are told first: the last one of its standard error.

use orchestra_model::delivery::EndBytes;
use prost::Message as _;

use crate::v1;

/// Longest line that [`last_error_line`] returns, in bytes.
const LAST_LINE_BYTES: usize = 200;

/// The last line of an end's standard error that is not blank, cut to 200 bytes, with U+FFFD for what
/// is not UTF-8; `None` where there is none, or where the end cannot be read.
pub fn last_error_line(end: &EndBytes) -> Option<String> {
    let v1::Output { head, tail, .. } = ReadStderr::decode(end.as_slice()).ok()?.stderr?;
    let line = last_line(&tail).or_else(|| last_line(&head))?;
    let characters = line.utf8_chunks().flat_map(|chunk| {
        let replaced = (!chunk.invalid().is_empty()).then_some('\u{fffd}');
        chunk.valid().chars().chain(replaced)
    });
    let mut text = String::new();
    for character in characters {
        if text.len() + character.len_utf8() > LAST_LINE_BYTES {
            break;
        }
        text.push(character);
    }
    Some(text)
}

/// The last line that is not blank, without the blanks around it.
fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.rsplit(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    lines.find(|line| !line.is_empty())
}

/// The field of a [`v1::AttemptEnd`] that its last line is in. Others are skipped, not copied.
#[derive(Clone, PartialEq, prost::Message)]
struct ReadStderr {
    #[prost(message, optional, tag = "10")]
    stderr: Option<v1::Output>,
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        delivery::{AttemptEnd, Outcome, Output},
        time::Timestamp,
    };

    use super::*;
    use crate::encode_end;

    fn last_of(head: &[u8], tail: &[u8]) -> Option<String> {
        let stderr = Output { head: head.to_vec(), tail: tail.to_vec(), ..Output::default() };
        let end = AttemptEnd {
            outcome: Outcome::Exited(1),
            started_at: None,
            ended_at: Timestamp(1),
            response: Default::default(),
            stdout: Output { head: b"not this".to_vec(), ..Output::default() },
            stderr,
        };
        last_error_line(&encode_end(&end).unwrap())
    }

    #[test]
    fn the_last_line_that_says_something_is_told() {
        let told = |head: &str, tail: &str| last_of(head.as_bytes(), tail.as_bytes());
        assert_eq!(told("a\n  Connection refused\r\n\n \n", "").unwrap(), "Connection refused");
        assert_eq!(told("head", "tail\n").unwrap(), "tail");
        assert_eq!(told("head\n", "\n\n").unwrap(), "head");
        assert_eq!(told("50%\r100%\r", "").unwrap(), "100%");
        assert_eq!(told("", ""), None);
        assert_eq!(last_error_line(&EndBytes::new(&b"\xff"[..]).unwrap()), None);
    }

    #[test]
    fn what_is_long_or_no_text_is_cut_and_replaced() {
        assert_eq!(last_of(b"a\xffb", b"").unwrap(), "a\u{fffd}b");
        let long = "\u{fffd}".repeat(100);
        assert_eq!(last_of(long.as_bytes(), b"").unwrap(), "\u{fffd}".repeat(66));
    }
}
