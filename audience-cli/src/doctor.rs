//! `orc doctor`: what stands between this machine and a conductor, looked at piece by piece, each trouble
//! with what mends it: settings, certificates and key, names, reachability, who answers, the clock.

use std::{net::ToSocketAddrs as _, time::SystemTime};

use orchestra_certs::{Credentials, Role};
use orchestra_client::{
    Client, Exit,
    config::{Connection, Environment},
};
use orchestra_model::{
    chain, limits,
    status::ConductorStatus,
    time::{Millis, Timestamp},
};

use crate::{
    error::{Describe as _, Failure, unresolved},
    program::{Program, now, runtime},
    verb::Verb,
    view::{
        doctor::{Diagnosis, Verdict},
        one_line, when,
    },
};

/// How far the conductor's clock may be from ours: less than certificates are backdated by.
const CLOCK_NOTICE: Millis = Millis::seconds(10);
/// How far it may be before it is called wrong.
const CLOCK_WRONG: Millis = Millis::minutes(5);

/// `orc doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit code 0: all is in order; 11: no conductor was reached; 1: something else is wrong

Examples:
  orc doctor
  orc doctor --conductor conductor.example.com:2258"
)]
pub(crate) struct Doctor;

impl Verb for Doctor {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let mut diagnosis = Diagnosis::default();
        let exit = examine(program.connection(), &mut diagnosis)?;
        program.console.answer(&diagnosis)?;
        Ok(exit)
    }
}

/// Looks at everything, as far as one thing does not need another that is wrong.
fn examine(
    connection: Result<Connection, Failure>,
    diagnosis: &mut Diagnosis,
) -> Result<Exit, Failure> {
    let connection = match connection {
        Ok(connection) => connection,
        Err(failure) => {
            diagnosis.failure(&failure);
            return Ok(Exit::Broken);
        }
    };
    let Connection { conductors, expected, .. } = &connection;
    diagnosis.ok(format!(
        "settings: {}, as {} of {}",
        conductors.join(" or "),
        expected.conductor_name,
        expected.domain
    ));
    let has_credentials = look_at_credentials(&connection, diagnosis);
    let resolved: Vec<&String> =
        conductors.iter().filter(|address| look_up(address, diagnosis)).collect();
    if !has_credentials {
        diagnosis.note("no conductor is asked before certificate and key are in order", None);
        return Ok(Exit::Broken);
    }
    let runtime = runtime()?;
    let mut reached = 0;
    for address in resolved {
        let one = Connection { conductors: vec![address.clone()], ..connection.clone() };
        reached += u32::from(runtime.block_on(ask(one, address, diagnosis)));
    }
    runtime.shutdown_background();
    Ok(match (reached, diagnosis.is_in_order()) {
        (0, _) => Exit::Away,
        (_, true) => Exit::Ok,
        (_, false) => Exit::Broken,
    })
}

/// Looks at certificate, key, authority and list. Returns whether they can be used.
fn look_at_credentials(connection: &Connection, diagnosis: &mut Diagnosis) -> bool {
    let (files, domain) = (&connection.files, &connection.expected.domain);
    let own = rustix::process::geteuid().as_raw();
    let credentials = match Credentials::examine(files, domain, own) {
        Ok(credentials) => credentials,
        Err(wrong) => {
            wrong.iter().for_each(|error| diagnosis.wrong(chain(error), error.mend()));
            return false;
        }
    };
    let (identity, ends) = (credentials.identity(), when(credentials.ends()));
    if identity.role() == Role::Conductor {
        let mend = "bring one that `orchestra-certs issue --dir DIR audience NAME` made";
        diagnosis.wrong(format!("the certificate is that of {identity}"), Some(mend));
        return false;
    }
    diagnosis.ok(format!("certificate of {identity}, until {ends}"));
    if credentials.ends_soon(SystemTime::now()) {
        let mend = "have the next one made: `orchestra-certs renew`, where the authority is";
        diagnosis.note("this certificate ends soon", Some(mend));
    }
    if let Some(until) = credentials.run_out(SystemTime::now()) {
        let mend = "bring a newer ca.crl, which `orchestra-certs revoke` makes";
        diagnosis.note(format!("the revocation list ran out at {until}"), Some(mend));
    }
    true
}

/// Looks the host of an address up. Returns whether it has addresses.
fn look_up(address: &str, diagnosis: &mut Diagnosis) -> bool {
    match address.to_socket_addrs().map(Iterator::collect::<Vec<_>>) {
        Ok(found) if !found.is_empty() => {
            let found: Vec<String> = found.iter().map(|found| found.ip().to_string()).collect();
            diagnosis.ok(format!("{address} is {}", found.join(", ")));
            true
        }
        looked_up => {
            let why = looked_up.err().map_or_else(String::new, |error| format!(": {error}"));
            let mend = "mend the name, in the settings or in DNS (getent hosts NAME)";
            diagnosis.wrong(format!("{address} has no address{why}"), Some(mend));
            false
        }
    }
}

/// Asks a conductor how it stands. Returns whether it answered.
async fn ask(connection: Connection, address: &str, diagnosis: &mut Diagnosis) -> bool {
    let before = now();
    let status = async { Client::connect_once(connection).await?.conductor().await }.await;
    match status {
        Ok(status) => {
            look_at_conductor(&status, address, (before, now()), diagnosis);
            true
        }
        Err(failure) => {
            diagnosis.failure(&failure);
            if failure.remedy().is_none() {
                diagnosis.mend(
                    "compare both ends: `conductor --check` there, `orchestra-certs show FILE` here",
                );
            }
            false
        }
    }
}

/// Looks at what a conductor says of itself, which was asked between two moments.
fn look_at_conductor(
    status: &ConductorStatus,
    address: &str,
    asked: (Timestamp, Timestamp),
    diagnosis: &mut Diagnosis,
) {
    let (attached, players) = (status.attached, status.players);
    // These are the conductor's words, and may not make lines of their own.
    let [name, version] = [&status.name, &status.version].map(|text| one_line(text));
    diagnosis.ok(format!(
        "{address} answers: {name}, version {version}, {attached} of {players} players attached"
    ));
    if status.version != env!("CARGO_PKG_VERSION") {
        let ours = env!("CARGO_PKG_VERSION");
        diagnosis.note(format!("its version is {version}, and ours {ours}"), None);
    }
    if let Some(theirs) = status.now {
        look_at_clock(theirs, asked, diagnosis);
    }
    let soon = asked.1.after(limits::CERTIFICATE_NOTICE);
    if let Some(ends) = status.certificate_ends.filter(|ends| *ends < soon) {
        let mend = "renew it where the authority is, bring it to the conductor, and reload it";
        diagnosis.note(format!("the conductor's certificate ends at {}", when(ends)), Some(mend));
    }
    if status.certificates_ending > 0 {
        let text = format!("certificates of {} others end soon", status.certificates_ending);
        diagnosis.note(text, Some("orc players --expiring"));
    }
    let troubles = [
        &status.stale_store,
        &status.store_error,
        &status.reload_error,
        &status.revocation_error,
        &status.audit_export_error,
    ];
    if troubles.iter().any(|trouble| trouble.is_some()) {
        diagnosis.note("the conductor tells of trouble of its own", Some("orc conductor status"));
    }
}

/// Compares a moment that the conductor told with those between which it was asked.
fn look_at_clock(theirs: Timestamp, asked: (Timestamp, Timestamp), diagnosis: &mut Diagnosis) {
    let (ahead, behind) = (theirs.since(asked.1), asked.0.since(theirs));
    let apart = ahead.max(behind);
    let verdict = match apart {
        apart if apart > CLOCK_WRONG => Verdict::Wrong,
        apart if apart > CLOCK_NOTICE => Verdict::Note,
        _ => return diagnosis.ok("the clocks of both ends agree".to_owned()),
    };
    let which = if ahead > behind { "ahead of" } else { "behind" };
    let seconds = Millis::seconds(apart.0 / 1_000);
    diagnosis.add(verdict, format!("the conductor's clock is {seconds} {which} ours"));
    diagnosis.mend("set the wrong one (timedatectl set-ntp true): certificates go by them");
}

impl Diagnosis {
    /// Adds a failure, with what helps against it.
    fn failure(&mut self, failure: &Failure) {
        failure.describe(|error| self.wrong(error.message.to_owned(), error.hint));
    }
}

impl Program {
    /// Returns how a conductor would be reached.
    fn connection(&self) -> Result<Connection, Failure> {
        let (args, environment): (_, &Environment) = self.settings();
        Connection::resolve(&args.settings(), environment).map_err(unresolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(theirs: u64) -> String {
        let mut diagnosis = Diagnosis::default();
        let asked = (Timestamp(1_000_000_000), Timestamp(1_000_001_000));
        look_at_clock(Timestamp(theirs), asked, &mut diagnosis);
        diagnosis.to_string()
    }

    #[test]
    fn clocks_that_differ_are_told_by_how_much() {
        assert_eq!(clock(1_000_000_500), "ok     the clocks of both ends agree\n");
        assert_eq!(clock(1_000_011_000), "ok     the clocks of both ends agree\n");
        assert!(
            clock(1_000_061_000).starts_with("note   the conductor's clock is 1m ahead of ours\n")
        );
        let behind = clock(1_000_000_000 - 3_600_000);
        assert!(
            behind.starts_with("wrong  the conductor's clock is 1h behind ours\n       mend: set")
        );
    }
}
