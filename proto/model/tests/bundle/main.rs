//! Manifests: what is refused, entry by entry; and that bytes and manifests are the same thing.

#[cfg(test)]
mod built;
#[cfg(test)]
mod places;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod seals;
#[cfg(test)]
mod wrong;
