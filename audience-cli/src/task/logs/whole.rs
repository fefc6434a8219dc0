//! `orc logs --whole`: all of an output that its host keeps, of which an attempt's end tells the first and the
//! last.
//!
//! It is read where it lies, as fast as it is taken. What the host does not have (it was too old, it went to make
//! room, it was beyond what is kept of any, its player is away) is told and ends the program with 1; the first and the last are told all the same.

use orchestra_client::{AttemptLog, Exit, Unheard};
use orchestra_model::{
    delivery::AttemptEnd,
    service::{LogPlace, LogQuery, LogRuns, LogStream},
};

use super::follow::{Following, ToldAttempt, ToldStream};
use crate::{
    console::{Screen, narrate, unwritten},
    error::Failure,
    view::Page as _,
};

impl Following<'_> {
    /// Tells what the host keeps of an attempt that has ended, beyond what was told and what its end has whole.
    pub(super) async fn read_whole(
        &mut self,
        log: &AttemptLog,
        end: &AttemptEnd,
        told: &mut ToldAttempt,
        screen: &mut Screen,
    ) -> Result<(), Failure> {
        let streams = [
            (LogStream::Stdout, &mut told.stdout, &end.stdout),
            (LogStream::Stderr, &mut told.stderr, &end.stderr),
        ];
        for (stream, told, output) in streams {
            while told.lacks_something_of(output) && !screen.out.is_closed() {
                match self.read_kept(log, stream, told, screen).await {
                    Ok(()) => {
                        self.is_missing |= told.lacks_something_of(output);
                        break;
                    }
                    Err(Unheard::Lost(why)) if why.exit == Exit::Away => {
                        narrate(format_args!("{why}; trying again"));
                        self.reconnect().await?;
                    }
                    Err(Unheard::Lost(why) | Unheard::Refused(why)) => {
                        screen.narrate(why);
                        self.is_missing = true;
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tells what the host keeps of one stream from where it was told to.
    async fn read_kept(
        &mut self,
        log: &AttemptLog,
        stream: LogStream,
        told: &mut ToldStream,
        screen: &mut Screen,
    ) -> Result<(), Unheard> {
        let from = Some(LogPlace { file: 1, offset: told.bytes }).filter(|at| at.offset > 0);
        let query = LogQuery {
            stream,
            runs: LogRuns::Newest,
            tail: None,
            since: None,
            from,
            follow: false,
        };
        let mut chunks = self.client.read_attempt(log.job, &log.host, log.attempt, &query).await?;
        while let Some(chunk) = chunks.next().await? {
            self.is_missing |= chunk.gap;
            let text = told.take(&chunk, screen);
            match stream {
                LogStream::Stdout => {
                    screen.out.foreign(&text).map_err(unwritten)?;
                    screen.out.finish()?;
                }
                LogStream::Stderr => screen.narrate_foreign(&text),
            }
            if screen.out.is_closed() {
                return Ok(());
            }
        }
        Ok(())
    }
}
