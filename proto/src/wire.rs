//! Encoded messages, looked at before they are decoded: a field of two bytes may become hundreds in
//! memory, so that a message of a few megabytes could take gigabytes before its bounds are checked.

use orchestra_model::limits;

use crate::Invalid;

/// Most fields of one message, each of those that repeat counted. A plan of a hundred thousand waves
/// is below it; what it may become in memory is a few tens of megabytes.
const FIELDS: usize = 1 << 18;

/// The fields of an encoded message, with the contents of those that have a length. Ends at the first
/// one that makes no sense: what decodes the message says what is wrong with it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<(u64, &'a [u8])> {
        let key = self.varint()?;
        let length = match key & 7 {
            0 => {
                self.varint()?;
                0
            }
            1 => 8,
            2 => usize::try_from(self.varint()?).ok()?,
            5 => 4,
            // Groups are not of proto3.
            _ => return None,
        };
        let (contents, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some((key >> 3, contents))
    }
}

impl Fields<'_> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

/// Whether a message has so few fields that it may be decoded.
pub(crate) fn has_few_fields(message: &[u8]) -> bool {
    Fields(message).take(FIELDS + 1).count() <= FIELDS
}

/// Checks that a message within another one, which is decoded by itself, has few enough fields.
pub fn check_fields(message: &'static str, bytes: &[u8]) -> Result<(), Invalid> {
    if has_few_fields(bytes) { Ok(()) } else { Err(Invalid::field(message)) }
}

/// Checks that an encoded `FlowSpec` has no more slots and jobs than a flow may have.
pub fn check_flow_spec(spec: &[u8]) -> Result<(), Invalid> {
    const SLOTS: u64 = 2;
    const JOBS: u64 = 1;
    let (mut slots, mut jobs) = (0, 0);
    for (field, slot) in Fields(spec) {
        if field != SLOTS {
            continue;
        }
        slots += 1;
        jobs += Fields(slot).filter(|(field, _)| *field == JOBS).take(limits::JOBS + 1).count();
        if slots > limits::SLOTS || jobs > limits::JOBS {
            return Err(Invalid::field(match slots > limits::SLOTS {
                true => "FlowSpec.slots: more than a flow may have",
                false => "SlotSpec.jobs: more than a flow may have",
            }));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::v1;

    #[test]
    fn what_is_encoded_is_counted() {
        let report = v1::Report { order: 300, ..Default::default() };
        let frame = v1::FromPlayer {
            player: "db1".to_owned(),
            frame: Some(v1::from_player::Frame::Report(report.encode_to_vec().into())),
        };
        let bytes = v1::FromPlayers { frames: vec![frame; 7] }.encode_to_vec();
        assert_eq!(Fields(&bytes).count(), 7);
        let (field, contents) = Fields(&bytes).next().unwrap();
        assert_eq!((field, Fields(contents).count()), (1, 2));
        // Whatever it is cut to is counted too.
        for length in 0..bytes.len() {
            assert!(Fields(&bytes[..length]).count() <= 7);
        }
    }

    #[test]
    fn a_message_of_empty_fields_is_not_decoded() {
        let frames = |count: usize| [0x0a, 0x00].repeat(count);
        assert!(has_few_fields(&frames(FIELDS)) && !has_few_fields(&frames(FIELDS + 1)));
        assert!(has_few_fields(b"\xff\xff") && has_few_fields(b""));
    }

    #[test]
    fn a_spec_has_no_more_slots_and_jobs_than_a_flow() {
        let spec = |slots: usize, jobs: usize| {
            let slot = v1::SlotSpec { jobs: vec![v1::JobSpec::default(); jobs] };
            v1::FlowSpec { name: String::new(), start: None, slots: vec![slot; slots] }
                .encode_to_vec()
        };
        for good in [spec(0, 0), spec(limits::SLOTS, 10), spec(1, limits::JOBS)] {
            assert!(check_flow_spec(&good).is_ok());
        }
        let wrong = |bytes: Vec<u8>| check_flow_spec(&bytes).unwrap_err().to_string();
        assert!(wrong(spec(limits::SLOTS + 1, 0)).contains("slots"));
        assert!(wrong(spec(1, limits::JOBS + 1)).contains("jobs"));
        assert!(wrong(spec(limits::SLOTS, 11)).contains("jobs"));
    }
}
