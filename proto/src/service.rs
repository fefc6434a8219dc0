//! Services and their units.

mod absence;
mod health;
mod lease;
mod logs;
mod obstacle;
mod place;
mod plan;
mod process;
mod spec;
mod status;
mod unit;
mod zones;

pub use logs::{log_part_from_wire, log_part_to_wire, stream_from_wire, stream_to_wire};
pub use spec::{decode_service, encode_service};
pub(crate) use unit::{unit_job_from_wire, unit_job_to_wire, unit_order_to_wire};
