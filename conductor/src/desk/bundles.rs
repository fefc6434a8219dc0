//! Bundles that the conductor knows.

use orchestra_certs::good_signatures;
use orchestra_model::{
    AudienceName, BundleName, HostName,
    audit::Verb,
    bundle::{RegisteredBundle, Registration, Seal},
};
use orchestra_policy::What;

use super::{Desk, Recipient, Stopped};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request, WantedBundle},
};

/// How many bundles are told at once.
const PAGE: usize = 256;

impl Desk {
    /// Registers a bundle: what publishers say of it, and a host that has a copy. A seal with a
    /// signature that is not good is refused whole: no host would count that one, and whoever sends it
    /// has something else than was published.
    pub(crate) async fn register_bundle(
        &self,
        seal: Seal,
        source: Option<HostName>,
        by: AudienceName,
    ) -> Result<Registration, Declined> {
        let what = What::Bundle(seal.statement.name.as_str());
        self.check_verb(&by, Verb::BundleRegister, what, None)?;
        let good = good_signatures(&seal);
        if let Some(bad) = seal.signatures().iter().find(|one| !good.contains(&one.key)) {
            let said = &seal.statement;
            let what =
                format!("{}@{}: the signature of {} is not good", said.name, said.serial, bad.key);
            return Err(Declined::new(Ground::Invalid, what));
        }
        let domain = self.facts.domain.clone();
        let wanted = WantedBundle { seal, source, domain };
        let asked = Asked::by(&by, Verb::BundleRegister);
        self.ask(|reply| Request::RegisterBundle(asked, Box::new(wanted), reply)).await
    }

    /// Lists bundles, or those of one name.
    pub(crate) async fn list_bundles(
        &self,
        only: Option<BundleName>,
        by: &AudienceName,
        to: &impl Recipient<Vec<RegisteredBundle>>,
    ) -> Result<(), Stopped> {
        // They are told with the hosts that have copies.
        self.check_sees_all(by)?;
        let mut bundles = self.ask(Request::Bundles).await?;
        bundles.retain(|it| only.as_ref().is_none_or(|name| *name == it.seal.statement.name));
        for page in bundles.chunks(PAGE) {
            to.give(page.to_vec()).await?;
        }
        Ok(())
    }
}
