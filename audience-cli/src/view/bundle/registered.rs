//! Bundles that the conductor knows, and where they are.

use std::io;

use orchestra_model::{HostName, bundle::RegisteredBundle, names::PlaceName};
use serde::Serialize;

use super::OfBundle;
use crate::view::{Output, Page, Style, one_line, when};

/// A bundle that was registered.
pub(crate) struct Registered {
    pub(crate) bundle: RegisteredBundle,
    /// Whether nothing was said that was not known.
    pub(crate) unchanged: bool,
}

/// Every bundle that is registered.
pub(crate) struct RegisteredList(pub(crate) Vec<RegisteredBundle>);

/// Where a bundle is.
pub(crate) struct Whereabouts {
    pub(crate) bundle: RegisteredBundle,
    pub(crate) located: Vec<Located>,
}

/// A place that has a bundle, on hosts that have it alike.
pub(crate) struct Located {
    pub(crate) place: PlaceName,
    /// Folded.
    pub(crate) hosts: String,
    pub(crate) count: u32,
    /// Whether the place is switched to it.
    pub(crate) active: bool,
}

impl Output for Registered {
    fn noun(&self) -> &'static str {
        "registered"
    }

    fn json(self) -> impl Serialize {
        OfRegistered::new(&self.bundle)
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let said = &self.bundle.seal.statement;
        writeln!(out, "{}@{} {}", said.name, said.serial, said.id)
    }

    fn remark(&self) -> Option<String> {
        self.unchanged.then(|| "it was registered already".to_owned())
    }
}

impl Output for RegisteredList {
    fn noun(&self) -> &'static str {
        "registered_bundles"
    }

    fn json(self) -> impl Serialize {
        self.0.iter().map(OfRegistered::new).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        for bundle in &self.0 {
            let said = &bundle.seal.statement;
            let (signed, sources) = (bundle.seal.signatures().len(), sources(bundle));
            let (name, serial, id) = (&said.name, said.serial, said.id);
            writeln!(out, "{name}@{serial} {id}: signed by {signed}, copies at {sources}")?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        self.0.is_empty().then(|| "no bundle is registered".to_owned())
    }
}

impl Output for Whereabouts {
    fn noun(&self) -> &'static str {
        "whereabouts"
    }

    fn json(self) -> impl Serialize {
        OfWhereabouts {
            bundle: OfRegistered::new(&self.bundle),
            places: self.located.iter().map(OfLocated::new).collect(),
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let said = &self.bundle.seal.statement;
        writeln!(out, "bundle    {}@{} {}", said.name, said.serial, said.id)?;
        let (by, at) = (&self.bundle.by, when(self.bundle.registered_at));
        writeln!(out, "known     since {at}, by {by}")?;
        writeln!(out, "copies    {}", sources(&self.bundle))?;
        for Located { place, hosts, count, active } in &self.located {
            let word = if *active { "active" } else { "kept" };
            writeln!(out, "{word:<9} {place} on {} ({count})", one_line(hosts))?;
        }
        Ok(())
    }
}

fn sources(bundle: &RegisteredBundle) -> String {
    let hosts: Vec<&str> = bundle.sources.iter().map(HostName::as_str).collect();
    if hosts.is_empty() { "no host".to_owned() } else { hosts.join(", ") }
}

/// For programs.
#[derive(Serialize)]
struct OfRegistered {
    bundle: OfBundle,
    sources: Vec<String>,
    by: String,
    registered_at: String,
}

impl OfRegistered {
    fn new(bundle: &RegisteredBundle) -> Self {
        Self {
            bundle: OfBundle::new(&bundle.seal),
            sources: bundle.sources.iter().map(ToString::to_string).collect(),
            by: bundle.by.to_string(),
            registered_at: when(bundle.registered_at),
        }
    }
}

#[derive(Serialize)]
struct OfWhereabouts {
    bundle: OfRegistered,
    places: Vec<OfLocated>,
}

#[derive(Serialize)]
struct OfLocated {
    place: String,
    hosts: String,
    count: u32,
    active: bool,
}

impl OfLocated {
    fn new(located: &Located) -> Self {
        let Located { place, hosts, count, active } = located;
        Self { place: place.to_string(), hosts: hosts.clone(), count: *count, active: *active }
    }
}
