//! Manifests: what is refused, entry by entry; and that bytes and manifests are the same thing. And what is
//! said of bundles: seals, places, journals of those that arrive.

#[cfg(test)]
mod arrivals;
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
