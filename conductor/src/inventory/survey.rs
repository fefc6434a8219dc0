//! How the targets of a submission would take its scores and parameters.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use orchestra_flow::shown;
use orchestra_model::{
    HostName, HostSet, JobName, ParamKey, Params, ScoreName,
    advice::{Advice, Remedy},
    flow::{FlowSpec, JobSpec, Scope},
    ledger::ScoreSurvey,
    nearest,
    score::{Offers, RefusedParams, ScoreHash, ScoreOffer, ScoreSpec},
};

use super::Inventory;

/// Most warnings about one submission; the rest are counted.
const WARNINGS: usize = 100;
/// Most versions of a score that one sentence lists.
const VERSIONS: usize = 5;

/// What is known about every job of a submission.
#[derive(Debug)]
pub(crate) struct Survey(Vec<JobSurvey>);

#[derive(Debug)]
struct JobSurvey {
    found: ScoreSurvey,
    scope: Scope,
    /// Targets that are not attached.
    absent: HostSet,
    targets: usize,
    /// A host on which the score is disabled, and why.
    disabled: Option<(HostName, String)>,
    /// A score of some target whose name is similar.
    meant: Option<String>,
    /// Targets that have the score and would refuse the parameters, and why.
    unwilling: Vec<(HostSet, RefusedParams)>,
    /// Whether some target has the score and would take the parameters.
    accepted: bool,
    /// The parameters that no known version of the score calls sensitive, if any is known.
    harmless: Params,
}

/// Why a submission is not worth storing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Every target is known, and none has the score.
    UnknownScore {
        job: JobName,
        score: ScoreName,
        /// A host where it is disabled, and why.
        disabled: Option<(HostName, String)>,
        meant: Option<String>,
    },
    /// Every target is known, and none takes the parameters. The text does not contain their
    /// values.
    Params { job: JobName, problems: RefusedParams },
    /// Known targets have different versions of a score, and the submission demands one version.
    Differs { job: JobName, how: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScore { job, score, disabled: Some((host, why)), .. } => write!(
                f,
                "job {job}: no target has score {score} in working order; on {host} it is \
                 disabled: {why}"
            ),
            Self::UnknownScore { job, score, disabled: None, meant } => {
                write!(f, "job {job}: no target has a score {score}")?;
                match meant {
                    Some(meant) => write!(f, "; did you mean {meant}?"),
                    None => Ok(()),
                }
            }
            Self::Params { job, problems } => write!(f, "job {job}: {problems}"),
            Self::Differs { job, how } => {
                write!(f, "job {job}: the same version was asked for everywhere, and {how}")
            }
        }
    }
}

impl Refusal {
    /// Returns the refusal as text, with what would help.
    pub(crate) fn advice(&self) -> Advice {
        let text = Advice::from(self.to_string());
        match self {
            Self::UnknownScore { disabled: None, meant: None, .. } => {
                text.say("; ").name(Remedy::ListScores).say(" lists what they have")
            }
            _ => text,
        }
    }
}

impl Inventory {
    /// Looks at what the targets of each job offer. This may take long for many targets.
    pub(crate) fn survey(
        &self,
        spec: &FlowSpec,
        targets: &[Vec<HostSet>],
        params: &BTreeMap<(u16, u16), Params>,
    ) -> Survey {
        let none = Params::default();
        let jobs = (1..).zip(spec.slots.iter().zip(targets)).flat_map(|(slot, (jobs, sets))| {
            (1..)
                .zip(jobs.jobs.iter().zip(sets))
                .map(move |(job, (spec, set))| (slot, job, spec, set))
        });
        let survey = |(slot, job, spec, hosts): (u16, u16, &JobSpec, &HostSet)| {
            self.survey_job(spec, hosts, params.get(&(slot, job)).unwrap_or(&none))
        };
        Survey(jobs.map(survey).collect())
    }

    fn survey_job(&self, spec: &JobSpec, hosts: &HostSet, params: &Params) -> JobSurvey {
        let mut lists: Vec<(Offers, Vec<HostName>)> = Vec::new();
        let mut places: HashMap<*const ScoreOffer, usize> = HashMap::new();
        let (mut unheard, mut absent) = (Vec::new(), Vec::new());
        for (host, known) in hosts.iter().zip(self.look_up(hosts.as_slice())) {
            if known.as_ref().is_none_or(|known| !known.attached) {
                absent.push(host.clone());
            }
            let Some(known) = known else {
                unheard.push(host.clone());
                continue;
            };
            let place = *places.entry(known.offers.as_ptr()).or_insert(lists.len());
            match lists.get_mut(place) {
                Some((_, hosts)) => hosts.push(host.clone()),
                None => lists.push((known.offers, vec![host.clone()])),
            }
        }
        let mut job = Findings::default();
        for (offers, hosts) in &lists {
            job.add(spec, offers, hosts, params);
        }
        let survey = ScoreSurvey {
            job: spec.name.clone(),
            score: spec.score.clone(),
            versions: sets(job.versions),
            missing: HostSet::from_names(job.missing),
            unheard: HostSet::from_names(unheard),
        };
        let specs: Vec<&ScoreSpec> = job.verdicts.iter().map(|(spec, ..)| *spec).collect();
        let may_show =
            |key: &ParamKey| !specs.is_empty() && specs.iter().all(|spec| spec.may_show(key));
        let harmless = params.only(may_show);
        let unwilling = job.verdicts.into_iter().filter_map(|(_, verdict, hosts)| {
            verdict.err().map(|problems| (HostSet::from_names(hosts), problems))
        });
        JobSurvey {
            found: survey,
            scope: spec.scope,
            absent: HostSet::from_names(absent),
            targets: hosts.len(),
            disabled: job.disabled,
            meant: job.meant,
            unwilling: unwilling.collect(),
            accepted: job.accepted,
            harmless,
        }
    }
}

/// What was found in the lists of a job's targets.
#[derive(Default)]
struct Findings<'a> {
    versions: BTreeMap<ScoreHash, Vec<HostName>>,
    missing: Vec<HostName>,
    disabled: Option<(HostName, String)>,
    meant: Option<String>,
    /// How each `.conf` judges the parameters. Versions of a score mostly share their `.conf`.
    verdicts: Vec<(&'a ScoreSpec, Result<(), RefusedParams>, Vec<HostName>)>,
    accepted: bool,
}

impl<'a> Findings<'a> {
    /// Adds how players with this list, which are `hosts`, would take a job.
    fn add(
        &mut self,
        job: &JobSpec,
        offers: &'a [ScoreOffer],
        hosts: &[HostName],
        params: &Params,
    ) {
        let found = offers.binary_search_by(|offer| offer.name.cmp(&job.score));
        let offer = found.ok().and_then(|place| offers.get(place));
        let (hash, spec) = match offer {
            Some(ScoreOffer { hash: Some(hash), spec: Ok(spec), .. }) => (*hash, spec),
            Some(ScoreOffer { spec: Err(why), .. }) => {
                self.missing.extend_from_slice(hosts);
                let host = hosts.first().cloned();
                self.disabled = self.disabled.take().or(host.map(|host| (host, why.clone())));
                return;
            }
            _ => {
                self.missing.extend_from_slice(hosts);
                if self.meant.is_none() {
                    let names = offers.iter().map(|offer| offer.name.as_str());
                    self.meant = nearest(job.score.as_str(), names).map(str::to_owned);
                }
                return;
            }
        };
        self.versions.entry(hash).or_default().extend_from_slice(hosts);
        let known = self.verdicts.iter_mut().find(|(known, ..)| *known == spec);
        match known {
            Some((_, _, with)) => with.extend_from_slice(hosts),
            None => {
                let verdict = spec.check(&of_one_instance(job, hosts, params));
                self.accepted |= verdict.is_ok();
                self.verdicts.push((spec, verdict, hosts.to_vec()));
            }
        }
    }
}

/// Returns the parameters as one of the job's instances would have them. If they cannot be filled,
/// the player will say so.
fn of_one_instance<'p>(job: &JobSpec, hosts: &[HostName], params: &'p Params) -> Cow<'p, Params> {
    let filled = job.unit.as_ref().zip(hosts.first()).and_then(|(unit, host)| {
        let ordinal = unit.instances.first()?.ordinal;
        unit.upkeep.ports.fill_params(params, ordinal, host).ok()
    });
    filled.map_or(Cow::Borrowed(params), Cow::Owned)
}

fn sets(by_hash: BTreeMap<ScoreHash, Vec<HostName>>) -> BTreeMap<ScoreHash, HostSet> {
    by_hash.into_iter().map(|(hash, hosts)| (hash, HostSet::from_names(hosts))).collect()
}

impl Survey {
    /// Returns why the submission should not be stored, if so: no target could accept it or, with
    /// `same_score`, the targets have different versions.
    pub(crate) fn refusal(&self, same_score: bool) -> Option<Refusal> {
        self.0
            .iter()
            .find_map(|job| job.impossible().or_else(|| job.differs().filter(|_| same_score)))
    }

    /// Returns a sentence for each thing that the submitter should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        bounded(self.0.iter().flat_map(JobSurvey::warnings).collect())
    }

    /// Returns the parameters that may be kept, of each job in the order of the spec.
    pub(crate) fn harmless(&self) -> impl Iterator<Item = &Params> {
        self.0.iter().map(|job| &job.harmless)
    }

    /// Returns what was found, job by job.
    pub(crate) fn into_scores(self) -> Vec<ScoreSurvey> {
        self.0.into_iter().map(|job| job.found).collect()
    }
}

/// Returns the first warnings, and how many more there are.
pub(crate) fn bounded(mut warnings: Vec<String>) -> Vec<String> {
    if let Some(more @ 1..) = warnings.len().checked_sub(WARNINGS) {
        warnings.truncate(WARNINGS);
        warnings.push(format!("and {more} more warnings"));
    }
    warnings
}

impl JobSurvey {
    fn impossible(&self) -> Option<Refusal> {
        if self.accepted || !self.found.unheard.is_empty() || self.targets == 0 {
            return None;
        }
        let job = self.found.job.clone();
        Some(match self.unwilling.first() {
            Some((_, problems)) => Refusal::Params { job, problems: problems.clone() },
            None => Refusal::UnknownScore {
                job,
                score: self.found.score.clone(),
                disabled: self.disabled.clone(),
                meant: self.meant.clone(),
            },
        })
    }

    fn differs(&self) -> Option<Refusal> {
        let how = [self.lacking(), self.drift()].into_iter().flatten().collect::<Vec<_>>();
        let job = self.found.job.clone();
        (!how.is_empty()).then(|| Refusal::Differs { job, how: how.join("; ") })
    }

    fn warnings(&self) -> Vec<String> {
        let unwilling = self.unwilling.iter().map(|(hosts, problems)| {
            format!("{} would refuse the parameters: {problems}", folded(hosts))
        });
        let parts = [self.lacking(), self.drift(), self.absence()].into_iter().flatten();
        parts.chain(unwilling).map(|part| format!("job {}: {part}", self.found.job)).collect()
    }

    /// Says which targets lack the score.
    fn lacking(&self) -> Option<String> {
        let ScoreSurvey { score, missing, .. } = &self.found;
        let hosts = (!missing.is_empty()).then(|| folded(missing))?;
        Some(match &self.disabled {
            None => format!("score {score} is missing on {hosts}"),
            Some((host, why)) => {
                format!("score {score} is missing or disabled on {hosts}; on {host}: {why}")
            }
        })
    }

    /// Says which targets have which version, if there are several.
    fn drift(&self) -> Option<String> {
        /// How many digits of a hash are shown to tell versions apart.
        const DIGITS: usize = 12;
        let ScoreSurvey { score, versions, .. } = &self.found;
        if versions.len() < 2 {
            return None;
        }
        let version = |(hash, hosts): (&ScoreHash, &HostSet)| {
            format!("{:.DIGITS$} on {}", hash.to_string(), folded(hosts))
        };
        let mut listed: Vec<String> = versions.iter().take(VERSIONS).map(version).collect();
        if let Some(more @ 1..) = versions.len().checked_sub(VERSIONS) {
            listed.push(format!("and {more} more"));
        }
        Some(format!("score {score} has {} versions: {}", versions.len(), listed.join(", ")))
    }

    /// Says which targets are absent, if that matters: for a one-of job one attached target is
    /// enough.
    fn absence(&self) -> Option<String> {
        let enough = match self.scope {
            Scope::All => self.absent.is_empty(),
            Scope::One => self.absent.len() < self.targets,
        };
        let verb = if self.absent.len() == 1 { "is" } else { "are" };
        (!enough).then(|| format!("{} {verb} not attached", folded(&self.absent)))
    }
}

/// Returns `fe[1-6] (6)`, cut if it is very long.
fn folded(hosts: &HostSet) -> String {
    format!("{} ({})", shown(&hosts.to_string()), hosts.len())
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        ParamKey,
        flow::SlotSpec,
        score::{ParamKind, ParamSpec},
    };

    use super::{super::tests::offer, *};

    fn hosts(text: &str) -> HostSet {
        HostSet::parse_plain(text).unwrap()
    }

    /// A fleet of hosts with their offers.
    fn fleet(players: &[(&str, &[ScoreOffer])]) -> Inventory {
        let inventory = Inventory::default();
        for (set, offers) in players {
            for host in hosts(set) {
                inventory.attached(&host, offers.to_vec().into());
            }
        }
        inventory
    }

    fn job(scope: Scope) -> JobSpec {
        let name = JobName::new("web").unwrap();
        JobSpec { scope, ..JobSpec::new(name, ScoreName::new("restart").unwrap(), "") }
    }

    fn survey_of(inventory: &Inventory, job: JobSpec, targets: &str, params: Params) -> Survey {
        let spec = FlowSpec::new(vec![SlotSpec { jobs: vec![job] }]);
        inventory.survey(&spec, &[vec![hosts(targets)]], &BTreeMap::from([((1, 1), params)]))
    }

    fn survey(inventory: &Inventory, targets: &str) -> Survey {
        survey_of(inventory, job(Scope::All), targets, Params::default())
    }

    /// A score that wants a number and a secret.
    fn strict(version: u8) -> ScoreOffer {
        let mut offer = offer("restart", version);
        let spec = |kind, sensitive| ParamSpec { kind, sensitive, ..Default::default() };
        if let Ok(conf) = &mut offer.spec {
            conf.params = Some(BTreeMap::from([
                (ParamKey::new("count").unwrap(), spec(ParamKind::Integer, false)),
                (ParamKey::new("token").unwrap(), spec(ParamKind::Boolean, true)),
            ]));
        }
        offer
    }

    fn text(refusal: Option<Refusal>) -> String {
        refusal.map(|refusal| refusal.advice().to_string()).unwrap_or_default()
    }

    #[test]
    fn what_all_have_is_nothing_to_tell() {
        let fleet = fleet(&[("fe[1-3]", &[offer("restart", 1), offer("other", 1)])]);
        let survey = survey(&fleet, "fe[1-3]");
        assert_eq!(survey.refusal(true), None);
        assert_eq!(survey.warnings(), [""; 0]);
        let scores = survey.into_scores();
        assert_eq!(scores[0].versions[&ScoreHash([1; 32])], hosts("fe[1-3]"));
    }

    #[test]
    fn what_no_version_calls_sensitive_is_harmless() {
        let params = || Params::from_pairs([("count", "3"), ("token", "true")]).unwrap();
        let kept = |fleet: &Inventory, targets: &str| {
            let survey = survey_of(fleet, job(Scope::All), targets, params());
            let harmless: Vec<Params> = survey.harmless().cloned().collect();
            harmless[0].iter().map(|(key, _)| key.to_string()).collect::<Vec<String>>()
        };
        let mut open = strict(2);
        if let Ok(conf) = &mut open.spec {
            conf.params = None;
        }
        let fleet = fleet(&[("fe[1-2]", &[strict(1)]), ("fe3", &[open]), ("fe4", &[])]);
        assert_eq!(kept(&fleet, "fe[1-2]"), ["count"]);
        assert_eq!(kept(&fleet, "fe[1-2,4-5]"), ["count"]);
        // A score that declares nothing says of nothing that it is no secret.
        assert_eq!(kept(&fleet, "fe[1-3]"), [""; 0]);
        assert_eq!(kept(&fleet, "fe5"), [""; 0]);
    }

    #[test]
    fn a_score_that_nobody_has_is_refused() {
        let fleet = fleet(&[("fe[1-2]", &[offer("restarts", 1)]), ("fe3", &[])]);
        let refused = survey(&fleet, "fe[1-3]").refusal(false);
        assert_eq!(text(refused), "job web: no target has a score restart; did you mean restarts?");
        let refused = survey(&fleet, "fe3").refusal(false);
        assert!(text(refused).ends_with("; <scores> lists what they have"));
        // A player that is unheard may have the score.
        assert_eq!(survey(&fleet, "fe[1-4]").refusal(false), None);
        // That there are no hosts is told elsewhere.
        assert_eq!(survey(&fleet, "").refusal(false), None);
    }

    #[test]
    fn a_disabled_score_is_none_and_says_why() {
        let broken =
            ScoreOffer { spec: Err("it is world-writable".to_owned()), ..offer("restart", 1) };
        let fleet = fleet(&[("fe[1-2]", &[broken]), ("fe3", &[offer("restart", 1)])]);
        let refused = text(survey(&fleet, "fe[1-2]").refusal(false));
        assert!(refused.ends_with("on fe1 it is disabled: it is world-writable"), "{refused}");
        let some = survey(&fleet, "fe[1-3]");
        assert_eq!(some.refusal(false), None);
        let warning = "job web: score restart is missing or disabled on fe[1-2] (2); on fe1: it is \
                       world-writable";
        assert_eq!(some.warnings(), [warning]);
        assert!(some.refusal(true).is_some());
    }

    #[test]
    fn versions_that_differ_are_told_and_may_be_refused() {
        let fleet = fleet(&[
            ("fe[1-3]", &[offer("restart", 1)]),
            ("fe4", &[offer("restart", 0xab), offer("x", 1)]),
        ]);
        let survey = survey(&fleet, "fe[1-5]");
        assert_eq!(
            survey.warnings(),
            [
                "job web: score restart has 2 versions: 010101010101 on fe[1-3] (3), abababababab \
                 on fe4 (1)",
                "job web: fe5 (1) is not attached",
            ]
        );
        assert_eq!(survey.refusal(false), None);
        let refused = text(survey.refusal(true));
        assert!(refused.contains("the same version was asked for everywhere, and score restart"));
    }

    #[test]
    fn parameters_that_nobody_takes_are_refused_without_their_values() {
        let fleet = fleet(&[("fe1", &[strict(1)]), ("fe2", &[strict(2)]), ("fe3", &[])]);
        let params = |key: &str, value: &str| Params::from_pairs([(key, value)]).unwrap();
        let ask =
            |targets: &str, params: Params| survey_of(&fleet, job(Scope::All), targets, params);
        for (key, value) in [("count", "hunter2"), ("token", "hunter2"), ("tokin", "hunter2")] {
            let refused = text(ask("fe[1-3]", params(key, value)).refusal(false));
            assert!(refused.starts_with(&format!("job web: parameter {key}: ")), "{refused}");
            assert!(!refused.contains("hunter2"), "{refused}");
            assert_eq!(ask("fe[1-4]", params(key, value)).refusal(false), None);
        }
        assert_eq!(ask("fe[1-2]", params("count", "7")).warnings().len(), 1, "drift alone");
    }

    #[test]
    fn who_would_refuse_the_parameters_is_named() {
        let fleet = fleet(&[("fe1", &[strict(1)]), ("fe2", &[offer("restart", 1)])]);
        let params = Params::from_pairs([("other", "hunter2")]).unwrap();
        let survey = survey_of(&fleet, job(Scope::All), "fe[1-2]", params);
        assert_eq!(survey.refusal(true), None);
        let warnings = survey.warnings();
        let expected = "job web: fe1 (1) would refuse the parameters: parameter other: ";
        assert!(warnings[0].starts_with(expected), "{warnings:?}");
    }

    #[test]
    fn one_of_needs_one() {
        let inventory = fleet(&[("fe1", &[offer("restart", 1)])]);
        let survey = |inventory| {
            survey_of(inventory, job(Scope::One), "fe[1-2]", Params::default()).warnings()
        };
        assert_eq!(survey(&inventory), [""; 0]);
        inventory.detached(&HostName::new("fe1").unwrap());
        assert_eq!(survey(&inventory), ["job web: fe[1-2] (2) are not attached"]);
    }

    #[test]
    fn warnings_are_bounded() {
        let fleet = fleet(&[]);
        let jobs: Vec<JobSpec> = (0..WARNINGS + 7).map(|_| job(Scope::All)).collect();
        let targets = vec![hosts("fe1"); jobs.len()];
        let spec = FlowSpec::new(vec![SlotSpec { jobs }]);
        let warnings = fleet.survey(&spec, &[targets], &BTreeMap::new()).warnings();
        assert_eq!(warnings.len(), WARNINGS + 1);
        assert_eq!(warnings.last().unwrap(), "and 7 more warnings");
    }
}
