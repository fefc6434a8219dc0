//! Failures: what was attempted and on what, why it did not work, and what helps. A failure is
//! data; the caller decides which words, flags or buttons a person is shown.

use std::{error::Error, fmt};

use orchestra_model::delivery::RequestId;

use crate::exit::Exit;

/// What helps against a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureRemedy {
    /// Ask what became of a request, which the conductor has taken or may have taken.
    AskAgain {
        request: RequestId,
        /// Whether the conductor has it, and waits for space to keep it.
        held: bool,
    },
    /// Check whether the conductor runs, and whether its address is right.
    CheckAddress,
    /// Check whether that is the conductor that is meant.
    CheckName,
    /// List the hosts that the conductor knows.
    ListHosts,
    /// Compare the versions of both ends.
    CompareVersions,
    /// Help in the caller's words.
    Words(String),
}

/// A failure of something that was attempted.
#[derive(Debug)]
pub struct Failure {
    /// The exit code of the program.
    pub exit: Exit,
    /// What was attempted, on what: `reading flow.yaml`. It is the beginning of a sentence, or all
    /// of it.
    what: String,
    /// Why it did not work.
    cause: Option<Box<dyn Error + Send + Sync>>,
    remedy: Option<FailureRemedy>,
}

impl Failure {
    /// Returns a failure of an attempt, without a cause yet.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), cause: None, remedy: None }
    }

    /// Returns a failure of the tool or the conductor.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::new(Exit::Broken, what)
    }

    /// Returns a failure for a wrong command line or file.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what helps.
    #[must_use]
    pub fn with(mut self, remedy: FailureRemedy) -> Self {
        self.remedy = Some(remedy);
        self
    }

    /// Adds what helps, in the caller's words.
    #[must_use]
    pub fn hint(self, words: impl Into<String>) -> Self {
        self.with(FailureRemedy::Words(words.into()))
    }

    /// Returns what helps, if that is known.
    pub fn remedy(&self) -> Option<&FailureRemedy> {
        self.remedy.as_ref()
    }
}

/// The sentence, with the chain of causes.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut next: Option<&(dyn Error + 'static)> =
            self.cause.as_deref().map(|cause| cause as _);
        let mut last = self.what.clone();
        while let Some(cause) = next {
            // Some libraries repeat their cause in their own message, and it is not to be told
            // twice.
            let said = cause.to_string();
            if !last.contains(&said) {
                write!(f, ": {said}")?;
            }
            last = said;
            next = cause.source();
        }
        Ok(())
    }
}
