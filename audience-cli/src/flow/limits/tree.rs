//! A job's tree as the audience asks for it: the flags `--tree…` of `submitjob`, and the table `tree`
//! of a job in a flow file. They have the same words and defaults; the table says more.

use std::sync::Arc;

use orchestra_document::{Fields, Problems};
use orchestra_model::tree::{Advance, MOST_BRANCHES, Orphans, TreeSpec};

/// What was asked for.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TreeFlags {
    /// Hosts fetch from hosts that are ok; each serves so many at once
    #[arg(long = "tree", value_name = "BRANCHES", conflicts_with = "flow",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_BRANCHES)))]
    branches: Option<u32>,
    /// … one host of each group fetches from elsewhere, by labels
    #[arg(
        long = "tree-by",
        value_name = "LABEL,...",
        value_delimiter = ',',
        requires = "branches"
    )]
    by: Vec<String>,
    /// … these have it already [default: the first host has no parent]
    #[arg(long = "tree-root", value_name = "HOSTS", requires = "branches")]
    root: Option<String>,
    /// In a flow file alone: when a task may start.
    #[arg(skip)]
    advance: Option<Advance>,
    /// In a flow file alone: what becomes of a task whose planned parent failed.
    #[arg(skip)]
    orphans: Option<Orphans>,
}

impl TreeFlags {
    /// The tree, if one was asked for.
    pub(super) fn tree(self) -> Option<Arc<TreeSpec>> {
        let Self { branches, by, root, advance, orphans } = self;
        Some(Arc::new(TreeSpec {
            branches: branches?,
            by: by.into_iter().map(Arc::from).collect(),
            root,
            advance: advance.unwrap_or_default(),
            orphans: orphans.unwrap_or_default(),
        }))
    }

    /// From the table `tree` of a job in a flow file.
    pub(super) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Self {
        if !fields.is_given("tree") {
            return Self::default();
        }
        let Some(mut tree) = fields.table("tree", problems) else { return Self::default() };
        let read = Self {
            branches: Some(tree.whole("branches", 1..=MOST_BRANCHES, problems).unwrap_or(2)),
            by: tree.texts("by", problems).unwrap_or_default(),
            root: tree.host_set("root", problems),
            advance: super::word("advance", advance, &mut tree, problems),
            orphans: super::word("orphans", orphans, &mut tree, problems),
        };
        tree.finish(&[], problems);
        read
    }
}

fn advance(word: &str) -> Result<Advance, &'static str> {
    match word {
        "host" => Ok(Advance::Host),
        "generation" => Ok(Advance::Generation),
        _ => Err("it is host or generation"),
    }
}

fn orphans(word: &str) -> Result<Orphans, &'static str> {
    match word {
        "adopt" => Ok(Orphans::Adopt),
        "root" => Ok(Orphans::Root),
        "skip" => Ok(Orphans::Skip),
        _ => Err("it is adopt, root or skip"),
    }
}
