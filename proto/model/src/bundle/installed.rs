//! A place on a host.

use std::path::PathBuf;

use super::BundlePlace;

/// A place for bundles on a host, as its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledPlace {
    /// Which bundles it takes, and what may be in them.
    pub takes: BundlePlace,
    /// The directory that it is, absolute. Everything of it lies in there.
    pub path: PathBuf,
    /// To whom what is unpacked belongs; `None`: to the user as whom tasks run.
    pub owner: Option<String>,
    /// How many releases are kept beside the active one:
    /// 1 to [`limits::PLACE_RELEASES`](crate::limits::PLACE_RELEASES).
    pub keep: u32,
    /// Whether a release with a lower serial than the active one may be activated.
    pub rollback: bool,
}
