//! `orchestra-certs`: makes a CA for a fleet, certificates for its conductor, players and audience,
//! and keys of publishers.
//!
//! Exit codes: 0 done; 1 failed; 64 usage, a host set's syntax, or a file that does not parse.

use std::{
    error::Error,
    fmt::{Display, Write as _},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    time::UNIX_EPOCH,
};

use clap::{CommandFactory as _, Parser, Subcommand};
use orchestra_ca::{
    AltName, Ca, CaError, HeldCertificate, Issued, LEAF_DAYS, LIST_DAYS, NewPublisher, Revoked,
    Terms, Validity, new_publisher,
};
use orchestra_certs::{Identity, LoadError, Role, Subject, read_certificates, x509};
use orchestra_model::{AudienceName, HostName, Timestamp, chain, foreign, hostset::HostSet};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

const USAGE: u8 = 64;

/// Within how many days of its end a certificate is renewed unless asked otherwise. It is told by
/// daemons and tools from then on.
const NOTICE_DAYS: u32 = 30;

/// How many certificates are made in memory before they are written.
const BATCH: usize = 256;

/// Make the certificates and keys of an Orchestra fleet.
#[derive(Debug, Parser)]
#[command(name = "orchestra-certs", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  orchestra-certs init --dir ca --domain example.com
  orchestra-certs issue --dir ca player 'fe[1-6].example.com,db1.example.com'";

#[derive(Debug, Subcommand)]
enum Command {
    /// Write man pages of this program into a directory; for packagers
    #[command(hide = true)]
    Man {
        /// It is there already
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Make a CA: DIR/ca.pem, which goes to every host, and DIR/ca.key, which goes nowhere
    Init {
        /// Where it is kept; made, if it is not there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// The domain of all its identities
        #[arg(long)]
        domain: HostName,
    },
    /// Issue certificates: DIR/ROLE/NAME.pem and DIR/ROLE/NAME.key
    Issue {
        /// Where the CA is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// conductor, player, audience or relay
        #[arg(value_parser = role)]
        role: Role,
        /// One name; for players a host set like db[1-3]
        names: String,
        /// How long they are valid
        #[arg(long, value_name = "N", default_value_t = LEAF_DAYS)]
        days: u32,
        /// A further name, for foreign tools; Orchestra itself needs none
        #[arg(long = "san", value_name = "DNS-OR-IP")]
        sans: Vec<AltName>,
        /// Replace what is there
        #[arg(long)]
        force: bool,
    },
    /// Make the next certificates, with new keys, in the place of those that end soon or are named
    Renew {
        /// Where the CA is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// conductor, player, audience or relay; none: of every role
        #[arg(value_parser = role)]
        role: Option<Role>,
        /// Only these, whenever they end: one name; for players a host set like db[1-3]
        #[arg(requires = "role")]
        names: Option<String>,
        /// Those that end within so many days, or have ended
        #[arg(long, value_name = "N", default_value_t = NOTICE_DAYS, conflicts_with = "names")]
        within: u32,
        /// How long the next ones are valid
        #[arg(long, value_name = "N", default_value_t = LEAF_DAYS)]
        days: u32,
    },
    /// List the certificates in DIR: role, name, until when, valid, ended or revoked, serial number
    List {
        /// Where the CA is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Only those that end within so many days, or have ended
        #[arg(long, value_name = "N")]
        within: Option<u32>,
    },
    /// Revoke certificates: DIR/ca.crl, which goes to whoever has a revocation list configured
    Revoke {
        /// Where the CA is kept
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Certificates, or serial numbers in hex as logs show them; none: renew the list
        #[arg(value_name = "FILE-OR-SERIAL")]
        certificates: Vec<String>,
        /// How long the list is good for; after that whoever reads it says so
        #[arg(long, value_name = "N", default_value_t = LIST_DAYS)]
        days: u32,
    },
    /// Make the key of a publisher of bundles: DIR/publisher/NAME.key and NAME.pub
    Publisher {
        /// Where keys are kept; no CA has to be there
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What the files are called
        name: AudienceName,
    },
    /// Print whose a certificate is, its serial number and until when it is valid
    Show {
        /// The certificate, in PEM form
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => {
            tell(error.to_string().trim_end());
            return ExitCode::from(USAGE);
        }
        // Help or version, asked for.
        Err(error) => {
            return match error.print() {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => ExitCode::SUCCESS,
            };
        }
    };
    let done = match arguments.command {
        Command::Init { dir, domain } => init(&dir, &domain),
        Command::Issue { dir, role, names, days, sans, force } => {
            issue(&dir, role, &names, &Terms { days, alt_names: sans }, force)
        }
        Command::Renew { dir, role, names, within, days } => {
            let which = match (role, names) {
                (Some(role), Some(names)) => subjects(role, &names).map(Which::Named),
                (role, _) => Ok(Which::Ending { role, within }),
            };
            which.and_then(|which| renew(&dir, &which, days))
        }
        Command::List { dir, within } => list(&dir, within),
        Command::Revoke { dir, certificates, days } => revoke(&dir, &certificates, days),
        Command::Publisher { dir, name } => publisher(&dir, &name),
        Command::Show { file } => show(&file),
        Command::Man { dir } => man(&dir),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tell(format_args!("orchestra-certs: {}", chain(failure.error.as_ref())));
            if let Some(hint) = failure.hint {
                tell(format_args!("hint: {hint}"));
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Tells something on standard error, without what a terminal obeys: names of files and arguments are
/// somebody else's words. What was done is done, whether or not anybody can read of it.
fn tell(said: impl Display) {
    let said = said.to_string();
    let mut stderr = io::stderr();
    let _ = stderr.write_all(&foreign::lines(said.as_bytes()));
    let _ = stderr.write_all(b"\n");
}

fn init(dir: &Path, domain: &HostName) -> Result<(), Failure> {
    Ca::init(dir, domain).map_err(|error| {
        Failure::from(error).hinted_if_there("a CA is never replaced; take another --dir")
    })?;
    let shown = dir.display();
    tell(format_args!(
        "made a CA of {domain}: {shown}/ca.pem is for every host, {shown}/ca.key for nobody"
    ));
    Ok(())
}

fn issue(dir: &Path, role: Role, names: &str, terms: &Terms, force: bool) -> Result<(), Failure> {
    let subjects = subjects(role, names)?;
    if subjects.len() > 1 && !terms.alt_names.is_empty() {
        return Err(Failure::usage("--san is for one certificate at a time"));
    }
    let ca = Ca::open(dir)?;
    for batch in subjects.chunks(BATCH) {
        let issued: Result<Vec<_>, _> =
            batch.iter().map(|subject| ca.issue(subject, terms)).collect();
        ca.save(&issued?, force)
            .map_err(|error| Failure::from(error).hinted_if_there("--force replaces it"))?;
    }
    let (dir, count) = (dir.display(), subjects.len());
    match subjects.as_slice() {
        [one] => tell(format_args!("issued {dir}/{one}.pem and {dir}/{one}.key")),
        _ => tell(format_args!("issued {count} certificates with their keys in {dir}/{role}")),
    }
    Ok(())
}

/// Which certificates are renewed.
enum Which {
    Named(Vec<Subject>),
    Ending { role: Option<Role>, within: u32 },
}

impl Which {
    fn is_meant(&self, kept: &HeldCertificate) -> bool {
        match self {
            Self::Named(subjects) => subjects.contains(&kept.subject),
            Self::Ending { role, within } => {
                role.is_none_or(|role| kept.subject.role() == role) && kept.ends_within(*within)
            }
        }
    }
}

fn renew(dir: &Path, which: &Which, days: u32) -> Result<(), Failure> {
    let ca = Ca::open(dir)?;
    let mut kept = ca.kept()?;
    if let Which::Named(subjects) = which
        && let Some(missing) =
            subjects.iter().find(|wanted| kept.iter().all(|kept| kept.subject != **wanted))
    {
        let (role, name, dir) = (missing.role(), missing.name(), dir.display());
        return Err(Failure::usage(format!(
            "{dir} has no certificate of {missing} to renew; issue one: orchestra-certs issue --dir \
             {dir} {role} {name}"
        )));
    }
    kept.retain(|kept| which.is_meant(kept));
    let (revoked, renewed): (Vec<&HeldCertificate>, Vec<&HeldCertificate>) =
        kept.iter().partition(|kept| kept.validity == Validity::Revoked);
    for batch in renewed.chunks(BATCH) {
        let issued: Result<Vec<_>, _> = batch.iter().map(|kept| next_of(&ca, kept, days)).collect();
        ca.save(&issued?, true)?;
    }
    let lines: String = renewed.iter().map(|kept| format!("{}\n", kept.subject)).collect();
    answer(&lines, "listing what was renewed")?;
    for kept in &revoked {
        tell(format_args!(
            "{} is revoked and not renewed; issue it anew if it is wanted",
            kept.subject
        ));
    }
    tell(format_args!(
        "renewed {} certificates, with new keys; bring both to their hosts. The old ones are valid until \
         they end: revoke those whose keys may be known",
        renewed.len()
    ));
    Ok(())
}

fn next_of(ca: &Ca, kept: &HeldCertificate, days: u32) -> Result<Issued, CaError> {
    ca.issue(&kept.subject, &Terms { days, alt_names: kept.alt_names.clone() })
}

fn list(dir: &Path, within: Option<u32>) -> Result<(), Failure> {
    let mut kept = Ca::open(dir)?.kept()?;
    kept.retain(|kept| within.is_none_or(|days| kept.ends_within(days)));
    let mut text = String::new();
    for HeldCertificate { subject, serial, ends, validity, .. } in &kept {
        let since = ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = x509::moment(Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)));
        let (role, name, validity) = (subject.role().as_str(), subject.name(), validity.as_str());
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{role:<9} {name:<32} {until} {validity:<7} {serial}");
    }
    answer(&text, "listing certificates")
}

/// Prints an answer to standard output.
fn answer(text: &str, attempted: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        // A reader that closed the pipe has seen what it wanted.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure {
            error: format!("{attempted}: writing to standard output: {error}").into(),
            hint: None,
            code: 1,
        }),
        _ => Ok(()),
    }
}

fn subjects(role: Role, names: &str) -> Result<Vec<Subject>, Failure> {
    let of_host = match role {
        Role::Player => Subject::Player,
        Role::Relay => Subject::Relay,
        Role::Conductor | Role::Audience => {
            return Ok(vec![Subject::new(role, names).map_err(Failure::usage)?]);
        }
    };
    let hosts = HostSet::define(names).map_err(Failure::usage)?;
    if hosts.is_empty() {
        return Err(Failure::usage("the host set is empty"));
    }
    Ok(hosts.iter().cloned().map(of_host).collect())
}

fn revoke(dir: &Path, certificates: &[String], days: u32) -> Result<(), Failure> {
    let ca = Ca::open(dir)?;
    let mut serials = Vec::with_capacity(certificates.len());
    for text in certificates {
        serials.push(ca.serial(text)?);
    }
    let Revoked { path, added, all } = ca.revoke(&serials, days)?;
    let shown = path.display();
    tell(format_args!(
        "revoked {added} certificates, {all} in all; put {shown} in its places (tls.crl), and reload \
         what reads it"
    ));
    Ok(())
}

fn man(dir: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(Arguments::command(), dir).map_err(|source| {
        let why = format!("writing man pages into {}: {source}", dir.display());
        Failure { error: why.into(), hint: None, code: 1 }
    })?;
    tell(format_args!("man pages are in {}", dir.display()));
    Ok(())
}

fn publisher(dir: &Path, name: &AudienceName) -> Result<(), Failure> {
    let NewPublisher { private, key, .. } = new_publisher(dir, name).map_err(|error| {
        Failure::from(error)
            .hinted_if_there("a publisher's key is never replaced; take another name")
    })?;
    tell(format_args!(
        "made a publisher's key: {} is for who publishes, and for nobody else; {key} \
                       is what places name it by",
        private.display()
    ));
    answer(&format!("{key}\n"), "telling the public key")
}

fn show(file: &Path) -> Result<(), Failure> {
    let mut text = String::new();
    for der in read_certificates(file)? {
        let (_, certificate) = X509Certificate::from_der(&der).map_err(|cause| {
            Failure::usage(format!("{} holds no X.509 certificate: {cause}", file.display()))
        })?;
        if !text.is_empty() {
            text.push('\n');
        }
        describe(&certificate, &mut text);
    }
    answer(&text, &format!("showing {}", file.display()))
}

fn describe(certificate: &X509Certificate<'_>, text: &mut String) {
    let identity = match Identity::of_parsed(certificate) {
        _ if certificate.is_ca() => "none: a CA".to_owned(),
        Ok(identity) => identity.to_string(),
        Err(why) => format!("none: {}", chain(&why)),
    };
    let validity = certificate.validity();
    let names = certificate.subject_alternative_name().ok().flatten();
    let names: Vec<String> = names
        .map_or(&[][..], |extension| &extension.value.general_names)
        .iter()
        .map(shown_name)
        .collect();
    // Writing to a string cannot fail.
    let _ = writeln!(text, "identity  {identity}");
    let _ = writeln!(text, "serial    {}", x509::serial(certificate));
    let _ = writeln!(
        text,
        "valid     {} to {}",
        x509::utc(&validity.not_before),
        x509::utc(&validity.not_after)
    );
    let _ = writeln!(text, "names     {}", names.join(", "));
}

/// Names come from whoever made the file, so control characters are escaped.
fn shown_name(name: &GeneralName<'_>) -> String {
    match name {
        GeneralName::URI(uri) => format!("URI:{}", uri.escape_debug()),
        GeneralName::DNSName(name) => format!("DNS:{}", name.escape_debug()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(v4) => format!("IP:{}", std::net::Ipv4Addr::from(v4)),
            Err(_) => match <[u8; 16]>::try_from(*bytes) {
                Ok(v6) => format!("IP:{}", std::net::Ipv6Addr::from(v6)),
                Err(_) => "IP:?".to_owned(),
            },
        },
        _ => "another kind of name".to_owned(),
    }
}

fn role(text: &str) -> Result<Role, String> {
    Role::ALL
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| "the roles are conductor, player, audience and relay".to_owned())
}

/// What is printed, and the exit code.
#[derive(Debug)]
struct Failure {
    error: Box<dyn Error>,
    hint: Option<&'static str>,
    code: u8,
}

impl Failure {
    fn usage(error: impl Into<Box<dyn Error>>) -> Failure {
        Failure { error: error.into(), hint: None, code: USAGE }
    }

    /// What to do about a file that is there already depends on what was to be made.
    fn hinted_if_there(mut self, hint: &'static str) -> Failure {
        if let Some(CaError::Exists(_)) = self.error.downcast_ref() {
            self.hint = Some(hint);
        }
        self
    }
}

impl From<CaError> for Failure {
    fn from(error: CaError) -> Failure {
        let (hint, code) = match &error {
            CaError::Days { .. } => (None, USAGE),
            CaError::Load(LoadError::Read { .. }) => {
                (Some("orchestra-certs init --dir DIR --domain DOMAIN makes a CA"), 1)
            }
            _ => (None, 1),
        };
        Failure { error: error.into(), hint, code }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Failure {
        let code = match error {
            LoadError::Nothing { .. } | LoadError::Pem { .. } => USAGE,
            _ => 1,
        };
        Failure { error: error.into(), hint: None, code }
    }
}
