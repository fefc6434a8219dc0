//! The limits of a job as the audience asks for them: flags of `submitjob` and fields of flow
//! files, which have the same names (`retry_delay`, `--retry-delay`), words and defaults.
//!
//! What a limit means is the scheduler's business; whether limits contradict each other is
//! checked by the model, once the job is whole.

mod tree;

use orchestra_document::{Fields, Problems};
use orchestra_model::{
    flow::{JobSpec, OnDoomed, SequenceOnFailure, Stragglers},
    quantity::Quantity,
    time::Millis,
    whole,
};

use self::tree::TreeFlags;
use crate::words::number;

/// What was asked for; what was not has its default. The rarest are hidden in `--help`, which would
/// fill more than a screen: `orc help limits` tells all of them.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct JobLimits {
    /// At most so many at once, as a sliding window
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    pub parallel: Option<Quantity>,
    /// So many must succeed [default: 100%, or all but --max-failures]
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    pub success: Option<Quantity>,
    /// Tolerate so many failures; one more stops new starts
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    pub max_failures: Option<Quantity>,
    /// Start once so many players are attached [default: 0]
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    pub quorum: Option<Quantity>,
    /// Of one attempt [default: the score's]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    pub timeout: Option<Millis>,
    /// Wait so long for absent players [default: for ever]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    pub give_up_after: Option<Millis>,
    /// Once enough succeeded: give-up on absent players, or wait
    #[arg(long, value_name = "WORD", conflicts_with = "flow", value_parser = stragglers)]
    pub stragglers: Option<Stragglers>,
    /// Call a task lost when its player is away so long
    #[arg(long, hide_short_help = true, value_name = "DURATION", conflicts_with = "flow")]
    pub lost_after: Option<Millis>,
    /// So many extra attempts after a failure [default: 0]
    #[arg(long, value_name = "N", conflicts_with = "flow", value_parser = number(0..=u32::MAX))]
    pub retries: Option<u32>,
    /// … each so long after the one before it [default: 0s]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    pub retry_delay: Option<Millis>,
    /// So many first; the others once these are ok and --bake is over
    #[arg(long, value_name = "N|N%", conflicts_with = "flow")]
    pub canary: Option<Quantity>,
    /// … which takes so long [default: until orc promote]
    #[arg(long, value_name = "DURATION", conflicts_with = "flow")]
    pub bake: Option<Millis>,
    /// Success out of reach: finish what runs (default), or cancel it
    #[arg(long, hide_short_help = true, value_name = "WORD", conflicts_with = "flow", value_parser = on_doomed)]
    pub on_doomed: Option<OnDoomed>,
    /// Hosts before ours failed: wait (the default), or continue
    #[arg(long, hide_short_help = true, value_name = "WORD", conflicts_with = "flow", value_parser = sequence_on_failure)]
    pub sequence_on_failure: Option<SequenceOnFailure>,
    /// Take no cells of deployments, and wait for no sequence
    #[arg(long, conflicts_with = "flow")]
    pub unthrottled: bool,
    #[command(flatten)]
    tree: TreeFlags,
}

impl JobLimits {
    /// From the fields of a job in a flow file.
    pub(crate) fn read(fields: &mut Fields<'_>, problems: &mut Problems) -> Self {
        Self {
            parallel: fields.parsed("parallel", problems),
            success: fields.parsed("success", problems),
            max_failures: fields.parsed("max_failures", problems),
            quorum: fields.parsed("quorum", problems),
            timeout: fields.parsed("timeout", problems),
            give_up_after: fields.parsed("give_up_after", problems),
            stragglers: word("stragglers", stragglers, fields, problems),
            lost_after: fields.parsed("lost_after", problems),
            retries: fields.parsed("retries", problems).map(|Retries(retries)| retries),
            retry_delay: fields.parsed("retry_delay", problems),
            canary: fields.parsed("canary", problems),
            bake: fields.parsed("bake", problems),
            on_doomed: word("on_doomed", on_doomed, fields, problems),
            sequence_on_failure: word("sequence_on_failure", sequence_on_failure, fields, problems),
            unthrottled: fields.yes_or_no("unthrottled", problems).unwrap_or_default(),
            tree: TreeFlags::read(fields, problems),
        }
    }

    /// The job with these limits, and its own where nothing was asked for.
    pub(crate) fn over(self, job: JobSpec) -> JobSpec {
        JobSpec {
            parallel: self.parallel.unwrap_or(job.parallel),
            success: self.success.or(job.success),
            max_failures: self.max_failures.or(job.max_failures),
            quorum: self.quorum.unwrap_or(job.quorum),
            timeout: self.timeout.or(job.timeout),
            give_up_after: self.give_up_after.or(job.give_up_after),
            stragglers: self.stragglers.unwrap_or(job.stragglers),
            lost_after: self.lost_after.or(job.lost_after),
            retries: self.retries.unwrap_or(job.retries),
            retry_delay: self.retry_delay.unwrap_or(job.retry_delay),
            canary: self.canary.or(job.canary),
            bake: self.bake.or(job.bake),
            on_doomed: self.on_doomed.unwrap_or(job.on_doomed),
            sequence_on_failure: self.sequence_on_failure.unwrap_or(job.sequence_on_failure),
            unthrottled: self.unthrottled || job.unthrottled,
            tree: self.tree.tree().or(job.tree),
            ..job
        }
    }
}

type Parse<T> = fn(&str) -> Result<T, &'static str>;

fn word<T>(
    name: &'static str,
    parse: Parse<T>,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<T> {
    let parsed = parse(fields.text(name, problems)?);
    parsed.map_err(|error| fields.note(name, error, problems)).ok()
}

fn stragglers(word: &str) -> Result<Stragglers, &'static str> {
    match word {
        "give-up" => Ok(Stragglers::GiveUp),
        "wait" => Ok(Stragglers::Wait),
        _ => Err("it is give-up or wait"),
    }
}

fn on_doomed(word: &str) -> Result<OnDoomed, &'static str> {
    match word {
        "finish" => Ok(OnDoomed::Finish),
        "cancel" => Ok(OnDoomed::Cancel),
        _ => Err("it is finish or cancel"),
    }
}

fn sequence_on_failure(word: &str) -> Result<SequenceOnFailure, &'static str> {
    match word {
        "wait" => Ok(SequenceOnFailure::Wait),
        "continue" => Ok(SequenceOnFailure::Continue),
        _ => Err("it is wait or continue"),
    }
}

/// A whole number, with a message that says so.
struct Retries(u32);

impl std::str::FromStr for Retries {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        whole(text).map(Retries).ok_or("expected a whole number from 0 on")
    }
}
