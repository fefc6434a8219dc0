//! `orc groups`: what may stand after an `@`.

use std::sync::Arc;

use orchestra_model::HostSet;
use orchestra_proto::v1::{self, GroupKind};

use super::{Desk, Sender, listing::cut, off_the_runtime};
use crate::declined::Declined;
use crate::fleet::{Fleet, Word};

/// Longest folded host set of one group, in bytes: a page has room for it. `orc hostset` resolves
/// what is cut.
const HOSTS_BYTES: usize = 64 << 10;

impl Desk {
    pub(crate) async fn send_groups(self, pages: Sender<v1::GroupPage>) -> Result<(), Declined> {
        let fleet = Arc::clone(&self.fleet.borrow());
        let page = |groups| v1::GroupPage { groups };
        let all = move || cut(groups(&fleet)).into_iter().map(page).collect::<Vec<_>>();
        for page in off_the_runtime(all).await? {
            if pages.send(Ok(page)).await.is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn groups(fleet: &Fleet) -> impl Iterator<Item = v1::Group> {
    fleet.words().map(|(word, hosts)| {
        let (name, kind) = match word {
            Word::All => ("all".to_owned(), GroupKind::All),
            Word::Group(name) => (name.to_string(), GroupKind::Group),
            Word::App(name) => (name.to_string(), GroupKind::App),
            Word::Label(key, value) => (format!("{key}={value}"), GroupKind::Label),
        };
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        v1::Group { name, kind: kind.into(), hosts: folded(&hosts), count }
    })
}

fn folded(hosts: &HostSet) -> String {
    let mut text = hosts.to_string();
    // A folded host set is ASCII.
    if text.len() > HOSTS_BYTES {
        text.truncate(HOSTS_BYTES);
        text.push('…');
    }
    text
}
