//! Players.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use orchestra_client::{Drained, ListPage, Pages, ReleasedPlayers};
use orchestra_model::{
    hostset::HostSet, limits, names::HostName, record::Drain, status::PlayerStatus, time::Timestamp,
};
use serde::Serialize;

use super::{
    Listing, Output, Page, absence, json,
    style::{Style, ago, one_line, when, when_about},
};
use crate::{
    console::{Answer, Screen, Streamed, unwritten},
    error::Failure,
};

/// Players, and counts of their states.
pub(crate) struct Players<W> {
    wanted: W,
    now: Timestamp,
    all: usize,
    attached: usize,
    drained: usize,
    quarantined: usize,
}

impl<W: Fn(&PlayerStatus) -> bool> Players<W> {
    /// Returns a list of the `wanted` players. All players are counted.
    pub(crate) fn those(wanted: W, now: Timestamp) -> Self {
        Self { wanted, now, all: 0, attached: 0, drained: 0, quarantined: 0 }
    }
}

impl<W: Fn(&PlayerStatus) -> bool> Listing for Players<W> {
    type Item = PlayerStatus;

    const NOUN: &'static str = "players";

    fn wants(&mut self, player: &PlayerStatus) -> bool {
        self.all += 1;
        self.attached += usize::from(player.attached);
        self.drained += usize::from(player.drained.is_some());
        self.quarantined += usize::from(player.quarantined.is_some());
        (self.wanted)(player)
    }

    fn json(&self, player: &PlayerStatus) -> impl Serialize {
        Player::from(player)
    }

    fn text(&self, player: &PlayerStatus, out: &mut dyn Page, style: Style) -> io::Result<()> {
        line(out, player, self.now, style)
    }

    fn remark(&self, _told: usize) -> Option<String> {
        let Self { all, attached, drained, quarantined, .. } = self;
        let drained = are(*drained, "drained");
        let quarantined = are(*quarantined, "quarantined");
        Some(format!("{attached} of {all} players are attached{drained}{quarantined}"))
    }
}

/// Players folded by state: `attached fe[1-480] (480)`.
pub(crate) struct FoldedPlayers<W, P: ListPage> {
    pub(crate) pages: Pages<P>,
    pub(crate) wanted: W,
    pub(crate) now: Timestamp,
}

impl<W, P> Streamed for FoldedPlayers<W, P>
where
    W: Fn(&PlayerStatus) -> bool,
    P: ListPage<Item = PlayerStatus>,
{
    async fn text(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        let mut counted = Players::those(&self.wanted, self.now);
        let mut by_state: BTreeMap<(bool, String), Vec<HostName>> = BTreeMap::new();
        while let Some(player) = self.pages.next_item().await? {
            if counted.wants(&player) {
                let state = (!player.attached, state(&player, self.now));
                by_state.entry(state).or_default().push(player.host);
            }
        }
        for ((_, state), hosts) in by_state {
            let hosts = HostSet::from_names(hosts);
            let line = format!("{state:<20} {}", hosts.counted());
            writeln!(screen.out, "{line}").map_err(unwritten)?;
        }
        screen.out.finish()?;
        counted.remark(0).into_iter().for_each(|remark| screen.narrate(remark));
        Ok(())
    }

    async fn json(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let mut list = json::List::begin(out, "players").map_err(unwritten)?;
        while let Some(player) = self.pages.next_item().await? {
            if (self.wanted)(&player) {
                list.add(&Player::from(&player)).map_err(unwritten)?;
            }
        }
        list.end().map_err(unwritten)
    }
}

/// `attached, drained`: all that players may have in common.
fn state(player: &PlayerStatus, now: Timestamp) -> String {
    let mut state = match (player.attached, player.since) {
        (true, _) => "attached",
        (false, Some(_)) => "absent",
        (false, None) => "never seen",
    }
    .to_owned();
    for (is_so, word) in [
        (player.drained.is_some(), ", drained"),
        (player.quarantined.is_some(), ", quarantined"),
        (!player.attached && player.in_flight > 0, ", with tasks"),
        (ends_soon(player, now), ", certificate ends soon"),
    ] {
        state.push_str(if is_so { word } else { "" });
    }
    state
}

/// Whether the certificate of a player that is attached ends so soon that it is told.
pub(crate) fn ends_soon(player: &PlayerStatus, now: Timestamp) -> bool {
    player.certificate_ends.is_some_and(|ends| ends < now.after(limits::CERTIFICATE_NOTICE))
}

/// `, 2 are drained`, after how many there are; nothing where there are none.
fn are(n: usize, what: &str) -> String {
    match n {
        0 => String::new(),
        1 => format!(", 1 is {what}"),
        n => format!(", {n} are {what}"),
    }
}

/// Players that were drained or undrained.
pub(crate) struct DrainChange<'a> {
    /// The word for the change, which is also the document's noun.
    pub(crate) what: &'static str,
    pub(crate) answer: &'a Drained,
}

impl Output for DrainChange<'_> {
    fn noun(&self) -> &'static str {
        self.what
    }

    fn json(self) -> impl Serialize {
        let Drained { hosts, count, in_flight } = self.answer;
        Changed { hosts, count: *count, in_flight: *in_flight }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let Drained { hosts, count, .. } = self.answer;
        if *count == 0 {
            return Ok(());
        }
        writeln!(out, "{} {} ({count})", self.what, one_line(hosts))?;
        // What still runs there may be told next on standard error, so the order has to be kept.
        out.flush()
    }

    fn remark(&self) -> Option<String> {
        let what = self.what;
        (self.answer.count == 0).then(|| format!("nothing changed: all of them were {what} before"))
    }
}

#[derive(Serialize)]
struct Changed<'a> {
    hosts: &'a str,
    count: u32,
    in_flight: u32,
}

/// Says what still runs on drained players.
pub(crate) fn still_running(tasks: u32) -> Option<String> {
    Some(format!("{} there and may finish", running(tasks)?))
}

/// Says what still runs, and on whom.
pub(crate) fn still_running_on(tasks: u32, hosts: &HostSet) -> Option<String> {
    Some(format!("{} on {}", running(tasks)?, hosts.counted()))
}

fn running(tasks: u32) -> Option<String> {
    match tasks {
        0 => None,
        1 => Some("1 task still runs".to_owned()),
        n => Some(format!("{n} tasks still run")),
    }
}

/// Players that were released from quarantine.
impl Output for ReleasedPlayers {
    fn noun(&self) -> &'static str {
        "released"
    }

    fn json(self) -> impl Serialize {
        Released { hosts: self.hosts, count: self.count, lost: self.lost }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(out, "released {} ({})", one_line(&self.hosts), self.count)
    }

    fn remark(&self) -> Option<String> {
        if self.count == 0 {
            return Some("nothing changed: none of them is quarantined".to_owned());
        }
        let lost = self.lost;
        (lost > 0).then(|| format!("tasks in flight to them that are lost: {lost}"))
    }
}

#[derive(Serialize)]
struct Released {
    hosts: String,
    count: u32,
    lost: u32,
}

/// Writes a player as a line.
fn line(
    out: &mut dyn io::Write,
    player: &PlayerStatus,
    now: Timestamp,
    style: Style,
) -> io::Result<()> {
    let since = |at| format!("since {} ({})", when_about(at), ago(now, at));
    let state = match (player.attached, player.since) {
        (true, Some(at)) => format!("attached {}", since(at)),
        (true, None) => "attached".to_owned(),
        (false, Some(at)) => format!("absent {}", since(at)),
        (false, None) => "never seen".to_owned(),
    };
    let labels: Vec<String> =
        player.labels.iter().map(|(key, value)| one_line(&format!("{key}={value}"))).collect();
    let host = &player.host;
    let mut rest = String::new();
    if player.attached {
        rest = format!(
            " {}/{} tasks, version {}",
            player.in_flight,
            player.max_tasks,
            one_line(&player.version)
        );
    } else if player.in_flight > 0 {
        let text = format!(", {}", left_behind(player));
        rest = style.warning(&text).to_string();
    }
    let labels = if labels.is_empty() { String::new() } else { format!(" [{}]", labels.join(" ")) };
    let state = if player.attached { state } else { style.warning(&state).to_string() };
    let drained = player.drained.as_ref().map_or_else(String::new, |drain| {
        let Drain { by, reason, since: at } = drain;
        let text = format!("drained by {by} {}: {}", since(*at), one_line(reason));
        format!(", {}", style.warning(&text))
    });
    let quarantined = player.quarantined.as_ref().map_or_else(String::new, |why| {
        format!(", {}", style.warning(&format!("quarantined: {}", one_line(why))))
    });
    let certificate = player.certificate_ends.filter(|_| ends_soon(player, now));
    let certificate = certificate.map_or_else(String::new, |ends| {
        format!(", {}", style.warning(&format!("certificate until {}", when_about(ends))))
    });
    writeln!(out, "{host:<24} {state}{rest}{labels}{drained}{quarantined}{certificate}")
}

/// Says what was in flight to a player when it went: `2 tasks in flight (42.1.1, 43.1.1), lost at
/// …`.
fn left_behind(player: &PlayerStatus) -> String {
    let jobs: Vec<String> = player.jobs.iter().map(ToString::to_string).collect();
    let more = if jobs.len() < player.in_flight as usize { ", …" } else { "" };
    let tasks = if player.in_flight == 1 { "task" } else { "tasks" };
    let first = if player.in_flight == 1 { "" } else { "the first " };
    let mut text = format!("{} {tasks} in flight ({}{more})", player.in_flight, jobs.join(", "));
    if let Some(lost) = player.lost {
        text.push_str(&format!(", {first}lost {}", absence::moment(lost)));
    }
    text
}

/// A player in JSON.
#[derive(Serialize)]
struct Player<'a> {
    host: &'a str,
    labels: &'a BTreeMap<String, String>,
    attached: bool,
    since: Option<String>,
    max_tasks: u32,
    in_flight: u32,
    jobs: Vec<String>,
    lost_at: Option<String>,
    lost_in_ms: Option<u64>,
    version: &'a str,
    spool_id: Option<String>,
    certificate_ends: Option<String>,
    drained: Option<OfDrain<'a>>,
    quarantined: Option<&'a str>,
}

#[derive(Serialize)]
struct OfDrain<'a> {
    by: &'a str,
    reason: &'a str,
    since: String,
}

impl<'a> From<&'a PlayerStatus> for Player<'a> {
    fn from(player: &'a PlayerStatus) -> Self {
        Self {
            host: player.host.as_str(),
            labels: &player.labels,
            attached: player.attached,
            since: player.since.map(when),
            max_tasks: player.max_tasks,
            in_flight: player.in_flight,
            jobs: player.jobs.iter().map(ToString::to_string).collect(),
            lost_at: player.lost.map(|lost| when(lost.at)),
            lost_in_ms: player.lost.map(|lost| lost.left.0),
            version: &player.version,
            spool_id: player.spool.map(|id| id.to_string()),
            certificate_ends: player.certificate_ends.map(when),
            drained: player.drained.as_ref().map(|drain| OfDrain {
                by: drain.by.as_str(),
                reason: &drain.reason,
                since: when(drain.since),
            }),
            quarantined: player.quarantined.as_deref(),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use orchestra_model::{
        Asker,
        ids::{FlowId, JobId},
        names::{HostName, ScoreName},
        score::{ScoreHash, ScoreOffer, ScoreSpec},
        status::Due,
        time::{Millis, Timestamp},
    };

    use super::*;

    pub(crate) fn player(host: &str, offers: &[(&str, Option<u8>)]) -> PlayerStatus {
        let offer = |(name, hash): &(&str, Option<u8>)| ScoreOffer {
            name: ScoreName::new(name).unwrap(),
            hash: hash.map(|byte| ScoreHash([byte; 32])),
            spec: match hash {
                Some(_) => Ok(ScoreSpec { description: "Says hello".into(), ..Default::default() }),
                None => Err("writable by others".to_owned()),
            },
        };
        PlayerStatus {
            host: HostName::new(host).unwrap(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            attached: true,
            since: Some(Timestamp(1_763_712_000_000)),
            max_tasks: 4,
            in_flight: 1,
            jobs: Vec::new(),
            lost: None,
            version: "0.1.0".to_owned(),
            spool: None,
            certificate_ends: None,
            drained: None,
            quarantined: None,
            scores: offers.iter().map(offer).collect(),
        }
    }

    #[test]
    fn a_player_is_a_line() {
        let mut out = Vec::new();
        let now = Timestamp(1_763_712_000_000 + 11_100_000);
        line(&mut out, &player("fe1", &[]), now, Style::default()).unwrap();
        let absent =
            PlayerStatus { attached: false, since: None, in_flight: 0, ..player("fe2", &[]) };
        line(&mut out, &absent, now, Style::default()).unwrap();
        let lost = Due { at: Timestamp(1_763_713_800_000), left: Millis::minutes(25) };
        let job = |flow| JobId { flow: FlowId(flow), slot: 1, job: 1 };
        let busy = PlayerStatus {
            attached: false,
            in_flight: 2,
            jobs: vec![job(42), job(43)],
            lost: Some(lost),
            ..player("fe4", &[])
        };
        line(&mut out, &busy, now, Style::default()).unwrap();
        let by = Asker::from_word("alice").unwrap();
        let drain = Drain { by, reason: "new\ndisk".into(), since: Timestamp(1_763_712_000_000) };
        let drained = PlayerStatus { drained: Some(drain), ..player("fe3", &[]) };
        line(&mut out, &drained, now, Style::default()).unwrap();
        let ends = |days| Some(now.after(Millis::days(days)));
        let ending = PlayerStatus { certificate_ends: ends(29), ..player("fe5", &[]) };
        line(&mut out, &ending, now, Style::default()).unwrap();
        let fine = PlayerStatus { certificate_ends: ends(31), ..player("fe6", &[]) };
        assert_eq!(state(&ending, now), "attached, certificate ends soon");
        assert_eq!(state(&fine, now), "attached");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "fe1                      attached since 2025-11-21T08:00:00Z (3h5m ago) 1/4 tasks, version 0.1.0 \
             [app=web]\n\
             fe2                      never seen [app=web]\n\
             fe4                      absent since 2025-11-21T08:00:00Z (3h5m ago), 2 tasks in flight \
             (42.1.1, 43.1.1), the first lost at 2025-11-21T08:30:00Z (in 25m) [app=web]\n\
             fe3                      attached since 2025-11-21T08:00:00Z (3h5m ago) 1/4 tasks, version 0.1.0 \
             [app=web], drained by alice since 2025-11-21T08:00:00Z (3h5m ago): new\\ndisk\n\
             fe5                      attached since 2025-11-21T08:00:00Z (3h5m ago) 1/4 tasks, version 0.1.0 \
             [app=web], certificate until 2025-12-20T11:05:00Z\n"
        );
    }
}
