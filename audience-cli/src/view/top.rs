//! Units and players by what they use.

use std::{cmp::Reverse, fmt, io};

use orchestra_model::{
    ByteSize, HostName, ServiceName,
    service::InstanceId,
    time::Millis,
    vitals::{Filled, HighestShares, HostUsage, UnitUsage},
};
use serde::Serialize;

use super::{
    Output, Page, Style, elapsed,
    vitals::{OfUsage, permille},
};

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// What uses most of processors.
    Cpu,
    /// What has most memory.
    Memory,
}

/// How many hosts there are, and of how many something is known.
#[derive(Debug, Default)]
struct Known {
    hosts: usize,
    attached: usize,
    /// Players that are attached and have told nothing yet.
    silent: usize,
}

impl Known {
    fn of(hosts: &[HostUsage]) -> Self {
        let attached = || hosts.iter().filter(|host| host.attached);
        let silent = attached().filter(|host| host.age.is_none()).count();
        Self { hosts: hosts.len(), attached: attached().count(), silent }
    }
}

/// `; 3 of 4 players are attached, 1 of them has told nothing yet`
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, attached, silent } = self;
        write!(f, "{attached} of {hosts} players are attached")?;
        match silent {
            0 => Ok(()),
            1 => f.write_str(", 1 of them has told nothing of itself yet"),
            n => write!(f, ", {n} of them have told nothing of themselves yet"),
        }
    }
}

/// Units, those that use most first.
pub(crate) struct TopUnits {
    /// Units, each with its host and whether the player is attached.
    units: Vec<(HostName, bool, UnitUsage)>,
    known: Known,
    most: Option<usize>,
}

impl TopUnits {
    /// Returns the units of these hosts, or only those of one service. At most `most` are told.
    pub(crate) fn new(
        hosts: Vec<HostUsage>,
        service: Option<&ServiceName>,
        by: By,
        most: Option<usize>,
    ) -> Self {
        let known = Known::of(&hosts);
        let of_host = |host: HostUsage| {
            let HostUsage { host, attached, units, .. } = host;
            units.into_iter().map(move |unit| (host.clone(), attached, unit))
        };
        let mut units: Vec<_> = hosts.into_iter().flat_map(of_host).collect();
        units.retain(|(_, _, unit)| service.is_none_or(|service| unit.service == *service));
        let used = |unit: &UnitUsage| match by {
            By::Cpu => unit.now.cpu.map(|cores| u64::from(cores.0)),
            By::Memory => unit.now.memory.map(|size| size.0),
        };
        units.sort_by_cached_key(|(host, attached, unit)| {
            let id = (unit.service.clone(), unit.ordinal, host.clone());
            (!attached, Reverse(used(unit)), id)
        });
        Self { units, known, most }
    }
}

impl Output for TopUnits {
    fn noun(&self) -> &'static str {
        "units"
    }

    fn json(self) -> impl Serialize {
        let most = self.most.unwrap_or(usize::MAX);
        let units = self.units.into_iter().take(most);
        units.map(|(host, attached, unit)| OfUnit::new(&host, attached, &unit)).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let shown: Vec<_> = self.units.iter().take(self.most.unwrap_or(usize::MAX)).collect();
        if shown.is_empty() {
            return Ok(());
        }
        writeln!(
            out,
            "{:<24} {:<20} {:>7} {:>7} {:>9} {:>9} {:>9} {:>5}",
            "INSTANCE", "HOST", "CPU", "HIGHEST", "MEMORY", "PEAK", "LIMIT", "PROCS"
        )?;
        for (host, attached, unit) in shown {
            writeln!(out, "{}", line(host, *attached, unit, style))?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        let told = self.units.len();
        let shown = self.most.map_or(told, |most| most.min(told));
        let units = match (shown, told) {
            (_, 0) => "no unit has told what it uses".to_owned(),
            (_, 1) => "1 unit".to_owned(),
            (shown, told) if shown == told => format!("{told} units"),
            (shown, told) => format!("{shown} of {told} units (--limit 0 tells all)"),
        };
        Some(format!("{units}; {}", self.known))
    }
}

/// A unit as a line.
fn line(host: &HostName, attached: bool, unit: &UnitUsage, style: Style) -> String {
    let id = InstanceId { service: unit.service.clone(), ordinal: unit.ordinal }.to_string();
    let size = |size: Option<ByteSize>| shown(size.map(ByteSize::rounded));
    let mut text = format!(
        "{id:<24} {:<20} {:>7} {:>7} {:>9} {:>9} {:>9} {:>5}",
        host.as_str(),
        shown(unit.now.cpu),
        shown(unit.cpu_highest),
        size(unit.now.memory),
        size(unit.now.memory_peak),
        size(unit.memory_limit),
        shown(unit.now.processes),
    );
    if let Some(held_back) = super::vitals::held_back(&[unit]) {
        text += &format!(" {}", style.warning(&held_back));
    }
    if !attached {
        text += &format!(" {}", style.warning(&as_of(unit.age)));
    }
    text
}

/// Returns how old the sample of an absent player is.
fn as_of(age: Millis) -> String {
    format!("not attached, {} ago", elapsed(age))
}

/// Returns a dash if nothing is known.
fn shown(value: Option<impl fmt::Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[derive(Serialize)]
struct OfUnit {
    id: String,
    service: String,
    host: String,
    attached: bool,
    #[serde(flatten)]
    usage: OfUsage,
}

impl OfUnit {
    fn new(host: &HostName, attached: bool, unit: &UnitUsage) -> Self {
        let id = InstanceId { service: unit.service.clone(), ordinal: unit.ordinal };
        Self {
            id: id.to_string(),
            service: unit.service.to_string(),
            host: host.to_string(),
            attached,
            usage: unit.into(),
        }
    }
}

/// Players, those that use most first.
pub(crate) struct TopPlayers {
    hosts: Vec<HostUsage>,
    known: Known,
    most: Option<usize>,
}

impl TopPlayers {
    /// Returns these players. At most `most` are told.
    pub(crate) fn new(mut hosts: Vec<HostUsage>, by: By, most: Option<usize>) -> Self {
        let known = Known::of(&hosts);
        let used = |host: &HostUsage| match by {
            By::Cpu => host.now.cpu,
            By::Memory => host.now.memory.and_then(|memory| memory.share()),
        };
        hosts.sort_by_cached_key(|it| (!it.attached, Reverse(used(it)), it.host.clone()));
        Self { hosts, known, most }
    }
}

impl Output for TopPlayers {
    fn noun(&self) -> &'static str {
        "players"
    }

    fn json(self) -> impl Serialize {
        let most = self.most.unwrap_or(usize::MAX);
        self.hosts.into_iter().take(most).map(OfHost::from).collect::<Vec<_>>()
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let shown = self.hosts.iter().take(self.most.unwrap_or(usize::MAX));
        let mut shown = shown.filter(|host| host.age.is_some()).peekable();
        if shown.peek().is_none() {
            return Ok(());
        }
        writeln!(
            out,
            "{:<24} {:>5} {:>7} {:>5} {:>6} {:>17} {:>5} {:>17}",
            "HOST", "CPU", "HIGHEST", "CORES", "LOAD", "MEMORY", "SHARE", "DISK"
        )?;
        shown.try_for_each(|host| writeln!(out, "{}", host_line(host, style)))
    }

    fn remark(&self) -> Option<String> {
        Some(self.known.to_string())
    }
}

/// A player as a line.
fn host_line(usage: &HostUsage, style: Style) -> String {
    let HostUsage { host, attached, age, now, highest, .. } = usage;
    let filled = |filled: Option<Filled>| {
        let used = |it: Filled| format!("{}/{}", it.used.rounded(), it.total.rounded());
        shown(filled.map(used))
    };
    let load = now.load.map(|load| format!("{}.{:02}", load / 100, load % 100));
    let mut text = format!(
        "{:<24} {:>5} {:>7} {:>5} {:>6} {:>17} {:>5} {:>17}",
        host.as_str(),
        shown(now.cpu),
        shown(highest.cpu),
        shown(now.cores),
        shown(load),
        filled(now.memory),
        shown(now.memory.and_then(|memory| memory.share())),
        filled(now.disk),
    );
    if let Some(age) = age.filter(|_| !attached) {
        text += &format!(" {}", style.warning(&as_of(age)));
    }
    text
}

#[derive(Serialize)]
struct OfHost {
    host: String,
    attached: bool,
    /// `null`, as everything that is not known, if nothing was told since the conductor started.
    age_ms: Option<u64>,
    cpu_permille: Option<u16>,
    cores: Option<u32>,
    load: Option<f64>,
    memory: Option<OfFilled>,
    swap: Option<OfFilled>,
    disk: Option<OfFilled>,
    cpu_pressure_permille: Option<u16>,
    memory_pressure_permille: Option<u16>,
    io_pressure_permille: Option<u16>,
    /// The highest values of ten minutes.
    highest: OfHighest,
    /// The highest ten-minute means of 24 hours.
    highest_of_day: OfHighest,
}

#[derive(Serialize)]
struct OfFilled {
    used_bytes: u64,
    total_bytes: u64,
}

#[derive(Serialize)]
struct OfHighest {
    cpu_permille: Option<u16>,
    memory_permille: Option<u16>,
}

impl From<HighestShares> for OfHighest {
    fn from(highest: HighestShares) -> Self {
        let [cpu_permille, memory_permille] = [highest.cpu, highest.memory].map(permille);
        Self { cpu_permille, memory_permille }
    }
}

impl From<HostUsage> for OfHost {
    fn from(usage: HostUsage) -> Self {
        let filled = |filled: Option<Filled>| {
            filled.map(|it| OfFilled { used_bytes: it.used.0, total_bytes: it.total.0 })
        };
        let now = &usage.now;
        Self {
            host: usage.host.to_string(),
            attached: usage.attached,
            age_ms: usage.age.map(|age| age.0),
            cpu_permille: permille(now.cpu),
            cores: now.cores,
            load: now.load.map(|load| f64::from(load) / 100.0),
            memory: filled(now.memory),
            swap: filled(now.swap),
            disk: filled(now.disk),
            cpu_pressure_permille: permille(now.cpu_pressure),
            memory_pressure_permille: permille(now.memory_pressure),
            io_pressure_permille: permille(now.io_pressure),
            highest: usage.highest.into(),
            highest_of_day: usage.highest_of_day.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::vitals::{HostVitals, Permille};

    use super::*;
    use crate::view::vitals::tests::usage;

    fn host(name: &str, units: Vec<UnitUsage>) -> HostUsage {
        let filled = |used, total| Some(Filled { used: ByteSize(used), total: ByteSize(total) });
        HostUsage {
            host: HostName::new(name).unwrap(),
            attached: true,
            age: Some(Millis(4_000)),
            now: HostVitals {
                cpu: Some(Permille(125)),
                cores: Some(2),
                load: Some(152),
                memory: filled(1 << 30, 4 << 30),
                disk: filled(10 << 30, 40 << 30),
                ..HostVitals::default()
            },
            highest: HighestShares { cpu: Some(Permille(990)), memory: Some(Permille(250)) },
            highest_of_day: HighestShares::default(),
            units,
        }
    }

    fn text(output: impl Output) -> (String, Option<String>) {
        let remark = output.remark();
        let mut out = Vec::new();
        output.text(&mut out, Style::default()).unwrap();
        (String::from_utf8(out).unwrap(), remark)
    }

    #[test]
    fn what_uses_most_comes_first_and_what_is_away_last() {
        let hosts = || {
            let away = HostUsage { attached: false, ..host("db3", vec![usage(3, 999, 60)]) };
            let silent = HostUsage { age: None, ..host("db4", Vec::new()) };
            vec![
                host("db1", vec![usage(1, 100, 50)]),
                host("db2", vec![usage(2, 250, 30)]),
                away,
                silent,
            ]
        };
        let (by_cpu, remark) = text(TopUnits::new(hosts(), None, By::Cpu, None));
        assert_eq!(
            by_cpu,
            "INSTANCE                 HOST                     CPU HIGHEST    MEMORY      PEAK     LIMIT PROCS\n\
             web/2                    db2                     0.25     0.3   30.0MiB   40.0MiB   64.0MiB     3\n\
             web/1                    db1                      0.1    0.15   50.0MiB   60.0MiB   64.0MiB     3\n\
             web/3                    db3                    0.999   1.049   60.0MiB   70.0MiB   64.0MiB     3 \
             not attached, 4.0s ago\n"
        );
        let silent = "3 of 4 players are attached, 1 of them has told nothing of itself yet";
        assert_eq!(remark, Some(format!("3 units; {silent}")));
        let (by_memory, remark) = text(TopUnits::new(hosts(), None, By::Memory, Some(1)));
        assert!(by_memory.lines().nth(1).unwrap().starts_with("web/1 "), "{by_memory}");
        assert_eq!(by_memory.lines().count(), 2);
        assert_eq!(remark, Some(format!("1 of 3 units (--limit 0 tells all); {silent}")));
        let other = ServiceName::new("other").unwrap();
        let (nothing, remark) = text(TopUnits::new(hosts(), Some(&other), By::Cpu, None));
        assert_eq!(nothing, "");
        assert!(remark.unwrap().starts_with("no unit has told what it uses; "));
    }

    #[test]
    fn a_player_is_a_line() {
        let mut busy = host("db2", Vec::new());
        busy.now.cpu = Some(Permille(900));
        let silent = HostUsage { age: None, ..host("db4", Vec::new()) };
        let hosts = vec![host("db1", Vec::new()), busy, silent];
        let (shown, _) = text(TopPlayers::new(hosts, By::Cpu, None));
        assert_eq!(
            shown,
            "HOST                       CPU HIGHEST CORES   LOAD            MEMORY SHARE              DISK\n\
             db2                        90%     99%     2   1.52     1.0GiB/4.0GiB   25%   10.0GiB/40.0GiB\n\
             db1                        12%     99%     2   1.52     1.0GiB/4.0GiB   25%   10.0GiB/40.0GiB\n"
        );
    }
}
