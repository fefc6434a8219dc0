//! Groups and labels that lose hosts. Deployments, services and flows name their hosts by them. So
//! a file that was cut short or edited by mistake takes hosts out of limits and services, as a
//! players file without these hosts would. So the same bound applies.
//!
//! A group or a label that is gone completely needs no bound: every use of it is an error.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use orchestra_model::{HostSet, record::InForce};

use super::{Fleet, Word};

/// Most groups and labels whose hosts are told.
const TOLD: usize = 8;

/// What groups and labels would lose, if it is more than they may.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Shrunk {
    /// How many hosts leave groups or labels and stay players.
    hosts: usize,
    /// How many players there are.
    players: usize,
    /// How many hosts may leave groups or labels.
    most: u32,
    /// Each group or label that loses hosts, with these hosts.
    words: Vec<(Arc<str>, HostSet)>,
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, players, most, words } = self;
        write!(
            f,
            "groups and labels lack {hosts} of {players} players that were in them, more than \
             {most}:"
        )?;
        for (at, (word, gone)) in words.iter().take(TOLD).enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma} {word} lacks {}", gone.counted())?;
        }
        match words.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, ", and {more} more"),
        }
    }
}

impl Fleet {
    /// Returns groups and labels with their hosts, by the word that stands for each.
    pub(super) fn groups_and_labels(&self) -> impl Iterator<Item = (Arc<str>, HostSet)> {
        self.words().filter_map(|(word, hosts)| {
            let word = match word {
                Word::Group(name) => format!("@{name}"),
                Word::Label(key, value) => format!("@{key}={value}"),
                Word::All | Word::App(_) => return None,
            };
            Some((word.into(), hosts))
        })
    }

    /// Returns which players the groups and labels of this fleet have lost, if these are more than
    /// `most`.
    pub(crate) fn shrinks(&self, before: &InForce, most: u32) -> Option<Shrunk> {
        let now: BTreeMap<Arc<str>, HostSet> = self.groups_and_labels().collect();
        let lost = |(word, was): (&Arc<str>, &HostSet)| {
            let gone = was.minus(now.get(word)?).intersection(self.hosts());
            (!gone.is_empty()).then(|| (Arc::clone(word), gone))
        };
        let words: Vec<_> = before.words.iter().filter_map(lost).collect();
        let hosts: BTreeSet<_> = words.iter().flat_map(|(_, gone)| gone).collect();
        let (hosts, players) = (hosts.len(), self.hosts().len());
        (hosts > most as usize).then_some(Shrunk { hosts, players, most, words })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A fleet of these players and this group.
    fn fleet(players: &str, group: &str) -> Fleet {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("players"), players).unwrap();
        fs::write(place.path().join("groups.toml"), format!("web = \"{group}\"\n")).unwrap();
        Fleet::load(place.path()).unwrap()
    }

    fn told(before: &Fleet, now: &Fleet, most: u32) -> Option<String> {
        now.shrinks(&before.in_force(), most).map(|shrunk| shrunk.to_string())
    }

    #[test]
    fn a_group_that_lost_many_hosts_is_told_with_them() {
        let before = fleet("n[1-20]\n", "n[1-10]");
        let few = fleet("n[1-20]\n", "n[1-4]");
        assert_eq!(told(&before, &few, 6), None);
        assert_eq!(
            told(&before, &few, 4).unwrap(),
            "groups and labels lack 6 of 20 players that were in them, more than 4: @web lacks \
             n[5-10] (6)"
        );
        assert_eq!(told(&few, &before, 0), None, "it grows");
        // Even a group with one host left is compared with the remembered one.
        assert!(told(&before, &fleet("n[1-20]\n", "n1"), 4).is_some());
    }

    #[test]
    fn hosts_that_leave_several_words_count_once_and_players_that_are_gone_not_at_all() {
        let before = fleet("n[1-10] tier=1 rack=a\n", "n[1-10]");
        let now = fleet("n[1-4] tier=1 rack=a\nn[5-8]\n", "n[1-4]");
        let told = told(&before, &now, 1).unwrap();
        assert_eq!(
            told,
            "groups and labels lack 4 of 8 players that were in them, more than 1: @rack=a lacks \
             n[5-8] (4), @tier=1 lacks n[5-8] (4), @web lacks n[5-8] (4)"
        );
    }

    #[test]
    fn a_label_that_is_gone_is_an_error_wherever_it_is_named_and_nothing_here() {
        let before = fleet("n[1-10] tier=1\n", "n1");
        assert_eq!(told(&before, &fleet("n[1-10] tier=2\n", "n1"), 1), None);
        assert_eq!(told(&before, &fleet("n[1-10]\n", "n1"), 1), None);
    }

    #[test]
    fn no_more_is_told_than_people_read() {
        let labels: String = (0..20).map(|n| format!(" k{n}=v")).collect();
        let before = fleet(&format!("n[1-10]{labels}\n"), "n1");
        let now = fleet(&format!("n[1-2]{labels}\nn[3-10]\n"), "n1");
        assert!(told(&before, &now, 1).unwrap().ends_with(", and 12 more"));
    }
}
