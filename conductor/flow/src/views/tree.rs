//! What is told of trees: for whom a task waits, and whether what is counted of them is right.

use orchestra_model::{FlowId, HostName, HostSet, TaskState, ledger::Serving, tree::Parent};

use crate::{
    Engine,
    tables::{
        flow::Flow,
        job::Job,
        task::Parked,
        tree::{Bound, Tally, Tree},
    },
    views::words::some_of,
};

impl Engine {
    /// Who is to serve whom in the trees of a flow, if everything goes well: job by job, nearest to
    /// the root first. Groups that are entered from elsewhere begin with hosts that nobody is planned
    /// to serve.
    pub(super) fn planned_serving(&self, flow: FlowId) -> Vec<Serving> {
        let jobs = self.flows.get(flow).into_iter().flat_map(Flow::jobs);
        jobs.filter_map(|job| Some(self.serving_of(job, job.tree()?))).flatten().collect()
    }

    fn serving_of(&self, job: &Job, tree: &Tree) -> Vec<Serving> {
        let told = |parent: Parent, children: &[u32]| {
            let players = children.iter().filter_map(|child| job.node_player(*child));
            let children = HostSet::from_names(players.map(|player| self.host(player)));
            Serving { job: job.spec().name.clone(), parent, children }
        };
        let entries = (0..job.total()).filter(|index| tree.planned_parent(*index).is_none());
        let entries: Vec<u32> = entries.collect();
        let mut serving = Vec::new();
        if !entries.is_empty() {
            serving.push(told(Parent::Nobody, &entries));
        }
        let origins = u32::try_from(tree.origins().len()).unwrap_or(u32::MAX);
        let origins = job.total()..job.total() + origins;
        for node in origins.chain(0..job.total()) {
            let children: Vec<u32> = tree.planned_children(node).collect();
            if let Some(player) = job.node_player(node).filter(|_| !children.is_empty()) {
                serving.push(told(Parent::Host(self.host(player)), &children));
            }
        }
        serving
    }

    /// Why tasks on these hosts wait for a server.
    pub(super) fn tell_servers(&self, job: &Job, hosts: &HostSet) -> String {
        let Some(tree) = job.tree() else { return String::new() };
        let mut text = match hosts.as_slice() {
            [host] => self.tell_planned(job, tree, host),
            _ => String::new(),
        };
        if let Some(first) = tree.first_in_flight().filter(|_| self.is_early(job, tree, hosts)) {
            let running = self.hosts_where(job, |node| {
                node < job.total()
                    && job.state_of(node).is_in_flight()
                    && tree.generation(node) == first
            });
            let hosts = some_of(&running);
            return format!(
                "{text}its generation begins when the one before has ended: {hosts} run"
            );
        }
        let is_task = |node: u32| node < job.total();
        let busy = self.hosts_where(job, |node| tree.serves(node));
        let running =
            self.hosts_where(job, |node| is_task(node) && job.state_of(node).is_in_flight());
        let branches = tree.branches();
        if tree.is_held() {
            text.push_str("hosts that can serve it still have time to come back; ");
        } else if busy.is_empty() {
            text.push_str("no host that can serve it has it yet; ");
        } else {
            let busy = some_of(&busy);
            text.push_str(&format!(
                "a host of its group that has it serves as many as it may, {branches} at once; \
                 {busy} serve; "
            ));
        }
        match running.is_empty() {
            true => text.push_str("nothing is under way"),
            false => text.push_str(&format!("{} are under way", some_of(&running))),
        }
        text
    }

    fn is_early(&self, job: &Job, tree: &Tree, hosts: &HostSet) -> bool {
        let first = hosts.iter().find_map(|host| self.index_of(job, host));
        first.is_some_and(|index| tree.is_early(index))
    }

    fn tell_planned(&self, job: &Job, tree: &Tree, host: &HostName) -> String {
        let index = self.index_of(job, host);
        let parent = index.and_then(|index| tree.planned_parent(index));
        let Some(parent) = parent else { return String::new() };
        let Some(player) = job.node_player(parent) else { return String::new() };
        let name = self.roster.host(player);
        if parent >= job.total() {
            return format!("{name}, of the root, is planned to serve it; ");
        }
        format!("{name}, which is {}, is planned to serve it; ", job.state_of(parent))
    }

    fn index_of(&self, job: &Job, host: &HostName) -> Option<u32> {
        self.roster.place_among(job.targets(), self.roster.known(host)?)
    }

    /// The hosts of those nodes of a job's tree.
    fn hosts_where(&self, job: &Job, is_meant: impl Fn(u32) -> bool) -> HostSet {
        let origins = job.tree().map_or(0, |tree| tree.origins().len());
        let nodes = job.total() + u32::try_from(origins).unwrap_or(u32::MAX);
        let those = (0..nodes).filter(|node| is_meant(*node));
        let players = those.filter_map(|node| job.node_player(node));
        HostSet::from_names(players.map(|player| self.host(player)))
    }

    /// What the counters of a job's tree should say.
    pub(super) fn expected_tally(&self, job: &Job, tree: &Tree) -> Tally {
        let origins = u32::try_from(tree.origins().len()).unwrap_or(u32::MAX);
        let nodes = job.total() + origins;
        let mut tally = Tally {
            groups: vec![[0; 5]; tree.groups()],
            taken: vec![0; nodes as usize],
            ..Tally::default()
        };
        for index in 0..job.total() {
            let state = job.state_of(index);
            let group = &mut tally.groups[tree.group_of(index) as usize];
            if state.is_in_flight() {
                group[3] += 1;
                if let Some(Bound::Node(node)) = tree.bound(index) {
                    tally.taken[node as usize] += 1;
                }
                if tree.goes_by_generation() {
                    *tally.generations.entry(tree.generation(index)).or_default() += 1;
                }
            }
            let waits = state == TaskState::Waiting && job.place_of(index) == Parked::Server;
            group[4] += u32::from(waits);
        }
        for node in 0..nodes {
            let has = node >= job.total() || job.state_of(node) == TaskState::Ok;
            let player = job.node_player(node);
            let serves = has && player.is_some_and(|player| self.roster[player].can_serve());
            let group = &mut tally.groups[tree.group_of(node) as usize];
            group[0] += u32::from(serves);
            group[2] += u32::from(has);
            if serves {
                group[1] += tree.branches().saturating_sub(tally.taken[node as usize]);
            }
        }
        tally
    }
}
