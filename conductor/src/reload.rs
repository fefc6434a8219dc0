//! Reading the fleet's files again: by SIGHUP, or because an operator asked.
//!
//! A reload is atomic: if anything is wrong, nothing changes, and `orc conductor status` says what
//! is wrong. Changes that a running conductor cannot make (its address, its name, the place of its
//! store) are errors too, so that after a reload the files say what is in force.

use std::{
    error::Error,
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orchestra_certs::{Door, Identity, Subject};
use orchestra_flow::answer;
use orchestra_model::{
    Asker, Deployments, HostName, Timestamp, audit::Verb, policy::Right, service::FileOutcome,
};
use orchestra_policy::What;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};

use crate::{
    certificates::Certificates,
    config::{Config, ExportTarget, OperatorLimits, Retention},
    declined::{Declined, Ground},
    driver::{Asked, Clock, Handle, LoadTerms, Removal, Request, held, read_answer},
    fleet::Fleet,
    incidents::Incidents,
    reading::Reading,
    tls,
};

/// How long a reload waits for a store that cannot be written before it is answered.
const ANSWER: Duration = Duration::from_secs(4);
/// What the answer says of a reload that is held.
const IN_FORCE: &str = "; players and limits of the new files are in force, the rest follows once \
                        the store can be written";

/// Reloads the files, and has what others read of them.
#[derive(Clone)]
pub(crate) struct Reloader(Arc<Inner>);

struct Inner {
    /// The configuration at the start.
    config: Config,
    driver: Handle,
    clock: Clock,
    door: Door,
    /// The fleet in force.
    fleet: watch::Receiver<Arc<Fleet>>,
    shared: Mutex<Shared>,
    reading: Reading,
    incidents: Incidents,
    /// Lets one reload run at a time.
    turn: tokio::sync::Mutex<()>,
    /// Notified after a reload that changed something.
    done: Notify,
}

/// The part of the configuration that a reload may change, and the outcome of the last reload.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) limits: OperatorLimits,
    pub(crate) retention: Retention,
    pub(crate) audit_export: Option<ExportTarget>,
    pub(crate) loaded_at: Timestamp,
    pub(crate) error: Option<String>,
}

/// What a reload changed.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) players: u32,
    pub(crate) added: u32,
    pub(crate) removed: u32,
    pub(crate) deployments: Difference,
    pub(crate) cells: usize,
    /// Connections that ended because their certificates are no longer accepted.
    pub(crate) closed: u32,
    /// What came of files of services, if that is news.
    pub(crate) services: Vec<FileOutcome>,
}

/// What the asker of a reload allows the files to do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Allowed {
    /// Whether any part of the fleet may be removed, including limits in force and hosts of
    /// services.
    pub(crate) removal: bool,
    /// Whether files may take over services that an audience applied.
    pub(crate) take_over: bool,
    /// Whether a policy may take the right to reload from whoever asks.
    pub(crate) lockout: bool,
}

/// How many deployments there are, and how they differ from the earlier ones.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Difference {
    pub(crate) now: u32,
    pub(crate) added: u32,
    /// Deployments of a name that was there before, with other content.
    pub(crate) changed: u32,
    pub(crate) removed: u32,
}

/// Returns how deployments differ from the earlier ones.
fn changes(before: &Deployments, now: &Deployments) -> Difference {
    let mut changes = Difference { now: count(now.len()), ..Default::default() };
    for deployment in now.iter() {
        match before.get(deployment.name.as_str()) {
            None => changes.added += 1,
            Some(before) => changes.changed += u32::from(before != deployment),
        }
    }
    changes.removed = count(before.len()) + changes.added - changes.now;
    changes
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Keys of the configuration that only a restart can change, and that were changed.
#[derive(Debug, thiserror::Error)]
struct Fixed(PathBuf, Vec<&'static str>);

impl fmt::Display for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, keys) = (self.0.display(), self.1.join(", "));
        write!(f, "{file}/conductor.toml: a change of {keys} takes a restart")
    }
}

impl Reloader {
    pub(crate) fn new(
        config: Config,
        driver: Handle,
        clock: Clock,
        door: Door,
        fleet: watch::Receiver<Arc<Fleet>>,
        incidents: Incidents,
    ) -> Self {
        let shared = Mutex::new(Shared {
            limits: config.limits,
            retention: config.retention,
            audit_export: config.audit_export.clone(),
            loaded_at: clock.now(),
            error: None,
        });
        let reading = Reading::default();
        let (turn, done) = (tokio::sync::Mutex::default(), Notify::new());
        Self(Arc::new(Inner {
            config,
            driver,
            clock,
            door,
            fleet,
            shared,
            reading,
            incidents,
            turn,
            done,
        }))
    }

    /// Returns what is in force now.
    pub(crate) fn shared(&self) -> Shared {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads everything anew and puts it in force, or changes nothing. It runs to its end even if
    /// the caller is gone.
    pub(crate) async fn reload(&self, allowed: Allowed, asked: Asked) -> Result<Loaded, Declined> {
        let inner = Arc::clone(&self.0);
        let work = tokio::spawn(async move { inner.reload(allowed, asked).await });
        tokio::pin!(work);
        loop {
            let done = match timeout(ANSWER, &mut work).await {
                Ok(done) => done,
                // The store may just take long.
                Err(_) => match self.0.driver.trouble().await {
                    Some(trouble) => {
                        return Err(held(&trouble).with_more(|| IN_FORCE.to_owned()));
                    }
                    None => continue,
                },
            };
            return done
                .unwrap_or_else(|error| Err(Declined::new(Ground::Internal, error.to_string())));
        }
    }

    /// Returns what is wrong with the revocation lists in force, if anything.
    pub(crate) fn revocation_trouble(&self) -> Option<String> {
        tls::revocation_trouble(&self.0.door.acceptance())
    }

    /// Returns when the certificate ends with which a player is connected; `None` if it is not.
    pub(crate) fn certificate_end(&self, host: &HostName) -> Option<Timestamp> {
        let domain = self.0.config.domain.clone();
        self.0.door.end_of(&Identity { domain, subject: Subject::Player(host.clone()) })
    }

    /// Returns the conductor's time.
    pub(crate) fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// Returns which certificates end soon.
    pub(crate) fn certificates(&self) -> Certificates {
        Certificates::of(&self.0.door, self.0.clock.now())
    }

    /// Returns after the next reload, or at once after one that was not awaited. Only one task may
    /// wait.
    pub(crate) async fn reloaded(&self) {
        self.0.done.notified().await;
    }

    /// Puts a fleet in force, as [`Reloader::reload`] does.
    pub(crate) async fn load_fleet(
        &self,
        fleet: Arc<Fleet>,
        limits: &OperatorLimits,
        allowed: Allowed,
        asked: Option<Asked>,
    ) -> Result<Loaded, Declined> {
        self.0.load_fleet(fleet, limits, allowed, asked).await
    }
}

impl Inner {
    async fn reload(&self, allowed: Allowed, asked: Asked) -> Result<Loaded, Declined> {
        let _turn = self.turn.lock().await;
        let by = asked.by.clone();
        let result = self.load(allowed, asked).await;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok((loaded, config)) => {
                shared.limits = config.limits;
                shared.retention = config.retention;
                shared.audit_export = config.audit_export.clone();
                shared.loaded_at = self.clock.now();
                shared.error = None;
                tracing::info!(
                    players = loaded.players,
                    added = loaded.added,
                    removed = loaded.removed,
                    deployments = loaded.deployments.now,
                    deployments_added = loaded.deployments.added,
                    deployments_changed = loaded.deployments.changed,
                    deployments_removed = loaded.deployments.removed,
                    cells = loaded.cells,
                    services_changed = loaded.services.len(),
                    closed = loaded.closed,
                    "configuration reloaded"
                );
                self.done.notify_one();
            }
            Err(declined) => {
                let reason = declined.message();
                self.incidents.failed(by, Verb::Reload, headline(&reason));
                tracing::error!(reason, "reload refused, nothing changed");
                shared.error = Some(reason);
            }
        }
        result.map(|(loaded, _)| loaded)
    }

    async fn load(&self, allowed: Allowed, asked: Asked) -> Result<(Loaded, Config), Declined> {
        let (before, door) = (self.config.clone(), self.door.clone());
        let read = self.reading.run(move || {
            let broken =
                |error: &dyn Error| Declined::new(Ground::Prevented, orchestra_model::chain(error));
            let config = Config::load(&before.directory).map_err(|error| broken(&error))?;
            check_fixed(&before, &config).map_err(|error| broken(&error))?;
            let fleet = Fleet::load(&config.directory).and_then(|fleet| fleet.governed(&config));
            let fleet = fleet.map_err(|error| broken(&error))?;
            let acceptance =
                tls::renew(&config, &door.acceptance()).map_err(|error| broken(&error))?;
            let fleet = fleet.revoking(acceptance.revocation_lists());
            Ok::<_, Declined>((config, Arc::new(fleet), acceptance))
        });
        let (config, fleet, acceptance) = read
            .await
            .map_err(|error| Declined::new(Ground::Prevented, orchestra_model::chain(&error)))??;
        if !allowed.lockout {
            check_lockout(&fleet, &asked)?;
        }
        let loaded = self.load_fleet(fleet, &config.limits, allowed, Some(asked)).await?;
        let door = self.door.clone();
        // To judge all connections takes a while.
        let closed = tokio::task::spawn_blocking(move || door.replace(&acceptance));
        let closed =
            closed.await.map_err(|error| Declined::new(Ground::Internal, error.to_string()))?;
        let closed = u32::try_from(closed).unwrap_or(u32::MAX);
        Ok((Loaded { closed, ..loaded }, config))
    }

    /// Puts a fleet in force. How much it may remove counts from what is in force now.
    async fn load_fleet(
        &self,
        fleet: Arc<Fleet>,
        limits: &OperatorLimits,
        allowed: Allowed,
        asked: Option<Asked>,
    ) -> Result<Loaded, Declined> {
        let gone = || Declined::new(Ground::NotNow, "the conductor is stopping");
        let (reply, health) = oneshot::channel();
        self.driver.requests.send(Request::Health(reply)).await.map_err(|_| gone())?;
        let players = health.await.map_err(|_| gone())??.players;
        let may_leave = limits.reload_removal;
        let removal = match allowed.removal {
            true => Removal::Any,
            false => Removal::AtMost(may_leave.window_of(players)),
        };
        let terms = LoadTerms { removal, may_leave, take_over: allowed.take_over };
        let (files, outcomes) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let deployments = Arc::clone(fleet.deployments());
        let changes = changes(self.fleet.borrow().deployments(), &deployments);
        let request = Request::LoadFleet { fleet, terms, asked, files, reply };
        self.driver.requests.send(request).await.map_err(|_| gone())?;
        match read_answer(answer.await.map_err(|_| gone())??)? {
            Ok(answer::Loaded { players, added, removed }) => {
                let cells = deployments.cells().as_slice().len();
                // This is sent before the answer.
                let services = outcomes.await.map_err(|_| gone())?;
                let deployments = changes;
                Ok(Loaded { players, added, removed, deployments, cells, closed: 0, services })
            }
            // With these deployments a living flow would never end.
            Err(rejection) => Err(Declined::new(Ground::Prevented, rejection.to_string())),
        }
    }
}

/// Returns what a reload was refused for, without the causes: those may repeat what a file says, and
/// files of services may have secrets in them.
fn headline(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(headline, _)| headline)
}

/// Declines a fleet whose policy lets nobody undo this reload in the way in which it was asked for.
fn check_lockout(fleet: &Fleet, asked: &Asked) -> Result<(), Declined> {
    let Asker::Audience(by) = &asked.by else { return Ok(()) };
    let right = Right::Do(Verb::Reload);
    fleet.policy().check(by, right, What::Conductor, None).map_err(|_| {
        let why = format!(
            "policy.toml takes the right to reload from {by}, who asks for it; --allow-lockout \
             accepts that"
        );
        Declined::new(Ground::Prevented, why)
    })
}

fn check_fixed(before: &Config, now: &Config) -> Result<(), Fixed> {
    let keys = [
        ("listen", before.listen == now.listen),
        ("name", before.name == now.name),
        ("domain", before.domain == now.domain),
        ("state_dir", before.state_dir == now.state_dir),
    ];
    let changed: Vec<_> = keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect();
    match changed.is_empty() {
        true => Ok(()),
        false => Err(Fixed(now.directory.clone(), changed)),
    }
}
