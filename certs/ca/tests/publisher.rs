//! Signatures of publishers: which are good, and of which statement.

#![expect(clippy::unwrap_used, reason = "tests")]

use orchestra_ca::new_publisher;
use orchestra_certs::{Publisher, good_signatures};
use orchestra_model::{
    AudienceName, BundleName, HostName,
    bundle::{
        BundleId, BundleSerial, BundleStatement, Manifest, PublisherKey, Seal, StatementSignature,
    },
};

fn statement() -> BundleStatement {
    let name = BundleName::new("myapp").unwrap();
    let empty = (Vec::new(), Vec::new());
    let manifest = Manifest::new(name, BundleSerial::FIRST, None, 0o755, empty.0, empty.1).unwrap();
    let domain = HostName::new("example.com").unwrap();
    BundleStatement::of(&manifest, BundleId([3; 32]), 60, domain)
}

#[test]
fn a_signature_is_of_one_key_and_one_statement() {
    let directory = tempfile::tempdir().unwrap();
    let publisher = |name: &str| {
        let made = new_publisher(directory.path(), &AudienceName::new(name).unwrap()).unwrap();
        Publisher::load(&made.private).unwrap()
    };
    let (one, other) = (publisher("one"), publisher("other"));
    let mut seal = Seal::unsigned(statement());
    assert_eq!(good_signatures(&seal), []);
    seal.add(one.sign(&seal.statement)).unwrap();
    seal.add(other.sign(&seal.statement)).unwrap();
    let mut both = [one.key(), other.key()];
    both.sort();
    assert_eq!(good_signatures(&seal), both);
    // The same signature under another name, or of another statement, is nobody's.
    let signature = one.sign(&seal.statement).signature;
    let mut forged = Seal::unsigned(statement());
    forged.add(StatementSignature { key: other.key(), signature }).unwrap();
    forged.add(StatementSignature { key: PublisherKey([0; 32]), signature }).unwrap();
    forged.add(StatementSignature { key: PublisherKey([0xff; 32]), signature }).unwrap();
    assert_eq!(good_signatures(&forged), []);
    let change: [fn(&mut BundleStatement); 4] = [
        |it| it.domain = HostName::new("example.org").unwrap(),
        |it| it.name = BundleName::new("other").unwrap(),
        |it| it.serial = BundleSerial::new(2).unwrap(),
        |it| it.id = BundleId([4; 32]),
    ];
    for change in change {
        let mut changed = seal.clone();
        change(&mut changed.statement);
        assert_eq!(good_signatures(&changed), []);
    }
}
