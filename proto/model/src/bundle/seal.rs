//! What publishers say of a bundle, and sign.
//!
//! A statement is short, so that whoever has the rights of root decides by it alone and parses nothing
//! else. It names the fleet's domain: what was published for one fleet is nothing in another.

use super::{BundleId, BundleSerial, Manifest, PublisherKey};
use crate::{
    journal::{ByteReader, push_bytes},
    limits,
    names::{BundleName, HostName},
    time::Timestamp,
};

/// What is signed begins so. No other signature of a publisher's key means the same.
const CONTEXT: &[u8] = b"orchestra bundle statement 1\0";

const MAGIC: [u8; 7] = *b"ORCSEAL";
const FORMAT: u8 = 1;

/// What a publisher says of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleStatement {
    /// The domain of the fleet that it is for.
    pub domain: HostName,
    pub name: BundleName,
    pub serial: BundleSerial,
    /// From when on nobody is to take it any more.
    pub expires: Option<Timestamp>,
    pub id: BundleId,
    /// How long the encoded manifest is, in bytes.
    pub manifest_bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// How much data all files have, without holes, in bytes.
    pub content_bytes: u64,
    /// How large all files are, with holes, in bytes.
    pub size: u64,
}

impl BundleStatement {
    /// What is to be said of a manifest whose hash is `id`.
    pub fn of(manifest: &Manifest, id: BundleId, manifest_bytes: u64, domain: HostName) -> Self {
        Self {
            domain,
            name: manifest.name().clone(),
            serial: manifest.serial(),
            expires: manifest.expires(),
            id,
            manifest_bytes,
            entries: manifest.entries().len() as u64,
            content_bytes: manifest.content_bytes(),
            size: manifest.size(),
        }
    }

    /// Whether this is what is to be said of a manifest that is `manifest_bytes` long.
    pub fn is_of(&self, manifest: &Manifest, manifest_bytes: u64) -> bool {
        *self == Self::of(manifest, self.id, manifest_bytes, self.domain.clone())
    }

    /// The bytes that a publisher signs.
    pub fn to_be_signed(&self) -> Vec<u8> {
        [CONTEXT, &self.encode()].concat()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        push_bytes(&mut out, self.domain.as_str().as_bytes());
        push_bytes(&mut out, self.name.as_str().as_bytes());
        out.extend(self.serial.get().to_le_bytes());
        out.extend(self.expires.map_or(0, |at| at.0).to_le_bytes());
        out.extend(self.id.0);
        for number in [self.manifest_bytes, self.entries, self.content_bytes, self.size] {
            out.extend(number.to_le_bytes());
        }
        debug_assert!(out.len() <= limits::BUNDLE_STATEMENT_BYTES);
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        let domain = HostName::new(reader.text(limits::HOST_NAME_BYTES)?).ok()?;
        let name = BundleName::new(reader.text(limits::NAME_BYTES)?).ok()?;
        let serial = BundleSerial::new(reader.u64()?).ok()?;
        let expires = reader.u64()?;
        let statement = Self {
            domain,
            name,
            serial,
            expires: (expires != 0).then_some(Timestamp(expires)),
            id: BundleId(reader.array()?),
            manifest_bytes: reader.u64()?,
            entries: reader.u64()?,
            content_bytes: reader.u64()?,
            size: reader.u64()?,
        };
        reader.is_empty().then_some(statement)
    }
}

/// The bytes of an Ed25519 signature.
pub type SignatureBytes = [u8; 64];

/// Who has signed a statement. Whether the signature is good is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementSignature {
    pub key: PublisherKey,
    pub signature: SignatureBytes,
}

/// A statement with its signatures, one of each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub statement: BundleStatement,
    signatures: Vec<StatementSignature>,
}

/// Why a signature is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {} signatures already, and no more are possible", limits::BUNDLE_SIGNATURES)]
pub struct TooManySignatures;

/// Why bytes are no seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSeal {
    #[error("it does not begin like the seal of a bundle")]
    NotASeal,
    #[error("it is of format {0}, which this program does not read")]
    Format(u8),
    #[error("its statement cannot be read")]
    Statement,
    #[error("its signatures cannot be read, or are not in the order of their keys")]
    Signatures,
}

impl Seal {
    /// Longest encoded seal, in bytes.
    pub const BYTES: usize = MAGIC.len()
        + 1
        + 4
        + limits::BUNDLE_STATEMENT_BYTES
        + 4
        + limits::BUNDLE_SIGNATURES * (32 + 64);

    /// A statement that nobody has signed yet.
    pub fn unsigned(statement: BundleStatement) -> Self {
        Self { statement, signatures: Vec::new() }
    }

    /// The signatures, in the order of their keys.
    pub fn signatures(&self) -> &[StatementSignature] {
        &self.signatures
    }

    /// Adds a signature, in the place of an earlier one of the same key.
    pub fn add(&mut self, signature: StatementSignature) -> Result<(), TooManySignatures> {
        self.signatures.retain(|other| other.key != signature.key);
        if self.signatures.len() >= limits::BUNDLE_SIGNATURES {
            return Err(TooManySignatures);
        }
        self.signatures.push(signature);
        self.signatures.sort_unstable();
        Ok(())
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.push(FORMAT);
        push_bytes(&mut out, &self.statement.encode());
        out.extend((self.signatures.len() as u32).to_le_bytes());
        for StatementSignature { key, signature } in &self.signatures {
            out.extend(key.0);
            out.extend(signature);
        }
        debug_assert!(out.len() <= Self::BYTES);
        out
    }

    /// Reads exactly what [`Seal::encode`] writes.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidSeal> {
        let mut reader = ByteReader::new(bytes);
        if reader.array() != Some(MAGIC) {
            return Err(InvalidSeal::NotASeal);
        }
        let format = reader.u8().ok_or(InvalidSeal::NotASeal)?;
        if format != FORMAT {
            return Err(InvalidSeal::Format(format));
        }
        let statement = reader.counted(limits::BUNDLE_STATEMENT_BYTES);
        let statement =
            statement.and_then(BundleStatement::decode).ok_or(InvalidSeal::Statement)?;
        let signatures = read_signatures(&mut reader).ok_or(InvalidSeal::Signatures)?;
        Ok(Self { statement, signatures })
    }
}

fn read_signatures(reader: &mut ByteReader<'_>) -> Option<Vec<StatementSignature>> {
    let count = reader.u32()? as usize;
    if count > limits::BUNDLE_SIGNATURES {
        return None;
    }
    let mut signatures = Vec::new();
    for _ in 0..count {
        let key = PublisherKey(reader.array()?);
        signatures.push(StatementSignature { key, signature: reader.array()? });
    }
    let in_order = signatures.windows(2).all(|pair| pair[0].key < pair[1].key);
    (in_order && reader.is_empty()).then_some(signatures)
}
