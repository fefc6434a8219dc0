//! Whether what is counted is what there is.

use orchestra_model::HostName;

use crate::{
    Spread, bounds,
    bundle::{Bundle, Parent, Place, Stand},
};

impl Spread {
    /// Checks everything that always holds. The error says what does not.
    pub fn audit(&self) -> Result<(), String> {
        self.bundles.values().try_for_each(Bundle::audit)
    }

    /// From whom a host fetches a bundle, as far as this knows: `None` if it does not fetch it, or from
    /// a copy, or from nobody.
    pub fn parent_of(
        &self,
        bundle: orchestra_model::bundle::BundleId,
        host: &HostName,
    ) -> Option<&HostName> {
        let bundle = self.bundles.get(&bundle)?;
        match bundle.members[*bundle.places.get(host)? as usize].stand {
            Stand::Fetching(Parent::Member(parent)) => Some(&bundle.members[parent as usize].host),
            _ => None,
        }
    }
}

impl Bundle {
    fn audit(&self) -> Result<(), String> {
        let parents = || {
            self.members.iter().filter_map(|member| match member.stand {
                Stand::Fetching(parent) => Some((parent, member.serves)),
                _ => None,
            })
        };
        require(parents().count() == self.fetching as usize, || {
            "fetching are miscounted".to_owned()
        })?;
        let from_copies = parents().filter(|(parent, _)| *parent == Parent::Copy).count();
        require(from_copies == self.from_copies as usize, || "copies are miscounted".to_owned())?;
        for (place, member) in (0..).zip(&self.members) {
            let host = &member.host;
            require(self.places.get(host) == Some(&place), || format!("{host} lost its place"))?;
            let of = |serves: bool| {
                parents().filter(|it| *it == (Parent::Member(place), serves)).count()
            };
            let counted =
                (of(true), of(false)) == (member.children as usize, member.leaves as usize);
            require(counted, || format!("children of {host} are miscounted"))?;
            require(member.children + member.leaves <= bounds::SERVED, || {
                format!("{host} serves {} and {}", member.children, member.leaves)
            })?;
            self.audit_open(place)?;
        }
        Ok(())
    }

    fn audit_open(&self, place: Place) -> Result<(), String> {
        let (stand, rooms) = (self.members[place as usize].stand, self.has_room(place));
        for (open, has_room) in [(&self.open, rooms.0), (&self.open_to_leaves, rooms.1)] {
            let is_right = open.whole.contains(&place) == (has_room && stand == Stand::Whole)
                && open.fetching.contains(&place)
                    == (has_room && matches!(stand, Stand::Fetching(_)));
            require(is_right, || format!("place {place} is wrongly open or closed"))?;
        }
        Ok(())
    }
}

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}
