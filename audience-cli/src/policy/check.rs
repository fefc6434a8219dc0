//! `orc policy check`.

use orchestra_client::{Exit, RightQuestion};
use orchestra_model::{
    names::{AudienceName, BundleName, ScoreName, ServiceName},
    nearest,
    policy::{Concern, Right},
};

use crate::{error::Failure, program::Program, verb::Verb, view::policy::Answer};

/// `orc policy check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc policy check alice submit deploy-web '@app=web'
  orc policy check alice service-apply web --score run-web")]
pub(crate) struct Check {
    /// Who
    #[arg(value_name = "AUDIENCE")]
    who: AudienceName,
    /// What they would do: see, submit, cancel, drain, service-stop and so on
    #[arg(value_name = "RIGHT", value_parser = right)]
    right: Right,
    /// What it is done to: a score, a service or a bundle, where the right is limited by one; then a host set,
    /// instead of every player
    #[arg(value_name = "WHAT", num_args = 0..=2)]
    on: Vec<String>,
    /// The score that a service runs, for service-apply
    #[arg(long, value_name = "SCORE")]
    score: Option<ScoreName>,
    /// For read-output: WHAT is a service, not a score
    #[arg(long)]
    service: bool,
    /// In a flow of somebody else
    #[arg(long)]
    others: bool,
}

impl Verb for Check {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let question = self.question()?;
        let (who, right) = (question.who.clone(), question.right);
        program.ask(async |client, console| {
            let answer = client.check_right(question).await?;
            let exit = if answer.why_not.is_none() { Exit::Ok } else { Exit::Denied };
            console.answer(Answer { who, right, answer })?;
            Ok(exit)
        })
    }
}

impl Check {
    /// Reads the words behind the right by what the right is limited by.
    fn question(self) -> Result<RightQuestion, Failure> {
        let Check { who, right, on, score, service: is_service, others: of_others } = self;
        let wrong = |why: &str| Failure::usage("asking about a right").because(why.to_owned());
        let mut words = on.into_iter();
        let mut question = RightQuestion {
            who,
            right,
            score,
            service: None,
            bundle: None,
            of_others,
            hosts: None,
        };
        let named = match right.concern() {
            Concern::Conductor | Concern::Hosts => None,
            _ => Some(words.next().ok_or_else(|| {
                wrong(&format!("{right} is limited by scores, services or bundles: say which"))
            })?),
        };
        let to_score = |text: &str| ScoreName::new(text).map_err(|error| wrong(&error.to_string()));
        let to_service =
            |text: &str| ServiceName::new(text).map_err(|error| wrong(&error.to_string()));
        let to_bundle =
            |text: &str| BundleName::new(text).map_err(|error| wrong(&error.to_string()));
        if let Some(named) = named {
            match right.concern() {
                Concern::Services | Concern::ScoresOfServices => {
                    question.service = Some(to_service(&named)?);
                }
                Concern::Bundles => question.bundle = Some(to_bundle(&named)?),
                Concern::Output if is_service => question.service = Some(to_service(&named)?),
                _ => question.score = Some(to_score(&named)?),
            }
        }
        question.hosts = words.next();
        if let Some(more) = words.next() {
            return Err(wrong(&format!("{right} takes no {more:?}")));
        }
        Ok(question)
    }
}

fn right(word: &str) -> Result<Right, String> {
    Right::from_word(word).ok_or_else(|| {
        let meant = nearest(word, Right::all().map(Right::as_str));
        match meant {
            Some(meant) => format!("there is no such right; did you mean {meant}?"),
            None => {
                let words: Vec<&str> = Right::all().map(Right::as_str).collect();
                format!("there are {}", words.join(", "))
            }
        }
    })
}
