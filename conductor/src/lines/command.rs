//! Encoded commands for a player's sitter, which the agent only carries.

use bytes::Bytes;
use orchestra_model::delivery::{StoreId, Term};
use orchestra_proto::v1::{self, command::Kind};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

/// What every command carries: store and term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// The store's id.
    pub(crate) store: StoreId,
    /// The store's term.
    pub(crate) term: Term,
}

impl Header {
    /// The encoded command.
    pub(super) fn command(self, kind: Kind) -> Bytes {
        let store_id = Bytes::copy_from_slice(&self.store.0);
        v1::Command { store_id, term: self.term.0, kind: Some(kind) }.encode_to_vec().into()
    }
}

/// The large part of a job's orders: encoded once, shared by all sessions of a term.
#[derive(Debug)]
pub(crate) struct EncodedJob {
    /// SHA-256 of the encoded `JobBody`: what orders refer to.
    pub(crate) digest: Bytes,
    /// The encoded command that carries it.
    pub(super) command: Bytes,
}

impl EncodedJob {
    /// Encodes a job part.
    pub(crate) fn new(header: Header, body: &v1::JobBody) -> Self {
        let body = body.encode_to_vec();
        let digest = Bytes::from(Sha256::digest(&body).to_vec());
        let part =
            v1::JobPart { digest: digest.clone(), body: body.into(), signature: Bytes::new() };
        Self { digest, command: header.command(Kind::Job(part)) }
    }
}
