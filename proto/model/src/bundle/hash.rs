//! Hashes and public keys, as people and programs spell them: a tag that names the algorithm, and 64
//! hexadecimal digits.

use std::{fmt, str::FromStr};

/// What every SHA-256 hash begins with, so that another algorithm can be told apart one day.
pub const HASH_TAG: &str = "sha256-";

/// What every Ed25519 key begins with.
const KEY_TAG: &str = "ed25519-";

/// Why a text is not a hash or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: expected {tag} and 64 hexadecimal digits")]
pub struct InvalidHash {
    what: &'static str,
    tag: &'static str,
    /// The text, shortened for showing.
    text: String,
}

/// Makes a type of 32 bytes that is spelled with a tag.
macro_rules! tagged_bytes {
    ($(#[$doc:meta])* $name:ident, $what:literal, $tag:path) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($tag)?;
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidHash;

            fn from_str(text: &str) -> Result<Self, InvalidHash> {
                text.strip_prefix($tag).and_then(bytes_of_hex).map(Self).ok_or_else(|| {
                    InvalidHash { what: $what, tag: $tag, text: text.chars().take(80).collect() }
                })
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

tagged_bytes!(
    /// The id of a bundle: the SHA-256 hash of its encoded manifest.
    BundleId, "bundle's id", HASH_TAG
);
tagged_bytes!(
    /// The SHA-256 hash of a file's data, or of a chunk.
    ContentHash, "hash", HASH_TAG
);
tagged_bytes!(
    /// The public key of a publisher, for Ed25519.
    PublisherKey, "publisher's key", KEY_TAG
);

/// Digits in lower case alone, so that a value has one spelling.
fn bytes_of_hex(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_is_written() {
        let id = BundleId(std::array::from_fn(|n| n as u8 * 7));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "sha256-", "ed25519-00", &id.to_string()[1..], &format!("{id}0")] {
            assert!(wrong.parse::<BundleId>().is_err(), "{wrong}");
        }
        assert!(id.to_string().to_uppercase().replace("SHA", "sha").parse::<BundleId>().is_err());
        let error = "sha256-12".parse::<PublisherKey>().unwrap_err().to_string();
        assert!(error.contains("expected ed25519- and 64 hexadecimal digits"), "{error}");
    }
}
