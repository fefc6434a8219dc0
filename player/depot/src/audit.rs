//! What holds over a whole fetch.

use orchestra_model::{
    bundle::BundlePart,
    journal::{Contradiction, require},
};

use crate::{
    bounds,
    fetch::{Fetch, Stage},
    manifest::ManifestStage,
};

impl Fetch {
    /// Checks every rule over the whole fetch. Tests call it after each step.
    pub fn audit(&self) -> Result<(), Contradiction> {
        self.audit_parts()?;
        self.audit_link()?;
        require(
            self.stage != Stage::Settling || (self.is_whole() && self.writing.is_empty()),
            || "it is put among the whole ones and is not whole".to_owned(),
        )?;
        require(self.sources.count() <= bounds::SOURCES, || "too many sources".to_owned())
    }

    fn audit_parts(&self) -> Result<(), Contradiction> {
        let open = self.asked.len() + self.writing.len();
        require(open <= bounds::WINDOW, || format!("{open} parts are open"))?;
        require(self.here.count() <= self.shape.chunks(), || "too many chunks".to_owned())?;
        for part in self.asked.iter().chain(self.writing.keys()) {
            require(self.shape.place_of(*part).is_some(), || format!("there is no {part:?}"))?;
            let is_here = match part {
                BundlePart::Chunk(number) => self.here.contains(*number),
                BundlePart::ManifestPiece(_) => self.manifest == ManifestStage::Here,
            };
            require(!is_here, || format!("{part:?} is here, and is to come"))?;
        }
        require(self.landed.is_subset(&self.asked), || "what came was not asked for".to_owned())?;
        let twice = self.asked.iter().find(|part| self.writing.contains_key(part));
        require(twice.is_none(), || format!("{twice:?} is asked for while it is being written"))?;
        let has_chunks = !self.here.is_empty();
        require(!has_chunks || self.manifest == ManifestStage::Here, || {
            "there are chunks without a manifest".to_owned()
        })
    }

    fn audit_link(&self) -> Result<(), Contradiction> {
        let Some(link) = &self.link else {
            return require(self.asked.is_empty(), || "nobody is asked for something".to_owned());
        };
        require(self.stage == Stage::Fetching, || "it ended, and has a link".to_owned())?;
        require(link.is_open || self.asked.is_empty(), || "asked before it answered".to_owned())?;
        require(self.sources.is_named(&link.source), || format!("{} is not named", link.source))?;
        require(!self.sources.is_faulty(&link.source), || format!("{} has lied", link.source))
    }
}
