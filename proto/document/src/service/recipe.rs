//! What is done on a host beside the units of a service.

use std::collections::BTreeMap;

use orchestra_model::{
    names::{ParamKey, ScoreName},
    service::Recipe,
};
use serde::Serialize;

use super::{Values, names};
use crate::{Fields, Node, Problems, read_params};

/// A score with its parameters; `name` is the field.
pub(super) fn recipe(name: &str, node: &Node, problems: &mut Problems) -> Option<Recipe> {
    if let Node::Text(_) = node {
        problems.add(name, "it is a table: {score: NAME, params: {KEY: VALUE}}");
        return None;
    }
    let mut fields = Fields::of(node, name, problems)?;
    let score = fields.parsed::<ScoreName>("score", problems);
    let place = format!("{name}.params");
    let pairs = fields.param_values(&place, problems);
    let params = read_params(pairs, &place, problems);
    if !fields.is_given("score") {
        fields.missing("score", problems);
    }
    fields.finish(names::RECIPE, problems);
    Some(Recipe { score: score?, params: params? })
}

/// A recipe in the canonical form.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    score: &'a ScoreName,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    params: BTreeMap<&'a ParamKey, Option<&'a str>>,
}

/// A recipe as it is shown.
pub(super) fn shown(recipe: &Recipe, values: Values) -> Shown<'_> {
    let value = |value| (values == Values::Told).then_some(value);
    let params = recipe.params.iter().map(|(key, text)| (key, value(text))).collect();
    Shown { score: &recipe.score, params }
}
