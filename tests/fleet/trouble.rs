//! Why a run has no result: what was attempted, and the cause.

use std::{error::Error, fmt};

/// What went wrong, to be shown once, with its causes, at the end.
#[derive(Debug)]
pub(crate) struct Trouble {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

pub(crate) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    /// Something that has no further cause.
    pub(crate) fn new(what: impl Into<String>) -> Self {
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
pub(crate) trait During<T> {
    /// `what` is a noun phrase: "starting the conductor".
    fn during(self, what: &str) -> Result<T>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> During<T> for std::result::Result<T, E> {
    fn during(self, what: &str) -> Result<T> {
        self.map_err(|error| Trouble { what: what.to_owned(), source: Some(error.into()) })
    }
}
