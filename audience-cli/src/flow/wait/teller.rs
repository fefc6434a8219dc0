//! How a person is told of a flow while it goes on: by a block on a terminal, by lines elsewhere.
//!
//! Lines that would come host by host are held back for a moment and told together; each time for
//! twice as long, so that a flow of ten thousand hosts that fail one by one is a few lines in a log.

use std::{pin::pin, time::Duration};

use orchestra_client::Client;
use orchestra_model::{ids::FlowId, status::FlowStatus};
use orchestra_proto::Watched;
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use super::block::Block;
use crate::{console::Console, error::Failure, view::flow::progress::Progress};

/// How long the first failures are held back.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
/// The longest that failures are held back.
const LONGEST_PATIENCE: Duration = Duration::from_secs(300);

/// What tells a person of a flow.
#[expect(clippy::large_enum_variant, reason = "there is one, and it lives as long as the waiting")]
pub(super) enum Teller {
    Block(Block),
    Lines(Lines),
}

/// A line per change.
pub(super) struct Lines {
    progress: Progress,
    patience: Duration,
    /// When what is held back is told; `None` if nothing is.
    held_until: Option<Instant>,
}

impl Teller {
    /// A block where standard error is a terminal, unless a program reads lines meanwhile.
    pub(super) fn new(jsonl: bool, console: &Console) -> Self {
        let block = if jsonl { None } else { Block::on(console) };
        block.map_or_else(|| Teller::Lines(Lines::new()), Teller::Block)
    }

    pub(super) fn is_block(&self) -> bool {
        matches!(self, Teller::Block(_))
    }

    /// Awaits something, and tells meanwhile what is to be told.
    pub(super) async fn meanwhile<T>(
        &mut self,
        awaited: impl Future<Output = T>,
        client: &Client,
        flow: Option<FlowId>,
        console: &Console,
    ) -> T {
        let mut awaited = pin!(awaited);
        loop {
            let turn = async {
                match self {
                    Teller::Block(block) => block.turn(client, flow, console).await,
                    Teller::Lines(lines) => lines.turn(console).await,
                }
            };
            select! {
                // In no order, so that neither events nor a turn that is due waits for the other.
                () = turn => {}
                done = &mut awaited => return done,
            }
        }
    }

    /// Tells of a message of the stream.
    pub(super) fn tell(&mut self, heard: &Watched, console: &Console) {
        match (self, heard) {
            (Teller::Block(block), Watched::Status(status)) => block.show(status),
            (Teller::Block(block), Watched::Event(_)) => block.hear(),
            (Teller::Block(block), Watched::Restored) => {
                block.hear();
                let lines = Progress::default().lines(heard, console.narration());
                lines.iter().for_each(|line| block.above(line, console));
            }
            (Teller::Lines(lines), heard) => lines.tell(heard, console),
        }
    }

    /// Whether the flow stopped and it was not told why.
    pub(super) fn asks_why(&self) -> bool {
        match self {
            // It asks by itself.
            Teller::Block(_) => false,
            Teller::Lines(lines) => lines.progress.asks_why(),
        }
    }

    /// Tells why the flow stopped.
    pub(super) fn tell_why(&mut self, status: &FlowStatus, console: &Console) {
        if let Teller::Lines(lines) = self {
            let why = lines.progress.why(status, console.narration());
            why.iter().for_each(|line| console.narrate(line));
        }
    }

    /// Tells that the connection was lost.
    pub(super) fn lose(&mut self, why: &Failure, console: &Console) {
        match self {
            Teller::Block(block) => block.lose(why),
            Teller::Lines(lines) => {
                lines.flush(console);
                console.narrate(format_args!("{why}; trying again"));
            }
        }
    }

    /// Tells a line that stays.
    pub(super) fn note(&mut self, line: impl std::fmt::Display, console: &Console) {
        match self {
            Teller::Block(block) => block.above(line, console),
            Teller::Lines(_) => console.narrate(line),
        }
    }

    /// Takes what is shown off the terminal. What was held back is not told any more: whoever leaves
    /// tells how the flow ended, or that it goes on.
    pub(super) fn leave(&mut self, console: &Console) {
        match self {
            Teller::Block(block) => block.clear(console),
            Teller::Lines(lines) => lines.held_until = None,
        }
    }
}

impl Lines {
    fn new() -> Self {
        Self { progress: Progress::default(), patience: FIRST_PATIENCE, held_until: None }
    }

    fn tell(&mut self, heard: &Watched, console: &Console) {
        for line in self.progress.lines(heard, console.narration()) {
            console.narrate(line);
        }
        self.held_until = match self.progress.holds_back() {
            true => self.held_until.or_else(|| Some(Instant::now() + self.patience)),
            false => None,
        };
    }

    /// Waits until what is held back is to be told, and tells it.
    async fn turn(&mut self, console: &Console) {
        match self.held_until {
            Some(until) => sleep_until(until).await,
            None => std::future::pending().await,
        }
        self.patience = (self.patience * 2).min(LONGEST_PATIENCE);
        self.flush(console);
    }

    fn flush(&mut self, console: &Console) {
        self.held_until = None;
        for line in self.progress.held_back(console.narration()) {
            console.narrate(line);
        }
    }
}
