//! Statements and seals, in bytes that have one form.

use orchestra_model::{
    HostName,
    bundle::{
        BundleId, BundleStatement, InvalidSeal, PublisherKey, Seal, StatementSignature,
        TooManySignatures,
    },
    limits,
};

use crate::built::{file, manifest};

fn statement() -> BundleStatement {
    let manifest = manifest(vec![file(1, "f", 10)]).unwrap();
    let domain = HostName::new("example.com").unwrap();
    BundleStatement::of(&manifest, BundleId([3; 32]), manifest.encode().len() as u64, domain)
}

fn signed_by(n: u8) -> StatementSignature {
    StatementSignature { key: PublisherKey([n; 32]), signature: [n; 64] }
}

#[test]
fn a_seal_is_read_as_it_is_written_and_in_no_other_form() {
    let mut seal = Seal::unsigned(statement());
    assert_eq!(Seal::decode(&seal.encode()), Ok(seal.clone()));
    for n in [9, 2, 5, 2] {
        seal.add(signed_by(n)).unwrap();
    }
    let keys: Vec<u8> = seal.signatures().iter().map(|one| one.key.0[0]).collect();
    assert_eq!(keys, [2, 5, 9]);
    let bytes = seal.encode();
    assert_eq!(Seal::decode(&bytes), Ok(seal));
    for len in 0..bytes.len() {
        assert!(Seal::decode(&bytes[..len]).is_err());
    }
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        if let Ok(read) = Seal::decode(&damaged) {
            assert_eq!(read.encode(), damaged);
        }
    }
    assert_eq!(Seal::decode(&[&bytes[..], &[0]].concat()), Err(InvalidSeal::Signatures));
}

#[test]
fn a_statement_says_which_domain_it_is_for() {
    let (one, mut other) = (statement(), statement());
    other.domain = HostName::new("example.org").unwrap();
    assert_ne!(one.to_be_signed(), other.to_be_signed());
    assert!(one.to_be_signed().starts_with(b"orchestra bundle statement 1\0"));
}

#[test]
fn so_many_sign_and_no_more() {
    let mut seal = Seal::unsigned(statement());
    for n in 0..limits::BUNDLE_SIGNATURES {
        seal.add(signed_by(n as u8)).unwrap();
    }
    assert_eq!(seal.add(signed_by(200)), Err(TooManySignatures));
    seal.add(signed_by(0)).unwrap();
    assert!(seal.encode().len() <= Seal::BYTES);
}
