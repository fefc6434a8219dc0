//! Bundles that the conductor knows.

use orchestra_model::{
    BundleName, HostName,
    bundle::{RegisteredBundle, Seal},
};
use orchestra_proto::v1;

use crate::{
    Client, Pages,
    client::{answered, invalid},
    failure::Failure,
};

impl Client {
    /// Registers a bundle, or further signatures or a further copy of one that is known. Returns it as
    /// it is registered then, and whether nothing of that was news.
    pub async fn register_bundle(
        &mut self,
        seal: &Seal,
        source: Option<&HostName>,
    ) -> Result<(RegisteredBundle, bool), Failure> {
        let said = &seal.statement;
        let what = format!("registering {}@{}", said.name, said.serial);
        let source = source.map(ToString::to_string).unwrap_or_default();
        let request = v1::RegisterBundleRequest { seal: seal.encode().into(), source };
        let answer = answered(&what, self.rpc.register_bundle(request)).await?;
        let bundle = answer.bundle.unwrap_or_default();
        let bundle = (&bundle).try_into().map_err(|error| invalid(&what, error))?;
        Ok((bundle, answer.unchanged))
    }

    /// Lists the bundles that are registered, or those of one name, by name and serial.
    pub async fn bundles(
        &mut self,
        name: Option<&BundleName>,
    ) -> Result<Vec<RegisteredBundle>, Failure> {
        let what = "listing bundles".to_owned();
        let name = name.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListBundlesRequest { name };
        let stream = answered(&what, self.rpc.list_bundles(request)).await?;
        let mut pages = Pages::new(stream, what);
        let mut bundles = Vec::new();
        while let Some(bundle) = pages.next_item().await? {
            bundles.push(bundle);
        }
        Ok(bundles)
    }
}
