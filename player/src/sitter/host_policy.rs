//! The host's own policy: which audiences may run which scores here, whatever the conductor allows.
//!
//! ```toml
//! [[allow]]
//! who = ["alice", "ci-*"]       # audiences: exactly so, or what begins so, or "*"
//! scores = ["deploy-*"]         # scores likewise
//! ```
//!
//! What no entry allows is refused. The file is named by `policy` of `player.toml`; without that key it
//! is left to the conductor. A file that is named and cannot be read never counts as none: the one that
//! was read last stays in force, and where none was, every order is refused and told why.
//!
//! The name of the audience is the conductor's word: this keeps out what a conductor sends that does
//! not lie about who asked (SECURITY.md).

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use orchestra_certs::read_regular;
use orchestra_document::{Fields, Problems, settings};
use orchestra_model::{Asker, ScoreName, chain, delivery::Refusal, policy::Pattern};
use rustix::process::geteuid;

/// Longest file, in bytes.
const FILE_BYTES: u64 = 1 << 20;
/// What stands for every name.
const ANY: &str = "*";

/// The host's own policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostPolicy {
    /// There is none, so it is left to the conductor.
    #[default]
    None,
    /// What these entries allow, and nothing else.
    Entries(Vec<Entry>),
    /// It could never be read, for this reason.
    Unread(String),
}

/// Some audiences, and the scores that they may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    who: Vec<Pattern>,
    scores: Vec<Pattern>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostPolicyError {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// Somebody else can write it.
    #[error("user {owner} owns it, or others than its owner may write it (mode {mode:04o})")]
    Writable { owner: u32, mode: u32 },
    /// It does not say who may do what. Contains all problems.
    #[error("it is not valid")]
    Content(#[source] Problems),
}

impl HostPolicy {
    /// Reads the file that is in force from now on, if it can be used; else the policy before stays.
    pub(crate) fn load(path: Option<&Path>, before: &HostPolicy) -> Self {
        let Some(path) = path else { return Self::None };
        match Self::read(path) {
            Ok(policy) => policy,
            Err(error) => {
                let (file, error) = (path.display(), chain(&error));
                let why = format!("{file}: {error}");
                match before {
                    Self::Entries(_) => {
                        tracing::error!(%why, "the host's policy cannot be used; the last one stays");
                        before.clone()
                    }
                    Self::None | Self::Unread(_) => {
                        tracing::error!(%why, "the host's policy cannot be used; every order is refused");
                        Self::Unread(why)
                    }
                }
            }
        }
    }

    /// Reads a file, which nobody but its owner may be able to write, and only we or root may own.
    pub(crate) fn read(path: &Path) -> Result<Self, HostPolicyError> {
        let text = read_regular(path, FILE_BYTES).map_err(HostPolicyError::Read)?;
        let found = fs::metadata(path).map_err(HostPolicyError::Read)?;
        let (owner, mode) = (found.uid(), found.mode() & 0o7777);
        if mode & 0o022 != 0 || (owner != 0 && owner != geteuid().as_raw()) {
            return Err(HostPolicyError::Writable { owner, mode });
        }
        Self::parse(&text).map_err(HostPolicyError::Content)
    }

    fn parse(text: &str) -> Result<Self, Problems> {
        settings(text, |fields, problems| {
            let nodes = fields.list("allow", problems).unwrap_or_default();
            if nodes.is_empty() {
                problems.add("", "there is no [[allow]], so nobody may run anything");
            }
            let mut entries = Vec::new();
            for (number, node) in (1..).zip(nodes) {
                let place = format!("allow {number}");
                let Some(mut fields) = Fields::of(node, &place, problems) else { continue };
                let who = patterns("who", &mut fields, problems);
                let scores = patterns("scores", &mut fields, problems);
                fields.finish(&[], problems);
                entries.extend(who.zip(scores).map(|(who, scores)| Entry { who, scores }));
            }
            problems.is_empty().then_some(Self::Entries(entries))
        })
    }

    /// Refuses a score that an audience may not run here.
    pub(crate) fn check(&self, by: &Asker, score: &ScoreName) -> Result<(), Refusal> {
        let has = |patterns: &[Pattern], name: &str| patterns.iter().any(|it| it.matches(name));
        match self {
            Self::None => Ok(()),
            Self::Unread(why) => Err(Refusal::Policy(why.clone())),
            Self::Entries(entries) => {
                let allows = |entry: &Entry| {
                    has(&entry.who, by.as_str()) && has(&entry.scores, score.as_str())
                };
                match entries.iter().any(allows) {
                    true => Ok(()),
                    false => {
                        Err(Refusal::Policy(format!("nothing in it lets {by} run {score} here")))
                    }
                }
            }
        }
    }

    /// Returns how many entries it has; `None` if it is left to the conductor.
    pub(crate) fn entries(&self) -> Option<usize> {
        match self {
            Self::None => None,
            Self::Entries(entries) => Some(entries.len()),
            Self::Unread(_) => Some(0),
        }
    }
}

/// Reads patterns, of which there has to be one.
fn patterns(
    key: &'static str,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<Vec<Pattern>> {
    fields.needed(key, problems);
    let texts = fields.texts(key, problems)?;
    let mut patterns = Vec::new();
    for text in &texts {
        match Pattern::read(text) {
            Some(pattern) => patterns.push(pattern),
            None => fields.note(
                key,
                format_args!("{text:?} is neither a name nor NAME*; {ANY:?} is every name"),
                problems,
            ),
        }
    }
    if texts.is_empty() {
        fields.note(key, "it names nothing", problems);
    }
    Some(patterns)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const GOOD: &str = "[[allow]]\nwho = [\"alice\", \"ci-*\"]\nscores = [\"deploy-*\", \"@deliver\"]\n\
                        [[allow]]\nwho = [\"*\"]\nscores = [\"uptime\"]\n";

    fn is_allowed(policy: &HostPolicy, by: &str, score: &str) -> bool {
        let (by, score) = (Asker::from_word(by).unwrap(), ScoreName::new(score).unwrap());
        policy.check(&by, &score).is_ok()
    }

    #[test]
    fn what_no_entry_allows_is_refused() {
        let policy = HostPolicy::parse(GOOD).unwrap();
        for (by, score, allowed) in [
            ("alice", "deploy-web", true),
            ("ci-main", "@deliver", true),
            ("alice", "reboot", false),
            ("alicea", "deploy-web", false),
            ("bob", "deploy-web", false),
            ("bob", "uptime", true),
            ("orchestra:files", "uptime", true),
            ("orchestra:files", "deploy-web", false),
        ] {
            assert_eq!(is_allowed(&policy, by, score), allowed, "{by} {score}");
        }
        assert!(is_allowed(&HostPolicy::None, "bob", "reboot"));
        assert!(!is_allowed(&HostPolicy::Unread("gone".into()), "alice", "uptime"));
    }

    #[test]
    fn whatever_is_wrong_is_told() {
        for (text, told) in [
            ("", "nobody may run anything"),
            ("[[allow]]\nwho = [\"a\"]\n", "scores is missing"),
            ("[[allow]]\nwho = [\"*a\"]\nscores = [\"x\"]\n", "neither a name nor NAME*"),
            ("[[allow]]\nwho = []\nscores = [\"x\"]\n", "it names nothing"),
            ("[[allow]]\nwho = [\"a\"]\nscores = [\"x\"]\nhosts = \"*\"\n", "unknown field"),
        ] {
            let problems = HostPolicy::parse(text).unwrap_err().to_string();
            assert!(problems.contains(told), "{text}: {problems}");
        }
    }

    /// A file that is gone, broken or others may write never counts as none.
    #[test]
    fn the_last_policy_stays_until_there_is_a_good_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("policy.toml");
        let missing = HostPolicy::load(Some(&path), &HostPolicy::None);
        assert!(matches!(&missing, HostPolicy::Unread(why) if why.contains("policy.toml")));
        fs::write(&path, GOOD).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let good = HostPolicy::load(Some(&path), &missing);
        assert_eq!(good, HostPolicy::parse(GOOD).unwrap());
        fs::write(&path, "[[allow]]\n").unwrap();
        assert_eq!(HostPolicy::load(Some(&path), &good), good);
        fs::write(&path, GOOD.replace("uptime", "reboot")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        assert_eq!(HostPolicy::load(Some(&path), &good), good);
        fs::remove_file(&path).unwrap();
        assert_eq!(HostPolicy::load(Some(&path), &good), good);
        assert_eq!(HostPolicy::load(None, &good), HostPolicy::None);
    }
}
