//! The versions of a service.

use std::io;

use orchestra_client::AppliedVersion;
use orchestra_model::service::{ServiceStatus, ServiceVersion};
use serde::Serialize;

use super::Differences;
use crate::view::{Output, Page, Style, when, when_about};

/// Versions, oldest first.
pub(crate) struct Versions<'a> {
    pub(crate) versions: &'a [AppliedVersion],
    /// The service, which knows the version that is wanted and the one that was ready.
    pub(crate) status: &'a ServiceStatus,
}

impl Output for Versions<'_> {
    fn noun(&self) -> &'static str {
        "versions"
    }

    fn json(self) -> impl Serialize {
        self.each().collect::<Vec<_>>()
    }

    /// `7 2025-11-21T08:00:00Z alice wanted: on, update.parallel`.
    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        for (own, version) in self.versions.iter().zip(self.each()) {
            let mut text = format!("{:>5} {} {}", version.version, when_about(own.at), own.by);
            if version.wanted {
                text += ", wanted";
            }
            if version.stable {
                text += ", stable";
            }
            if version.reverted {
                text += &style.warning(", reverted").to_string();
            }
            match &version.changed[..] {
                [] => {}
                changed => text += &format!(": {}", changed.join(", ")),
            }
            writeln!(out, "{text}")?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        self.versions.is_empty().then(|| "no versions are kept".to_owned())
    }
}

impl Versions<'_> {
    fn each(&self) -> impl Iterator<Item = OfVersion> {
        let record = &self.status.record;
        let is_wanted = |version: ServiceVersion| version == record.version;
        let is_stable = |version: ServiceVersion| Some(version) == record.stable;
        self.versions.iter().enumerate().map(move |(nth, own)| {
            let before = nth.checked_sub(1).and_then(|nth| self.versions.get(nth));
            let changed =
                before.map(|before| Differences::new(before, own, std::iter::once(own)).names());
            OfVersion {
                version: own.version.0,
                by: own.by.to_string(),
                at: when(own.at),
                wanted: is_wanted(own.version),
                stable: is_stable(own.version),
                reverted: own.reverted,
                changed: changed.unwrap_or_default(),
            }
        })
    }
}

#[derive(Serialize)]
struct OfVersion {
    version: u64,
    by: String,
    at: String,
    wanted: bool,
    stable: bool,
    reverted: bool,
    /// The fields that differ from the version before, by their paths in a file.
    changed: Vec<String>,
}
