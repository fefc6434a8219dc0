//! The ledger.

pub(crate) mod show;
