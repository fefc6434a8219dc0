//! Who is at the other end: identities from certificates, TLS configurations that accept nobody
//! else, the listener and the connection built on them, and the table of which role may call what.
//!
//! Invariants:
//!
//! - An [`Identity`] comes only from the one URI of a certificate whose chain was verified: not
//!   from a common name, a DNS name, SNI, or a message.
//! - Both ends prove who they are in the handshake, or there is no connection: TLS 1.3 only,
//!   client certificates required, no resumption, no tickets, no early data.
//! - A connection lasts only as long as a new one could be made with its certificate ([`Door`]).
//! - If a connection is refused, both ends tell a reason that a person can act on ([`Refused`]).
//!
//! Left to others: `orchestra-ca` makes certificates; the conductor asks [`roles::allows`] for each
//! call and applies policies beyond roles; the callers of [`channel`] try again.

mod accept;
mod acceptance;
mod config;
mod connect;
mod door;
mod files;
mod identity;
mod lasting;
mod lines;
mod mend;
mod outgoing;
mod publisher;
mod refused;
mod regular;
mod revocation;
pub mod roles;
mod sighting;
mod switch;
mod ticket;
mod turns;
pub mod x509;

pub use accept::{Incoming, Limits, Peer, TlsStream, incoming};
pub use acceptance::Acceptance;
pub use config::{Expected, acceptance, client_config};
pub use connect::{ConnectError, channel, channel_over, channel_to, connect};
pub use door::Door;
pub use files::{Credentials, LoadError, read_certificates, read_private_key};
pub use identity::{Identity, InvalidIdentity, Role, Subject};
pub use lines::Lines;
pub use orchestra_model::TlsFiles;
pub use outgoing::Outgoing;
pub use publisher::{Publisher, good_signatures};
pub use refused::{Refused, explain};
pub use regular::{open_regular, read_regular};
pub use revocation::{NewestLists, OlderList, RevocationList};
pub use sighting::{Claim, Sighting};
pub use ticket::{TicketJudge, TicketRefused, TicketSigner, Unsigned};
