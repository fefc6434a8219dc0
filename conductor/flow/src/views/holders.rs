//! Which hosts hold a cell, and for which flows and changes, in sentences.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    Asker, FlowId, HostName, HostSet, ServiceName,
    advice::{Advice, Remedy},
    deployment::CellId,
    ledger::Holder,
    service::Unready,
    status::Absence,
};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::job::Job,
    views::words::{NAMED, whole},
};

impl Engine {
    /// Tells which hosts hold a full cell, and whether a person is needed to end that.
    pub(super) fn tell_cell(&self, id: CellId) -> (Advice, bool) {
        let cell = &self.deployments().cells()[id];
        let (held, dead, limit) = self.roster.ledger().counts(id);
        let players = cell.hosts.iter().filter_map(|host| self.roster.known(host));
        let holders = players.filter(|player| self.roster[*player].holds());
        let holders: Vec<Holder> = holders.take(NAMED).map(|player| self.holder(player)).collect();
        let named: Vec<String> = holders.iter().map(|holder| self.tell_holder(holder)).collect();
        let more = match (held as usize).saturating_sub(holders.len()) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let mut text = Advice::from(format!(
            "{} is full, {held} of {limit}: held by {}{more}",
            cell.key,
            named.join(", ")
        ));
        let is_dead = dead >= limit;
        let paused: BTreeMap<FlowId, &Asker> =
            holders.iter().flat_map(|holder| self.pauses_on(&holder.host)).collect();
        for (flow, by) in paused {
            let paused = "has a further attempt to come there and was paused by";
            text = text
                .say(format_args!("; flow {flow} {paused} {by}: "))
                .name(Remedy::Resume(flow))
                .say(" lets it go on");
        }
        if is_dead {
            text = text.say("; ").then(tell_help(&holders));
        }
        (text, is_dead)
    }

    /// Tells which hosts are in motion in a cell above its limit, so that other holders wait.
    pub(super) fn tell_motion(&self, id: CellId) -> String {
        let cell = &self.deployments().cells()[id];
        let (held, _, limit) = self.roster.ledger().counts(id);
        let moves = self.roster.ledger().moves(id);
        let players = cell.hosts.iter().filter_map(|host| self.roster.known(host));
        let moving = players.filter(|player| self.roster[*player].counted().moves);
        let named = moving.take(NAMED).map(|player| self.tell_holder(&self.holder(player)));
        let named = named.collect::<Vec<_>>().join(", ");
        let more = match (moves as usize).saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        format!(
            "{} is above its limit, held by {held} of {limit}, and something starts on those once it \
             runs on fewer than {limit}: now on {named}{more}",
            cell.key
        )
    }

    /// The paused flows that have a further attempt to come on a host that is down, and who paused
    /// each.
    fn pauses_on(&self, host: &HostName) -> Vec<(FlowId, &Asker)> {
        let returning = |player: &PlayerIx| self.roster[*player].returning() > 0;
        let Some(player) = self.roster.known(host).filter(returning) else { return Vec::new() };
        let is_to_return = |job: &Job| {
            let place = self.roster.place_among(job.targets(), player);
            let index = place.map(|place| job.index_of(place));
            index.is_some_and(|index| {
                job.is_returning(index) && job.player_of(index) == Some(player)
            })
        };
        let paused = self.flows.iter().filter_map(|flow| Some((flow, flow.paused_by()?)));
        let here = paused.filter(|(flow, _)| flow.present_slot().iter().any(is_to_return));
        here.map(|(flow, by)| (flow.id(), by)).collect()
    }

    fn tell_holder(&self, holder: &Holder) -> String {
        let jobs: Vec<String> = holder.jobs.iter().map(ToString::to_string).collect();
        let (jobs, ago) = (jobs.join(", "), self.ago(holder.since));
        let of_jobs = match holder.down {
            Some(state) => Some(format!("{state} in {jobs}")),
            None => (!jobs.is_empty()).then(|| format!("runs {jobs}")),
        };
        let of_units = holder.units.iter().map(ToString::to_string);
        let why: Vec<String> = of_jobs.into_iter().chain(of_units).collect();
        let mut text = format!("{} ({}, holds for {ago}", holder.host, why.join(", "));
        if let Some(Absence { since, given_up }) = holder.absence {
            text.push_str(", its player is not attached");
            if let Some(since) = since {
                text.push_str(&format!(" since {} ago", self.ago(since)));
            }
            if let Some(due) = given_up {
                text.push_str(&format!(", lost in {} unless it comes back", whole(due.left)));
            }
        }
        text + ")"
    }
}

/// What a person can do for holders that do not go on by themselves.
fn tell_help(holders: &[Holder]) -> Advice {
    let is_down = |holder: &&Holder| holder.down.is_some();
    let units = holders.iter().flat_map(|holder| &holder.units);
    let gave_up = units.filter(|unit| unit.unready == Unready::GaveUp);
    let services: BTreeSet<&ServiceName> = gave_up.map(|unit| &unit.service).collect();
    let mut text = Advice::from("nothing there goes on by itself: ");
    if holders.iter().any(|holder| is_down(&holder)) {
        text = text.say("mend the hosts and ").name(Remedy::RetryTheirFlow).say(" their flow, ");
    }
    text = services.iter().fold(text, |text, service| {
        text.name(Remedy::RestartService((*service).clone())).say(", ")
    });
    let held = holders.iter().filter(|holder| is_down(holder) || !holder.units.is_empty());
    let hosts = HostSet::from_names(held.map(|holder| holder.host.clone()));
    text.say("or ").name(Remedy::ReleaseCells(hosts))
}
