//! Publishers: who says which bundles there are. A publisher is a key and nothing else; a place on a
//! host names the keys that it believes.

use std::{fmt, path::Path};

use orchestra_model::bundle::{
    BundleStatement, PublisherKey, Seal, SignatureBytes, StatementSignature,
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::PrivateKeyDer;

use crate::files::{LoadError, read_private_key};

/// Signs statements with the private key of one publisher.
pub struct Publisher(Ed25519KeyPair);

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.key()).finish()
    }
}

impl Publisher {
    /// Reads the private key of a publisher: an Ed25519 key in PKCS#8 form, of which nobody but us or
    /// root can have read the file.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let wrong = || LoadError::NoPublisher(path.into());
        let PrivateKeyDer::Pkcs8(der) = read_private_key(path)? else { return Err(wrong()) };
        // OpenSSL writes the private half alone, and the other one follows from it.
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der());
        pair.map(Self).map_err(|_| wrong())
    }

    /// The public key, by which places know this publisher.
    pub fn key(&self) -> PublisherKey {
        let mut key = [0; 32];
        // Every public key of Ed25519 has 32 bytes.
        key.copy_from_slice(self.0.public_key().as_ref());
        PublisherKey(key)
    }

    /// Signs a statement.
    pub fn sign(&self, statement: &BundleStatement) -> StatementSignature {
        let signed = self.0.sign(&statement.to_be_signed());
        let mut signature: SignatureBytes = [0; 64];
        signature.copy_from_slice(signed.as_ref());
        StatementSignature { key: self.key(), signature }
    }
}

/// Returns the keys whose signatures on the statement are good, in order.
pub fn good_signatures(seal: &Seal) -> Vec<PublisherKey> {
    let message = seal.statement.to_be_signed();
    let is_good = |one: &&StatementSignature| {
        UnparsedPublicKey::new(&ED25519, one.key.0).verify(&message, &one.signature).is_ok()
    };
    seal.signatures().iter().filter(is_good).map(|one| one.key).collect()
}
