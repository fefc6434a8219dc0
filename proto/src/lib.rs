//! The wire of Orchestra: what `orchestra/v1/*.proto` say, generated, and conversions to the
//! model.
//!
//! Conversions into the model are where foreign bytes become valid values: they are total, bounded,
//! and fail with [`Invalid`], which names the message and the field.

#![expect(clippy::allow_attributes, reason = "generated code brings its own")]

/// Generated from `orchestra/v1/*.proto`, whose comments are the protocol's documentation.
#[allow(
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod v1 {
    tonic::include_proto!("orchestra.v1");
}

mod audience;
mod codec;
mod delivery;
mod failures;
mod fetching;
mod flow;
mod flow_filter;
mod invalid;
mod last_line;
mod ledger;
mod place;
mod reason;
mod register;
mod remedy;
mod service;
mod shared_output;
#[cfg(test)]
mod tests;
mod tree;
mod vitals;
mod wire;

pub use audience::Watched;
pub use delivery::{
    RawSnapshot, ReadOrder, decode_end, encode_end, known_end, mac_from_wire, mac_to_wire,
    order_from_wire, order_to_wire, scores_from_wire, snapshot_from_wire, snapshot_to_wire,
    store_id, summarize_end,
};
pub use fetching::bundle_from_wire;
pub use flow::{params_from_wire, params_to_wire};
pub use invalid::Invalid;
pub use last_line::last_error_line;
pub use ledger::Planned;
pub use reason::Reason;
pub use remedy::spelt;
pub use service::{
    decode_service, encode_service, log_part_from_wire, log_part_to_wire, stream_from_wire,
    stream_to_wire,
};
pub use shared_output::{
    EndInParts, HeardOutputs, LEAST_SHARED_BYTES, SHARED_BYTES, SHARED_OUTPUTS,
};
pub use vitals::{batch_from_wire, batch_to_wire};
pub use wire::{check_fields, check_flow_spec};

/// The protocol that this program speaks; it serves this one alone, being the first.
pub const PROTOCOL: u32 = 1;

/// The encoded `FileDescriptorSet` of the protocol, for tests that enumerate it.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
