//! The bundles that a conductor knows: what publishers say of them, and which hosts have a copy.
//!
//! Knowing a bundle gives it no right: each host judges by its own places. The conductor only hands on
//! what publishers signed, and tells where a copy is.

use std::collections::{BTreeMap, BTreeSet};

use super::{BundleId, BundleSerial, Seal};
use crate::{
    audit::Asker,
    limits,
    names::{BundleName, HostName},
    time::Timestamp,
};

/// A bundle that somebody registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisteredBundle {
    /// What publishers say of it, with every signature that was registered.
    pub seal: Seal,
    /// The hosts that were said to have a copy in their depots; at most
    /// [`limits::BUNDLE_SOURCES`].
    pub sources: BTreeSet<HostName>,
    /// Who registered it first.
    pub by: Asker,
    /// When that was.
    pub registered_at: Timestamp,
}

/// Why a bundle is not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefusal {
    #[error("it was published for the fleet {found}, and this is {own}")]
    Domain { own: HostName, found: HostName },
    #[error("{name}@{serial} is {id}: one name and serial is one bundle")]
    Taken { name: BundleName, serial: BundleSerial, id: BundleId },
    #[error("its statement is not the one that was registered")]
    OtherStatement,
    #[error("it would have more than {} signatures", limits::BUNDLE_SIGNATURES)]
    Signatures,
    #[error("{} hosts have a copy already, and no more are kept", limits::BUNDLE_SOURCES)]
    Sources,
    #[error(
        "{} bundles called {name} with higher serials are registered",
        limits::BUNDLES_OF_A_NAME
    )]
    Old { name: BundleName },
    #[error("bundles of {} names are registered, and no more are possible", limits::BUNDLE_NAMES)]
    Names,
}

/// What a registration changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The bundle as it is registered now.
    pub bundle: RegisteredBundle,
    /// The bundle that is forgotten for it: of a name the newest are kept.
    pub forgotten: Option<BundleId>,
    /// Whether nothing was said that was not known.
    pub unchanged: bool,
}

/// Every bundle that is registered.
#[derive(Clone, Debug, Default)]
pub struct BundleRegister {
    by_name: BTreeMap<BundleName, BTreeMap<BundleSerial, RegisteredBundle>>,
}

impl BundleRegister {
    /// The register that these records make.
    pub fn restore(records: impl IntoIterator<Item = RegisteredBundle>) -> Self {
        let mut register = Self::default();
        records.into_iter().for_each(|bundle| register.put(bundle));
        register
    }

    /// The bundle of a name and serial.
    pub fn get(&self, name: &BundleName, serial: BundleSerial) -> Option<&RegisteredBundle> {
        self.by_name.get(name)?.get(&serial)
    }

    /// Every bundle, by name and serial.
    pub fn iter(&self) -> impl Iterator<Item = &RegisteredBundle> {
        self.by_name.values().flat_map(BTreeMap::values)
    }

    /// Registers a bundle, or more signatures or a further copy of one that is known. `domain` is this
    /// fleet's. Fails, and changes nothing, where the two do not agree or too much is registered.
    pub fn register(
        &mut self,
        seal: &Seal,
        source: Option<HostName>,
        domain: &HostName,
        by: &Asker,
        at: Timestamp,
    ) -> Result<Registration, RegisterRefusal> {
        let said = &seal.statement;
        if said.domain != *domain {
            let (own, found) = (domain.clone(), said.domain.clone());
            return Err(RegisterRefusal::Domain { own, found });
        }
        let (known, forgotten) = match self.get(&said.name, said.serial) {
            Some(known) => (Some(known.clone()), None),
            None => (None, self.make_room(&said.name, said.serial)?),
        };
        let bundle = match known.clone() {
            None => RegisteredBundle {
                seal: seal.clone(),
                sources: source.into_iter().collect(),
                by: by.clone(),
                registered_at: at,
            },
            Some(known) => joined(known, seal, source)?,
        };
        let unchanged = known.is_some_and(|known| known == bundle);
        if let Some((_, serial)) = &forgotten
            && let Some(serials) = self.by_name.get_mut(&said.name)
        {
            serials.remove(serial);
        }
        self.put(bundle.clone());
        let forgotten = forgotten.map(|(id, _)| id);
        Ok(Registration { bundle, forgotten, unchanged })
    }

    /// Returns what has to go so that one more bundle of a name has room.
    fn make_room(
        &self,
        name: &BundleName,
        serial: BundleSerial,
    ) -> Result<Option<(BundleId, BundleSerial)>, RegisterRefusal> {
        let Some(serials) = self.by_name.get(name) else {
            return match self.by_name.len() {
                0..limits::BUNDLE_NAMES => Ok(None),
                _ => Err(RegisterRefusal::Names),
            };
        };
        match serials.first_key_value() {
            Some((lowest, bundle)) if serials.len() >= limits::BUNDLES_OF_A_NAME => {
                if serial < *lowest {
                    return Err(RegisterRefusal::Old { name: name.clone() });
                }
                Ok(Some((bundle.seal.statement.id, *lowest)))
            }
            _ => Ok(None),
        }
    }

    fn put(&mut self, bundle: RegisteredBundle) {
        let said = &bundle.seal.statement;
        let serials = self.by_name.entry(said.name.clone()).or_default();
        serials.insert(said.serial, bundle);
    }
}

/// A known bundle with what is said of it anew.
fn joined(
    mut known: RegisteredBundle,
    seal: &Seal,
    source: Option<HostName>,
) -> Result<RegisteredBundle, RegisterRefusal> {
    let (old, new) = (&known.seal.statement, &seal.statement);
    if old.id != new.id {
        let (name, serial) = (old.name.clone(), old.serial);
        return Err(RegisterRefusal::Taken { name, serial, id: old.id });
    }
    if old != new {
        return Err(RegisterRefusal::OtherStatement);
    }
    for signature in seal.signatures() {
        known.seal.add(*signature).map_err(|_| RegisterRefusal::Signatures)?;
    }
    known.sources.extend(source);
    if known.sources.len() > limits::BUNDLE_SOURCES {
        return Err(RegisterRefusal::Sources);
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{BundleStatement, PublisherKey, StatementSignature};

    fn seal(name: &str, serial: u64, signed: &[u8]) -> Seal {
        let mut seal = Seal::unsigned(BundleStatement {
            domain: HostName::new("d.test").unwrap(),
            name: BundleName::new(name).unwrap(),
            serial: BundleSerial::new(serial).unwrap(),
            expires: None,
            id: BundleId([serial as u8; 32]),
            manifest_bytes: 1,
            entries: 1,
            content_bytes: 1,
            size: 1,
        });
        for key in signed {
            let (key, signature) = (PublisherKey([*key; 32]), [*key; 64]);
            seal.add(StatementSignature { key, signature }).unwrap();
        }
        seal
    }

    fn register(
        register: &mut BundleRegister,
        seal: &Seal,
        source: &str,
    ) -> Result<Registration, RegisterRefusal> {
        let source = Some(HostName::new(source).unwrap());
        let domain = HostName::new("d.test").unwrap();
        register.register(seal, source, &domain, &Asker::Local, Timestamp(1))
    }

    #[test]
    fn what_is_said_later_is_added() {
        let mut all = BundleRegister::default();
        let first = register(&mut all, &seal("site", 1, &[1]), "build1").unwrap();
        assert!(!first.unchanged && first.forgotten.is_none());
        assert!(register(&mut all, &seal("site", 1, &[1]), "build1").unwrap().unchanged);
        let second = register(&mut all, &seal("site", 1, &[2]), "build2").unwrap();
        assert_eq!(second.bundle.seal, seal("site", 1, &[1, 2]));
        assert_eq!(second.bundle.sources.len(), 2);
        let restored = BundleRegister::restore(all.iter().cloned());
        assert!(restored.iter().eq(all.iter()));
        let serial = BundleSerial::new(1).unwrap();
        assert_eq!(restored.get(&BundleName::new("site").unwrap(), serial), Some(&second.bundle));
    }

    #[test]
    fn what_does_not_agree_is_refused_and_changes_nothing() {
        let mut all = BundleRegister::default();
        register(&mut all, &seal("site", 1, &[1]), "build1").unwrap();
        let before: Vec<_> = all.iter().cloned().collect();
        let mut other = seal("site", 1, &[1]);
        other.statement.id = BundleId([9; 32]);
        assert!(matches!(register(&mut all, &other, "x"), Err(RegisterRefusal::Taken { .. })));
        let mut other = seal("site", 1, &[1]);
        other.statement.size = 2;
        assert_eq!(register(&mut all, &other, "x"), Err(RegisterRefusal::OtherStatement));
        let mut other = seal("site", 2, &[1]);
        other.statement.domain = HostName::new("e.test").unwrap();
        assert!(matches!(register(&mut all, &other, "x"), Err(RegisterRefusal::Domain { .. })));
        let many: Vec<u8> = (2..=limits::BUNDLE_SIGNATURES as u8 + 1).collect();
        assert_eq!(
            register(&mut all, &seal("site", 1, &many), "x"),
            Err(RegisterRefusal::Signatures)
        );
        assert!(all.iter().eq(before.iter()));
    }

    #[test]
    fn of_a_name_the_newest_are_kept() {
        let mut all = BundleRegister::default();
        let most = limits::BUNDLES_OF_A_NAME as u64;
        for serial in 2..=most + 1 {
            register(&mut all, &seal("site", serial, &[1]), "x").unwrap();
        }
        let name = BundleName::new("site").unwrap();
        assert_eq!(
            register(&mut all, &seal("site", 1, &[1]), "x"),
            Err(RegisterRefusal::Old { name })
        );
        let next = register(&mut all, &seal("site", most + 2, &[1]), "x").unwrap();
        assert_eq!(next.forgotten, Some(BundleId([2; 32])));
        assert_eq!(all.iter().count(), limits::BUNDLES_OF_A_NAME);
        for n in 1..limits::BUNDLE_NAMES {
            register(&mut all, &seal(&format!("n{n}"), 1, &[1]), "x").unwrap();
        }
        assert_eq!(register(&mut all, &seal("more", 1, &[1]), "x"), Err(RegisterRefusal::Names));
        for n in 1..limits::BUNDLE_SOURCES {
            register(&mut all, &seal("n1", 1, &[1]), &format!("h{n}")).unwrap();
        }
        assert_eq!(
            register(&mut all, &seal("n1", 1, &[1]), "one-more"),
            Err(RegisterRefusal::Sources)
        );
    }
}
