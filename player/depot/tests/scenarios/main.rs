//! Stories of one fetch: whom it asks, and when it goes to another source.

#[cfg(test)]
mod disks;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod sources;
