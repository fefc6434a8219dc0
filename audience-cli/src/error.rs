//! Failures for the person at the keyboard: the sentence, and what can be pasted next.

use std::{borrow::Cow, fmt::Write as _, path::PathBuf};

use orchestra_client::{
    FailureRemedy,
    config::{Setting, Unresolved},
};

pub(crate) use orchestra_client::Failure;

use crate::view::json::Error;

/// Renders a failure for a person.
pub(crate) trait Render {
    /// `error: …` with the chain of causes, then `hint: …`; each ends its line.
    fn render(&self) -> String;
}

/// What a program is told of a failure.
pub(crate) trait Describe {
    /// Gives the description to `told`, which may write it.
    fn describe<T>(&self, told: impl FnOnce(&Error<'_>) -> T) -> T;
}

impl Describe for Failure {
    fn describe<T>(&self, told: impl FnOnce(&Error<'_>) -> T) -> T {
        let (message, hint) = (self.to_string(), self.remedy().map(hint));
        let request_id = match self.remedy() {
            Some(FailureRemedy::AskAgain { request, .. }) => Some(request.to_string()),
            _ => None,
        };
        told(&Error {
            kind: self.exit.kind(),
            exit: self.exit.code(),
            message: &message,
            hint: hint.as_deref(),
            request_id,
        })
    }
}

impl Render for Failure {
    fn render(&self) -> String {
        let mut text = format!("error: {self}\n");
        if let Some(remedy) = self.remedy() {
            let _ = writeln!(text, "hint: {}", hint(remedy));
        }
        text
    }
}

/// Returns what helps, as these programs spell it.
fn hint(remedy: &FailureRemedy) -> Cow<'_, str> {
    match remedy {
        FailureRemedy::AskAgain { request, held } => {
            let why = if *held {
                "it is taken once there is space; ask whether it is"
            } else {
                "it may have been accepted all the same; ask whether it was"
            };
            format!("{why}: submitjob --request-id {request}").into()
        }
        FailureRemedy::CheckAddress => {
            "is the conductor running, and is this its address? (--conductor HOST:PORT)".into()
        }
        FailureRemedy::CheckName => {
            "is this the conductor that is meant? (--conductor-name, --domain)".into()
        }
        FailureRemedy::ListHosts => "orc players lists the hosts that the conductor knows".into(),
        FailureRemedy::CompareVersions => {
            "the conductor is of another version; orc conductor status tells which".into()
        }
        FailureRemedy::Words(words) => words.into(),
    }
}

/// The failure of a program that does not know how to reach a conductor.
pub(crate) fn unresolved(why: Unresolved) -> Failure {
    match why {
        Unresolved::Wrong(failure) => failure,
        Unresolved::Missing { settings, files } => not_configured(&settings, &files),
    }
}

/// Returns the failure that lists every missing setting, with every way to give it.
fn not_configured(missing: &[Setting], files: &[PathBuf]) -> Failure {
    let way = |setting: &Setting| format!("{} ({})", flag(*setting), setting.variable());
    let ways: Vec<String> = missing.iter().map(way).collect();
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    // Of nothing but a domain knows also who asks no conductor.
    let attempt = match missing {
        [Setting::Domain] => "finding the domain of the fleet",
        _ => "reaching the conductor",
    };
    Failure::usage(format!("{attempt}: not configured: {}", ways.join(", ")))
        .hint(format!("give them so, or write {}", files.join(" or ")))
}

/// The flag that gives a setting.
fn flag(setting: Setting) -> &'static str {
    match setting {
        Setting::Conductor => "--conductor HOST:PORT",
        Setting::ConductorName => "--conductor-name NAME",
        Setting::Domain => "--domain DOMAIN",
        Setting::Ca => "--ca FILE",
        Setting::Cert => "--cert FILE",
        Setting::Key => "--key FILE",
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

    #[test]
    fn what_is_missing_is_told_at_once_with_every_way_to_say_it() {
        let missing = [Setting::Conductor, Setting::Domain, Setting::Key];
        let failure = not_configured(&missing, &[]).render();
        for word in ["--conductor HOST:PORT", "ORCHESTRA_DOMAIN", "--key FILE"] {
            assert!(failure.contains(word), "{failure}");
        }
    }
}
