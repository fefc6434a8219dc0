//! Outputs that are the same for many tasks travel once: a list of ends sends each output under a number the first
//! time that it comes, and names the number from then on.
//!
//! ```text
//!  end of fe1:  outcome, times │ stdout "ok"        page: outputs [1: "ok"], tasks [fe1: … stdout=1,
//!  end of fe2:  outcome, times │ stdout "ok"   ──▶                                   fe2: … stdout=1]
//! ```
//!
//! Who receives them puts each end together again: the fields of a message may stand in any order, so what comes
//! out tells the same as what the player encoded.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint, key_len};

use crate::{Invalid, v1};

/// Most outputs that have a number in one list.
pub const SHARED_OUTPUTS: usize = 256;
/// Most bytes of them together.
pub const SHARED_BYTES: usize = 8 << 20;
/// What is shorter is sent with its end: to name it would take about as much.
pub const LEAST_SHARED_BYTES: usize = 16;

/// The tags of a stream in `AttemptEnd`.
const STDOUT: u32 = 9;
const STDERR: u32 = 10;

/// An end without its outputs, and those.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndInParts {
    /// Every other field, as it was encoded.
    pub rest: Bytes,
    /// Standard output, an encoded `Output`; empty if the end has none, or one that says nothing (which is in `rest`).
    pub stdout: Bytes,
    /// Standard error.
    pub stderr: Bytes,
}

impl EndInParts {
    /// Takes an end apart. `None` if it cannot be read so far, or has a stream twice: such an end travels as it is.
    pub fn of(end: &Bytes) -> Option<Self> {
        let mut parts = Self::default();
        let mut rest = BytesMut::with_capacity(64);
        let mut left = end.clone();
        while !left.is_empty() {
            let field = left.clone();
            let (tag, wire_type) = decode_key(&mut left).ok()?;
            let length = match wire_type {
                WireType::Varint => {
                    decode_varint(&mut left).ok()?;
                    0
                }
                WireType::SixtyFourBit => 8,
                WireType::ThirtyTwoBit => 4,
                WireType::LengthDelimited => {
                    usize::try_from(decode_varint(&mut left).ok()?).ok()?
                }
                WireType::StartGroup | WireType::EndGroup => return None,
            };
            if length > left.len() {
                return None;
            }
            let content = left.split_to(length);
            let stream = match (tag, wire_type) {
                (STDOUT, WireType::LengthDelimited) if length > 0 => &mut parts.stdout,
                (STDERR, WireType::LengthDelimited) if length > 0 => &mut parts.stderr,
                _ => {
                    rest.put_slice(&field[..field.len() - left.len()]);
                    continue;
                }
            };
            if !stream.is_empty() {
                return None;
            }
            *stream = content;
        }
        parts.rest = rest.freeze();
        Some(parts)
    }

    /// Puts the end together.
    pub fn whole(&self) -> Bytes {
        let mut whole =
            BytesMut::with_capacity(self.rest.len() + self.stdout.len() + self.stderr.len() + 16);
        whole.put_slice(&self.rest);
        for (tag, stream) in [(STDOUT, &self.stdout), (STDERR, &self.stderr)] {
            if !stream.is_empty() {
                debug_assert!(key_len(tag) == 1, "a key of one byte");
                encode_key(tag, WireType::LengthDelimited, &mut whole);
                encode_varint(stream.len() as u64, &mut whole);
                whole.put_slice(stream);
            }
        }
        whole.freeze()
    }
}

/// The outputs of a list that came under a number, as its reader remembers them.
#[derive(Clone, Debug, Default)]
pub struct HeardOutputs {
    outputs: Vec<Bytes>,
    bytes: usize,
}

impl HeardOutputs {
    /// Puts the ends of a page together.
    pub fn restore(&mut self, mut page: v1::TaskPage) -> Result<v1::TaskPage, Invalid> {
        for output in std::mem::take(&mut page.outputs) {
            self.bytes += output.len();
            if self.outputs.len() >= SHARED_OUTPUTS || self.bytes > SHARED_BYTES {
                return Err(Invalid::field("TaskPage.outputs"));
            }
            self.outputs.push(output);
        }
        for task in &mut page.tasks {
            let (stdout, stderr) = (task.shared_stdout, task.shared_stderr);
            if (stdout, stderr) == (0, 0) {
                continue;
            }
            let field = "TaskStatus.shared_stdout, shared_stderr";
            let mut parts = EndInParts::of(&task.end).ok_or_else(|| Invalid::field(field))?;
            for (number, stream) in [(stdout, &mut parts.stdout), (stderr, &mut parts.stderr)] {
                if let Some(place) = number.checked_sub(1) {
                    let output = usize::try_from(place).ok().and_then(|at| self.outputs.get(at));
                    *stream = output.ok_or_else(|| Invalid::field(field))?.clone();
                }
            }
            task.end = parts.whole();
            (task.shared_stdout, task.shared_stderr) = (0, 0);
        }
        Ok(page)
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn end(stdout: &str, stderr: &str) -> Bytes {
        let output = |text: &str| {
            let text = text.to_owned().into_bytes();
            Some(v1::Output { bytes: text.len() as u64, head: text.into(), ..Default::default() })
        };
        let end = v1::AttemptEnd {
            outcome: Some(v1::attempt_end::Outcome::Exited(3)),
            started_at_ms: 1,
            ended_at_ms: u64::MAX,
            response: [("key".to_owned(), "value".to_owned())].into(),
            stdout: output(stdout),
            stderr: output(stderr),
        };
        end.encode_to_vec().into()
    }

    #[test]
    fn an_end_is_put_together_as_it_was() {
        for end in [end("out", "err"), end("", ""), end(&"x".repeat(40_000), ""), Bytes::new()] {
            let parts = EndInParts::of(&end).unwrap();
            let read = |end: &Bytes| v1::AttemptEnd::decode(&end[..]).unwrap();
            assert_eq!(read(&parts.whole()), read(&end));
            assert!(parts.rest.len() < 60);
        }
    }

    #[test]
    fn what_cannot_be_read_travels_as_it_is() {
        let good = end("out", "err");
        for cut in 1..good.len() {
            // Where a field ends the rest is an end too.
            if let Some(parts) = EndInParts::of(&good.slice(..cut)) {
                assert_eq!(parts.whole().len(), cut);
            }
        }
        let twice = [&good[..], &good[..]].concat();
        assert_eq!(EndInParts::of(&twice.into()), None);
        assert_eq!(EndInParts::of(&Bytes::from_static(&[0x4b])), None, "a group");
    }

    #[test]
    fn a_page_that_names_what_did_not_come_is_refused() {
        let task = |shared_stdout| v1::TaskStatus {
            end: end("", ""),
            shared_stdout,
            ..Default::default()
        };
        let page = |numbers: &[u32], outputs: Vec<Bytes>| v1::TaskPage {
            tasks: numbers.iter().map(|number| task(*number)).collect(),
            outputs,
        };
        let output = || Bytes::from(v1::Output { bytes: 7, ..Default::default() }.encode_to_vec());
        let mut heard = HeardOutputs::default();
        let told = heard.restore(page(&[0, 1], vec![output()])).unwrap();
        let bytes = |task: &v1::TaskStatus| {
            v1::AttemptEnd::decode(&task.end[..]).unwrap().stdout.unwrap().bytes
        };
        assert_eq!(told.tasks.iter().map(bytes).collect::<Vec<_>>(), [0, 7]);
        assert_eq!(told.tasks[1].shared_stdout, 0);
        heard.restore(page(&[2], Vec::new())).unwrap_err();
        let many = vec![output(); SHARED_OUTPUTS];
        HeardOutputs::default().restore(page(&[1], many.clone())).unwrap();
        heard.restore(page(&[1], many)).unwrap_err();
        let large = vec![Bytes::from(vec![0; SHARED_BYTES + 1])];
        HeardOutputs::default().restore(page(&[], large)).unwrap_err();
    }
}
