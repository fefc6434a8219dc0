//! `orc logs`: what a task wrote, attempt by attempt, or what an instance of a service writes: the
//! two are told apart by the id's first letter. A task's standard output goes to standard output,
//! its standard error and what is said about it to standard error.

use orchestra_client::{AttemptLog, Attempts, Exit};

use crate::{
    console::{Answer, Screen, Streamed, unwritten},
    error::Failure,
    program::Program,
    service::logs::{Wanted, instance, tell},
    verb::Verb,
    view::{
        Page as _,
        json::List,
        task::{attempt, end::ReadEnd, written},
    },
    words::ids::only,
};

/// `orc logs`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc logs 42.1.1@db3\n  orc logs web/1 -f")]
pub(crate) struct Logs {
    /// A task: 42.1.2@db3, 42/NAME@db3, or 42@db3; or an instance of a service: web/3, or web@fe1
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    wanted: Wanted,
}

impl Verb for Logs {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        if let Some(instance) = instance(&self.id) {
            let instance = instance?;
            return program
                .ask(async |client, console| tell(&instance, &self.wanted, client, console).await);
        }
        if !self.wanted.is_default() {
            let what = format!("{:?} is a task, whose attempts are told as a whole", self.id);
            return Err(
                Failure::usage(what).hint("these flags are for services: orc logs NAME/3 -f")
            );
        }
        let reference = only(&self.id, "orc logs takes one task, like 42.1.2@db3")?;
        program.ask(async |client, console| {
            console.stream(&mut Told(client.logs(&reference).await?)).await?;
            Ok(Exit::Ok)
        })
    }
}

/// Attempts as they come. A person is shown each on both outputs in turn.
struct Told(Attempts);

impl Streamed for Told {
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let mut some = false;
        while let Some(log) = self.0.next_item().await? {
            some = true;
            show(&log, screen)?;
        }
        if !some {
            screen.narrate("no attempt has ended yet");
        }
        Ok(())
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut list = List::begin(out, "attempts").map_err(unwritten)?;
        while let Some(log) = self.0.next_item().await? {
            list.add(&attempt::Attempt::from(&log)).map_err(unwritten)?;
        }
        list.end().map_err(unwritten)
    }
}

fn show(log: &AttemptLog, screen: &mut Screen) -> Result<(), Failure> {
    let ReadEnd { summary, whole } = ReadEnd::from(&log.end);
    screen.narrate(attempt::heading(log, &summary));
    match whole {
        Ok(end) => {
            screen.out.foreign(&written::text(&end.stdout)).map_err(unwritten)?;
            screen.out.finish()?;
            screen.narrate_foreign(&written::text(&end.stderr));
        }
        Err(why) => screen.narrate_foreign(&written::unreadable(&why)),
    }
    Ok(())
}
