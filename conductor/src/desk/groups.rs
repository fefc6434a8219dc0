//! Lists the words that may stand after an `@`.

use std::sync::Arc;

use orchestra_model::{AudienceName, HostSet};

use super::{Desk, Recipient, Stopped, off_the_runtime};
use crate::fleet::{Fleet, Word};

/// Longest folded host set of one group, in bytes: a page of a list has room for it. To resolve the
/// group as a host set gives all hosts.
const HOSTS_BYTES: usize = 64 << 10;

/// A word that may stand after an `@`, and its hosts.
#[derive(Debug)]
pub(crate) struct ListedGroup {
    pub(crate) word: Word,
    /// Folded, and cut if that is long.
    pub(crate) hosts: String,
    /// How many hosts there are.
    pub(crate) count: u32,
}

impl Desk {
    /// Lists every word that may stand after an `@`.
    pub(crate) async fn list_groups(
        &self,
        by: &AudienceName,
        to: &impl Recipient<Vec<ListedGroup>>,
    ) -> Result<(), Stopped> {
        self.check_sees_all(by)?;
        let fleet = Arc::clone(&self.fleet.borrow());
        to.give(off_the_runtime(move || groups(&fleet)).await?).await
    }
}

fn groups(fleet: &Fleet) -> Vec<ListedGroup> {
    let words = fleet.words().map(|(word, hosts)| {
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        ListedGroup { word, hosts: folded(&hosts), count }
    });
    words.collect()
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
