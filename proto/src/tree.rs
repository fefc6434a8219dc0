//! Trees.

use std::sync::Arc;

use orchestra_model::{
    HostName, HostSet, JobName,
    ledger::Serving,
    limits,
    tree::{Advance, MOST_BRANCHES, MOST_LABELS, Orphans, Parent, TOLD_HOSTS, TreePlace, TreeSpec},
};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

impl From<&TreeSpec> for v1::Tree {
    fn from(tree: &TreeSpec) -> Self {
        use v1::tree::{Advance as WireAdvance, Orphans as WireOrphans};
        Self {
            branches: tree.branches,
            by: tree.by.iter().map(ToString::to_string).collect(),
            root: tree.root.clone().unwrap_or_default(),
            advance: match tree.advance {
                Advance::Host => WireAdvance::Host,
                Advance::Generation => WireAdvance::Generation,
            }
            .into(),
            orphans: match tree.orphans {
                Orphans::Adopt => WireOrphans::Adopt,
                Orphans::Root => WireOrphans::Root,
                Orphans::Skip => WireOrphans::Skip,
            }
            .into(),
        }
    }
}

impl TryFrom<&v1::Tree> for TreeSpec {
    type Error = Invalid;

    fn try_from(tree: &v1::Tree) -> Result<Self, Invalid> {
        use v1::tree::{Advance as WireAdvance, Orphans as WireOrphans};
        let advance = WireAdvance::try_from(tree.advance).in_field("Tree.advance")?;
        let orphans = WireOrphans::try_from(tree.orphans).in_field("Tree.orphans")?;
        if tree.by.len() > MOST_LABELS || tree.by.iter().any(|key| key.len() > limits::NAME_BYTES) {
            return Err(Invalid::field("Tree.by"));
        }
        Ok(TreeSpec {
            branches: tree.branches,
            by: tree.by.iter().map(|key| Arc::from(key.as_str())).collect(),
            root: Some(tree.root.clone()).filter(|root| !root.is_empty()),
            advance: match advance {
                WireAdvance::Host | WireAdvance::Unspecified => Advance::Host,
                WireAdvance::Generation => Advance::Generation,
            },
            orphans: match orphans {
                WireOrphans::Adopt | WireOrphans::Unspecified => Orphans::Adopt,
                WireOrphans::Root => Orphans::Root,
                WireOrphans::Skip => Orphans::Skip,
            },
        })
    }
}

impl From<&TreePlace> for v1::TreePlace {
    fn from(place: &TreePlace) -> Self {
        let names = |hosts: &[HostName]| hosts.iter().map(ToString::to_string).collect();
        Self {
            parent: place.parent.to_string(),
            ancestors: names(&place.ancestors),
            root: names(&place.root),
            depth: place.depth,
            children: names(&place.children),
        }
    }
}

impl TryFrom<&v1::TreePlace> for TreePlace {
    type Error = Invalid;

    fn try_from(place: &v1::TreePlace) -> Result<Self, Invalid> {
        let names = |hosts: &[String], most: usize, field| -> Result<Vec<HostName>, Invalid> {
            if hosts.len() > most {
                return Err(Invalid::field(field));
            }
            hosts.iter().map(|host| HostName::new(host).in_field(field)).collect()
        };
        Ok(TreePlace {
            parent: Parent::from_word(&place.parent).in_field("TreePlace.parent")?,
            ancestors: names(&place.ancestors, TOLD_HOSTS, "TreePlace.ancestors")?,
            root: names(&place.root, TOLD_HOSTS, "TreePlace.root")?,
            depth: place.depth,
            children: names(&place.children, MOST_BRANCHES as usize, "TreePlace.children")?,
        })
    }
}

impl From<&Serving> for v1::PlanServing {
    fn from(serving: &Serving) -> Self {
        Self {
            job_name: serving.job.to_string(),
            parent: serving.parent.to_string(),
            children: serving.children.to_string(),
            count: u32::try_from(serving.children.len()).unwrap_or(u32::MAX),
        }
    }
}

impl TryFrom<v1::PlanServing> for Serving {
    type Error = Invalid;

    fn try_from(serving: v1::PlanServing) -> Result<Self, Invalid> {
        let children = HostSet::parse_plain(&serving.children);
        Ok(Serving {
            job: JobName::new(&serving.job_name).in_field("PlanServing.job_name")?,
            parent: Parent::from_word(&serving.parent).in_field("PlanServing.parent")?,
            children: children.in_field("PlanServing.children")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> TreePlace {
        let host = |name: &str| HostName::new(name).unwrap();
        TreePlace {
            parent: Parent::Host(host("fe1")),
            ancestors: vec![host("fe1"), host("b1")],
            root: vec![host("b1")],
            depth: 2,
            children: vec![host("fe3"), host("fe4")],
        }
    }

    #[test]
    fn a_tree_and_a_place_in_it_are_read_back() {
        for advance in [Advance::Host, Advance::Generation] {
            for orphans in [Orphans::Adopt, Orphans::Root, Orphans::Skip] {
                let by = vec!["site".into(), "rack".into()];
                let tree = TreeSpec { branches: 64, by, root: Some("b1".into()), advance, orphans };
                assert_eq!(TreeSpec::try_from(&v1::Tree::from(&tree)).unwrap(), tree);
            }
        }
        let nobody = TreePlace { parent: Parent::Nobody, ancestors: Vec::new(), ..place() };
        for place in [place(), nobody] {
            assert_eq!(TreePlace::try_from(&v1::TreePlace::from(&place)).unwrap(), place);
        }
    }

    #[test]
    fn a_place_has_bounds() {
        let many = |count: usize| vec!["fe1".to_owned(); count];
        let wire = || v1::TreePlace::from(&place());
        for (wrong, field) in [
            (v1::TreePlace { parent: "a b".to_owned(), ..wire() }, "TreePlace.parent"),
            (v1::TreePlace { ancestors: many(17), ..wire() }, "TreePlace.ancestors"),
            (v1::TreePlace { root: many(17), ..wire() }, "TreePlace.root"),
            (v1::TreePlace { children: many(65), ..wire() }, "TreePlace.children"),
            (v1::TreePlace { children: vec![String::new()], ..wire() }, "TreePlace.children"),
        ] {
            let told = TreePlace::try_from(&wrong).unwrap_err().to_string();
            assert!(told.starts_with(field), "{told}");
        }
        let by = v1::Tree { by: vec!["a".repeat(65)], ..v1::Tree::default() };
        assert!(TreeSpec::try_from(&by).unwrap_err().to_string().starts_with("Tree.by"));
    }
}
