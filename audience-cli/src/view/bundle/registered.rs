//! Bundles that the conductor knows, and where they are.

use std::{fmt, io};

use orchestra_model::{
    ByteSize, HostName, HostSet, Millis, bundle::RegisteredBundle, names::PlaceName,
    relay::FetchStatus,
};
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
    /// Hosts that fetch it.
    pub(crate) fetches: Vec<FetchStatus>,
}

/// A place that has a bundle, on hosts that have it alike.
pub(crate) struct Located {
    pub(crate) place: PlaceName,
    pub(crate) hosts: HostSet,
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
            fetches: self.fetches.iter().map(OfFetch::new).collect(),
        }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let said = &self.bundle.seal.statement;
        writeln!(out, "bundle    {}@{} {}", said.name, said.serial, said.id)?;
        let (by, at) = (&self.bundle.by, when(self.bundle.registered_at));
        writeln!(out, "known     since {at}, by {by}")?;
        writeln!(out, "copies    {}", sources(&self.bundle))?;
        for Located { place, hosts, active } in &self.located {
            let word = if *active { "active" } else { "kept" };
            writeln!(out, "{word:<9} {place} on {}", hosts.counted())?;
        }
        for told in &self.fetches {
            writeln!(out, "arriving  {}", Arriving(told))?;
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
    fetches: Vec<OfFetch>,
}

/// How far a host is, for people.
struct Arriving<'a>(&'a FetchStatus);

impl fmt::Display for Arriving<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FetchStatus { host, here, content, rate, source, left, .. } = self.0;
        write!(f, "{host} {} of {}", here.rounded(), content.rounded())?;
        match source {
            Some(source) => write!(f, " from {source}, {}/s", ByteSize(*rate).rounded())?,
            None if left.is_empty() => write!(f, ", nobody serves it yet")?,
            None => write!(f, ", nobody serves it: {}", one_line(left))?,
        }
        match self.0.time_left() {
            Some(left) => write!(f, ", {} left", Millis(left.0.div_ceil(1_000) * 1_000)),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct OfFetch {
    host: String,
    flow: u64,
    here_bytes: u64,
    content_bytes: u64,
    bytes_per_second: u64,
    source: Option<String>,
    left: Option<String>,
    told_at: String,
}

impl OfFetch {
    fn new(told: &FetchStatus) -> Self {
        Self {
            host: told.host.to_string(),
            flow: told.flow.0,
            here_bytes: told.here.0,
            content_bytes: told.content.0,
            bytes_per_second: told.rate,
            source: told.source.as_ref().map(ToString::to_string),
            left: Some(told.left.clone()).filter(|why| !why.is_empty()),
            told_at: when(told.at),
        }
    }
}

#[derive(Serialize)]
struct OfLocated {
    place: String,
    hosts: String,
    count: usize,
    active: bool,
}

impl OfLocated {
    fn new(located: &Located) -> Self {
        let Located { place, hosts, active } = located;
        Self {
            place: place.to_string(),
            hosts: hosts.to_string(),
            count: hosts.len(),
            active: *active,
        }
    }
}
