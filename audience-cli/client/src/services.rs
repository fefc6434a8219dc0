//! Services: their status, and verbs for them.

use bytes::Bytes;
use orchestra_model::{
    Asker,
    ids::FlowId,
    limits,
    names::{LabelValue, ServiceName},
    service::{
        BrakeScope, FleetZones, Move, Ordinal, ServicePlan, ServiceSpec, ServiceStatus,
        ServiceVersion, Stranger, Waiting,
    },
    time::Timestamp,
};
use orchestra_proto::{Invalid, encode_service, v1};
use tokio::time::timeout;
use tonic::Status;

use crate::{
    Client, Pages, Unheard,
    client::{ANSWER, answered, invalid},
    exit::Exit,
    failure::Failure,
    pages::ListPage,
};

/// What may be asked of an existing service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceAsk {
    /// New runs, on the hosts of this host set expression; empty: on all.
    Restart(String),
    /// Runs read their parameters again, on the hosts of this expression; empty: on all.
    Reload(String),
    /// A signal for runs, as signal(7) numbers it, on the hosts of this expression; empty: on all.
    Signal(i32, String),
    /// So many instances of a service that is placed: in a zone, or of one that is placed by a count.
    Scale {
        zone: Option<LabelValue>,
        count: u32,
        /// Even if it belongs to a file of the conductor.
        take_over: bool,
    },
    /// Better players for instances of a service that is placed; with `plan` nothing is done, and the
    /// answer tells what would be.
    Rebalance {
        plan: bool,
    },
    Stop,
    Start,
    Remove,
    /// Nothing voluntary is done; what runs goes on.
    Pause,
    /// Changes go on, even on hosts that were given up.
    Resume,
    /// The health of its units is believed again.
    ReleaseBrake,
    /// Back to this version; `None`: to the stable one.
    Revert(Option<ServiceVersion>),
    /// Strangers of it, which no placement of the conductor's store explains, become its units, on
    /// the hosts of this host set expression; empty: on all.
    Adopt(String),
    /// Strangers of it are ended, on the hosts of this host set expression; empty: on all. There
    /// need be no service of that name.
    StopStrangers(String),
    /// This instance, whose player is away, is dead.
    DeclareDead(Ordinal),
}

impl ServiceAsk {
    /// Returns the verb for sentences: `stopping`.
    fn doing(&self) -> &'static str {
        match self {
            ServiceAsk::Restart(_) => "restarting",
            ServiceAsk::Reload(_) => "reloading",
            ServiceAsk::Signal(..) => "signalling",
            ServiceAsk::Scale { .. } => "scaling",
            ServiceAsk::Rebalance { .. } => "rebalancing",
            ServiceAsk::Stop => "stopping",
            ServiceAsk::Start => "starting",
            ServiceAsk::Remove => "removing",
            ServiceAsk::Pause => "pausing",
            ServiceAsk::Resume => "resuming",
            ServiceAsk::ReleaseBrake => "releasing the brake of",
            ServiceAsk::Revert(_) => "reverting",
            ServiceAsk::Adopt(_) => "adopting units of",
            ServiceAsk::StopStrangers(_) => "stopping strangers of",
            ServiceAsk::DeclareDead(_) => "declaring dead an instance of",
        }
    }

    fn to_wire(&self) -> v1::change_service_request::Verb {
        use v1::change_service_request::Verb;
        let nothing = v1::Empty {};
        match self {
            ServiceAsk::Restart(hosts) => Verb::Restart(hosts.clone()),
            ServiceAsk::Reload(hosts) => Verb::Reload(hosts.clone()),
            ServiceAsk::Signal(signal, hosts) => {
                Verb::Signal(v1::ServiceSignal { signal: *signal, hosts: hosts.clone() })
            }
            ServiceAsk::Scale { zone, count, take_over } => Verb::Scale(v1::ServiceScale {
                zone: zone.as_ref().map(ToString::to_string).unwrap_or_default(),
                count: *count,
                take_over: *take_over,
            }),
            ServiceAsk::Rebalance { plan } => Verb::Rebalance(v1::ServiceRebalance { plan: *plan }),
            ServiceAsk::Stop => Verb::Stop(nothing),
            ServiceAsk::Start => Verb::Start(nothing),
            ServiceAsk::Remove => Verb::Remove(nothing),
            ServiceAsk::Pause => Verb::Pause(nothing),
            ServiceAsk::Resume => Verb::Resume(nothing),
            ServiceAsk::ReleaseBrake => Verb::ReleaseBrake(nothing),
            ServiceAsk::Adopt(hosts) => Verb::Adopt(hosts.clone()),
            ServiceAsk::StopStrangers(hosts) => Verb::StopStranger(hosts.clone()),
            ServiceAsk::DeclareDead(ordinal) => Verb::DeclareDead(ordinal.0),
            ServiceAsk::Revert(version) => Verb::Revert(version.map_or(0, |version| version.0)),
        }
    }
}

/// The answer to something that was asked of a service. It is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAnswer {
    pub name: String,
    /// The version that is wanted from now on.
    pub version: ServiceVersion,
    /// Whether nothing had to be changed.
    pub unchanged: bool,
    /// The flow that was made for it; `None` if none is needed, or if a living one has to end
    /// first.
    pub flow: Option<FlowId>,
    /// Hosts, folded, for which no flow can be made now. Each is brought up when it can be.
    pub left_out: String,
    /// Instances for which no player has room.
    pub waiting: Vec<Waiting>,
    /// What a rebalance moves, or would move.
    pub moves: Vec<Move>,
    /// Why no flow could be made, if one was needed.
    pub trouble: Option<String>,
}

impl TryFrom<v1::ServiceChanged> for ServiceAnswer {
    type Error = Invalid;

    fn try_from(answer: v1::ServiceChanged) -> Result<Self, Invalid> {
        Ok(Self {
            waiting: answer.waiting.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            moves: answer.moves.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            name: answer.name,
            version: ServiceVersion(answer.version),
            unchanged: answer.unchanged,
            flow: (answer.flow > 0).then_some(FlowId(answer.flow)),
            left_out: answer.left_out,
            trouble: Some(answer.trouble).filter(|trouble| !trouble.is_empty()),
        })
    }
}

/// A version of a service, as it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedVersion {
    pub version: ServiceVersion,
    pub by: Asker,
    pub at: Timestamp,
    /// Whether it failed and the conductor went back to an earlier version.
    pub reverted: bool,
    /// The spec. The value of each parameter is left empty.
    pub spec: ServiceSpec,
    /// The keys of parameters whose values differ from the version before.
    pub changed_params: Vec<String>,
}

impl Client {
    /// Makes services as these specs say, by one flow; with `take_over` even if one belongs to a file
    /// of the conductor. All of them are applied or none is. Returns an answer for each, in order.
    pub async fn apply_services(
        &mut self,
        specs: &[ServiceSpec],
        take_over: bool,
    ) -> Result<Vec<ServiceAnswer>, Failure> {
        let what = format!("applying {}", named(specs));
        let request = v1::ApplyServicesRequest { specs: all_encoded(specs, &what)?, take_over };
        let answers = answered(&what, self.rpc.apply_services(request)).await?.services;
        let read = answers.into_iter().map(TryInto::try_into);
        let read = read.collect::<Result<_, _>>().map_err(|error| invalid(&what, error))?;
        one_for_each(specs, read, &what)
    }

    /// Returns what [`Client::apply_services`] would do to each service: the version that is wanted
    /// now, if there is one, and the one that would be, if it differs, with the plan. Nothing is done.
    pub async fn plan_services(
        &mut self,
        specs: &[ServiceSpec],
        take_over: bool,
    ) -> Result<Vec<(Vec<AppliedVersion>, ServicePlan)>, Failure> {
        let what = format!("planning {}", named(specs));
        let request = v1::ApplyServicesRequest { specs: all_encoded(specs, &what)?, take_over };
        let answers = answered(&what, self.rpc.plan_services(request)).await?.services;
        let read = answers.into_iter().map(|mut answer| {
            let versions = std::mem::take(&mut answer.versions).into_iter().map(applied);
            Ok((versions.collect::<Result<_, _>>()?, answer.try_into()?))
        });
        let read = read
            .collect::<Result<_, orchestra_proto::Invalid>>()
            .map_err(|error| invalid(&what, error))?;
        one_for_each(specs, read, &what)
    }

    /// Lists units that no placement of the conductor's store explains.
    pub async fn strangers(&mut self) -> Result<Pages<v1::StrangerPage>, Failure> {
        let what = "listing strangers".to_owned();
        let stream = answered(&what, self.rpc.list_strangers(v1::ListStrangersRequest {})).await?;
        Ok(Pages::new(stream, what))
    }

    /// Returns the fleet by zones, with what holds replacements of instances back there.
    pub async fn zones(&mut self) -> Result<FleetZones, Failure> {
        let what = "asking for zones";
        let fleet = answered(what, self.rpc.list_zones(v1::ListZonesRequest {})).await?;
        fleet.try_into().map_err(|error| invalid(what, error))
    }

    /// Releases a brake of the fleet or of a zone.
    pub async fn release_brake(&mut self, scope: &BrakeScope) -> Result<(), Failure> {
        let what = format!("releasing the brake of {scope}");
        let request = v1::ReleaseBrakeRequest { on: scope.to_string() };
        answered(&what, self.rpc.release_brake(request)).await.map(drop)
    }

    /// Asks something of a service.
    pub async fn change_service(
        &mut self,
        name: &ServiceName,
        verb: &ServiceAsk,
    ) -> Result<ServiceAnswer, Failure> {
        let what = format!("{} service {name}", verb.doing());
        let request =
            v1::ChangeServiceRequest { name: name.to_string(), verb: Some(verb.to_wire()) };
        let answer = answered(&what, self.rpc.change_service(request)).await?;
        answer.try_into().map_err(|error| invalid(&what, error))
    }

    /// Lists all services except removed ones.
    pub async fn services(&mut self) -> Result<Pages<v1::ServicePage>, Failure> {
        let what = "listing services".to_owned();
        let request = v1::ListServicesRequest { name: String::new() };
        let stream = answered(&what, self.rpc.list_services(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Returns a service's status, or an error that says whether to ask again may help.
    pub async fn service(&mut self, name: &ServiceName) -> Result<ServiceStatus, Unheard> {
        let what = format!("asking for service {name}");
        let request = v1::ListServicesRequest { name: name.to_string() };
        let call = async {
            let mut stream = self.rpc.list_services(request).await?.into_inner();
            while let Some(page) = stream.message().await? {
                if let Some(service) = page.services.into_iter().next() {
                    return Ok(Some(service));
                }
            }
            Ok::<_, Status>(None)
        };
        match timeout(ANSWER, call).await {
            Ok(Ok(Some(service))) => {
                Ok(service.try_into().map_err(|error| invalid(&what, error))?)
            }
            Ok(Ok(None)) => {
                Err(Failure::new(Exit::NoSuchFlow, format!("{what}: there is none")).into())
            }
            Ok(Err(status)) => Err(Unheard::of(&what, &status)),
            Err(_) => {
                let silent =
                    Failure::new(Exit::Away, format!("{what}: no answer within {ANSWER:?}"));
                Err(Unheard::Lost(silent))
            }
        }
    }

    /// Lists the kept versions of a service, oldest first.
    pub async fn service_versions(
        &mut self,
        name: &ServiceName,
    ) -> Result<Vec<AppliedVersion>, Failure> {
        let what = format!("asking for the versions of service {name}");
        let request = v1::ListVersionsRequest { name: name.to_string() };
        let stream = answered(&what, self.rpc.list_versions(request)).await?;
        let mut pages = Pages::new(stream, what);
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await? {
            versions.extend(page);
        }
        Ok(versions)
    }
}

/// Names services: `service web`, `services db, web`.
fn named(specs: &[ServiceSpec]) -> String {
    let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    match names[..] {
        [name] => format!("service {name}"),
        _ => format!("services {}", names.join(", ")),
    }
}

fn all_encoded(specs: &[ServiceSpec], what: &str) -> Result<Vec<Bytes>, Failure> {
    specs.iter().map(|spec| encoded(spec, what)).collect()
}

/// Returns the answers, unless they are not one for each spec.
fn one_for_each<T>(specs: &[ServiceSpec], answers: Vec<T>, what: &str) -> Result<Vec<T>, Failure> {
    match answers.len() == specs.len() {
        true => Ok(answers),
        false => Err(invalid(what, Invalid::field("services"))),
    }
}

/// Encodes a spec, unless it is too large.
fn encoded(spec: &ServiceSpec, what: &str) -> Result<Bytes, Failure> {
    let (bytes, most) = (encode_service(spec), limits::SERVICE_SPEC_BYTES);
    if bytes.len() > most {
        return Err(Failure::usage(format!("{what}: it is larger than {most} bytes")));
    }
    Ok(bytes.into())
}

impl ListPage for v1::ServicePage {
    type Item = ServiceStatus;

    fn items(self) -> Result<Vec<ServiceStatus>, Invalid> {
        self.services.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::StrangerPage {
    type Item = Stranger;

    fn items(self) -> Result<Vec<Stranger>, Invalid> {
        self.strangers.into_iter().map(TryInto::try_into).collect()
    }
}

impl ListPage for v1::VersionPage {
    type Item = AppliedVersion;

    fn items(self) -> Result<Vec<AppliedVersion>, Invalid> {
        self.versions.into_iter().map(applied).collect()
    }
}

fn applied(version: v1::ServiceVersion) -> Result<AppliedVersion, Invalid> {
    let field = Invalid::field;
    let spec = version.spec.as_ref().ok_or_else(|| field("ServiceVersion.spec"))?;
    Ok(AppliedVersion {
        version: ServiceVersion(version.version),
        by: Asker::from_word(&version.by).map_err(|_| field("ServiceVersion.by"))?,
        at: Timestamp(version.at_ms),
        reverted: version.reverted,
        spec: spec.try_into()?,
        changed_params: version.changed_params,
    })
}
