//! What a start reads from the store: the engines as they were, and what is remembered beside them.

use std::{collections::BTreeMap, error::Error, sync::Arc};

use orchestra_flow::{Engine, RecoveredFlow, RecoveredJob, Recovery, Settings};
use orchestra_model::{
    Deployments, ServiceName,
    bundle::BundleRegister,
    service::{PlacementRecord, ServiceSpec, VersionRecord},
};
use orchestra_proto::decode_service;
use orchestra_service::{RecoveredService, Services};
use orchestra_store::{Reader, Store, StoreIdentity};

use super::{Clock, Engines, Remembered, starts::denied_starts};
use crate::{
    fleet::Fleet,
    history::{self, HistoryError},
};

/// Why the store, or something in it, cannot be read.
type Unreadable = Box<dyn Error + Send + Sync>;

/// Rebuilds the engines from the store.
pub(crate) fn engines(
    identity: StoreIdentity,
    clock: Clock,
    store: &dyn Store,
    fleet: &Fleet,
    doubt: Option<String>,
) -> Result<Engines, Unreadable> {
    let engine = engine(identity, clock, store, fleet, doubt)?;
    Ok(Engines { engine, services: services(store)? })
}

/// Rebuilds the engine from the store, ready to go on.
fn engine(
    identity: StoreIdentity,
    clock: Clock,
    store: &dyn Store,
    fleet: &Fleet,
    doubt: Option<String>,
) -> Result<Engine, Unreadable> {
    // The desk checks how many tasks a flow has, because a reload may change that bound.
    let settings = Settings { most_tasks: u64::MAX };
    let reader = store.reader()?;
    let mut engine = recover(settings, identity, &*reader, fleet.deployments(), doubt)?;
    // What was due while no conductor ran begins now.
    engine.deny_starts(denied_starts(&engine, fleet.policy()));
    engine.resume(clock.now());
    Ok(engine)
}

/// Rebuilds the services from the store; [`Driver`](super::Driver) goes on with them.
fn services(store: &dyn Store) -> Result<Services, Unreadable> {
    let reader = store.reader()?;
    let mut versions: BTreeMap<ServiceName, Vec<(VersionRecord, ServiceSpec)>> = BTreeMap::new();
    for record in reader.versions()? {
        let spec = decode_service(&record.spec)?;
        versions.entry(record.service.clone()).or_default().push((record, spec));
    }
    let mut placements: BTreeMap<ServiceName, Vec<PlacementRecord>> = BTreeMap::new();
    for placed in reader.placements()? {
        placements.entry(placed.service.clone()).or_default().push(placed);
    }
    let stored = reader.services()?.into_iter().map(|record| RecoveredService {
        versions: versions.remove(&record.name).unwrap_or_default(),
        placements: placements.remove(&record.name).unwrap_or_default(),
        record,
    });
    let mut services = Services::recover(stored.collect(), reader.recovered()?.term);
    // Whoever has a spool was there once.
    let met = reader.players()?.into_iter().filter(|player| player.spool.is_some());
    services.remember(reader.brakes()?, met.map(|player| player.host));
    Ok(services)
}

/// Returns what the store remembers of the time before this start.
pub(crate) fn remembered(
    identity: StoreIdentity,
    store: &dyn Store,
) -> Result<Remembered, Unreadable> {
    let reader = store.reader()?;
    let (in_force, audit) = (reader.in_force()?, reader.audit_head()?);
    let bundles = BundleRegister::restore(reader.bundles()?);
    Ok(Remembered { identity, in_force, audit, bundles })
}

/// Rebuilds the engine from the store.
pub(super) fn recover(
    settings: Settings,
    identity: StoreIdentity,
    reader: &dyn Reader,
    deployments: &Arc<Deployments>,
    doubt: Option<String>,
) -> Result<Engine, HistoryError> {
    let recovery = Recovery {
        store: identity.store,
        term: identity.term,
        recovered: reader.recovered()?,
        next_flow: reader.next_flow()?,
        players: reader.players()?,
        requests: reader.requests()?,
        holds: reader.holds()?,
        deployments: Arc::clone(deployments),
        doubt,
    };
    let mut engine = Engine::recover(settings, recovery);
    for record in reader.live_flows()? {
        let spec = history::spec(reader, record.id)?;
        let jobs = reader.jobs(record.id)?.into_iter().map(|record| {
            let mut tasks = Vec::new();
            reader.each_task(record.id, &mut |task| tasks.push(task))?;
            Ok(RecoveredJob {
                targets: history::targets(reader, record.id)?,
                tree: history::tree(reader, record.id)?,
                params: reader.params(record.id)?.unwrap_or_default(),
                tasks,
                record,
            })
        });
        let jobs = jobs.collect::<Result<Vec<_>, HistoryError>>()?;
        engine.restore(RecoveredFlow { record, spec, jobs });
    }
    Ok(engine)
}
