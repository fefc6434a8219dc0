//! Whose each service is, as docs/services.md says it: its file's, or whoever's applied it.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, Quantity, ServiceName,
    service::{Goal, ServiceRecord},
};
use orchestra_service::{Ask, FiledService, Rejection, Reply, Taken};

use crate::world::World;

/// What is known of the file of a service.
#[derive(Clone, Debug)]
struct Paper {
    /// What it said last.
    said: [u8; 32],
    is_there: bool,
    /// The service is the file's, and nobody has taken it over.
    owns: bool,
}

/// The files of all services that have one.
#[derive(Debug, Default)]
pub(super) struct Papers {
    known: BTreeMap<ServiceName, Paper>,
    /// Those that were taken last.
    pub(super) last: Vec<FiledService>,
}

/// What a file means for its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    /// It is to be as the file says, and is the file's.
    Anew,
    /// Nothing.
    Nothing,
    /// Somebody has to say so first.
    Refused,
}

impl Papers {
    /// Asks for something of one service, as alice.
    pub(super) fn ask(&mut self, world: &mut World, ask: Ask) -> Result<Taken, Rejection> {
        self.ask_all(world, ask).map(|mut all| all.remove(0))
    }

    /// Asks for something, as alice. What belongs to a file is neither applied nor removed by the way.
    pub(super) fn ask_all(&mut self, world: &mut World, ask: Ask) -> Reply {
        let names = ask.services();
        let is_apply = matches!(ask, Ask::Apply { .. } | Ask::Scale { .. });
        let is_remove = matches!(ask, Ask::Remove(_));
        let takes_over =
            matches!(ask, Ask::Apply { take_over: true, .. } | Ask::Scale { take_over: true, .. });
        let reply = world.ask_all(ask);
        let owned = |known: &BTreeMap<_, Paper>, name| known.get(name).is_some_and(|it| it.owns);
        match &reply {
            Ok(_) => {
                for name in &names {
                    let is_owned = owned(&self.known, name);
                    let is_there = self.known.get(name).is_some_and(|it| it.is_there);
                    assert!(
                        !is_apply || !is_owned || takes_over,
                        "{name} was taken from its file: {self:?}"
                    );
                    assert!(
                        !is_remove || !is_there,
                        "{name} was removed, and its file is there: {self:?}"
                    );
                    match self.known.get_mut(name) {
                        Some(paper) if is_apply && is_there => paper.owns = false,
                        // Nothing will be read there again.
                        _ if is_apply || is_remove => drop(self.known.remove(name)),
                        _ => {}
                    }
                }
            }
            Err(Rejection::OfFile(name, _)) => {
                assert!(is_apply && owned(&self.known, name) && !takes_over, "{name}");
            }
            Err(Rejection::StillFiled(name, _)) => {
                assert!(is_remove && self.known.get(name).is_some_and(|it| it.is_there), "{name}");
            }
            _ => {}
        }
        reply
    }

    /// Reads these files.
    pub(super) fn load(&mut self, world: &mut World, files: &[FiledService], takes_over: bool) {
        let before = world.records();
        let means =
            |filed: &FiledService| self.means(filed, before.get(&filed.spec.name), takes_over);
        let will_be = |name: &ServiceName| {
            before.get(name).is_some_and(|known| known.goal != Goal::Removed)
                || files.iter().any(|filed| filed.spec.name == *name)
        };
        let can_link = |filed: &FiledService| {
            means(filed) != Means::Anew || filed.spec.upkeep.linked_to.as_ref().is_none_or(will_be)
        };
        let is_right = files.iter().all(|it| means(it) != Means::Refused && can_link(it));
        let anew: Vec<FiledService> =
            files.iter().filter(|it| means(it) == Means::Anew).cloned().collect();
        self.check_lost(world, files, &anew, takes_over);
        let loaded = world.load(files.to_vec(), takes_over);
        assert_eq!(loaded.is_ok(), is_right, "{loaded:?} of {files:?} by {self:?}");
        if !is_right {
            return assert_eq!(before, world.records(), "what is refused changes nothing");
        }
        for filed in &anew {
            check_new(filed, before.get(&filed.spec.name), world);
        }
        for (name, was) in before {
            let is_new = anew.iter().any(|filed| filed.spec.name == name);
            let now = world.records().remove(&name).unwrap();
            let wanted =
                |it: &ServiceRecord| (it.version, it.goal, it.owner.clone(), it.paused_by.clone());
            assert!(is_new || wanted(&was) == wanted(&now), "{name} is no file's: {self:?}");
        }
        self.note(files, &anew);
        self.last = files.to_vec();
    }

    fn means(
        &self,
        filed: &FiledService,
        known: Option<&ServiceRecord>,
        takes_over: bool,
    ) -> Means {
        let paper = self.known.get(&filed.spec.name);
        let says_the_same = paper.is_some_and(|paper| paper.said == filed.content);
        let is_free = takes_over || known.is_none_or(|known| known.goal == Goal::Removed);
        match paper.is_some_and(|paper| paper.owns) {
            true if says_the_same => Means::Nothing,
            true => Means::Anew,
            false if is_free => Means::Anew,
            false if says_the_same => Means::Nothing,
            false => Means::Refused,
        }
    }

    /// Whoever reads files asks first what would be lost: where all are gone, and where a service would
    /// leave hosts.
    fn check_lost(
        &self,
        world: &World,
        files: &[FiledService],
        anew: &[FiledService],
        takes_over: bool,
    ) {
        let owned = self.known.iter().filter(|(_, paper)| paper.owns && paper.is_there);
        let owned: Vec<&ServiceName> =
            owned.filter(|_| files.is_empty()).map(|(name, _)| name).collect();
        let vanished = world.engine.check_vanished(files);
        assert!(vanished.iter().map(|(name, _)| name).eq(owned), "{vanished:?} by {self:?}");

        let most = Quantity::Count(2);
        let leaving = world.engine.check_leaving(&BTreeMap::new(), files, takes_over, most);
        let mut foretold = Vec::new();
        for filed in anew.iter().filter(|filed| filed.spec.upkeep.linked_to.is_none()) {
            let Some(known) = world.records().remove(&filed.spec.name) else { continue };
            let lost = known.hosts.minus(&filed.hosts);
            if known.goal != Goal::Removed && lost.len() > 2 {
                foretold.push(lost);
            }
        }
        assert!(leaving.iter().map(|it| &it.hosts).eq(&foretold), "{leaving:?}, not {foretold:?}");
    }

    fn note(&mut self, files: &[FiledService], anew: &[FiledService]) {
        for filed in files {
            let owns = anew.iter().any(|it| it.spec.name == filed.spec.name);
            let known = self.known.get(&filed.spec.name);
            let owns = owns || known.is_some_and(|paper| paper.owns);
            let paper = Paper { said: filed.content, is_there: true, owns };
            self.known.insert(filed.spec.name.clone(), paper);
        }
        for (name, paper) in &mut self.known {
            paper.is_there = files.iter().any(|filed| filed.spec.name == *name);
        }
        // What a file said that counts for nothing, and is gone, is forgotten.
        self.known.retain(|_, paper| paper.is_there || paper.owns);
    }
}

/// It is as its file says now; that somebody stopped it stays.
fn check_new(filed: &FiledService, was: Option<&ServiceRecord>, world: &World) {
    let now = &world.records()[&filed.spec.name];
    assert_eq!(now.owner, Asker::Files, "{filed:?}");
    assert_eq!(world.spec_of(now), filed.spec_bytes, "{filed:?}: {now:?}");
    let is_where_it_says = filed.spec.upkeep.linked_to.is_some() || now.hosts == filed.hosts;
    assert!(is_where_it_says, "{filed:?}: {now:?}");
    let goal = was.map(|was| was.goal).filter(|goal| *goal != Goal::Removed);
    assert_eq!(now.goal, goal.unwrap_or(Goal::Running), "{filed:?}");
}
