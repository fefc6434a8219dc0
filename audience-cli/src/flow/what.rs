//! What is submitted, by the flags of `submitjob` and `orc plan`: a score over hosts, or a file.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use orchestra_client::{ConditionalSubmission, FlowToSubmit};
use orchestra_document::Format;
use orchestra_model::{
    flow::{FlowSpec, JobSpec, Scope, SlotSpec},
    limits,
    names::{FlowName, JobName, ParamKey, ScoreName},
    params::Params,
    start::Start,
};

use super::{
    file::{self, FLOW_FILE_BYTES, Overrides, Secret},
    limits::JobLimits,
    start::StartFlags,
};
use crate::{
    error::Failure,
    hosts::hostset::{picked, resolve},
    import,
    input::Inputs,
    program::Program,
    targets,
    words::number,
};

/// What the values of these arguments are, for the end of a help text.
pub(super) const VALUES: &str = "\
HOSTS: fe[1-6],db[01-10/2] with , ! & ^, @GROUP, @KEY=VALUE, @all; it and VALUE: @file:PATH, -
More limits of a job, and each in full: orc help limits";

/// A score over hosts, or a flow from a file.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct What {
    /// The score to run
    // The usage line says as much as its own section would.
    #[arg(value_name = "SCORE", conflicts_with = "flow", hide = true)]
    score: Option<ScoreName>,
    /// Its parameters
    #[arg(value_name = "KEY=VALUE", hide = true)]
    params: Vec<String>,
    /// Run it on each of these hosts
    #[arg(short = 'w', long, value_name = "HOSTS", conflicts_with_all = ["flow", "one_of"])]
    all_of: Option<String>,
    /// Run it on one of these hosts
    #[arg(long, value_name = "HOSTS", conflicts_with = "flow")]
    one_of: Option<String>,
    /// But not on these hosts (--pick N: only on so many, by chance)
    #[arg(short = 'x', long, value_name = "HOSTS", conflicts_with = "flow")]
    exclude: Vec<String>,
    /// Only on so many of these hosts, picked by chance
    // Help has no line left; that of -x names it.
    #[arg(long, value_name = "N", conflicts_with = "flow", hide_short_help = true,
          value_parser = number(1..=usize::MAX))]
    pick: Option<usize>,
    #[command(flatten)]
    limits: JobLimits,
    #[command(flatten)]
    start: StartFlags,
    /// Name the flow [default: the score, or what the file says]
    #[arg(long)]
    name: Option<FlowName>,
    /// Take the flow from a JSON, YAML or TOML file
    #[arg(long, value_name = "FILE|-")]
    flow: Option<PathBuf>,
    /// Set a parameter of all its jobs, or of one: JOB/KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Leave out names that nobody knows, instead of refusing them
    #[arg(long)]
    allow_unknown: bool,
    /// Refuse unless all hosts offer the same version of the score
    #[arg(long)]
    require_same_score: bool,
}

impl What {
    /// Returns whether nothing of a submission is given.
    pub(super) fn is_empty(&self) -> bool {
        self.score.is_none()
            && self.flow.is_none()
            && self.all_of.is_none()
            && self.one_of.is_none()
    }

    /// Whether hosts are picked by chance, so that the same words say something else each time.
    pub(super) fn picks(&self) -> bool {
        self.pick.is_some()
    }

    /// Finds out what the words leave to chance or to the conductor: which hosts are picked, which
    /// flow is `last`. From then on it names those.
    pub(super) fn settle(
        &mut self,
        inputs: &mut Inputs<'_>,
        program: &mut Program,
    ) -> Result<(), Failure> {
        self.start.find_last(program)?;
        self.pick(inputs, program)
    }

    /// Picks hosts by chance if that is asked for, and says which.
    fn pick(&mut self, inputs: &mut Inputs<'_>, program: &mut Program) -> Result<(), Failure> {
        let Some(count) = self.pick.take() else { return Ok(()) };
        let (scope, expression) = self.targets(inputs)?;
        let picked = picked(&resolve(&expression, program)?, count)?.to_string();
        program.console.narrate(format_args!("picked: {picked}"));
        match scope {
            Scope::All => self.all_of = Some(picked),
            Scope::One => self.one_of = Some(picked),
        }
        self.exclude.clear();
        Ok(())
    }

    /// Returns what is to be submitted, without a condition on a plan.
    pub(super) fn wanted(self, inputs: &mut Inputs<'_>) -> Result<ConditionalSubmission, Failure> {
        let (require_same_score, allow_unknown) = (self.require_same_score, self.allow_unknown);
        let submission = self.submission(inputs)?;
        Ok(ConditionalSubmission {
            submission,
            require_same_score,
            allow_unknown,
            if_plan: None,
            request: None,
        })
    }

    /// Reads what is to be read, and checks what can be checked here.
    fn submission(mut self, inputs: &mut Inputs<'_>) -> Result<FlowToSubmit, Failure> {
        if !self.set.is_empty() && self.flow.is_none() {
            return Err(Failure::usage("--set changes the parameters of a flow")
                .hint("parameters of a single score follow its name: submitjob SCORE KEY=VALUE"));
        }
        match self.flow.take() {
            Some(path) => self.flow_file(&path, inputs),
            None => self.single_job(inputs),
        }
    }

    fn single_job(self, inputs: &mut Inputs<'_>) -> Result<FlowToSubmit, Failure> {
        let Some(score) = &self.score else {
            return Err(Failure::usage("a score is needed, or a file of a flow")
                .hint("submitjob SCORE [KEY=VALUE]... -w HOSTS, or submitjob --flow FILE"));
        };
        let params = self.single_params(inputs)?;
        let (scope, targets) = self.targets(inputs)?;
        // Names of scores that are part of the player begin with what no other name has.
        let own = score.as_str().trim_start_matches('@');
        let name =
            JobName::new(own).map_err(|error| Failure::usage("naming the job").because(error))?;
        // In a list of flows, the score says more than nothing.
        let flow_name = self.name.or_else(|| FlowName::new(own).ok());
        let job = JobSpec::new(name, score.clone(), targets);
        let job = JobSpec { scope, ..self.limits.over(job) };
        let start = self.start.over(Start::default());
        let spec = FlowSpec { name: flow_name, start, slots: vec![SlotSpec { jobs: vec![job] }] };
        spec.check().map_err(|error| Failure::usage("checking the limits").because(error))?;
        let params = if params.is_empty() { Vec::new() } else { vec![(1, 1, params)] };
        Ok(FlowToSubmit { spec, params })
    }

    /// The parameters of a single score.
    fn single_params(&self, inputs: &mut Inputs<'_>) -> Result<Params, Failure> {
        let mut pairs = BTreeMap::new();
        for word in &self.params {
            let (key, value) = pair(word)?;
            let secret = parameter(key, value, inputs)?;
            if pairs.insert(key.to_owned(), secret.0).is_some() {
                return Err(Failure::usage(format!("parameter {key} is given twice")));
            }
        }
        Params::from_pairs(pairs)
            .map_err(|error| Failure::usage("reading the parameters").because(error))
    }

    /// On which hosts a single score runs.
    fn targets(&self, inputs: &mut Inputs<'_>) -> Result<(Scope, String), Failure> {
        let (scope, hosts) = match (&self.all_of, &self.one_of) {
            (Some(hosts), _) => (Scope::All, hosts),
            (None, Some(hosts)) => (Scope::One, hosts),
            (None, None) => {
                return Err(Failure::usage("running a score: on which hosts?")
                    .hint("-w HOSTS (--all-of) for each of them, --one-of HOSTS for one of them"));
            }
        };
        let mut read =
            |written: &String| inputs.hosts(written, "the host set", limits::HOSTSET_BYTES);
        let hosts = read(hosts)?;
        let excluded = self.exclude.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok((scope, targets::without(&hosts, &excluded)?))
    }

    fn flow_file(self, path: &Path, inputs: &mut Inputs<'_>) -> Result<FlowToSubmit, Failure> {
        let stdin = path.as_os_str() == "-";
        let (text, what) = if stdin {
            let what = "the flow";
            (inputs.standard_input(what, FLOW_FILE_BYTES)?, "the flow on standard input".to_owned())
        } else {
            let what = format!("the flow file {}", path.display());
            (inputs.file(path, "the flow", FLOW_FILE_BYTES)?, what)
        };
        let overrides =
            Overrides { name: self.name, start: self.start, ..settings(&self.set, inputs)? };
        let format = Format::of_path(path).unwrap_or_else(|| Format::sniff(&text));
        file::read(&text, format, &what, &overrides).map_err(|failure| match import::hint(&text) {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    }
}

/// What `--set KEY=VALUE` and `--set JOB/KEY=VALUE` say. `JOB.KEY` means `JOB/KEY`, because no key
/// has a dot.
pub(super) fn settings(words: &[String], inputs: &mut Inputs<'_>) -> Result<Overrides, Failure> {
    let wrong = |error| Failure::usage("reading --set").because(error);
    let mut overrides = Overrides::default();
    for word in words {
        let (place, value) = pair(word)?;
        let (job, key) = match place.rsplit_once(['/', '.']) {
            Some((job, key)) => (Some(JobName::new(job).map_err(wrong)?), key),
            None => (None, place),
        };
        ParamKey::new(key).map_err(|error| Failure::usage("reading --set").because(error))?;
        let secret = parameter(place, value, inputs)?;
        let values = match job {
            None => &mut overrides.everywhere,
            Some(job) => overrides.of_job.entry(job).or_default(),
        };
        if values.insert(key.to_owned(), secret).is_some() {
            return Err(Failure::usage(format!("--set {place} is given twice")));
        }
    }
    Ok(overrides)
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
