//! Services: verbs that apply and change them, and lists.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    AudienceName, HostSet, ServiceName,
    audit::Verb,
    hostset::Groups as _,
    names::LabelValue,
    service::{
        BrakeScope, FleetZones, Ordinal, ServicePlan, ServiceSpec, ServiceStatus, ServiceVersion,
        Stranger, VersionRecord,
    },
};
use orchestra_policy::{Allowance, What};
use orchestra_proto::decode_service;
use orchestra_service::{AppliedService, Ask, Taken};

use super::{
    Desk, Others, Recipient, Stopped, off_the_runtime,
    rights::{hosts_of_service, sees_service},
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request, ServiceQuestion},
};

/// What may be asked of an existing service. An expression names hosts; without one all of the
/// service's hosts are meant.
#[derive(Debug)]
pub(crate) enum ServiceVerb {
    /// New runs, on hosts of this expression.
    Restart(Option<String>),
    /// That runs read their parameters again, on hosts of this expression.
    Reload(Option<String>),
    /// A signal for runs, on hosts of this expression.
    Signal(i32, Option<String>),
    /// So many instances, in a zone or of a service that is placed by a count; with `take_over` even
    /// if it belongs to a file.
    Scale {
        zone: Option<LabelValue>,
        count: u32,
        take_over: bool,
    },
    /// Better players for its instances.
    Rebalance {
        /// Only to be told what would be done.
        plan: bool,
    },
    Stop,
    Start,
    Remove,
    Pause,
    Resume,
    /// The health of its units is to be believed again.
    ReleaseBrake,
    /// An earlier version; `None` for the newest one that was ready everywhere.
    Revert(Option<ServiceVersion>),
    /// That strangers on hosts of this expression, or on all hosts, become its units.
    Adopt(Option<String>),
    /// That this instance is dead.
    DeclareDead(Ordinal),
    /// That strangers on hosts of this expression, or on all hosts, are ended.
    StopStrangers(Option<String>),
}

/// A version of a service, without the values of its parameters.
#[derive(Debug)]
pub(crate) struct ListedVersion {
    pub(crate) record: VersionRecord,
    pub(crate) spec: ServiceSpec,
    /// The keys of parameters whose values differ from the version before.
    pub(crate) changed_params: Vec<String>,
}

impl Desk {
    /// Makes services as these specs say; with `take_over` even if one belongs to a file.
    pub(crate) async fn apply_services(
        &self,
        specs: Vec<Arc<[u8]>>,
        take_over: bool,
        by: AudienceName,
    ) -> Result<Vec<Taken>, Declined> {
        let (ask, allowed) = self.to_apply(specs, take_over, &by).await?;
        let asked = Asked::by(&by, Verb::ServiceApply).under(&allowed);
        let taken = self.ask_services(asked, ask).await?;
        for taken in &taken {
            tracing::info!(
                service = %taken.service, version = %taken.version, audience = %by,
                unchanged = taken.unchanged, "service applied"
            );
        }
        Ok(taken)
    }

    /// Returns what [`Desk::apply_services`] would do to each service, with the version that is wanted
    /// now and the one that would be.
    pub(crate) async fn plan_services(
        &self,
        specs: Vec<Arc<[u8]>>,
        take_over: bool,
        by: AudienceName,
    ) -> Result<Vec<(Vec<ListedVersion>, ServicePlan)>, Declined> {
        let (ask, _) = self.to_apply(specs, take_over, &by).await?;
        let ask = Box::new(ask);
        let question = |reply| ServiceQuestion::Plan(by.into(), ask, reply);
        let planned = self.ask(|reply| Request::AboutServices(question(reply))).await??;
        let listed = move || {
            let planned = planned.into_iter();
            planned.map(|(versions, plan)| Ok((list(versions)?, plan))).collect()
        };
        off_the_runtime(listed).await?
    }

    /// Makes the ask that services be as these specs say, if somebody may ask for each of them.
    async fn to_apply(
        &self,
        specs: Vec<Arc<[u8]>>,
        take_over: bool,
        by: &AudienceName,
    ) -> Result<(Ask, Allowance), Declined> {
        let read = off_the_runtime(move || {
            let read =
                specs.into_iter().map(|bytes| decode_service(&bytes).map(|spec| (spec, bytes)));
            read.collect::<Result<Vec<_>, _>>().map_err(|error| Declined::invalid(&error))
        });
        let (mut services, mut allowance) = (Vec::new(), Allowance::default());
        for (spec, spec_bytes) in read.await?? {
            // A linked service is where the other one is, and a placed one is where there is room: that
            // may be any player.
            let is_anywhere = spec.upkeep.linked_to.is_some() || spec.place.is_some();
            let hosts = match is_anywhere {
                true => HostSet::default(),
                false => self.players(spec.on.clone(), by).await?,
            };
            let hosts_of_it = (!is_anywhere).then_some(&hosts);
            allowance = allowance.and(self.check_apply(by, &spec, hosts_of_it).await?);
            services.push(AppliedService { spec, spec_bytes, hosts });
        }
        Ok((Ask::Apply { services, take_over }, allowance))
    }

    /// Returns the fleet by zones, with what holds replacements back there.
    pub(crate) async fn zones(&self, by: &AudienceName) -> Result<FleetZones, Declined> {
        self.check_sees_all(by)?;
        self.ask(|reply| Request::AboutServices(ServiceQuestion::Zones(reply))).await
    }

    /// Releases a brake of the fleet or of a zone.
    pub(crate) async fn release_brake(
        &self,
        scope: BrakeScope,
        by: AudienceName,
    ) -> Result<(), Declined> {
        let hosts = match &scope {
            // What has no zone may be any player.
            BrakeScope::Fleet | BrakeScope::Zone(None) => self.all_players(),
            BrakeScope::Zone(Some(zone)) => {
                let fleet = Arc::clone(&self.fleet.borrow());
                fleet.labelled("zone", zone.as_str()).unwrap_or_default()
            }
        };
        let allowed = self.check_verb(&by, Verb::BrakeRelease, What::Hosts, Some(&hosts))?;
        let asked = Asked::by(&by, Verb::BrakeRelease).under(&allowed);
        self.ask(|reply| Request::ReleaseBrake(asked, scope, reply)).await
    }

    /// Lists units that no placement of the store explains.
    pub(crate) async fn list_strangers(
        &self,
        by: &AudienceName,
        to: &impl Recipient<Vec<Stranger>>,
    ) -> Result<(), Stopped> {
        self.check_sees_all(by)?;
        let ask = |reply| Request::AboutServices(ServiceQuestion::Strangers(reply));
        to.give(self.ask(ask).await?).await
    }

    /// Asks something of an existing service.
    pub(crate) async fn change_service(
        &self,
        service: ServiceName,
        verb: ServiceVerb,
        by: AudienceName,
    ) -> Result<Taken, Declined> {
        let name = service.clone();
        let (verb, ask) = match verb {
            ServiceVerb::Restart(hosts) => {
                let hosts = self.hosts_of(hosts, &by).await?;
                (Verb::ServiceRestart, Ask::Restart { service, hosts })
            }
            ServiceVerb::Reload(hosts) => {
                let hosts = self.hosts_of(hosts, &by).await?;
                (Verb::ServiceReload, Ask::Reload { service, hosts })
            }
            ServiceVerb::Signal(signal, hosts) => {
                let hosts = self.hosts_of(hosts, &by).await?;
                (Verb::ServiceSignal, Ask::Signal { service, hosts, signal })
            }
            ServiceVerb::Scale { zone, count, take_over } => {
                (Verb::ServiceScale, Ask::Scale { service, zone, count, take_over })
            }
            ServiceVerb::Rebalance { plan } => {
                (Verb::ServiceRebalance, Ask::Rebalance { service, plan })
            }
            ServiceVerb::Stop => (Verb::ServiceStop, Ask::Stop(service)),
            ServiceVerb::Start => (Verb::ServiceStart, Ask::Start(service)),
            ServiceVerb::Remove => (Verb::ServiceRemove, Ask::Remove(service)),
            ServiceVerb::Pause => (Verb::ServicePause, Ask::Pause(service)),
            ServiceVerb::Resume => (Verb::ServiceResume, Ask::Resume(service)),
            ServiceVerb::ReleaseBrake => (Verb::BrakeRelease, Ask::ReleaseBrake(service)),
            ServiceVerb::Revert(to) => {
                let hosts = self.hosts_of_versions(&service).await?;
                (Verb::ServiceRevert, Ask::Revert { service, to, hosts })
            }
            ServiceVerb::Adopt(hosts) => {
                let hosts = self.hosts_of(hosts, &by).await?;
                (Verb::ServiceAdopt, Ask::Adopt { service, hosts })
            }
            ServiceVerb::DeclareDead(ordinal) => {
                (Verb::ServiceDeclareDead, Ask::DeclareDead { service, ordinal })
            }
            ServiceVerb::StopStrangers(hosts) => {
                let hosts = self.hosts_of(hosts, &by).await?;
                (Verb::ServiceStopStranger, Ask::StopStrangers { service, hosts })
            }
        };
        let allowed = self.check_change(&by, verb, &name, &ask).await?;
        let taken = self.ask_services(Asked::by(&by, verb).under(&allowed), ask).await?;
        let taken = taken.into_iter().next().ok_or_else(|| unknown(&name))?;
        tracing::info!(
            service = %taken.service, %verb, audience = %by, unchanged = taken.unchanged,
            "service changed"
        );
        Ok(taken)
    }

    /// Declines a version of a service that somebody may not apply where the service is, or on these
    /// hosts; `None` if it may be on any player.
    async fn check_apply(
        &self,
        by: &AudienceName,
        spec: &ServiceSpec,
        hosts: Option<&HostSet>,
    ) -> Result<Allowance, Declined> {
        if self.policy().is_open() {
            return Ok(Allowance::Open);
        }
        let status = self.service_status(&spec.name).await?;
        let present = status.map(|status| hosts_of_service(&status)).unwrap_or_default();
        let all = match hosts {
            Some(hosts) => present.union(hosts),
            None => present.union(&self.all_players()),
        };
        let mut allowance = Allowance::default();
        for score in spec.scores() {
            let (service, score) = (spec.name.as_str(), score.as_str());
            let what = What::ScoreOfService { service, score };
            allowance = allowance.and(self.check_verb(by, Verb::ServiceApply, what, Some(&all))?);
        }
        Ok(allowance)
    }

    /// Declines what somebody may not do to a service, wherever it may have effects.
    async fn check_change(
        &self,
        by: &AudienceName,
        verb: Verb,
        service: &ServiceName,
        ask: &Ask,
    ) -> Result<Allowance, Declined> {
        if self.policy().is_open() {
            return Ok(Allowance::Open);
        }
        let status = self.service_status(service).await?;
        let seen = self.sight(by);
        if status.as_ref().is_some_and(|status| !sees_service(&seen, status)) {
            return Err(unknown(service));
        }
        let what = match verb {
            Verb::BrakeRelease => What::Hosts,
            _ => What::Service(service.as_str()),
        };
        let status = status.as_deref();
        let present = || status.map(hosts_of_service).unwrap_or_default();
        let hosts = match ask {
            Ask::Reload { hosts: Some(hosts), .. }
            | Ask::Signal { hosts: Some(hosts), .. }
            | Ask::StopStrangers { hosts: Some(hosts), .. }
            | Ask::Adopt { hosts: Some(hosts), .. } => hosts.clone(),
            ask if may_be_anywhere(status, ask) => present().union(&self.all_players()),
            Ask::Revert { hosts, .. } => {
                hosts.values().fold(present(), |all, hosts| all.union(hosts))
            }
            _ => present(),
        };
        self.check_verb(by, verb, what, Some(&hosts))
    }

    fn all_players(&self) -> HostSet {
        self.fleet.borrow().hosts().clone()
    }

    /// Returns the status of a service, if there is one of this name.
    pub(super) async fn service_status(
        &self,
        service: &ServiceName,
    ) -> Result<Option<Box<ServiceStatus>>, Declined> {
        let name = service.clone();
        self.ask(|reply| Request::AboutServices(ServiceQuestion::Status(name, reply))).await
    }

    /// Resolves an expression, which may name hosts that are no players any more.
    async fn hosts_of(
        &self,
        expression: Option<String>,
        by: &AudienceName,
    ) -> Result<Option<HostSet>, Declined> {
        match expression {
            Some(expression) => self.hosts(expression, Others::Any, Some(by)).await.map(Some),
            None => Ok(None),
        }
    }

    /// Resolves the expression of each version of a service. Versions whose expression cannot be
    /// resolved are left out.
    async fn hosts_of_versions(
        &self,
        service: &ServiceName,
    ) -> Result<BTreeMap<ServiceVersion, HostSet>, Declined> {
        let name = service.clone();
        let ask = |reply| Request::AboutServices(ServiceQuestion::Expressions(name, reply));
        let versions = self.ask(ask).await?;
        let mut resolved = BTreeMap::new();
        for (version, expression) in versions {
            if let Ok(hosts) = self.hosts(expression, Others::Some(HostSet::default()), None).await
            {
                resolved.insert(version, hosts);
            }
        }
        Ok(resolved)
    }

    async fn ask_services(&self, asked: Asked, ask: Ask) -> Result<Vec<Taken>, Declined> {
        self.ask(|reply| Request::ChangeService { asked, ask: Box::new(ask), reply }).await
    }

    /// Lists one service, or all that were not removed, of those that somebody may see. They are read
    /// one by one, because each may have many instances.
    pub(crate) async fn list_services(
        &self,
        name: Option<ServiceName>,
        by: &AudienceName,
        to: &impl Recipient<Vec<ServiceStatus>>,
    ) -> Result<(), Stopped> {
        let seen = self.some_sight(by)?;
        let is_named = name.is_some();
        let names = match name {
            Some(name) => vec![name],
            None => {
                let ask = |reply| Request::AboutServices(ServiceQuestion::Names(reply));
                self.ask(ask).await?
            }
        };
        for name in names {
            let status = self.service_status(&name).await?;
            match status.filter(|status| sees_service(&seen, status)) {
                Some(mut status) => {
                    // Strangers may be anywhere.
                    status.strangers = seen.of(&status.strangers);
                    to.give(vec![self.with_usage(*status)]).await?;
                }
                None if is_named => return Err(unknown(&name).into()),
                // The service was removed meanwhile, or may not be seen.
                None => {}
            }
        }
        Ok(())
    }

    /// Lists the versions of a service that are kept, oldest first.
    pub(crate) async fn list_versions(
        &self,
        service: ServiceName,
        by: &AudienceName,
        to: &impl Recipient<Vec<ListedVersion>>,
    ) -> Result<(), Stopped> {
        let seen = self.sight(by);
        if !seen.is_everywhere() {
            let status = self.service_status(&service).await?;
            if status.is_some_and(|status| !sees_service(&seen, &status)) {
                return Err(unknown(&service).into());
            }
        }
        let name = service.clone();
        let ask = |reply| Request::AboutServices(ServiceQuestion::History(name, reply));
        let versions = self.ask(ask).await?.ok_or_else(|| unknown(&service))?;
        let listed = off_the_runtime(move || list(versions)).await??;
        to.give(listed).await
    }
}

/// Returns whether an ask may begin, or find, units of a service on any player: those of what is
/// placed, of a version that was or that followed another service, and strangers.
fn may_be_anywhere(status: Option<&ServiceStatus>, ask: &Ask) -> bool {
    let is_placed = status.is_some_and(|status| status.record.layout.is_some());
    is_placed
        || match ask {
            Ask::Scale { .. } | Ask::Rebalance { .. } => true,
            Ask::StopStrangers { .. } | Ask::Adopt { .. } => true,
            Ask::Revert { to, hosts, .. } => {
                let stable = status.and_then(|status| status.record.stable);
                to.or(stable).is_none_or(|version| !hosts.contains_key(&version))
            }
            _ => false,
        }
}

pub(super) fn unknown(service: &ServiceName) -> Declined {
    Declined::new(Ground::Unknown, format!("there is no service {service}"))
}

/// Decodes specs, and removes the values of parameters from them.
fn list(versions: Vec<VersionRecord>) -> Result<Vec<ListedVersion>, Declined> {
    let mut before: Option<ServiceSpec> = None;
    let mut listed = Vec::new();
    for record in versions {
        let spec = decode_service(&record.spec).map_err(|error| {
            let why = format!("{} v{}: {error}", record.service, record.version);
            Declined::new(Ground::Internal, why)
        })?;
        let changed_params = before.as_ref().map_or_else(Vec::new, |before| {
            let is_other = |key: &orchestra_model::ParamKey, value: &str| {
                before.params.iter().find(|(known, _)| *known == key).map(|(_, known)| known)
                    != Some(value)
            };
            let changed = spec.params.iter().filter(|(key, value)| is_other(key, value));
            changed.map(|(key, _)| key.to_string()).collect()
        });
        listed.push(ListedVersion { record, spec: spec.clone(), changed_params });
        before = Some(spec);
    }
    Ok(listed)
}
