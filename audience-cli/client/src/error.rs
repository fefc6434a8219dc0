//! What went wrong, for the person at the keyboard: what was attempted and on what, why it did
//! not work, and what can be pasted next.
//!
//! Commands fail with a [`Failure`]; it is rendered once, where the program ends.

use std::{
    error::Error,
    fmt::{self, Write as _},
};

use crate::exit::Exit;

/// A failure of a command.
#[derive(Debug)]
pub struct Failure {
    /// What the program returns.
    pub exit: Exit,
    /// What was attempted, on what: `reading flow.yaml`. A sentence's beginning, or all of it.
    what: String,
    /// Why it did not work.
    cause: Option<Box<dyn Error + Send + Sync>>,
    /// What to do about it.
    hint: Option<String>,
}

impl Failure {
    /// The attempt, without a cause yet.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), cause: None, hint: None }
    }

    /// The tool or the conductor failed.
    pub fn broken(what: impl Into<String>) -> Self {
        Self::new(Exit::Broken, what)
    }

    /// The command line or a file is wrong.
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// `error: …` with the chain of causes, then `hint: …`; each ends its line.
    pub fn render(&self) -> String {
        let mut text = format!("error: {self}\n");
        if let Some(hint) = &self.hint {
            let _ = writeln!(text, "hint: {hint}");
        }
        text
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
            // Libraries that repeat their cause in their own message would have it said twice.
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

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_chain_is_told_once() {
        let inner = io::Error::new(io::ErrorKind::NotFound, "no such file");
        let failure = Failure::usage("reading x.yaml").because(inner).hint("look again");
        assert_eq!(failure.render(), "error: reading x.yaml: no such file\nhint: look again\n");
        let failure = Failure::broken("it broke: badly").because(io::Error::other("badly"));
        assert_eq!(failure.render(), "error: it broke: badly\n");
    }
}
