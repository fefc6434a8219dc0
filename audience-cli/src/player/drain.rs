//! `orc drain`.

use std::time::Duration;

use orchestra_client::{Client, Exit};
use orchestra_model::{hostset::HostSet, time::Millis};
use tokio::time::{Instant, sleep_until};

use crate::{
    console::Console,
    error::Failure,
    program::Program,
    verb::Verb,
    view::player::{DrainChange, still_running, still_running_on},
    words::HostsAndReason,
};

/// Between two looks whether something still runs: nothing tells of players as flows are told of.
const LOOK: Duration = Duration::from_secs(1);

/// `orc drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc drain fe3.east.example.com --reason 'disk is replaced' --wait --deadline 1h
  orc drain @rack=r7 --reason 'power works, 14 h'")]
pub(crate) struct Drain {
    #[command(flatten)]
    what: HostsAndReason,
    /// Wait until none of their tasks runs any more
    #[arg(short = 'W', long)]
    wait: bool,
    /// Stop waiting after this; they stay drained (exit 124)
    #[arg(long, value_name = "DURATION", requires = "wait")]
    deadline: Option<Millis>,
}

impl Verb for Drain {
    /// Players that were drained before stay so.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (hosts, reason) = self.what.read()?;
        program.ask(async |client, console| {
            let deadline = self.deadline.map(|length| Instant::now() + length.to_std());
            let answer = client.drain(hosts.clone(), reason).await?;
            console.answer(DrainChange { what: "drained", answer: &answer })?;
            console.finish()?;
            if self.wait {
                return until_idle(&hosts, deadline, client, console).await;
            }
            if let Some(running) = still_running(answer.in_flight) {
                console.narrate(running);
            }
            Ok(Exit::Ok)
        })
    }
}

/// Waits until nothing is out to these players any more, and says on whom it waits when that changes.
async fn until_idle(
    hosts: &str,
    deadline: Option<Instant>,
    client: &mut Client,
    console: &Console,
) -> Result<Exit, Failure> {
    let mut told = String::new();
    loop {
        let mut busy = Vec::new();
        let mut tasks = 0;
        let mut pages = client.players(hosts, false).await?;
        while let Some(player) = pages.next_item().await? {
            if player.in_flight > 0 {
                tasks += player.in_flight;
                busy.push(player.host);
            }
        }
        let Some(running) = still_running_on(tasks, &HostSet::from_names(busy)) else {
            console.narrate("nothing runs there any more");
            return Ok(Exit::Ok);
        };
        if running != told {
            console.narrate(&running);
            told = running;
        }
        let next = Instant::now() + LOOK;
        if deadline.is_some_and(|deadline| deadline < next) {
            console.narrate("the waiting is over; they stay drained");
            return Ok(Exit::WaitTimeout);
        }
        sleep_until(next).await;
    }
}
