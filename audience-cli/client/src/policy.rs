//! Who may do what.

use std::fmt;

use orchestra_model::{
    names::{AudienceName, BundleName, ScoreName, ServiceName},
    policy::Right,
};
use orchestra_proto::{Invalid, v1};

use crate::{
    Client, Pages,
    client::{answered, invalid},
    failure::Failure,
    pages::ListPage,
};

/// Which hosts something is allowed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Whether it is every host but for these.
    pub all_but: bool,
    /// Folded, and cut where it is very long.
    pub hosts: String,
    /// How many these are.
    pub count: u32,
}

impl AllowedHosts {
    /// Returns whether no host is in it.
    pub fn is_nowhere(&self) -> bool {
        !self.all_but && self.count == 0
    }
}

/// As a host set, or in words.
impl fmt::Display for AllowedHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.all_but, self.count) {
            (false, 0) => f.write_str("nowhere"),
            (true, 0) => f.write_str("everywhere"),
            (false, _) => f.write_str(&self.hosts),
            (true, _) => write!(f, "everywhere but on {}", self.hosts),
        }
    }
}

/// A rule of the policy in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRule {
    /// Its name.
    pub name: String,
    /// Whether it denies what others allow.
    pub denies: bool,
    /// Audiences; none for every audience.
    pub who: Vec<String>,
    /// The words of its rights.
    pub may: Vec<String>,
    /// Names, or `NAME*` for all that begin so.
    pub scores: Vec<String>,
    /// Likewise.
    pub services: Vec<String>,
    /// Likewise.
    pub bundles: Vec<String>,
    /// On which hosts.
    pub hosts: AllowedHosts,
}

/// Who asks, and which rules are about them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhoAmI {
    /// As in the certificate.
    pub name: String,
    /// Whether every audience may do everything.
    pub is_open: bool,
    /// None where it is open.
    pub rules: Vec<PolicyRule>,
}

/// A question whether somebody may do something.
#[derive(Clone, Debug)]
pub struct RightQuestion {
    /// Who.
    pub who: AudienceName,
    /// Which right.
    pub right: Right,
    /// On tasks of which score.
    pub score: Option<ScoreName>,
    /// On which service.
    pub service: Option<ServiceName>,
    /// On which bundle.
    pub bundle: Option<BundleName>,
    /// Whether in a flow of somebody else.
    pub of_others: bool,
    /// On which hosts; `None` for every player.
    pub hosts: Option<String>,
}

/// Whether somebody may do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RightAnswer {
    /// Why not; `None` if they may.
    pub why_not: Option<String>,
    /// Where they may.
    pub reach: AllowedHosts,
}

/// What somebody would lose and gain in one right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyDifference {
    /// An audience; `None` for every audience that no rule names.
    pub who: Option<String>,
    /// The word of the right.
    pub right: String,
    /// On which scores, services or bundles; empty for a right that is about none.
    pub what: String,
    /// Whether on flows of others.
    pub of_others: bool,
    /// Where it is lost.
    pub lost: AllowedHosts,
    /// Where it is gained.
    pub gained: AllowedHosts,
}

impl Client {
    /// Returns who asks, and which rules are about them.
    pub async fn who_am_i(&mut self) -> Result<WhoAmI, Failure> {
        let what = "asking what this audience may do";
        let answer = answered(what, self.rpc.who_am_i(v1::WhoAmIRequest {})).await?;
        let v1::WhoAmIResponse { name, open, rules } = answer;
        let rules = rules.into_iter().map(rule).collect::<Result<_, _>>();
        let rules = rules.map_err(|error| invalid(what, error))?;
        Ok(WhoAmI { name, is_open: open, rules })
    }

    /// Lists the rules of the policy in force. An open one has none.
    pub async fn policy(&mut self) -> Result<Pages<v1::PolicyPage>, Failure> {
        let what = "asking for the policy".to_owned();
        let stream = answered(&what, self.rpc.list_policy(v1::ListPolicyRequest {})).await?;
        Ok(Pages::new(stream, what))
    }

    /// Returns whether somebody may do something.
    pub async fn check_right(&mut self, asked: RightQuestion) -> Result<RightAnswer, Failure> {
        let RightQuestion { who, right, score, service, bundle, of_others, hosts } = asked;
        let what = format!("asking whether {who} may {right}");
        let request = v1::CheckRightRequest {
            who: who.to_string(),
            right: right.to_string(),
            score: score.map(|score| score.to_string()).unwrap_or_default(),
            service: service.map(|service| service.to_string()).unwrap_or_default(),
            bundle: bundle.map(|bundle| bundle.to_string()).unwrap_or_default(),
            of_others,
            hosts: hosts.unwrap_or_default(),
        };
        let answer = answered(&what, self.rpc.check_right(request)).await?;
        let v1::CheckRightResponse { allowed, why, reach: given } = answer;
        let given = reach(given, "CheckRightResponse.reach");
        let reach = given.map_err(|error| invalid(&what, error))?;
        Ok(RightAnswer { why_not: (!allowed).then_some(why), reach })
    }

    /// Lists what everybody would lose and gain with the policy of this text.
    pub async fn diff_policy(
        &mut self,
        text: String,
    ) -> Result<Pages<v1::PolicyDifferencePage>, Failure> {
        let what = "comparing policies".to_owned();
        let request = v1::DiffPolicyRequest { text };
        let stream = answered(&what, self.rpc.diff_policy(request)).await?;
        Ok(Pages::new(stream, what))
    }
}

impl ListPage for v1::PolicyPage {
    type Item = PolicyRule;

    fn items(self) -> Result<Vec<PolicyRule>, Invalid> {
        self.rules.into_iter().map(rule).collect()
    }
}

impl ListPage for v1::PolicyDifferencePage {
    type Item = PolicyDifference;

    fn items(self) -> Result<Vec<PolicyDifference>, Invalid> {
        self.differences.into_iter().map(difference).collect()
    }
}

fn rule(rule: v1::PolicyRule) -> Result<PolicyRule, Invalid> {
    let v1::PolicyRule { name, deny: denies, who, may, scores, services, hosts, bundles } = rule;
    let hosts = reach(hosts, "PolicyRule.hosts")?;
    Ok(PolicyRule { name, denies, who, may, scores, services, bundles, hosts })
}

fn difference(found: v1::PolicyDifference) -> Result<PolicyDifference, Invalid> {
    let v1::PolicyDifference { who, right, what, of_others, lost, gained } = found;
    Ok(PolicyDifference {
        who: Some(who).filter(|who| !who.is_empty()),
        right,
        what,
        of_others,
        lost: reach(lost, "PolicyDifference.lost")?,
        gained: reach(gained, "PolicyDifference.gained")?,
    })
}

fn reach(reach: Option<v1::Reach>, field: &'static str) -> Result<AllowedHosts, Invalid> {
    let v1::Reach { all_but, hosts, count } = reach.ok_or_else(|| Invalid::field(field))?;
    Ok(AllowedHosts { all_but, hosts, count })
}
