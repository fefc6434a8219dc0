//! `orc bundle publish`.

use std::{collections::BTreeSet, path::PathBuf};

use orchestra_bundle::{Exclusion, Publication, publish};
use orchestra_client::Exit;
use orchestra_model::{BundleName, Millis, bundle::BundleSerial, time::Timestamp};

use super::{DepotArgs, failed, publishers, register::SourceArgs};
use crate::{
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::bundle::Told,
};

/// `orc bundle publish`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle publish site --name site --sign release.key --exclude .git
  orc bundle publish site --name site --expires 90d --depot /srv/depot")]
pub(crate) struct Publish {
    /// The directory; what is in it becomes the bundle
    #[arg(value_name = "DIR")]
    source: PathBuf,
    /// How the bundle is called
    #[arg(long, value_name = "NAME")]
    name: BundleName,
    #[command(flatten)]
    depot: DepotArgs,
    /// Which bundle of its name it is; one more than the highest in the depot if not given
    #[arg(long, value_name = "N")]
    serial: Option<BundleSerial>,
    /// After how long no host is to take it any more; never if not given
    #[arg(long, value_name = "DURATION")]
    expires: Option<Millis>,
    /// The private key of a publisher who signs it; several sign it together
    #[arg(long = "sign", value_name = "FILE")]
    keys: Vec<PathBuf>,
    /// Leave out what fits: *.o anywhere, docs/*.tmp from the top
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<Exclusion>,
    /// An extended attribute that is carried: user.NAME
    #[arg(long = "xattr", value_name = "NAME", value_parser = xattr)]
    xattrs: Vec<String>,
    /// Have the conductor know it too, as `orc bundle register` does
    #[arg(long)]
    register: bool,
    #[command(flatten)]
    copy: SourceArgs,
}

impl Verb for Publish {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let publishers = publishers(&self.keys)?;
        let xattrs: BTreeSet<Vec<u8>> = self.xattrs.into_iter().map(String::into_bytes).collect();
        let publication = Publication {
            domain: program.domain()?,
            name: self.name,
            serial: self.serial,
            expires: self.expires.map(|after| Timestamp(now().0.saturating_add(after.0))),
            exclude: self.exclude,
            xattrs,
        };
        let attempt = format!("publishing {}", self.source.display());
        let published = publish(&self.source, &self.depot.depot(), &publication, &publishers)
            .map_err(|error| failed(attempt, error))?;
        if self.register {
            let source = self.copy.host()?;
            program.ask(async |client, _| {
                client.register_bundle(&published.bundle.seal, Some(&source)).await?;
                Ok(())
            })?;
        }
        program.console.answer(Told(published))?;
        Ok(Exit::Ok)
    }
}

fn xattr(text: &str) -> Result<String, &'static str> {
    match text.strip_prefix("user.") {
        Some(own) if !own.is_empty() && text.len() <= 255 => Ok(text.to_owned()),
        _ => Err("it is user. and 1 to 250 bytes; others carry rights, and no bundle does"),
    }
}
