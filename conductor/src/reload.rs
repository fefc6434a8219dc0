//! Reading the fleet's files again: by SIGHUP, or because an operator asked.
//!
//! Atomic: whatever is wrong anywhere, nothing changes, and `orc conductor status` says what.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use orchestra_certs::{Credentials, Reloadable};
use orchestra_flow::{Answer, Rejection};
use orchestra_model::Timestamp;
use tokio::sync::oneshot;
use tonic::Status;

use crate::{
    config::{Config, Limits},
    driver::{Clock, Handle, Request},
    fleet::Fleet,
};

/// What reloads change and others read.
#[derive(Clone)]
pub(crate) struct Reloader {
    directory: PathBuf,
    driver: Handle,
    clock: Clock,
    tls: Reloadable<rustls::ServerConfig>,
    shared: Arc<Mutex<Shared>>,
    /// One reload at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// The part of the configuration that a reload may change, and how the last one went.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) loaded_at: Timestamp,
    pub(crate) error: Option<String>,
}

/// What a reload changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loaded {
    pub(crate) players: u32,
    pub(crate) added: u32,
    pub(crate) removed: u32,
}

impl Reloader {
    pub(crate) fn new(
        config: &Config,
        driver: Handle,
        clock: Clock,
        tls: Reloadable<rustls::ServerConfig>,
    ) -> Self {
        let shared = Shared { limits: config.limits, loaded_at: clock.now(), error: None };
        Self {
            directory: config.directory.clone(),
            driver,
            clock,
            tls,
            shared: Arc::new(Mutex::new(shared)),
            turn: Arc::default(),
        }
    }

    /// What holds now.
    pub(crate) fn shared(&self) -> Shared {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads everything anew and puts it in force, or changes nothing. With `allow_removal`, any
    /// part of the fleet may go.
    pub(crate) async fn reload(&self, allow_removal: bool) -> Result<Loaded, Status> {
        let _turn = self.turn.lock().await;
        let result = self.load(allow_removal).await;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &result {
            Ok((loaded, limits)) => {
                shared.limits = *limits;
                shared.loaded_at = self.clock.now();
                shared.error = None;
                tracing::info!(
                    players = loaded.players,
                    added = loaded.added,
                    removed = loaded.removed,
                    "configuration reloaded"
                );
            }
            Err(status) => {
                shared.error = Some(status.message().to_owned());
                tracing::error!(reason = status.message(), "reload refused, nothing changed");
            }
        }
        result.map(|(loaded, _)| loaded)
    }

    async fn load(&self, allow_removal: bool) -> Result<(Loaded, Limits), Status> {
        let directory = self.directory.clone();
        let read = tokio::task::spawn_blocking(move || {
            let broken =
                |error: &dyn std::error::Error| Status::failed_precondition(crate::chain(error));
            let config = Config::load(&directory).map_err(|error| broken(&error))?;
            let fleet = Fleet::load(&directory).map_err(|error| broken(&error))?;
            let tls = Credentials::load(&config.tls, &config.domain)
                .and_then(|credentials| credentials.server_config())
                .map_err(|error| broken(&error))?;
            Ok::<_, Status>((config, fleet, tls))
        });
        let (config, fleet, tls) =
            read.await.map_err(|error| Status::internal(error.to_string()))??;
        let loaded = self.load_roster(fleet, &config.limits, allow_removal).await?;
        self.tls.set(tls);
        Ok((loaded, config.limits))
    }

    /// Puts a fleet in force. The brake counts what is in force now.
    pub(crate) async fn load_roster(
        &self,
        fleet: Fleet,
        limits: &Limits,
        allow_removal: bool,
    ) -> Result<Loaded, Status> {
        let gone = || Status::unavailable("the conductor is stopping");
        let (reply, health) = oneshot::channel();
        self.driver.requests.send(Request::Health(reply)).await.map_err(|_| gone())?;
        let players = health.await.map_err(|_| gone())?.players;
        let most_removed = match allow_removal {
            true => u32::MAX,
            false => limits.reload_removal.window_of(players),
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::LoadRoster { fleet: Arc::new(fleet), most_removed, reply };
        self.driver.requests.send(request).await.map_err(|_| gone())?;
        match answer.await.map_err(|_| gone())?? {
            Answer::Loaded { players, added, removed } => Ok(Loaded { players, added, removed }),
            Answer::Rejected(rejection @ Rejection::TooManyRemoved { .. }) => {
                Err(Status::failed_precondition(format!(
                    "{rejection}; allow it with `orc conductor reload --allow-removal`, \
                     or start the conductor with --allow-removal"
                )))
            }
            answer => Err(Status::internal(format!("unexpected answer {answer:?}"))),
        }
    }
}
