//! What the limits of a job come to: `N` and `N%` made numbers, once, when it is submitted.
//!
//! The numbers are kept with the job, so that no later release reads its limits another way. A
//! count above the hosts that it counts could never take effect, so a person is refused it
//! ([`Thresholds::of`]); where a limit was made for more hosts than are left, as in a retry, it is
//! capped ([`Thresholds::capped`]).

use std::fmt;

use crate::{
    flow::{JobSpec, Scope},
    names::JobName,
    quantity::Quantity,
};

/// The limits of a job in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thresholds {
    /// Most tasks in flight at once; at least 1.
    pub window: u32,
    /// How many tasks must succeed.
    pub needed: u32,
    /// How many tasks may fail; one more dooms the job.
    pub tolerated: u32,
    /// How many players must be attached before anything starts.
    pub quorum: u32,
    /// How many tasks go first; 0 without a canary.
    pub canary: u32,
}

/// What becomes of a limit that counts more hosts than the job has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Excess {
    /// The submission is refused: a person wrote it, and meant something else.
    #[default]
    Refused,
    /// All of the job's hosts are meant: what is left of a job may be less than its limits were
    /// made for.
    Capped,
}

/// A limit counts more hosts than there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub struct AboveHosts {
    /// The limit's field.
    pub limit: &'static str,
    /// What it counts.
    pub count: u32,
    /// How many hosts the job has.
    pub hosts: u32,
}

impl fmt::Display for AboveHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, count, hosts } = self;
        let word = if *hosts == 1 { "host" } else { "hosts" };
        write!(
            f,
            "{limit} is {count}, and its host set has {hosts} {word}; say at most {hosts}, or a \
             share like 100%"
        )
    }
}

/// What a limit counts above what there is to count.
fn above(spec: &JobSpec, hosts: u32) -> Option<AboveHosts> {
    let counted = [
        ("success", spec.success),
        ("max_failures", spec.max_failures),
        ("quorum", Some(spec.quorum)),
        ("canary", spec.canary),
    ];
    counted.into_iter().find_map(|(limit, quantity)| match quantity {
        Some(Quantity::Count(count)) if count > hosts => Some(AboveHosts { limit, count, hosts }),
        _ => None,
    })
}

/// A limit of a job, and the number that it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedLimit {
    pub job: JobName,
    /// The limit's field.
    pub limit: String,
    /// What was asked for; `None` where the number follows from another limit.
    pub asked: Option<Quantity>,
    /// The number.
    pub comes_to: u32,
    /// Of how many tasks, or players for a quorum.
    pub of: u32,
}

/// How many tasks a job over so many hosts has.
fn tasks(spec: &JobSpec, hosts: u32) -> u32 {
    match spec.scope {
        Scope::All => hosts,
        Scope::One => 1,
    }
}

impl Thresholds {
    /// What a job's limits come to over so many hosts; none where one counts more than there are
    /// and that is refused.
    pub fn of(spec: &JobSpec, hosts: u32, excess: Excess) -> Result<Self, AboveHosts> {
        match above(spec, hosts).filter(|_| excess == Excess::Refused) {
            Some(above) => Err(above),
            None => Ok(Self::capped(spec, hosts)),
        }
    }

    /// What a job's limits come to over so many hosts, where none counts more than there are.
    ///
    /// `max_failures` alone asks for all that it does not tolerate; beside `success` both hold.
    pub fn capped(spec: &JobSpec, hosts: u32) -> Self {
        let total = tasks(spec, hosts);
        let most = spec.max_failures.map(|most| most.floor_of(total).min(total));
        let needed = match (spec.success, most) {
            (Some(success), _) => success.threshold_of(total),
            (None, Some(most)) => total - most,
            (None, None) => total,
        };
        Self::with(spec, hosts, needed, most.unwrap_or(total - needed))
    }

    /// What a job's limits came to in the release before, which kept no thresholds: without
    /// `success` all had to succeed, whatever `max_failures` said.
    pub fn before_they_were_kept(spec: &JobSpec, hosts: u32) -> Self {
        let total = tasks(spec, hosts);
        let needed = spec.success.unwrap_or(Quantity::ALL).threshold_of(total);
        let tolerated = spec.max_failures.map_or(total - needed, |most| most.floor_of(total));
        Self::with(spec, hosts, needed, tolerated)
    }

    fn with(spec: &JobSpec, hosts: u32, needed: u32, tolerated: u32) -> Self {
        let total = tasks(spec, hosts);
        Self {
            window: spec.parallel.window_of(total),
            needed,
            tolerated,
            quorum: spec.quorum.threshold_of(hosts),
            canary: spec.canary.map_or(0, |canary| canary.threshold_of(total)),
        }
    }

    /// Each limit that a job asks for, and what it comes to; also what follows of it for another.
    pub fn resolved(&self, spec: &JobSpec, hosts: u32) -> Vec<ResolvedLimit> {
        let total = tasks(spec, hosts);
        let parallel = Some(spec.parallel).filter(|parallel| *parallel != Quantity::ALL);
        let quorum = Some(spec.quorum).filter(|quorum| !quorum.is_zero());
        let bounded = spec.success.is_some() || spec.max_failures.is_some();
        let limits = [
            ("parallel", parallel, self.window, total, parallel.is_some()),
            ("success", spec.success, self.needed, total, bounded),
            ("max_failures", spec.max_failures, self.tolerated, total, bounded),
            ("quorum", quorum, self.quorum, hosts, quorum.is_some()),
            ("canary", spec.canary, self.canary, total, spec.canary.is_some()),
        ];
        let resolved = |(limit, asked, comes_to, of, _): (&str, _, _, _, _)| ResolvedLimit {
            job: spec.name.clone(),
            limit: limit.to_owned(),
            asked,
            comes_to,
            of,
        };
        limits.into_iter().filter(|(.., is_told)| *is_told).map(resolved).collect()
    }

    /// What somebody should know of these limits before relying on them: a sentence for each that
    /// asks for nothing, or that another one leaves without effect.
    pub fn remarks(&self, spec: &JobSpec, hosts: u32) -> Vec<String> {
        let (total, name) = (tasks(spec, hosts), &spec.name);
        let mut remarks = Vec::new();
        if self.needed == 0 && total > 0 {
            remarks.push(format!("job {name}: no host has to succeed"));
        }
        let left = total.saturating_sub(self.needed);
        if let (Some(success), Some(most)) = (spec.success, spec.max_failures)
            && self.tolerated > left
        {
            remarks.push(format!(
                "job {name}: max_failures {most} tolerates {} failures, but success {success} of \
                 {total} leaves {left}: max_failures has no effect; leave one of the two out",
                self.tolerated
            ));
        }
        if spec.canary.is_some() && self.canary == total {
            remarks.push(format!(
                "job {name}: its canary is all of its hosts, so that nothing waits for the canary"
            ));
        }
        remarks
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::names::ScoreName;

    fn job() -> JobSpec {
        JobSpec::new(JobName::new("web").unwrap(), ScoreName::new("hello").unwrap(), "a")
    }

    fn verdict_of(spec: &JobSpec, hosts: u32) -> (u32, u32) {
        let thresholds = Thresholds::of(spec, hosts, Excess::Refused).unwrap();
        (thresholds.needed, thresholds.tolerated)
    }

    #[test]
    fn max_failures_alone_asks_for_what_it_does_not_tolerate() {
        use Quantity::{Count, Percent};
        for (success, most, hosts, needed, tolerated) in [
            (None, None, 4, 4, 0),
            (None, Some(Count(1)), 4, 3, 1),
            (None, Some(Count(0)), 4, 4, 0),
            (None, Some(Count(4)), 4, 0, 4),
            (None, Some(Percent(100)), 4, 0, 4),
            (None, Some(Percent(10)), 9, 9, 0),
            (None, Some(Percent(10)), 19, 18, 1),
            (Some(Percent(80)), None, 9, 8, 1),
            (Some(Percent(50)), Some(Count(1)), 10, 5, 1),
            (Some(Percent(100)), Some(Count(3)), 10, 10, 3),
            (Some(Count(0)), None, 3, 0, 3),
        ] {
            let spec = JobSpec { success, max_failures: most, ..job() };
            assert_eq!(verdict_of(&spec, hosts), (needed, tolerated), "{spec:?} of {hosts}");
        }
    }

    #[test]
    fn counts_above_the_hosts_are_refused_or_capped() {
        let five = Some(Quantity::Count(5));
        for (limit, spec) in [
            ("success", JobSpec { success: five, ..job() }),
            ("max_failures", JobSpec { max_failures: five, ..job() }),
            ("quorum", JobSpec { quorum: Quantity::Count(5), ..job() }),
            ("canary", JobSpec { canary: five, ..job() }),
        ] {
            let above = Thresholds::of(&spec, 2, Excess::Refused).unwrap_err();
            assert_eq!((above.limit, above.count, above.hosts), (limit, 5, 2));
            assert!(
                above.to_string().starts_with(&format!("{limit} is 5, and its host set has 2"))
            );
            let capped = Thresholds::of(&spec, 2, Excess::Capped).unwrap();
            assert!(capped.needed <= 2 && capped.tolerated <= 2, "{capped:?}");
            assert!(capped.quorum <= 2 && capped.canary <= 2, "{capped:?}");
            assert!(Thresholds::of(&spec, 5, Excess::Refused).is_ok(), "{limit}");
        }
        let wide = JobSpec { parallel: Quantity::Count(5), ..job() };
        assert!(Thresholds::of(&wide, 2, Excess::Refused).is_ok(), "a window may be wider");
    }

    #[test]
    fn the_release_before_asked_for_all() {
        let spec = JobSpec { max_failures: Some(Quantity::Count(1)), ..job() };
        let before = Thresholds::before_they_were_kept(&spec, 4);
        assert_eq!((before.needed, before.tolerated), (4, 1));
    }

    #[test]
    fn what_has_no_effect_is_told() {
        let told = |spec: JobSpec| Thresholds::capped(&spec, 4).remarks(&spec, 4).join("|");
        assert_eq!(told(job()), "");
        assert_eq!(told(JobSpec { success: Some(Quantity::Percent(50)), ..job() }), "");
        let none = "job web: no host has to succeed";
        assert_eq!(told(JobSpec { success: Some(Quantity::Count(0)), ..job() }), none);
        assert_eq!(told(JobSpec { max_failures: Some(Quantity::ALL), ..job() }), none);
        let both = JobSpec {
            success: Some(Quantity::Percent(75)),
            max_failures: Some(Quantity::Count(2)),
            ..job()
        };
        assert!(told(both.clone()).contains("success 75% of 4 leaves 1"), "{}", told(both));
        let tighter = JobSpec {
            success: Some(Quantity::Percent(25)),
            max_failures: Some(Quantity::Count(1)),
            ..job()
        };
        assert_eq!(told(tighter), "");
        let canary = JobSpec { canary: Some(Quantity::ALL), ..job() };
        assert!(told(canary).contains("nothing waits for the canary"));
    }

    #[test]
    fn each_limit_that_is_asked_for_is_told_with_its_number() {
        let told = |spec: JobSpec| {
            let limits = Thresholds::capped(&spec, 9).resolved(&spec, 9);
            let tell = |limit: ResolvedLimit| {
                let asked = limit.asked.map_or("-".to_owned(), |asked| asked.to_string());
                format!("{} {asked} {}/{}", limit.limit, limit.comes_to, limit.of)
            };
            limits.into_iter().map(tell).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(told(job()), "");
        let most = JobSpec { max_failures: Some(Quantity::Percent(10)), ..job() };
        assert_eq!(told(most), "success - 9/9, max_failures 10% 0/9");
        let all = JobSpec {
            parallel: Quantity::Percent(25),
            success: Some(Quantity::Percent(80)),
            quorum: Quantity::Percent(50),
            canary: Some(Quantity::Count(2)),
            ..job()
        };
        assert_eq!(
            told(all),
            "parallel 25% 2/9, success 80% 8/9, max_failures - 1/9, quorum 50% 5/9, canary 2 2/9"
        );
    }

    fn quantity(most: u32) -> impl Strategy<Value = Quantity> {
        prop_oneof![(0..=most).prop_map(Quantity::Count), (0..=100_u8).prop_map(Quantity::Percent)]
    }

    proptest! {
        /// A limit that is given can be what decides: so many failures pass, and one more does not.
        #[test]
        fn max_failures_alone_takes_effect(hosts in 1..200_u32, most in quantity(300)) {
            let spec = JobSpec { max_failures: Some(most), ..job() };
            match Thresholds::of(&spec, hosts, Excess::Refused) {
                Ok(Thresholds { needed, tolerated, .. }) => {
                    prop_assert_eq!(needed + tolerated, hosts);
                    prop_assert_eq!(tolerated, most.floor_of(hosts));
                    prop_assert_eq!(
                        Thresholds::capped(&spec, hosts).remarks(&spec, hosts).is_empty(),
                        needed > 0
                    );
                }
                Err(above) => prop_assert_eq!((Quantity::Count(above.count), above.hosts), (most, hosts)),
            }
        }

        /// However limits are put together, they stay within the hosts, and what is told of them
        /// is what has no effect.
        #[test]
        fn limits_stay_within_the_hosts(
            hosts in 1..50_u32,
            success in prop::option::of(quantity(60)),
            most in prop::option::of(quantity(60)),
        ) {
            let spec = JobSpec { success, max_failures: most, ..job() };
            let Thresholds { needed, tolerated, .. } = Thresholds::capped(&spec, hosts);
            prop_assert!(needed <= hosts && tolerated <= hosts);
            let both = success.is_some() && most.is_some();
            let vain = both && tolerated > hosts - needed;
            let told = Thresholds::capped(&spec, hosts).remarks(&spec, hosts);
            prop_assert_eq!(told.iter().any(|told| told.contains("no effect")), vain);
        }
    }
}
