//! Bundles on a disk, as who publishes meets them; and what is found when somebody changed them.

#[cfg(test)]
mod arriving;
#[cfg(test)]
mod depots;
#[cfg(test)]
mod links;
#[cfg(test)]
mod published;
#[cfg(test)]
mod refused;
#[cfg(test)]
mod tampered;
#[cfg(test)]
mod unpacked;
#[cfg(test)]
mod world;
