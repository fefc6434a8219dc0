//! Tells who may do what.

use std::sync::Arc;

use orchestra_model::{
    AudienceName, BundleName, ScoreName, ServiceName,
    policy::{Concern, Right},
};
use orchestra_policy::{Difference, Reach, Rule, What, differences};

use super::{Desk, Recipient, Stopped, off_the_runtime};
use crate::declined::{Declined, Ground};

/// Rules of one page of a list, and differences. Each has a host set or two.
const PAGE: usize = 20;

/// What is asked about a right.
#[derive(Debug)]
pub(crate) struct RightQuestion {
    pub(crate) who: AudienceName,
    pub(crate) right: Right,
    pub(crate) score: Option<ScoreName>,
    pub(crate) service: Option<ServiceName>,
    pub(crate) bundle: Option<BundleName>,
    pub(crate) is_of_others: bool,
    /// A host set; `None` for every player.
    pub(crate) hosts: Option<String>,
}

/// Whether somebody has a right.
#[derive(Debug)]
pub(crate) struct RightAnswer {
    /// Why not; `None` if they have it.
    pub(crate) why_not: Option<String>,
    pub(crate) reach: Reach,
}

/// Rules of a policy, and whether it has none because everybody may do everything.
#[derive(Debug)]
pub(crate) struct ListedRules {
    pub(crate) is_open: bool,
    pub(crate) rules: Vec<Rule>,
}

impl Desk {
    /// Returns the rules that are about somebody.
    pub(crate) fn rules_of(&self, by: &AudienceName) -> ListedRules {
        let policy = self.policy();
        ListedRules { is_open: policy.is_open(), rules: policy.rules_of(by).cloned().collect() }
    }

    /// Lists the rules in force.
    pub(crate) async fn list_policy(
        &self,
        by: &AudienceName,
        to: &impl Recipient<ListedRules>,
    ) -> Result<(), Stopped> {
        self.check_right(by, Right::SeePolicy, What::Conductor, None)?;
        let policy = self.policy();
        let is_open = policy.is_open();
        if is_open {
            return to.give(ListedRules { is_open, rules: Vec::new() }).await;
        }
        for rules in policy.rules().chunks(PAGE) {
            to.give(ListedRules { is_open, rules: rules.to_vec() }).await?;
        }
        Ok(())
    }

    /// Returns whether somebody may do something.
    pub(crate) async fn answer_right(
        &self,
        asked: RightQuestion,
        by: &AudienceName,
    ) -> Result<RightAnswer, Declined> {
        if asked.who != *by {
            self.check_right(by, Right::SeePolicy, What::Conductor, None)?;
        }
        let what = asked.what()?;
        let hosts = match asked.hosts.clone() {
            Some(hosts) => self.players(hosts, by).await?,
            None => self.fleet.borrow().hosts().clone(),
        };
        let (policy, right) = (self.policy(), asked.right);
        let hosts = Some(&hosts).filter(|_| what.is_of_hosts());
        let denied = policy.check(&asked.who, right, what, hosts).err();
        let reach = policy.reach(Some(&asked.who), right, &what);
        Ok(RightAnswer {
            why_not: denied.map(|denial| denial.told_to(&policy.known_to(by))),
            reach,
        })
    }

    /// Lists what everybody would lose and gain with the policy of this text.
    pub(crate) async fn diff_policy(
        &self,
        text: String,
        by: &AudienceName,
        to: &impl Recipient<Vec<Difference>>,
    ) -> Result<(), Stopped> {
        self.check_right(by, Right::SeePolicy, What::Conductor, None)?;
        let fleet = Arc::clone(&self.fleet.borrow());
        let compare = move || {
            let after =
                fleet.read_policy(&text).map_err(|problems| Declined::invalid(&problems))?;
            Ok::<_, Declined>(differences(fleet.policy(), &after))
        };
        for page in off_the_runtime(compare).await??.chunks(PAGE) {
            to.give(page.to_vec()).await?;
        }
        Ok(())
    }
}

impl RightQuestion {
    /// Returns what the right is asked about. Exactly what limits it has to be given.
    fn what(&self) -> Result<What<'_>, Declined> {
        let right = self.right;
        let score = self.score.as_ref().map(ScoreName::as_str);
        let service = self.service.as_ref().map(ServiceName::as_str);
        let bundle = self.bundle.as_ref().map(BundleName::as_str);
        let needed = match (right.concern(), score, service, bundle) {
            (Concern::Conductor, None, None, None) => return Ok(What::Conductor),
            (Concern::Hosts, None, None, None) => return Ok(What::Hosts),
            (Concern::Scores | Concern::Output, Some(score), None, None) => {
                return Ok(What::Score { score, is_of_others: self.is_of_others });
            }
            (Concern::Services | Concern::Output, None, Some(service), None) => {
                return Ok(What::Service(service));
            }
            (Concern::ScoresOfServices, Some(score), Some(service), None) => {
                return Ok(What::ScoreOfService { service, score });
            }
            (Concern::Bundles, None, None, Some(bundle)) => return Ok(What::Bundle(bundle)),
            (Concern::Conductor, ..) => "nothing",
            (Concern::Hosts, ..) => "hosts alone",
            (Concern::Scores, ..) => "a score",
            (Concern::Services, ..) => "a service",
            (Concern::Output, ..) => "a score or a service",
            (Concern::ScoresOfServices, ..) => "a service and its score",
            (Concern::Bundles, ..) => "a bundle",
        };
        let why = format!("{right} is limited by {needed}: ask about that");
        Err(Declined::new(Ground::Invalid, why))
    }
}
