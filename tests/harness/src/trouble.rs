//! Why a run has no result: what was attempted, and the cause.

use std::{error::Error, fmt};

use tokio::signal::unix::{SignalKind, signal};

/// What went wrong, to be shown once, with its causes, at the end.
#[derive(Debug)]
pub struct Trouble {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a run may have instead of a result.
pub type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    /// Something that has no further cause.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), source: None }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for Trouble {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// Says what was attempted when an error came.
pub trait During<T> {
    /// `what` is a noun phrase: "starting the conductor".
    fn during(self, what: &str) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| Trouble { what: what.to_owned(), source: Some(error.into()) })
    }
}

/// Waits until somebody asks this process to end, so that what it started is ended too.
pub async fn interrupted() -> Trouble {
    let heard = |kind| async move {
        match signal(kind) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = heard(SignalKind::interrupt()) => {}
        () = heard(SignalKind::terminate()) => {}
        () = heard(SignalKind::hangup()) => {}
    }
    Trouble::new("interrupted")
}
