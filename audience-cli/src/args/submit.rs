//! `submitjob`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use orchestra_document::Format;
use orchestra_model::{
    flow::{FlowSpec, JobSpec, Scope, SlotSpec, Stragglers},
    limits,
    names::{FlowName, JobName, ParamKey, ScoreName},
    params::Params,
    quantity::Quantity,
    time::Millis,
};

use super::{CONNECTION_HELP, Shared, Waiting};
use crate::{
    error::Failure,
    flowfile::{self, FLOW_FILE_BYTES, Overrides, Secret, Submission, parse_stragglers},
    input::Inputs,
    targets,
};

const VALUES: &str = "\
HOSTS: fe[1-6],db[01-10/2] with , ! & ^, @GROUP, @KEY=VALUE, @all; or @file:PATH, or -
VALUE: as it is, or @file:PATH, or -";

const EXAMPLES: &str = "
Examples:
  submitjob restart-apache -w 'fe[1-100]' --parallel 50% --success 95% --wait
  submitjob --flow deploy.yaml --set version=1.2.3 -W";

/// Run a score on hosts, or a flow from a file; prints the flow's id
#[derive(Debug, Default, clap::Parser)]
#[command(
    name = "submitjob",
    version,
    after_help = format!("{VALUES}\n{CONNECTION_HELP}\n{EXAMPLES}"),
    override_usage = "submitjob SCORE [KEY=VALUE]... (-w HOSTS | --one-of HOSTS) [OPTIONS]\n       \
                      submitjob --flow FILE|- [--set KEY=VALUE]... [OPTIONS]"
)]
pub struct SubmitArgs {
    /// The score to run
    #[arg(value_name = "SCORE", required_unless_present = "flow", conflicts_with = "flow")]
    score: Option<ScoreName>,
    /// Its parameters
    #[arg(value_name = "KEY=VALUE")]
    params: Vec<String>,
    /// Run it on each of these hosts
    #[arg(short = 'w', long, value_name = "HOSTS", conflicts_with_all = ["flow", "one_of"],
          required_unless_present_any = ["flow", "one_of"])]
    all_of: Option<String>,
    /// Run it on one of these hosts
    #[arg(long, value_name = "HOSTS", conflicts_with = "flow")]
    one_of: Option<String>,
    /// But not on these hosts
    #[arg(short = 'x', long, value_name = "HOSTS", conflicts_with = "flow")]
    exclude: Vec<String>,
    /// At most so many at once, as a sliding window
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    parallel: Option<Quantity>,
    /// So many must succeed [default: 100%]
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    success: Option<Quantity>,
    /// Tolerate so many failures; one more stops new starts
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    max_failures: Option<Quantity>,
    /// Of one attempt [default: the score's]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    timeout: Option<Millis>,
    /// Wait so long for absent players [default: for ever]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    give_up_after: Option<Millis>,
    /// Once enough succeeded: give-up on absent players, or wait
    #[arg(long, value_name = "WORD", conflicts_with = "flow", value_parser = parse_stragglers)]
    stragglers: Option<Stragglers>,
    /// Call a task lost when its player is away so long
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    lost_after: Option<Millis>,
    /// So many extra attempts after a failure [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "flow")]
    retries: Option<u32>,
    /// Name the flow [default: the score, or what the file says]
    #[arg(long)]
    name: Option<FlowName>,
    /// Submit the flow in a JSON, YAML or TOML file
    #[arg(long, value_name = "FILE|-")]
    flow: Option<PathBuf>,
    /// Set a parameter of all jobs of the flow, or of one: JOB/KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Wait for the verdict; the exit code tells it
    #[arg(short = 'W', long)]
    wait: bool,
    /// How to wait.
    #[command(flatten)]
    waiting: Waiting,
    /// What every command takes.
    #[command(flatten)]
    pub(crate) shared: Shared,
}

/// A validated submission, and what to do after it.
#[derive(Debug)]
pub struct Submit {
    /// What is submitted.
    pub submission: Submission,
    /// How to wait, where that was asked for.
    pub wait: Option<Waiting>,
    /// What every command takes.
    pub shared: Shared,
}

impl SubmitArgs {
    /// Reads what is to be read, and checks what can be checked here.
    pub fn validate(mut self, inputs: &mut Inputs<'_>) -> Result<Submit, Failure> {
        if !self.wait && (self.waiting.wait_timeout.is_some() || self.waiting.jsonl) {
            return Err(
                Failure::usage("--wait-timeout and --jsonl say how to wait").hint("add --wait")
            );
        }
        if !self.set.is_empty() && self.flow.is_none() {
            return Err(Failure::usage("--set changes the parameters of a flow")
                .hint("parameters of a single score follow its name: submitjob SCORE KEY=VALUE"));
        }
        let submission = match self.flow.take() {
            Some(path) => self.flow_file(&path, inputs)?,
            None => self.single_job(inputs)?,
        };
        let wait = self.wait.then_some(self.waiting);
        Ok(Submit { submission, wait, shared: self.shared })
    }

    fn single_job(&self, inputs: &mut Inputs<'_>) -> Result<Submission, Failure> {
        const FLAG: &str = "the host set";
        let Some(score) = &self.score else {
            return Err(Failure::usage("a score is needed"));
        };
        let mut pairs = BTreeMap::new();
        for word in &self.params {
            let (key, value) = pair(word)?;
            let secret = parameter(key, value, inputs)?;
            if pairs.insert(key.to_owned(), secret.0).is_some() {
                return Err(Failure::usage(format!("parameter {key} is given twice")));
            }
        }
        let params = Params::from_pairs(pairs)
            .map_err(|error| Failure::usage("reading the parameters").because(error))?;
        let (scope, hosts) = match (&self.all_of, &self.one_of) {
            (Some(hosts), _) => (Scope::All, hosts),
            (None, Some(hosts)) => (Scope::One, hosts),
            (None, None) => return Err(Failure::usage("--all-of or --one-of is needed")),
        };
        let mut set = |written: &str| inputs.hosts(written, FLAG, limits::HOSTSET_BYTES);
        let hosts = set(hosts)?;
        let excluded =
            self.exclude.iter().map(|hosts| set(hosts)).collect::<Result<Vec<_>, _>>()?;
        let name = JobName::new(score.as_str())
            .map_err(|error| Failure::usage("naming the job").because(error))?;
        let defaults = JobSpec::new(name, score.clone(), targets::without(&hosts, &excluded)?);
        let job = JobSpec {
            scope,
            parallel: self.parallel.unwrap_or(defaults.parallel),
            success: self.success.unwrap_or(defaults.success),
            max_failures: self.max_failures,
            timeout: self.timeout,
            give_up_after: self.give_up_after,
            stragglers: self.stragglers.unwrap_or_default(),
            lost_after: self.lost_after,
            retries: self.retries.unwrap_or(defaults.retries),
            ..defaults
        };
        // In a list of flows, the score says more than nothing.
        let name = self.name.clone().or_else(|| FlowName::new(score.as_str()).ok());
        let spec = FlowSpec { name, slots: vec![SlotSpec { jobs: vec![job] }] };
        spec.check().map_err(|error| Failure::usage("checking the limits").because(error))?;
        let params = if params.is_empty() { Vec::new() } else { vec![(1, 1, params)] };
        Ok(Submission { spec, params })
    }

    fn flow_file(&self, path: &Path, inputs: &mut Inputs<'_>) -> Result<Submission, Failure> {
        let mut overrides = Overrides { name: self.name.clone(), ..Overrides::default() };
        let stdin = path.as_os_str() == "-";
        let (text, what) = if stdin {
            let what = "the flow";
            (inputs.standard_input(what, FLOW_FILE_BYTES)?, "the flow on standard input".to_owned())
        } else {
            let what = format!("the flow file {}", path.display());
            (inputs.file(path, "the flow", FLOW_FILE_BYTES)?, what)
        };
        for word in &self.set {
            let (place, value) = pair(word)?;
            let (job, key) = match place.split_once('/') {
                Some((job, key)) => (Some(job), key),
                None => (None, place),
            };
            ParamKey::new(key).map_err(|error| Failure::usage("reading --set").because(error))?;
            let secret = parameter(place, value, inputs)?;
            let values = match job {
                None => &mut overrides.everywhere,
                Some(job) => {
                    let job = JobName::new(job)
                        .map_err(|error| Failure::usage("reading --set").because(error))?;
                    overrides.of_job.entry(job).or_default()
                }
            };
            if values.insert(key.to_owned(), secret).is_some() {
                return Err(Failure::usage(format!("--set {place} is given twice")));
            }
        }
        let format = Format::of_path(path).unwrap_or_else(|| Format::sniff(&text));
        flowfile::read(&text, format, &what, &overrides)
    }
}

fn pair(word: &str) -> Result<(&str, &str), Failure> {
    word.split_once('=').ok_or_else(|| {
        let shown: String = word.chars().take(60).collect();
        Failure::usage(format!("reading the parameter {shown:?}: expected KEY=VALUE"))
            .hint("hosts are given by -w HOSTS or --one-of HOSTS")
    })
}

fn parameter(key: &str, value: &str, inputs: &mut Inputs<'_>) -> Result<Secret, Failure> {
    let shown: String = key.chars().take(80).collect();
    let what = format!("parameter {shown}");
    inputs.parameter(value, &what, limits::PARAM_VALUE_BYTES).map(Secret)
}
