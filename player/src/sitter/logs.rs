//! What units wrote, as it lies on the disk: files that launchers fill (`launcher/log.rs`), marks
//! that say which run wrote the bytes, and readings; and readings of what attempts write.

mod attempt;
pub(super) mod budget;
pub(super) mod marks;
mod on_disk;
mod reading;
mod rotation;
mod tail;

pub(super) use self::{
    attempt::AttemptReading,
    on_disk::LogDir,
    reading::{Reading, Step},
};
