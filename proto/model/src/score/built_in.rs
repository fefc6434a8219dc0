//! Scores that every player has without a file: they take bundles, and switch places to them.
//!
//! Their names begin with `@`, which no file of a score can have.

use std::collections::BTreeMap;

use super::{Interface, ParamSpec, ScoreHash, ScoreOffer, ScoreSpec};
use crate::{
    names::{ParamKey, ScoreName},
    time::Millis,
};

/// Changes with what the scores do.
const EDITION: u8 = 1;

/// A score that is part of the player.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuiltIn {
    /// Unpacks a bundle in a place, beside what is active there.
    Deliver,
    /// Switches a place to a bundle that was delivered there.
    Activate,
}

impl BuiltIn {
    /// Every one.
    pub const ALL: [BuiltIn; 2] = [BuiltIn::Deliver, BuiltIn::Activate];

    /// The parameter that says which bundle: `NAME@SERIAL`.
    pub const BUNDLE: &str = "bundle";
    /// The parameter that says in which place; without it, in that of the bundle's name.
    pub const PLACE: &str = "place";

    /// How it is called.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deliver => "@deliver",
            Self::Activate => "@activate",
        }
    }

    /// The one of this name.
    pub fn of(score: &ScoreName) -> Option<Self> {
        Self::ALL.into_iter().find(|built_in| built_in.as_str() == score.as_str())
    }

    /// What it takes, and how it runs.
    pub fn spec(self) -> ScoreSpec {
        let param = |description: &str, required| ParamSpec {
            required,
            max_length: Some(128),
            description: description.to_owned(),
            ..ParamSpec::default()
        };
        let params = [
            (Self::BUNDLE, param("which bundle: NAME@SERIAL", true)),
            (Self::PLACE, param("in which place; that of the bundle's name if not given", false)),
        ];
        let params =
            params.into_iter().filter_map(|(key, spec)| Some((ParamKey::new(key).ok()?, spec)));
        let (description, timeout, disruptive) = match self {
            Self::Deliver => {
                ("Unpacks a bundle in a place, beside what is active", Millis::minutes(60), false)
            }
            Self::Activate => {
                ("Switches a place to a bundle that is there", Millis::minutes(1), true)
            }
        };
        ScoreSpec {
            description: description.to_owned(),
            interface: Interface::Env,
            timeout,
            disruptive,
            params: Some(params.collect::<BTreeMap<_, _>>()),
            ..ScoreSpec::default()
        }
    }

    /// As a player offers it. It has no file: its hash is its edition, so that players of different
    /// releases can be told apart.
    pub fn offer(self) -> Option<ScoreOffer> {
        let name = ScoreName::new(self.as_str()).ok()?;
        Some(ScoreOffer { name, hash: Some(ScoreHash([EDITION; 32])), spec: Ok(self.spec()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::params::Params;

    #[test]
    fn every_built_in_score_is_found_by_its_name() {
        for built_in in BuiltIn::ALL {
            let offer = built_in.offer().unwrap();
            assert_eq!(BuiltIn::of(&offer.name), Some(built_in));
            let params = |pairs: &[(&str, &str)]| {
                let pairs = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string()));
                Params::from_pairs(pairs).unwrap()
            };
            let spec = built_in.spec();
            assert!(spec.check(&params(&[("bundle", "site@42")])).is_ok());
            assert!(spec.check(&params(&[("bundle", "site@42"), ("place", "x")])).is_ok());
            assert!(spec.check(&params(&[("place", "x")])).is_err());
            assert!(spec.check(&params(&[("bundle", "site@42"), ("x", "y")])).is_err());
        }
        assert_eq!(BuiltIn::of(&ScoreName::new("deliver").unwrap()), None);
        assert!(ScoreName::new("@other").is_err());
        assert!(!BuiltIn::Deliver.spec().disruptive && BuiltIn::Activate.spec().disruptive);
    }
}
