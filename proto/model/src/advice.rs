//! Texts for people that say what would help, without the words of any one tool.
//!
//! Whoever decides knows what would help, and not how it is asked for: by a command, a button, a call.
//! So a remedy stands in such a text as a value, and who shows the text spells it.

use std::fmt::{self, Display, Write as _};

use crate::{BundleName, FlowId, HostName, HostSet, JobName, ServiceName, bundle::BundleSerial};

/// What somebody can ask for, to help what waits or was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To end a flow: what runs of it is stopped, and waited for.
    Cancel(FlowId),
    /// To end a flow without waiting for what runs of it.
    Abandon(FlowId),
    /// To let a paused flow go on.
    Resume(FlowId),
    /// To give tasks of this flow that ended without being ok a further attempt.
    Retry(FlowId),
    /// To give a further attempt to such tasks of flows that the text names elsewhere.
    RetryTheirFlow,
    /// To let the tasks behind a job's canary go on.
    Promote(FlowId, JobName),
    /// To let a drained player work again.
    Undrain(HostName),
    /// To go on from a store that is an old copy.
    Recover,
    /// To trust quarantined players again.
    ReleasePlayers,
    /// To take hosts out of the cells that they hold though they are down.
    ReleaseCells(HostSet),
    /// To have a service's units started anew.
    RestartService(ServiceName),
    /// To look which groups, apps and labels there are.
    ListGroups,
    /// To look which scores there are.
    ListScores,
    /// To look which rights one has.
    ListRights,
    /// To have a bundle known.
    RegisterBundle(BundleName, BundleSerial),
}

/// In few words that are no tool's, for logs of engines and for tests.
impl Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancel(flow) => write!(f, "<cancel {flow}>"),
            Self::Abandon(flow) => write!(f, "<abandon {flow}>"),
            Self::Resume(flow) => write!(f, "<resume {flow}>"),
            Self::Retry(flow) => write!(f, "<retry {flow}>"),
            Self::RetryTheirFlow => f.write_str("<retry>"),
            Self::Promote(flow, job) => write!(f, "<promote {job} of {flow}>"),
            Self::Undrain(host) => write!(f, "<undrain {host}>"),
            Self::Recover => f.write_str("<recover>"),
            Self::ReleasePlayers => f.write_str("<release players>"),
            Self::ReleaseCells(hosts) => write!(f, "<release cells of {hosts}>"),
            Self::RestartService(service) => write!(f, "<restart {service}>"),
            Self::ListGroups => f.write_str("<groups>"),
            Self::ListScores => f.write_str("<scores>"),
            Self::ListRights => f.write_str("<rights>"),
            Self::RegisterBundle(name, serial) => write!(f, "<register {name}@{serial}>"),
        }
    }
}

/// A text for people in which remedies stand as values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advice(Vec<AdvicePart>);

/// A part of an [`Advice`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdvicePart {
    /// Words, as they are.
    Words(String),
    /// What would help.
    Remedy(Remedy),
}

impl Advice {
    /// Goes on in words.
    #[must_use]
    pub fn say(mut self, words: impl Display) -> Self {
        if let Some(AdvicePart::Words(text)) = self.0.last_mut() {
            // A String takes whatever is written into it.
            let _ = write!(text, "{words}");
        } else {
            let words = words.to_string();
            if !words.is_empty() {
                self.0.push(AdvicePart::Words(words));
            }
        }
        self
    }

    /// Names what would help.
    #[must_use]
    pub fn name(mut self, remedy: Remedy) -> Self {
        self.0.push(AdvicePart::Remedy(remedy));
        self
    }

    /// Goes on with another text.
    #[must_use]
    pub fn then(self, other: Advice) -> Self {
        other.0.into_iter().fold(self, |text, part| match part {
            AdvicePart::Words(words) => text.say(words),
            AdvicePart::Remedy(remedy) => text.name(remedy),
        })
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[AdvicePart] {
        &self.0
    }

    /// As one text, with each remedy as `spell` has it.
    pub fn spelt(&self, spell: impl Fn(&Remedy) -> String) -> String {
        self.0
            .iter()
            .map(|part| match part {
                AdvicePart::Words(words) => words.clone(),
                AdvicePart::Remedy(remedy) => spell(remedy),
            })
            .collect()
    }
}

impl From<String> for Advice {
    fn from(words: String) -> Self {
        Self::default().say(words)
    }
}

impl From<&str> for Advice {
    fn from(words: &str) -> Self {
        Self::default().say(words)
    }
}

impl Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.spelt(Remedy::to_string))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_its_words_and_its_remedies_as_they_are_spelt() {
        let flow = FlowId(7);
        let end = Advice::from("; ").name(Remedy::Cancel(flow)).say(" ends ").say("it");
        let text = Advice::from("it was paused").then(end);
        assert_eq!(text.to_string(), "it was paused; <cancel 7> ends it");
        assert_eq!(text.spelt(|_| "a button".to_owned()), "it was paused; a button ends it");
        let words = |words: &str| AdvicePart::Words(words.to_owned());
        let parts =
            [words("it was paused; "), AdvicePart::Remedy(Remedy::Cancel(flow)), words(" ends it")];
        assert_eq!(text.parts(), parts);
        assert_eq!(Advice::from(""), Advice::default());
    }
}
