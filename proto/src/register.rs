//! Bundles that a conductor knows.

use orchestra_model::{
    Asker, HostName, Timestamp,
    bundle::{RegisteredBundle, Seal},
    limits,
};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

impl From<&RegisteredBundle> for v1::RegisteredBundle {
    fn from(bundle: &RegisteredBundle) -> Self {
        let RegisteredBundle { seal, sources, by, registered_at } = bundle;
        Self {
            seal: seal.encode().into(),
            sources: sources.iter().map(ToString::to_string).collect(),
            by: by.to_string(),
            registered_at_ms: registered_at.0,
        }
    }
}

impl TryFrom<&v1::RegisteredBundle> for RegisteredBundle {
    type Error = Invalid;

    fn try_from(bundle: &v1::RegisteredBundle) -> Result<Self, Invalid> {
        if bundle.sources.len() > limits::BUNDLE_SOURCES {
            return Err(Invalid::field("RegisteredBundle.sources"));
        }
        let sources = bundle.sources.iter().map(|host| HostName::new(host));
        Ok(Self {
            seal: Seal::decode(&bundle.seal).in_field("RegisteredBundle.seal")?,
            sources: sources.collect::<Result<_, _>>().in_field("RegisteredBundle.sources")?,
            by: Asker::from_word(&bundle.by).in_field("RegisteredBundle.by")?,
            registered_at: Timestamp(bundle.registered_at_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        BundleName,
        bundle::{BundleId, BundleSerial, BundleStatement, PublisherKey, StatementSignature},
    };

    use super::*;

    #[test]
    fn a_registered_bundle_is_read_as_it_was_said() {
        let mut seal = Seal::unsigned(BundleStatement {
            domain: HostName::new("d.test").unwrap(),
            name: BundleName::new("site").unwrap(),
            serial: BundleSerial::new(7).unwrap(),
            expires: Some(Timestamp(8)),
            id: BundleId([1; 32]),
            manifest_bytes: 2,
            entries: 3,
            content_bytes: 4,
            size: 5,
        });
        let key = PublisherKey([2; 32]);
        seal.add(StatementSignature { key, signature: [3; 64] }).unwrap();
        let bundle = RegisteredBundle {
            seal,
            sources: [HostName::new("build1").unwrap()].into(),
            by: Asker::from_word("alice").unwrap(),
            registered_at: Timestamp(9),
        };
        let wire = v1::RegisteredBundle::from(&bundle);
        assert_eq!(RegisteredBundle::try_from(&wire).unwrap(), bundle);
        for wrong in [
            v1::RegisteredBundle { seal: bytes::Bytes::new(), ..wire.clone() },
            v1::RegisteredBundle { sources: vec!["../x".to_owned()], ..wire.clone() },
            v1::RegisteredBundle { by: String::new(), ..wire.clone() },
            v1::RegisteredBundle {
                sources: vec!["x".to_owned(); limits::BUNDLE_SOURCES + 1],
                ..wire.clone()
            },
        ] {
            assert!(RegisteredBundle::try_from(&wrong).is_err(), "{wrong:?}");
        }
    }
}
