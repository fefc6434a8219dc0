//! Bundles: what is in them, who has signed them, what is wrong or different.

mod checked;
mod listed;
mod registered;
mod shown;

use std::{io, path::PathBuf};

use orchestra_bundle::{Collection, Published, StoredBundle};
use orchestra_model::bundle::{BundleDiff, BundleStatement, Seal};
use serde::Serialize;

pub(crate) use checked::{Checked, Judged, problems};
pub(crate) use listed::List;
pub(crate) use registered::{Located, Registered, RegisteredList, Whereabouts};
pub(crate) use shown::Shown;

use super::{Output, Page, Style, when};

/// A bundle in JSON: what is said of it, and by whom.
#[derive(Serialize)]
struct OfBundle {
    name: String,
    serial: u64,
    id: String,
    domain: String,
    expires: Option<String>,
    entries: u64,
    size: u64,
    content_bytes: u64,
    manifest_bytes: u64,
    /// Whose signatures are there; whether they are good, `verify` tells.
    signed_by: Vec<String>,
}

impl OfBundle {
    fn new(seal: &Seal) -> Self {
        let BundleStatement { domain, name, serial, expires, id, .. } = &seal.statement;
        let BundleStatement { entries, size, content_bytes, manifest_bytes, .. } = seal.statement;
        Self {
            name: name.to_string(),
            serial: serial.get(),
            id: id.to_string(),
            domain: domain.to_string(),
            expires: expires.map(when),
            entries,
            size,
            content_bytes,
            manifest_bytes,
            signed_by: seal.signatures().iter().map(|one| one.key.to_string()).collect(),
        }
    }
}

/// How a person names a bundle: `NAME@SERIAL ID`.
fn named(bundle: &StoredBundle) -> String {
    format!("{}@{} {}", bundle.name(), bundle.serial(), bundle.id)
}

/// A bundle that was published.
pub(crate) struct Told(pub(crate) Published);

impl Output for Told {
    fn noun(&self) -> &'static str {
        "published"
    }

    fn json(self) -> impl Serialize {
        let Published { bundle, was_there, left_out } = self.0;
        OfPublished {
            bundle: OfBundle::new(&bundle.seal),
            was_there,
            excluded: left_out.excluded,
            idle_patterns: left_out.idle_patterns,
            xattrs_left_out: left_out.xattrs.into_iter().collect(),
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", named(&self.0.bundle))
    }

    fn remark(&self) -> Option<String> {
        let Published { bundle, was_there, left_out } = &self.0;
        let mut said = Vec::new();
        if *was_there {
            said.push("it was in the depot already".to_owned());
        }
        if left_out.excluded > 0 {
            said.push(format!("{} entries were left out", left_out.excluded));
        }
        for pattern in &left_out.idle_patterns {
            said.push(format!("nothing fits --exclude {pattern}"));
        }
        for name in &left_out.xattrs {
            said.push(format!("extended attributes {name} were left out"));
        }
        if bundle.seal.signatures().is_empty() {
            said.push("nobody has signed it; orc bundle sign does".to_owned());
        }
        (!said.is_empty()).then(|| said.join("\n"))
    }
}

#[derive(Serialize)]
struct OfPublished {
    bundle: OfBundle,
    was_there: bool,
    excluded: usize,
    idle_patterns: Vec<String>,
    xattrs_left_out: Vec<String>,
}

/// A bundle that was signed.
pub(crate) struct Signed(pub(crate) StoredBundle);

impl Output for Signed {
    fn noun(&self) -> &'static str {
        "signed"
    }

    fn json(self) -> impl Serialize {
        OfBundle::new(&self.0.seal)
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", named(&self.0))?;
        let keys = self.0.seal.signatures().iter().map(|one| one.key);
        keys.into_iter().try_for_each(|key| writeln!(out, "signed by {key}"))
    }
}

/// Whether a bundle stays in its depot, after that was changed.
pub(crate) struct Pinned {
    pub(crate) bundle: StoredBundle,
    /// Whether it was otherwise before.
    pub(crate) is_new: bool,
}

impl Output for Pinned {
    fn noun(&self) -> &'static str {
        "pin"
    }

    fn json(self) -> impl Serialize {
        OfPin {
            bundle: OfBundle::new(&self.bundle.seal),
            pinned: self.bundle.is_pinned(),
            changed: self.is_new,
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", named(&self.bundle))
    }

    fn remark(&self) -> Option<String> {
        (!self.is_new).then(|| "it was so already".to_owned())
    }
}

#[derive(Serialize)]
struct OfPin {
    bundle: OfBundle,
    pinned: bool,
    changed: bool,
}

/// A bundle that is a directory again.
pub(crate) struct Unpacked {
    pub(crate) bundle: StoredBundle,
    pub(crate) directory: PathBuf,
    /// Whether somebody's signature was asked for.
    pub(crate) is_judged: bool,
}

impl Output for Unpacked {
    fn noun(&self) -> &'static str {
        "unpacked"
    }

    fn json(self) -> impl Serialize {
        let directory = self.directory.display().to_string();
        OfUnpacked { bundle: OfBundle::new(&self.bundle.seal), directory }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", named(&self.bundle))
    }

    fn remark(&self) -> Option<String> {
        let whose = "nobody was asked who published it; --publisher KEY does";
        (!self.is_judged).then(|| whose.to_owned())
    }
}

#[derive(Serialize)]
struct OfUnpacked {
    bundle: OfBundle,
    directory: String,
}

/// What is different between two bundles.
pub(crate) struct Difference(pub(crate) BundleDiff);

impl Output for Difference {
    fn noun(&self) -> &'static str {
        "bundle_diff"
    }

    fn json(self) -> impl Serialize {
        let BundleDiff { changes, alike, new_bytes } = self.0;
        let of = |change: orchestra_model::bundle::EntryChange| OfChange {
            path: change.path.to_string(),
            change: change.change.as_str(),
        };
        OfDifference { changes: changes.into_iter().map(of).collect(), alike, new_bytes }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        for change in &self.0.changes {
            writeln!(out, "{:<10} {}", change.change.as_str(), change.path)?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        let BundleDiff { changes, alike, new_bytes } = &self.0;
        let bytes = orchestra_model::ByteSize(*new_bytes).rounded();
        Some(format!(
            "{} entries are different and {alike} alike; {bytes} are in files that the earlier one \
             does not have",
            changes.len()
        ))
    }
}

#[derive(Serialize)]
struct OfDifference {
    changes: Vec<OfChange>,
    alike: usize,
    new_bytes: u64,
}

#[derive(Serialize)]
struct OfChange {
    path: String,
    change: &'static str,
}

/// What was removed from a depot, or would be.
pub(crate) struct Collected {
    pub(crate) collection: Collection,
    pub(crate) is_plan: bool,
}

impl Output for Collected {
    fn noun(&self) -> &'static str {
        "collected"
    }

    fn json(self) -> impl Serialize {
        let Collection { removed, kept, pinned, leftovers } = self.collection;
        let removed = removed.iter().map(|bundle| OfBundle::new(&bundle.seal)).collect();
        OfCollection { plan: self.is_plan, removed, kept, pinned, leftovers }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let mut removed = self.collection.removed.iter();
        removed.try_for_each(|bundle| writeln!(out, "{}", named(bundle)))
    }

    fn remark(&self) -> Option<String> {
        let Collection { removed, kept, pinned, leftovers } = &self.collection;
        let verb = if self.is_plan { "would be removed" } else { "were removed" };
        let pinned = if *pinned > 0 { format!(", {pinned} of them pinned") } else { String::new() };
        let removed = removed.len();
        Some(format!(
            "{removed} bundles and {leftovers} unfinished ones {verb}; {kept} stay{pinned}"
        ))
    }
}

#[derive(Serialize)]
struct OfCollection {
    plan: bool,
    removed: Vec<OfBundle>,
    kept: usize,
    pinned: usize,
    leftovers: usize,
}
