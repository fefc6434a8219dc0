//! Parameters of a job: what a score sees as `ORC_<key>`.

use std::{collections::BTreeMap, fmt};

use zeroize::Zeroize;

use crate::{
    limits,
    names::{InvalidName, ParamKey},
};

/// Keys and values of one job, within the bounds of [`limits`].
///
/// Values may be secrets, so `Debug` shows keys only, there is no `Display`, and what held them is
/// overwritten when it is given back to the allocator.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<ParamKey, String>);

/// Why keys and values are not [`Params`]. No variant carries a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidParams {
    /// A key is not one.
    #[error("a parameter's key is wrong")]
    Key(#[source] InvalidName),
    /// A key stands twice.
    #[error("parameter {0} is given twice")]
    Duplicate(ParamKey),
    /// The value holds a NUL byte, which no environment can carry.
    #[error("the value of parameter {0} holds a NUL byte")]
    Nul(ParamKey),
    /// The value is longer than [`limits::PARAM_VALUE_BYTES`].
    #[error(
        "the value of parameter {0} has {1} bytes; at most {most} are allowed",
        most = limits::PARAM_VALUE_BYTES
    )]
    TooLong(ParamKey, usize),
    /// More than [`limits::PARAMS`] pairs.
    #[error("{0} parameters; at most {most} are allowed", most = limits::PARAMS)]
    TooMany(usize),
    /// All together are larger than [`limits::PARAMS_BYTES`].
    #[error("the parameters have {0} bytes together; at most {most} are allowed", most = limits::PARAMS_BYTES)]
    TooLarge(usize),
}

impl Params {
    /// Collects pairs, checking each key, each value, and the whole.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, InvalidParams>
    where
        K: AsRef<str>,
        V: Into<String>,
    {
        let mut map = BTreeMap::new();
        let mut bytes = 0;
        for (key, value) in pairs {
            let key = ParamKey::new(key.as_ref()).map_err(InvalidParams::Key)?;
            let value: String = value.into();
            if value.contains('\0') {
                return Err(InvalidParams::Nul(key));
            }
            if value.len() > limits::PARAM_VALUE_BYTES {
                return Err(InvalidParams::TooLong(key, value.len()));
            }
            bytes += key.as_str().len() + value.len();
            if map.contains_key(&key) {
                return Err(InvalidParams::Duplicate(key));
            }
            map.insert(key, value);
        }
        if map.len() > limits::PARAMS {
            return Err(InvalidParams::TooMany(map.len()));
        }
        if bytes > limits::PARAMS_BYTES {
            return Err(InvalidParams::TooLarge(bytes));
        }
        Ok(Params(map))
    }

    /// Pairs in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&ParamKey, &str)> {
        self.0.iter().map(|(key, value)| (key, value.as_str()))
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Those whose keys are meant.
    #[must_use]
    pub fn only(&self, is_meant: impl Fn(&ParamKey) -> bool) -> Params {
        let meant = self.0.iter().filter(|(key, _)| is_meant(key));
        Params(meant.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    /// These, and `others` of which these have no such key. Fails if they are too many, or too
    /// large, together.
    pub fn beside(&self, others: &Params) -> Result<Params, InvalidParams> {
        let more = others.iter().filter(|(key, _)| self.get(key.as_str()).is_none());
        Params::from_pairs(self.iter().chain(more).map(|(key, value)| (key.as_str(), value)))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Zeroize for Params {
    fn zeroize(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

impl Drop for Params {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_show_in_debug() {
        let params = Params::from_pairs([("token", "hunter2")]).unwrap();
        assert!(!format!("{params:?}").contains("hunter2"));
    }

    #[test]
    fn values_are_overwritten_and_keys_stay() {
        let mut params = Params::from_pairs([("token", "hunter2"), ("host", "db1")]).unwrap();
        params.zeroize();
        let left: Vec<_> = params.iter().map(|(key, value)| (key.as_str(), value)).collect();
        assert_eq!(left, [("host", ""), ("token", "")]);
    }

    #[test]
    fn some_are_picked_and_put_beside_others() {
        let all = Params::from_pairs([("host", "db1"), ("token", "hunter2")]).unwrap();
        let some = all.only(|key| key.as_str() != "token");
        assert_eq!(some, Params::from_pairs([("host", "db1")]).unwrap());
        let given = Params::from_pairs([("token", "new"), ("host", "db2")]).unwrap();
        assert_eq!(given.beside(&some), Ok(given.clone()));
        assert_eq!(some.beside(&all), Ok(all));
    }

    #[test]
    fn bounds_hold() {
        let long = "x".repeat(limits::PARAM_VALUE_BYTES + 1);
        assert!(matches!(
            Params::from_pairs([("k", long.as_str())]),
            Err(InvalidParams::TooLong(..))
        ));
        assert!(matches!(Params::from_pairs([("k", "a\0b")]), Err(InvalidParams::Nul(_))));
        assert!(matches!(Params::from_pairs([("FLOW", "1")]), Err(InvalidParams::Key(_))));
        let fitting = "x".repeat(limits::PARAM_VALUE_BYTES);
        let five = (0..5).map(|n| (format!("k{n}"), fitting.clone()));
        assert!(matches!(Params::from_pairs(five), Err(InvalidParams::TooLarge(_))));
        let many = (0..=limits::PARAMS).map(|n| (format!("k{n}"), String::new()));
        assert!(matches!(Params::from_pairs(many), Err(InvalidParams::TooMany(_))));
    }
}
