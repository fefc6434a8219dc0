//! The bundles of a depot, a line each.

use std::io;

use orchestra_bundle::{DamagedBundle, StoredBundle};
use orchestra_model::{ByteSize, chain};
use serde::Serialize;

use super::OfBundle;
use crate::view::{Output, Page, Style, one_line, when_about};

/// What is in a depot.
pub(crate) struct List(pub(crate) Vec<Result<StoredBundle, DamagedBundle>>);

impl Output for List {
    fn noun(&self) -> &'static str {
        "bundles"
    }

    fn json(self) -> impl Serialize {
        let of = |listed: Result<StoredBundle, DamagedBundle>| match listed {
            Ok(bundle) => Listed {
                id: bundle.id.to_string(),
                pinned: bundle.is_pinned(),
                bundle: Some(OfBundle::new(&bundle.seal)),
                damaged: None,
            },
            Err(DamagedBundle { id, why }) => Listed {
                id: id.to_string(),
                pinned: false,
                bundle: None,
                damaged: Some(chain(&why)),
            },
        };
        self.0.into_iter().map(of).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(out, "{:>8} {:>8} {:>6} {:<20} BUNDLE", "ENTRIES", "SIZE", "SIGNED", "EXPIRES")?;
        for listed in &self.0 {
            match listed {
                Ok(bundle) => line(out, bundle)?,
                Err(DamagedBundle { id, why }) => {
                    let why = one_line(&chain(why));
                    writeln!(out, "{} {id}: {why}", style.warning("damaged"))?;
                }
            }
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        self.0.is_empty().then(|| "no bundles".to_owned())
    }
}

fn line(out: &mut dyn Page, bundle: &StoredBundle) -> io::Result<()> {
    let said = &bundle.seal.statement;
    let (size, signed) = (ByteSize(said.size).rounded(), bundle.seal.signatures().len());
    let expires = said.expires.map_or_else(|| "never".to_owned(), when_about);
    let (entries, name, serial) = (said.entries, &said.name, said.serial);
    let pinned = if bundle.is_pinned() { " pinned" } else { "" };
    let id = bundle.id;
    writeln!(out, "{entries:>8} {size:>8} {signed:>6} {expires:<20} {name}@{serial} {id}{pinned}")
}

#[derive(Serialize)]
struct Listed {
    id: String,
    /// Whether it stays in the depot.
    pinned: bool,
    bundle: Option<OfBundle>,
    /// Why nothing is known of it.
    damaged: Option<String>,
}
