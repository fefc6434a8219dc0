//! `orc sandbox ps`.

use std::io;

use orchestra_client::Exit;
use serde::Serialize;

use super::{
    place::Place,
    record::{Daemon, Record, Role},
    which::Which,
};
use crate::{
    console::{Colour, Console},
    error::{Describe as _, Failure},
    view::{Output, Page, Style},
};

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
        let mut console = Console::of_process(Colour::default(), self.json);
        let read = Place::at(&self.which.dir).and_then(|place| Record::read(&place));
        let told = read.and_then(|record| console.answer(Running(&record.running())));
        if let Err(failure) = &told {
            failure.describe(|error| console.answer_failure(error))?;
        }
        console.finish()?;
        told.map(|()| Exit::Ok.code())
    }
}

/// Daemons that run.
struct Running<'a>(&'a [Daemon]);

impl Output for Running<'_> {
    fn noun(&self) -> &'static str {
        "daemons"
    }

    fn json(self) -> impl Serialize {
        self.0.iter().map(OfDaemon::from).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        out.write_all(table(self.0).as_bytes())
    }
}

#[derive(Serialize)]
struct OfDaemon<'a> {
    name: &'a str,
    role: Role,
    pid: i32,
}

impl<'a> From<&'a Daemon> for OfDaemon<'a> {
    fn from(daemon: &'a Daemon) -> Self {
        Self { name: &daemon.name, role: daemon.role, pid: daemon.process.pid }
    }
}

fn table(daemons: &[Daemon]) -> String {
    let width = daemons.iter().map(|daemon| daemon.name.len()).max().unwrap_or_default();
    let lines = daemons.iter().map(|daemon| {
        let role = match daemon.role {
            Role::Conductor => "conductor",
            Role::Sitter => "sitter",
            Role::Agent => "agent",
            Role::Relay => "relay",
        };
        format!("{:width$}  {role:9}  {}\n", daemon.name, daemon.process.pid)
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::process::Process, *};
    use crate::view::json;

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

    #[test]
    fn a_program_is_told_what_each_daemon_is() {
        let process = Process { pid: 7, started: 1 };
        let running = [Daemon { name: "db1".into(), role: Role::Sitter, process }];
        let mut out = Vec::new();
        json::document(&mut out, "daemons", &Running(&running).json()).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"schema\":1,\"daemons\":[{\"name\":\"db1\",\"role\":\"sitter\",\"pid\":7}]}\n"
        );
    }
}
