//! Why something that somebody asked for is not done, or not told: the conductor's error for every
//! skin. `grpc/status.rs` says how it looks on the wire.

use std::{error::Error, fmt};

use orchestra_model::advice::Advice;

/// Longest message, in bytes. In a header a space takes three bytes, and everything together must
/// fit into 16 KiB.
const MESSAGE_BYTES: usize = 4_000;

/// Something that was asked for, and is not done or not told.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Declined {
    ground: Ground,
    text: Advice,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The ground on which something is declined, for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// What was asked is wrong in itself.
    Invalid,
    /// It names something that does not exist.
    Unknown,
    /// It may not be done in the present state.
    Prevented,
    /// Its host set is empty.
    NoHosts,
    /// Its host set names hosts that are no players.
    UnknownHosts,
    /// The flow has ended.
    Ended,
    /// A plan made now differs from the one that was demanded.
    PlanChanged,
    /// There would be more of something than there may be.
    TooMuch,
    /// It was taken, and waits for space on the disk.
    Held,
    /// The store cannot be written, so nothing was begun.
    Unchanged,
    /// It cannot be done, or told, at the moment.
    NotNow,
    /// The conductor stops.
    Stopping,
    /// Something else is going on, or came first.
    Overtaken,
    /// The asker has no right to it.
    Forbidden,
    /// Somebody else has what is asked for.
    Occupied,
    /// Something that was awaited did not come in time.
    Late,
    /// The player's line was lost. The source is the error of its protocol.
    LineLost,
    /// There is a mistake in the conductor.
    Internal,
}

impl Declined {
    /// Declines on this ground, in these words.
    pub(crate) fn new(ground: Ground, text: impl Into<Advice>) -> Self {
        Self { ground, text: text.into(), source: None }
    }

    /// Declines because the line was lost.
    pub(crate) fn line_lost(message: &str, source: Box<dyn Error + Send + Sync>) -> Self {
        Self { source: Some(source), ..Self::new(Ground::LineLost, message) }
    }

    /// Declines because the conductor stops.
    pub(crate) fn stopping() -> Self {
        Self::new(Ground::Stopping, "the conductor is stopping")
    }

    /// Declines because a request, or something in it, is not well formed.
    pub(crate) fn invalid(error: &dyn Error) -> Self {
        Self::new(Ground::Invalid, orchestra_model::chain(error))
    }

    /// Adds more text.
    pub(crate) fn and(self, more: &str) -> Self {
        Self { text: self.text.say(more), ..self }
    }

    /// Adds more text if the change is held; leaves other grounds unchanged.
    pub(crate) fn with_more(self, more: impl FnOnce() -> String) -> Self {
        match self.ground {
            Ground::Held => Self { text: self.text.say(more()), ..self },
            _ => self,
        }
    }

    pub(crate) fn ground(&self) -> Ground {
        self.ground
    }

    /// Returns the text for messages and the log, cut to what people read.
    pub(crate) fn message(&self) -> String {
        cut(orchestra_proto::spelt(&self.text))
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// Cuts a message that is too long, because it lists a large fleet.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
    message
}
