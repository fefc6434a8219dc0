//! Bundles that the conductor knows. What one is allowed is for each host to say; here it is only
//! remembered what publishers said, and who has a copy.

use std::sync::Arc;

use orchestra_flow::PlayerIx;
use orchestra_model::{
    ByteSize, HostName, Params, ScoreName,
    audit::Object,
    bundle::{BundleId, BundleReference, RegisteredBundle, Registration, Seal},
    delivery::AttemptKey,
    record::{Op, Record},
    score::BuiltIn,
};

use super::{
    Driver,
    audit::Asked,
    held::{held, not_begun},
    mailbox::Told,
    outgoing::After,
};
use crate::{
    declined::{Declined, Ground},
    fetches::Fetchable,
};

/// A bundle that somebody wants to be known.
#[derive(Debug)]
pub(crate) struct WantedBundle {
    pub(crate) seal: Seal,
    /// The host whose depot has a copy.
    pub(crate) source: Option<HostName>,
    /// This fleet's.
    pub(crate) domain: HostName,
}

impl Driver {
    /// Registers a bundle. Answered once it is on disk, with who asked.
    pub(super) fn register_bundle(
        &mut self,
        asked: Asked,
        wanted: WantedBundle,
        reply: Told<Registration>,
    ) {
        if let Some(trouble) = self.outgoing.trouble() {
            // The asker may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        let WantedBundle { seal, source, domain } = wanted;
        let now = self.clock.now();
        let done = self.bundles.register(&seal, source, &domain, &asked.by, now);
        if let Ok(Registration { bundle, forgotten, unchanged: false }) = &done {
            self.outgoing.persist(Op::Put(Record::Bundle(Box::new(bundle.clone()))));
            if let Some(id) = forgotten {
                self.outgoing.persist(Op::ForgetBundle(*id));
            }
            self.record(asked, Object::Conductor, described(bundle));
        }
        let answer = done.map_err(|why| {
            let said = &seal.statement;
            let what = format!("registering {}@{}: {why}", said.name, said.serial);
            Declined::new(Ground::Prevented, what)
        });
        self.outgoing.hold(After::Tell(Box::new(move |fate| {
            // The asker may have gone.
            let _ = reply.send(match fate {
                Ok(()) => answer,
                Err(trouble) => Err(held(trouble)),
            });
        })));
    }

    /// Returns what publishers say of the bundle that a job is about, if its score is built in and the
    /// bundle is still registered.
    pub(super) fn seal_for(&self, score: &ScoreName, params: &Params) -> Option<Arc<Seal>> {
        BuiltIn::of(score)?;
        let bundle = params.get(BuiltIn::BUNDLE)?;
        let Ok(BundleReference::Numbered(name, serial)) = bundle.parse() else { return None };
        Some(Arc::new(self.bundles.get(&name, serial)?.seal.clone()))
    }

    /// Returns what is known of a bundle, if an attempt that is in flight on a player is to deliver it.
    pub(super) fn fetchable(
        &self,
        player: PlayerIx,
        attempt: AttemptKey,
        bundle: BundleId,
    ) -> Option<Fetchable> {
        let tasks = self.engine.tasks_of_flight(player, attempt)?;
        let part = self.engine.job_part(attempt.job)?;
        let seal = self.seal_for(&part.score, &part.params)?;
        let statement = &seal.statement;
        let is_it = BuiltIn::of(&part.score) == Some(BuiltIn::Deliver) && statement.id == bundle;
        let registered = self.bundles.get(&statement.name, statement.serial).filter(|_| is_it)?;
        Some(Fetchable {
            flow: attempt.job.flow,
            content: ByteSize(statement.content_bytes),
            tasks,
            copies: registered.sources.iter().cloned().collect(),
        })
    }

    /// Tells every bundle, by name and serial.
    pub(super) fn tell_bundles(&mut self, reply: Told<Vec<RegisteredBundle>>) {
        let bundles = self.bundles.iter().cloned().collect();
        self.tell_all(reply, bundles);
    }
}

/// What the record of who did what says of it.
fn described(bundle: &RegisteredBundle) -> String {
    let said = &bundle.seal.statement;
    let sources: Vec<&str> = bundle.sources.iter().map(HostName::as_str).collect();
    let (signed, at) = (bundle.seal.signatures().len(), sources.join(" "));
    format!("{}@{} {}, signed by {signed}, at {at}", said.name, said.serial, said.id)
}
