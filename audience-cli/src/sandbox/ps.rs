//! `orc sandbox ps`.

use orchestra_client::Exit;

use super::{
    place::Place,
    record::{Daemon, Listing, Record, Role},
    which::Which,
};
use crate::{console::print, error::Failure};

/// `orc sandbox ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ps {
    #[command(flatten)]
    which: Which,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Ps {
    pub(super) fn run(self) -> Result<u8, Failure> {
        let record = Record::read(&Place::at(&self.which.dir)?)?;
        let running = record.running();
        if self.json {
            let text = serde_json::to_string(&Listing::of(&running))
                .map_err(|error| Failure::broken("writing the list of daemons").because(error))?;
            print(&format!("{text}\n"))?;
        } else {
            print(&table(&running))?;
        }
        Ok(Exit::Ok.code())
    }
}

fn table(daemons: &[Daemon]) -> String {
    let width = daemons.iter().map(|daemon| daemon.name.len()).max().unwrap_or_default();
    let lines = daemons.iter().map(|daemon| {
        let role = match daemon.role {
            Role::Conductor => "conductor",
            Role::Sitter => "sitter",
            Role::Agent => "agent",
        };
        format!("{:width$}  {role:9}  {}\n", daemon.name, daemon.process.pid)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::process::Process, *};

    #[test]
    fn the_table_has_a_line_a_daemon() {
        let daemon = |name: &str, role, pid| Daemon {
            name: name.into(),
            role,
            process: Process { pid, started: 1 },
        };
        let daemons =
            [daemon("conductor", Role::Conductor, 7), daemon("db1", Role::Sitter, 12_345)];
        assert_eq!(table(&daemons), "conductor  conductor  7\ndb1        sitter     12345\n");
    }
}
