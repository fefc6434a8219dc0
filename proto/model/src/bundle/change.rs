//! What a place may be asked for: to take a bundle, and to be switched to one that it has.
//!
//! Both are judged by what is said of the bundle and by the place's record, before anything else of
//! the bundle is read.

use super::{
    BundleId, BundleRelease, BundleSerial, InstalledPlace, PlaceRecord, PlaceRefusal, PublisherKey,
    Seal,
};
use crate::{names::HostName, time::Timestamp};

/// Why a place is not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeRefusal {
    #[error(transparent)]
    Place(#[from] PlaceRefusal),
    #[error("its serial is {found}, and the place has taken {highest} already")]
    Older { found: BundleSerial, highest: BundleSerial },
    #[error("the place has taken another bundle with the serial {serial}: {id}")]
    OtherBundle { serial: BundleSerial, id: BundleId },
    #[error("it was not delivered there")]
    NotThere,
    #[error("{active} is active, and the place allows no way back")]
    NoWayBack { active: BundleSerial },
}

/// What is needed to judge a change, beside the place and its record.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// What is said of the bundle.
    pub seal: &'a Seal,
    /// The keys whose signatures on that are good.
    pub good: &'a [PublisherKey],
    /// This fleet's.
    pub domain: &'a HostName,
    /// By the clock of this host.
    pub now: Timestamp,
}

impl PlaceRecord {
    /// Judges whether the place takes the bundle.
    pub fn judge_delivery(
        &self,
        place: &InstalledPlace,
        judging: Judging<'_>,
    ) -> Result<BundleRelease, ChangeRefusal> {
        let release = judge(place, judging)?;
        match self.highest {
            Some(highest) if release.serial < highest.serial => {
                let (found, highest) = (release.serial, highest.serial);
                Err(ChangeRefusal::Older { found, highest })
            }
            Some(BundleRelease { serial, id }) if release.serial == serial && release.id != id => {
                Err(ChangeRefusal::OtherBundle { serial, id })
            }
            _ => Ok(release),
        }
    }

    /// Judges whether the place may be switched to the bundle. It may go back to what it has kept,
    /// unless its file forbids that.
    pub fn judge_activation(
        &self,
        place: &InstalledPlace,
        active: Option<BundleRelease>,
        judging: Judging<'_>,
    ) -> Result<BundleRelease, ChangeRefusal> {
        let release = judge(place, judging)?;
        if !self.kept.contains(&release) {
            return Err(ChangeRefusal::NotThere);
        }
        match active {
            Some(active) if release.serial < active.serial && !place.rollback => {
                Err(ChangeRefusal::NoWayBack { active: active.serial })
            }
            _ => Ok(release),
        }
    }

    /// Notes that a bundle is being taken: nothing older is from now on, whatever becomes of it.
    pub fn taking(&mut self, release: BundleRelease) {
        self.highest = self.highest.max(Some(release));
    }

    /// The releases that go once `new` is there: all but that, the active one, and the newest `keep` of
    /// the others.
    pub fn surplus(
        &self,
        keep: u32,
        new: BundleRelease,
        active: Option<BundleRelease>,
    ) -> Vec<BundleRelease> {
        let others = self.kept.iter().rev().filter(|one| **one != new && Some(**one) != active);
        // With the active one and the new one, which is not always a third, `keep` are kept.
        let beside = keep.saturating_sub(u32::from(active != Some(new))) as usize;
        others.skip(beside).copied().collect()
    }

    /// Notes that a bundle was unpacked whole, and that others are gone.
    pub fn delivered(&mut self, new: BundleRelease, gone: &[BundleRelease]) {
        self.kept.retain(|release| !gone.contains(release));
        self.kept.insert(new);
    }
}

/// Judges a bundle by what is said of it.
fn judge(place: &InstalledPlace, judging: Judging<'_>) -> Result<BundleRelease, PlaceRefusal> {
    let Judging { seal, good, domain, now } = judging;
    place.takes.judge_statement(&seal.statement, good, domain, now)?;
    Ok(BundleRelease::of(&seal.statement))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::PathBuf};

    use super::*;
    use crate::{
        bundle::{BundlePlace, BundleStatement, PlaceTrust},
        names::BundleName,
        size::ByteSize,
    };

    fn release(serial: u64) -> BundleRelease {
        BundleRelease {
            serial: BundleSerial::new(serial).unwrap(),
            id: BundleId([serial as u8; 32]),
        }
    }

    fn place(rollback: bool) -> InstalledPlace {
        let keys = BTreeSet::from([PublisherKey([1; 32])]);
        let takes = BundlePlace {
            name: BundleName::new("site").unwrap(),
            trust: PlaceTrust::Publishers { keys, threshold: 1 },
            min_serial: BundleSerial::new(2).unwrap(),
            max_size: ByteSize(100),
            max_entries: 10,
            executable: false,
            links: false,
            xattrs: BTreeSet::new(),
        };
        InstalledPlace { takes, path: PathBuf::from("/srv/site"), owner: None, keep: 2, rollback }
    }

    fn seal(release: BundleRelease) -> Seal {
        Seal::unsigned(BundleStatement {
            domain: HostName::new("d.test").unwrap(),
            name: BundleName::new("site").unwrap(),
            serial: release.serial,
            expires: Some(Timestamp(100)),
            id: release.id,
            manifest_bytes: 1,
            entries: 1,
            content_bytes: 1,
            size: 1,
        })
    }

    fn record(highest: u64, kept: &[u64]) -> PlaceRecord {
        let kept = kept.iter().map(|serial| release(*serial)).collect();
        PlaceRecord { highest: Some(release(highest)), kept, ..PlaceRecord::default() }
    }

    fn judged<T>(
        of: BundleRelease,
        signed: bool,
        now: u64,
        with: impl FnOnce(Judging<'_>) -> T,
    ) -> T {
        let (seal, key) = (seal(of), [PublisherKey([1; 32])]);
        let good = if signed { &key[..] } else { &[] };
        let domain = HostName::new("d.test").unwrap();
        with(Judging { seal: &seal, good, domain: &domain, now: Timestamp(now) })
    }

    #[test]
    fn nothing_older_is_taken_than_what_was() {
        let take = |record: &PlaceRecord, of, signed, now| {
            judged(of, signed, now, |judging| record.judge_delivery(&place(true), judging))
        };
        let record = record(5, &[]);
        assert_eq!(take(&record, release(5), true, 1), Ok(release(5)));
        assert_eq!(take(&record, release(6), true, 1), Ok(release(6)));
        let (found, highest) = (release(4).serial, release(5).serial);
        assert_eq!(
            take(&record, release(4), true, 1),
            Err(ChangeRefusal::Older { found, highest })
        );
        let other = BundleRelease { id: BundleId([9; 32]), ..release(5) };
        assert!(matches!(take(&record, other, true, 1), Err(ChangeRefusal::OtherBundle { .. })));
        // By its file the place refuses whatever the record says.
        let place = |why| Err(ChangeRefusal::Place(why));
        let unsigned = PlaceRefusal::Publishers { found: 0, wanted: 1 };
        assert_eq!(take(&record, release(6), false, 1), place(unsigned));
        let expired = PlaceRefusal::Expired(crate::time::Millis(1));
        assert_eq!(take(&record, release(6), true, 101), place(expired));
        let low = take(&PlaceRecord::default(), release(1), true, 1);
        assert!(matches!(low, Err(ChangeRefusal::Place(PlaceRefusal::Serial { .. }))));
    }

    #[test]
    fn what_is_taken_is_remembered_although_nothing_comes_of_it() {
        let mut record = PlaceRecord::default();
        record.taking(release(7));
        assert_eq!((record.highest, record.kept.len()), (Some(release(7)), 0));
        record.taking(release(7));
        assert_eq!(record.highest, Some(release(7)));
    }

    #[test]
    fn a_place_is_switched_to_what_it_has_and_goes_back_where_it_may() {
        let switch = |record: &PlaceRecord, rollback, active: Option<u64>, to| {
            judged(release(to), true, 1, |judging| {
                record.judge_activation(&place(rollback), active.map(release), judging)
            })
        };
        let record = record(5, &[3, 5]);
        assert_eq!(switch(&record, true, None, 5), Ok(release(5)));
        assert_eq!(switch(&record, true, Some(5), 3), Ok(release(3)));
        assert_eq!(switch(&record, false, Some(5), 5), Ok(release(5)));
        assert_eq!(switch(&record, false, Some(3), 5), Ok(release(5)));
        let active = release(5).serial;
        assert_eq!(switch(&record, false, Some(5), 3), Err(ChangeRefusal::NoWayBack { active }));
        assert_eq!(switch(&record, true, Some(5), 4), Err(ChangeRefusal::NotThere));
        let unsigned = judged(release(5), false, 1, |judging| {
            record.judge_activation(&place(true), None, judging)
        });
        assert!(matches!(unsigned, Err(ChangeRefusal::Place(_))));
    }

    #[test]
    fn the_active_release_and_so_many_others_are_kept() {
        let surplus = |kept: &[u64], keep, new, active: Option<u64>| {
            let of = record(9, kept).surplus(keep, release(new), active.map(release));
            let mut of: Vec<u64> = of.iter().map(|release| release.serial.get()).collect();
            of.sort_unstable();
            of
        };
        assert_eq!(surplus(&[], 1, 5, None), [0_u64; 0]);
        assert_eq!(surplus(&[1, 2, 3, 4], 1, 5, Some(2)), [1, 3, 4]);
        assert_eq!(surplus(&[1, 2, 3, 4], 2, 5, Some(2)), [1, 3]);
        assert_eq!(surplus(&[1, 2, 3, 4], 3, 5, Some(1)), [2]);
        // Delivered again.
        assert_eq!(surplus(&[1, 2, 3], 1, 3, Some(2)), [1]);
        assert_eq!(surplus(&[1, 2, 3], 1, 3, Some(3)), [1]);
        let mut record = record(9, &[1, 2, 3]);
        record.delivered(release(9), &[release(1), release(2)]);
        assert_eq!(record.kept, BTreeSet::from([release(3), release(9)]));
    }
}
