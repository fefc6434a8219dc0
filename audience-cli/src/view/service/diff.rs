//! What differs between two versions of a service, field by field.

use std::{collections::BTreeMap, io};

use orchestra_client::AppliedVersion;
use orchestra_document::service::{Canonical, Values};
use serde::Serialize;
use serde_json::Value;

use crate::view::{Output, Page, Style, one_line};

/// What differs.
pub(crate) struct Differences {
    from: u64,
    to: u64,
    fields: Vec<Difference>,
}

/// A field that differs.
#[derive(Serialize)]
struct Difference {
    /// Its path in a file: `update.parallel`.
    field: String,
    /// `added`, `removed` or `changed`.
    how: &'static str,
    /// `null`, as in `after`, if the field is missing or its value is not told.
    before: Option<String>,
    after: Option<String>,
}

impl Differences {
    /// Returns the differences between two versions. Values of parameters are not told; each
    /// version only tells which of them differ from the version before it. So all versions
    /// `between` the two are looked at, including `to`.
    pub(crate) fn new<'a>(
        before: &AppliedVersion,
        after: &AppliedVersion,
        between: impl Iterator<Item = &'a AppliedVersion>,
    ) -> Self {
        let (old, new) = (fields(before), fields(after));
        let changed: Vec<String> = between
            .flat_map(|version| &version.changed_params)
            .map(|key| format!("params.{key}"))
            .collect();
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        let differs =
            |name: &&&String| old.get(**name) != new.get(**name) || changed.contains(**name);
        let difference = |name: &String| Difference {
            field: name.clone(),
            how: match (old.contains_key(name), new.contains_key(name)) {
                (false, _) => "added",
                (_, false) => "removed",
                _ => "changed",
            },
            before: old.get(name).cloned().flatten(),
            after: new.get(name).cloned().flatten(),
        };
        Self {
            from: before.version.0,
            to: after.version.0,
            fields: names.iter().filter(differs).map(|name| difference(name)).collect(),
        }
    }

    /// The names of what differs.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields.iter().map(|difference| one_line(&difference.field)).collect()
    }
}

impl Output for Differences {
    fn noun(&self) -> &'static str {
        "diff"
    }

    fn json(self) -> impl Serialize {
        OfDifferences { from: self.from, to: self.to, fields: self.fields }
    }

    /// `update.parallel: 1 → 25%`.
    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        self.fields.iter().try_for_each(|difference| {
            let Difference { field, how, before, after } = difference;
            let field = one_line(field);
            match (before.as_deref().map(one_line), after.as_deref().map(one_line)) {
                (Some(before), Some(after)) => writeln!(out, "{field}: {before} → {after}"),
                (None, Some(after)) => writeln!(out, "{field}: none → {after}"),
                (Some(before), None) => writeln!(out, "{field}: {before} → none"),
                (None, None) => writeln!(out, "{field}: {how}, its value is not told"),
            }
        })
    }

    fn remark(&self) -> Option<String> {
        let Self { from, to, fields } = self;
        fields.is_empty().then(|| format!("versions {from} and {to} do not differ"))
    }
}

#[derive(Serialize)]
struct OfDifferences {
    from: u64,
    to: u64,
    fields: Vec<Difference>,
}

/// Returns the fields of a spec by their paths. A field without a value exists, but its value is
/// not told.
fn fields(version: &AppliedVersion) -> BTreeMap<String, Option<String>> {
    let canonical = Canonical { spec: &version.spec, values: Values::Withheld };
    let mut fields = BTreeMap::new();
    // Names for keys, numbers and text are always JSON.
    if let Ok(value) = serde_json::to_value(canonical) {
        flatten(String::new(), value, &mut fields);
    }
    fields
}

fn flatten(place: String, value: Value, fields: &mut BTreeMap<String, Option<String>>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let place = if place.is_empty() { name } else { format!("{place}.{name}") };
                flatten(place, value, fields);
            }
        }
        Value::Null => drop(fields.insert(place, None)),
        Value::String(text) => drop(fields.insert(place, Some(text))),
        other => drop(fields.insert(place, Some(other.to_string()))),
    }
}
