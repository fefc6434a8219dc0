//! Bundles that the conductor knows.

use orchestra_certs::good_signatures;
use orchestra_flow::Submission;
use orchestra_model::{
    AudienceName, BundleName, HostName, HostSet,
    advice::{Advice, Remedy},
    audit::Verb,
    bundle::{BundleId, BundleReference, BundleSerial, RegisteredBundle, Registration, Seal},
    relay::FetchStatus,
    score::BuiltIn,
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
        let allowed = self.check_verb(&by, Verb::BundleRegister, what, None)?;
        let good = good_signatures(&seal);
        if let Some(bad) = seal.signatures().iter().find(|one| !good.contains(&one.key)) {
            let said = &seal.statement;
            let what =
                format!("{}@{}: the signature of {} is not good", said.name, said.serial, bad.key);
            return Err(Declined::new(Ground::Invalid, what));
        }
        let domain = self.facts.domain.clone();
        let wanted = WantedBundle { seal, source, domain };
        let asked = Asked::by(&by, Verb::BundleRegister).under(&allowed);
        self.ask(|reply| Request::RegisterBundle(asked, Box::new(wanted), reply)).await
    }

    /// Checks that every bundle that a submission is about is registered: an order for it says what its
    /// publishers say, and without that every host would refuse it.
    pub(crate) async fn check_bundles(&self, submission: &Submission) -> Result<(), Declined> {
        let mut wanted = Vec::new();
        for (slot, jobs) in (1..).zip(&submission.spec.slots) {
            for (number, job) in (1..).zip(&jobs.jobs) {
                if BuiltIn::of(&job.score).is_none() {
                    continue;
                }
                let params = submission.params.get(&(slot, number));
                let bundle = params.and_then(|params| params.get(BuiltIn::BUNDLE));
                let invalid = || {
                    let what = format!("job {}: {} needs bundle=NAME@SERIAL", job.name, job.score);
                    Declined::new(Ground::Invalid, what)
                };
                match bundle.map(str::parse) {
                    Some(Ok(BundleReference::Numbered(name, serial))) => {
                        wanted.push((job.name.clone(), name, serial));
                    }
                    _ => return Err(invalid()),
                }
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let known = self.ask(Request::Bundles).await?;
        let is_known = |name: &BundleName, serial: BundleSerial| {
            let mut said = known.iter().map(|bundle| &bundle.seal.statement);
            said.any(|said| said.name == *name && said.serial == serial)
        };
        match wanted.iter().find(|(_, name, serial)| !is_known(name, *serial)) {
            None => Ok(()),
            Some((job, name, serial)) => {
                let what = format!("job {job}: the bundle {name}@{serial} is not registered; ");
                let register = Remedy::RegisterBundle(name.clone(), *serial);
                let told =
                    Advice::from(what).name(register).say(" does that where it was published");
                Err(Declined::new(Ground::Prevented, told))
            }
        }
    }

    /// Lists bundles, or those of one name.
    /// Lists how far bundles are that players fetch.
    pub(crate) async fn list_fetches(
        &self,
        hosts: HostSet,
        only: Option<BundleId>,
        to: &impl Recipient<Vec<FetchStatus>>,
    ) -> Result<(), Stopped> {
        for hosts in hosts.as_slice().chunks(PAGE) {
            to.give(self.fetches.told(hosts, only)).await?;
        }
        Ok(())
    }

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
