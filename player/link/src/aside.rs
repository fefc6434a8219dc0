//! What an agent and its conductor have to say to each other beside what the sitter says: of bundles that
//! are fetched.

use orchestra_proto::v1;
use tokio::sync::mpsc;

/// Most reports that wait for the session. Each bundle is told of once a second.
const REPORTS: usize = 256;
/// Most answers that wait for whoever fetches. What does not fit is asked for again.
const HEARD: usize = 256;

/// The session's end of what is said aside. Without somebody at the other end it is silent.
#[derive(Debug)]
pub struct Aside {
    /// What is to be sent while a session stands whose conductor names sources.
    pub(crate) reports: mpsc::Receiver<v1::FetchReport>,
    pub(crate) heard: mpsc::Sender<HeardAside>,
}

/// The other end, of whoever fetches.
#[derive(Debug)]
pub struct Fetching {
    pub reports: mpsc::Sender<v1::FetchReport>,
    pub heard: mpsc::Receiver<HeardAside>,
}

/// What whoever fetches is told.
#[derive(Clone, Debug, PartialEq)]
pub enum HeardAside {
    /// A session stands.
    Attached {
        /// Whether its conductor names sources of bundles.
        names_sources: bool,
    },
    /// It is over. What was not sent is forgotten.
    Detached,
    /// From whom a bundle may be fetched.
    Sources(v1::FetchSources),
}

impl Aside {
    /// Both ends.
    pub fn pair() -> (Aside, Fetching) {
        let (report, reports) = mpsc::channel(REPORTS);
        let (tell, heard) = mpsc::channel(HEARD);
        (Aside { reports, heard: tell }, Fetching { reports: report, heard })
    }

    /// An end without another.
    pub fn none() -> Aside {
        Self::pair().0
    }

    /// Tells whoever fetches. That a session begins or ends is told for certain, because there are few of
    /// those; sources that do not fit are asked for again.
    pub(crate) async fn tell(&self, heard: HeardAside) {
        match heard {
            HeardAside::Sources(_) => drop(self.heard.try_send(heard)),
            // Without somebody there this ends at once.
            HeardAside::Attached { .. } | HeardAside::Detached => {
                let _ = self.heard.send(heard).await;
            }
        }
    }

    /// Forgets what was to be sent in a session that is over.
    pub(crate) fn forget_reports(&mut self) {
        while self.reports.try_recv().is_ok() {}
    }
}
