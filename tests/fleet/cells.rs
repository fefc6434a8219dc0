//! Ten deployments that cut a fleet differently, so that every host is in ten cells; and whether
//! more hosts of a cell were ever busy at once than it allows, by what players really ran.

use std::{fs, ops::Range, path::Path, time::Instant};

use orchestra_model::Quantity;

use crate::{
    sitter::Trace,
    trouble::{During as _, Result, Trouble},
};

/// Cells of each host: one in each of so many deployments.
pub(crate) const CELLS: usize = 10;

/// How a fleet is cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cells {
    /// Names `p1` and so on.
    hosts: usize,
    /// How many hosts of a cell may be busy at once.
    limit: Quantity,
}

impl Cells {
    pub(crate) fn new(hosts: usize, percent: u8) -> Self {
        Self { hosts, limit: Quantity::Percent(percent) }
    }

    /// Writes the files of the deployments into a directory.
    pub(crate) fn write(self, dir: &Path) -> Result<()> {
        const WHAT: &str = "writing deployments";
        fs::create_dir_all(dir).during(WHAT)?;
        let Self { hosts, limit } = self;
        for number in 0..CELLS {
            let env = |(part, places): (usize, Range<usize>)| {
                format!("      v{part}: 'p[{}-{}]'\n", places.start + 1, places.end)
            };
            let envs: String = self.parts(number).enumerate().map(env).collect();
            let text = format!(
                "d{number}:\n  apps: {{a{number}: 'p[1-{hosts}]'}}\n  \
                 constraints: {{part: {{concurrency: {{a{number}: {limit}}}}}}}\n  \
                 envs:\n    part:\n{envs}"
            );
            fs::write(dir.join(format!("d{number}.yaml")), text).during(WHAT)?;
        }
        Ok(())
    }

    /// The places of the hosts in each cell of a deployment.
    fn parts(self, deployment: usize) -> impl Iterator<Item = Range<usize>> {
        let (hosts, parts) = (self.hosts, (CELLS + deployment).min(self.hosts));
        (0..parts).map(move |part| part * hosts / parts..(part + 1) * hosts / parts)
    }

    /// How full the fullest cell ever was, as a part of its limit, by what the players of these
    /// places ran. Fails if that is more than all of it.
    ///
    /// A host is busy from when an order reaches it until its attempt ends. What the conductor
    /// counts is longer on both sides, so it is never right that this is above a limit.
    pub(crate) fn fullest(self, traces: &[Vec<Trace>]) -> Result<f64> {
        let mut counts: Vec<Count> = Vec::new();
        let mut cells_of = vec![Vec::with_capacity(CELLS); self.hosts];
        for deployment in 0..CELLS {
            for (part, places) in self.parts(deployment).enumerate() {
                let limit = self.limit.window_of(u32::try_from(places.len()).unwrap_or(u32::MAX));
                places.for_each(|place| cells_of[place].push(counts.len()));
                counts.push(Count { deployment, part, limit, busy: 0, most: 0 });
            }
        }
        let mut attempts = vec![0_u32; self.hosts];
        for Turn { begins, place, .. } in turns(traces) {
            let (Some(attempts), Some(cells)) = (attempts.get_mut(place), cells_of.get(place))
            else {
                continue;
            };
            // A cell counts hosts: what runs beside something else on its host is no more.
            let changes = *attempts == u32::from(!begins);
            *attempts = if begins { *attempts + 1 } else { *attempts - 1 };
            if changes {
                cells.iter().for_each(|cell| counts[*cell].turn(begins));
            }
        }
        match counts.iter().find(|count| count.most > count.limit) {
            Some(Count { deployment, part, limit, most, .. }) => Err(Trouble::new(format!(
                "{most} hosts were busy at once in v{part} of d{deployment}, which allows {limit}"
            ))),
            None => {
                let full =
                    counts.iter().map(|count| f64::from(count.most) / f64::from(count.limit));
                Ok(full.fold(0.0, f64::max))
            }
        }
    }
}

/// A cell while the past goes by.
struct Count {
    deployment: usize,
    part: usize,
    limit: u32,
    busy: u32,
    most: u32,
}

impl Count {
    fn turn(&mut self, begins: bool) {
        self.busy = if begins { self.busy + 1 } else { self.busy - 1 };
        self.most = self.most.max(self.busy);
    }
}

/// An attempt on a host begins or ends. Of the same moment, ends come first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: Instant,
    begins: bool,
    place: usize,
}

fn turns(traces: &[Vec<Trace>]) -> Vec<Turn> {
    let all = traces.iter().enumerate();
    let all = all.flat_map(|(place, traces)| traces.iter().map(move |trace| (place, trace)));
    let mut turns: Vec<Turn> = all
        .filter_map(|(place, trace)| Some((place, trace.sent, trace.ended?)))
        .filter(|(_, begin, end)| begin < end)
        .flat_map(|(place, begin, end)| {
            [Turn { at: begin, begins: true, place }, Turn { at: end, begins: false, place }]
        })
        .collect();
    turns.sort_unstable();
    turns
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use orchestra_model::{FlowId, JobId};

    use super::*;

    /// Hosts that run something each, from and to so many milliseconds.
    fn traces(hosts: usize, ran: &[(usize, u64, u64)]) -> Vec<Vec<Trace>> {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut traces = vec![Vec::new(); hosts];
        for (place, from, to) in ran {
            let job = JobId { flow: FlowId(1), slot: 1, job: 1 };
            let (sent, ended) = (at(*from), Some(at(*to)));
            traces[*place].push(Trace { job, attempt: 1, sent, ended, acknowledged: None });
        }
        traces
    }

    #[test]
    fn every_host_is_in_a_cell_of_each_deployment() {
        for hosts in [1, 7, 50, 1_000] {
            let cells = Cells::new(hosts, 50);
            for deployment in 0..CELLS {
                let places: Vec<usize> = cells.parts(deployment).flatten().collect();
                assert_eq!(places, (0..hosts).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_cell_is_exceeded_by_hosts_that_are_busy_at_once() {
        // Ten hosts or less in a cell of 100 of them, of which half may be busy.
        let cells = Cells::new(100, 50);
        let fullest = |ran: &[(usize, u64, u64)]| cells.fullest(&traces(100, ran));
        let busy: Vec<_> = (0..5).map(|place| (place, 0, 10)).collect();
        assert!(fullest(&[]).unwrap() == 0.0);
        assert!(fullest(&busy[..1]).unwrap() < 1.0);
        assert!(fullest(&busy[1..3]).unwrap() >= 0.4);
        // Five of ten hosts are no more than half; of the nine in the next one's first cell they are.
        let wrong = fullest(&busy).unwrap_err().to_string();
        assert!(wrong.ends_with("v0 of d1, which allows 4"), "{wrong}");
        // One after the other, and one beside the other on the same host, are no more.
        let turns: Vec<_> = (0..5).map(|place| (place, place as u64, place as u64 + 1)).collect();
        assert!(fullest(&turns).unwrap() <= 0.5);
        assert!(fullest(&[(0, 0, 10), (0, 5, 20), (0, 6, 7), (9, 21, 22)]).unwrap() <= 0.5);
    }
}
