//! `orc sandbox status`.

use orchestra_client::{Client, Exit};

use super::{place::Place, record::Record, which::Which};
use crate::{console::print, error::Failure, program::runtime};

/// `orc sandbox status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Status {
    #[command(flatten)]
    which: Which,
}

impl Status {
    pub(super) fn run(self) -> Result<u8, Failure> {
        let place = Place::at(&self.which.dir)?;
        let record = Record::read(&place)?;
        if !record.supervisor.runs() {
            print(&format!("{}: not running\n", place.root().display()))?;
            return Ok(Exit::Broken.code());
        }
        let status = runtime()?.block_on(async {
            Client::connect(place.connection(record.conductor)?).await?.conductor().await
        })?;
        print(&format!(
            "{}: running, {} of {} players attached; conductor at {}, supervisor {}\n",
            place.root().display(),
            status.attached,
            record.players,
            record.conductor,
            record.supervisor.pid,
        ))?;
        Ok(Exit::Ok.code())
    }
}
