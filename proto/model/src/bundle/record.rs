//! What a player remembers of a place: which releases are there, and the highest serial that it took.
//!
//! The record is a short text in the place itself, beside the releases, and belongs to the player's
//! user. It is not in the spool, because a spool may be moved away, and a serial that is forgotten lets
//! an old bundle in.
//!
//! ```text
//! orchestra place 1
//! highest 42-sha256-…
//! kept 41-sha256-…
//! kept 42-sha256-…
//! taking 43-sha256-… ATTEMPT
//! ```

use std::{collections::BTreeSet, fmt, str::FromStr};

use super::{BundleId, BundleSerial, BundleStatement};
use crate::{
    delivery::AttemptKey,
    from_hex, hex,
    journal::{ByteReader, push_key},
    limits,
};

/// The first line of every record.
const FIRST: &str = "orchestra place 1";

/// A bundle that was unpacked in a place. The order is that of serials.
///
/// It is spelled as its directory is called: `42-sha256-…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleRelease {
    pub serial: BundleSerial,
    pub id: BundleId,
}

/// A text is not the name of a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no release: expected a serial, - and a bundle's id")]
pub struct InvalidRelease(String);

impl BundleRelease {
    /// The release that a bundle becomes.
    pub fn of(said: &BundleStatement) -> Self {
        Self { serial: said.serial, id: said.id }
    }
}

impl fmt::Display for BundleRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.serial, self.id)
    }
}

impl FromStr for BundleRelease {
    type Err = InvalidRelease;

    fn from_str(text: &str) -> Result<Self, InvalidRelease> {
        let read = || {
            let (serial, id) = text.split_once('-')?;
            let release = Self { serial: serial.parse().ok()?, id: id.parse().ok()? };
            // One release has one spelling.
            (release.to_string() == text).then_some(release)
        };
        read().ok_or_else(|| InvalidRelease(text.chars().take(100).collect()))
    }
}

/// What a player remembers of a place. A new place has an empty one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlaceRecord {
    /// The highest serial that was taken, with the bundle that had it: another bundle with the same
    /// serial is refused.
    pub highest: Option<BundleRelease>,
    /// Releases that were unpacked whole, and are on disk.
    pub kept: BTreeSet<BundleRelease>,
    /// The attempt that changes the place, if one was begun and its end is not noted yet.
    pub pending: Option<PendingChange>,
}

/// A change of a place that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingChange {
    pub release: BundleRelease,
    /// Whose end tells what came of it.
    pub attempt: AttemptKey,
}

/// Why a text is no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    #[error("it does not begin as the record of a place")]
    NotARecord,
    #[error("its line {0} cannot be read")]
    Line(usize),
    #[error("it ends within a line")]
    Cut,
    #[error("it names more than {most} releases", most = MOST_KEPT)]
    TooMany,
}

/// Most releases in a record: those that are kept, the active one, and one that is new.
const MOST_KEPT: usize = limits::PLACE_RELEASES as usize + 2;

impl PlaceRecord {
    /// Longest encoded record, in bytes.
    pub const BYTES: usize = 128 * (MOST_KEPT + 2);

    /// The text that is kept.
    pub fn encode(&self) -> String {
        let mut text = format!("{FIRST}\n");
        for (word, release) in self
            .highest
            .iter()
            .map(|it| ("highest", it))
            .chain(self.kept.iter().map(|it| ("kept", it)))
        {
            text += &format!("{word} {release}\n");
        }
        if let Some(PendingChange { release, attempt }) = &self.pending {
            let mut key = Vec::new();
            push_key(&mut key, attempt);
            text += &format!("taking {release} {}\n", hex(&key));
        }
        debug_assert!(text.len() <= Self::BYTES);
        text
    }

    /// Reads exactly what [`PlaceRecord::encode`] writes.
    pub fn decode(text: &str) -> Result<Self, InvalidRecord> {
        let lines = text.strip_suffix('\n').ok_or(InvalidRecord::Cut)?;
        let mut lines = lines.split('\n');
        if lines.next() != Some(FIRST) {
            return Err(InvalidRecord::NotARecord);
        }
        let mut record = Self::default();
        for (line, number) in lines.zip(2..) {
            let wrong = InvalidRecord::Line(number);
            let (word, release) = line.split_once(' ').ok_or(wrong.clone())?;
            if record.pending.is_some() {
                return Err(wrong);
            }
            if word == "taking" {
                record.pending = Some(pending(release).ok_or(wrong)?);
                continue;
            }
            let release: BundleRelease = release.parse().map_err(|_| wrong.clone())?;
            let is_new = match word {
                "highest" if number == 2 => record.highest.replace(release).is_none(),
                "kept" if record.kept.last().is_none_or(|last| *last < release) => {
                    record.kept.insert(release)
                }
                _ => false,
            };
            if !is_new {
                return Err(wrong);
            }
        }
        if record.kept.len() > MOST_KEPT {
            return Err(InvalidRecord::TooMany);
        }
        Ok(record)
    }
}

fn pending(text: &str) -> Option<PendingChange> {
    let (release, key) = text.split_once(' ')?;
    let bytes = from_hex(key).filter(|bytes| hex(bytes) == key)?;
    let mut reader = ByteReader::new(&bytes);
    let attempt = reader.key()?;
    reader.is_empty().then_some(PendingChange { release: release.parse().ok()?, attempt })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        delivery::StoreId,
        ids::{FlowId, JobId},
    };

    fn release(serial: u64) -> BundleRelease {
        BundleRelease {
            serial: BundleSerial::new(serial).unwrap(),
            id: BundleId([serial as u8; 32]),
        }
    }

    #[test]
    fn a_release_is_read_as_it_is_written() {
        assert_eq!(release(42).to_string().parse(), Ok(release(42)));
        let text = release(42).to_string();
        for wrong in ["", "42", "-", &text[2..], &format!("0{text}"), &format!("{text}0")] {
            assert!(wrong.parse::<BundleRelease>().is_err(), "{wrong}");
        }
        assert!(release(9) < release(10));
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let empty = PlaceRecord::default();
        assert_eq!(PlaceRecord::decode(&empty.encode()), Ok(empty));
        let record = PlaceRecord {
            highest: Some(release(43)),
            kept: BTreeSet::from([release(9), release(41), release(42)]),
            pending: None,
        };
        assert_eq!(PlaceRecord::decode(&record.encode()), Ok(record.clone()));
        let job = JobId { flow: FlowId(7), slot: 1, job: 2 };
        let attempt = AttemptKey { store: StoreId([0xab; 16]), job, attempt: 3 };
        let pending = Some(PendingChange { release: release(43), attempt });
        let record = PlaceRecord { pending, ..record };
        assert_eq!(PlaceRecord::decode(&record.encode()), Ok(record));
    }

    #[test]
    fn what_nobody_wrote_is_no_record() {
        let kept = format!("kept {}\n", release(2));
        let highest = format!("highest {}\n", release(3));
        for (text, why) in [
            (String::new(), InvalidRecord::Cut),
            ("orchestra place 2\n".to_owned(), InvalidRecord::NotARecord),
            (FIRST.to_owned(), InvalidRecord::Cut),
            (format!("{FIRST}\nkept 1\n"), InvalidRecord::Line(2)),
            (format!("{FIRST}\n\n"), InvalidRecord::Line(2)),
            (format!("{FIRST}\n{kept}{kept}"), InvalidRecord::Line(3)),
            (format!("{FIRST}\n{kept}{highest}"), InvalidRecord::Line(3)),
            (format!("{FIRST}\n{highest}{highest}"), InvalidRecord::Line(3)),
            (format!("{FIRST}\n{kept}kept {}\n", release(1)), InvalidRecord::Line(3)),
            (format!("{FIRST}\ntaking {} 00\n", release(1)), InvalidRecord::Line(2)),
            (format!("{FIRST}\ntaking {}\n", release(1)), InvalidRecord::Line(2)),
        ] {
            assert_eq!(PlaceRecord::decode(&text), Err(why), "{text:?}");
        }
        let many = (1..=MOST_KEPT as u64 + 1).map(release).collect();
        let many = PlaceRecord { highest: None, kept: many, pending: None };
        assert_eq!(PlaceRecord::decode(&many.encode()), Err(InvalidRecord::TooMany));
    }
}
