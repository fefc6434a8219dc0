//! What units wrote, as it lies on the disk: files that launchers fill (`launcher/log.rs`), marks
//! that say which run wrote the bytes, and readings.

pub(super) mod budget;
pub(super) mod marks;
mod on_disk;
mod reading;
mod rotation;
mod tail;

pub(super) use self::{
    on_disk::LogDir,
    reading::{Reading, Step},
};
