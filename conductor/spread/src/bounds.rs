//! Bounds, each with its unit and its reason.

use orchestra_model::Millis;

/// How many others a host serves at once; as many as a relay does (`serve_children`).
pub const SERVED: u32 = 4;
/// Who was accused by so many others is named to nobody. One liar takes nobody out.
pub const ACCUSERS: usize = 3;
/// Most bundles that are remembered.
pub const BUNDLES: usize = 1_024;
/// How long a bundle is remembered after somebody fetched it: as long as players serve it (`serve_for`).
pub const KEPT: Millis = Millis::minutes(60);
/// Most hosts above its parent that one is told: if a parent goes, the next one is asked at once.
pub const ANCESTORS: usize = 3;
/// Most registered copies that one is told.
pub const COPIES: usize = 2;
