//! The certificate authority of a fleet: one key, one domain, certificates that say who is who.
//!
//! Invariants:
//!
//! - Every certificate carries one identity of the CA's domain as its first alternative name, and
//!   its own random serial number. There is no list of what was issued, but for the files that
//!   were not taken away: a certificate is proof of itself, and a revocation names its serial.
//! - A private key is in a file of mode 0600 in a directory of mode 0700 from its first byte on,
//!   and files appear whole or not at all.
//! - Nothing is overwritten unless asked.
//!
//! Publishers' keys are made here as well, for the same people make them, and no CA vouches for them.
//!
//! The CA is no service. It lives where an administrator keeps it, and only `ca.pem` travels.
//! Left to others: distributing files.

mod ca;
mod error;
mod name;
mod place;
mod publisher;
mod revoke;
mod stock;

pub use ca::{Ca, Issued, LEAF_DAYS, Terms};
pub use error::CaError;
pub use name::AltName;
pub use publisher::{NewPublisher, new_publisher};
pub use revoke::{LIST_DAYS, Revoked, Serial};
pub use stock::{HeldCertificate, Validity};
