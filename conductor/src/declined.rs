//! Why something that somebody asked for is not done, or not told: the error that the conductor
//! gives to everybody who asks, in whatever way. `grpc/status.rs` says how it looks on the wire.

use std::{error::Error, fmt};

use orchestra_model::advice::Advice;

/// Longest message, in bytes. It is for people; and where it travels in a header, a space takes three
/// bytes and everything together must fit into 16 KiB.
const MESSAGE_BYTES: usize = 4_000;

/// Something that was asked for, and is not done or not told.
#[derive(Debug, thiserror::Error)]
pub(crate) struct Declined {
    ground: Ground,
    text: Advice,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// Why it is not done or not told, as programs tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// What was asked is wrong in itself.
    Invalid,
    /// It names what there is not.
    Unknown,
    /// As things are, it may not be done.
    Prevented,
    /// Its host set is empty.
    NoHosts,
    /// Its host set names hosts that are none.
    UnknownHosts,
    /// The flow has ended.
    Ended,
    /// A plan made now is not the one that was demanded.
    PlanChanged,
    /// There would be more of something than there may be.
    TooMuch,
    /// It is taken in, and waits for space on the disk.
    Held,
    /// The store cannot be written, so nothing was begun.
    Unchanged,
    /// It cannot be done, or told, at the moment.
    NotNow,
    /// The conductor stops.
    Stopping,
    /// Something else is under way, or came between.
    Overtaken,
    /// Whoever asks may not.
    Forbidden,
    /// Somebody else has what is asked for.
    Occupied,
    /// What was waited for did not come in time.
    Late,
    /// The line was lost; the source is what its protocol said.
    LineLost,
    /// A mistake of ours.
    Internal,
}

impl Declined {
    /// For this reason, in these words.
    pub(crate) fn new(ground: Ground, text: impl Into<Advice>) -> Self {
        Self { ground, text: text.into(), source: None }
    }

    /// Because the line was lost.
    pub(crate) fn line_lost(message: &str, source: Box<dyn Error + Send + Sync>) -> Self {
        Self { source: Some(source), ..Self::new(Ground::LineLost, message) }
    }

    /// Because the conductor stops.
    pub(crate) fn stopping() -> Self {
        Self::new(Ground::Stopping, "the conductor is stopping")
    }

    /// Because a request, or something in it, is not well formed.
    pub(crate) fn invalid(error: &dyn Error) -> Self {
        Self::new(Ground::Invalid, orchestra_model::chain(error))
    }

    /// Says more of what is held, to whoever is told so; leaves others as they are.
    pub(crate) fn with_more(self, more: impl FnOnce() -> String) -> Self {
        match self.ground {
            Ground::Held => Self { text: self.text.say(more()), ..self },
            _ => self,
        }
    }

    pub(crate) fn ground(&self) -> Ground {
        self.ground
    }

    /// The words as they stand in messages and in the log, of which no more is told than people read.
    pub(crate) fn message(&self) -> String {
        cut(orchestra_proto::spelt(&self.text))
    }
}

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())
    }
}

/// A message that lists a large fleet ends where it is too long.
fn cut(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES {
        let end = (0..=MESSAGE_BYTES).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
    message
}
