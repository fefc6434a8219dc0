//! Lists of ids: `42`, `last`, `1,3,5-8`, `42.1.2@db3`.

use std::collections::BTreeSet;

use orchestra_model::{
    ids::{FlowId, FlowPart, Reference},
    whole,
};

use crate::error::Failure;

/// Most flows that one command line may name.
const MOST: u64 = 10_000;

/// Reads words that each hold ids, joined by commas; ranges of flow numbers are expanded.
pub(crate) fn references(words: &[String]) -> Result<Vec<Reference>, Failure> {
    let mut all = Vec::new();
    for id in words.iter().flat_map(|word| word.split(',')) {
        if let Some((first, last)) = range(id) {
            if first == 0 || last < first || last > FlowId::MAX.0 || last - first >= MOST {
                return Err(Failure::usage(format!(
                    "reading the ids {id:?}: a range goes up, from 1 on, over at most {MOST} flows"
                )));
            }
            all.extend((first..=last).map(|id| Reference {
                flow: Some(FlowId(id)),
                part: FlowPart::Flow,
                host: None,
            }));
        } else {
            let reference = id.parse().map_err(|error| {
                Failure::usage("reading the ids").because(error).hint(
                    "an id is 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST; several are \
                     1,3,5-8",
                )
            })?;
            all.push(reference);
        }
        if all.len() as u64 > MOST {
            return Err(Failure::usage(format!("reading the ids: more than {MOST} of them")));
        }
    }
    Ok(all)
}

/// Reads a range, like `5-8`. A name with a `-` follows a `/`, so it is no range.
fn range(id: &str) -> Option<(u64, u64)> {
    let (first, last) = id.split_once('-')?;
    Some((whole(first)?, whole(last)?))
}

/// Returns the flows that the words name, for verbs about whole flows; `None` is `last`.
pub(crate) fn whole_flows(words: &[String], verb: &str) -> Result<Vec<Option<FlowId>>, Failure> {
    let mut flows = Vec::new();
    for reference in references(words)? {
        let Reference { flow, part: FlowPart::Flow, host: None } = reference else {
            return Err(Failure::usage(format!("{verb} takes whole flows, like 42 or last")));
        };
        flows.push(flow);
    }
    Ok(flows)
}

/// Writes flow numbers like `1,3,5-8`.
pub(crate) fn folded(flows: &BTreeSet<FlowId>) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for FlowId(id) in flows {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *id => *last = *id,
            _ => ranges.push((*id, *id)),
        }
    }
    let shown: Vec<String> = ranges.into_iter().map(shown_range).collect();
    shown.join(",")
}

fn shown_range((first, last): (u64, u64)) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// Returns the one reference that is meant; `what` says what that may be.
pub(crate) fn only(id: &String, what: &str) -> Result<Reference, Failure> {
    match &mut references(std::slice::from_ref(id))?[..] {
        [reference] => Ok(reference.clone()),
        _ => Err(Failure::usage(what)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows(words: &[&str]) -> Result<Vec<Option<FlowId>>, Failure> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        whole_flows(&words, "orc wait")
    }

    #[test]
    fn lists_and_ranges_are_read() {
        let ids = |ids: &[u64]| ids.iter().map(|id| Some(FlowId(*id))).collect::<Vec<_>>();
        assert_eq!(flows(&["1,3,5-8"]).unwrap(), ids(&[1, 3, 5, 6, 7, 8]));
        assert_eq!(flows(&["7-7", "2"]).unwrap(), ids(&[7, 2]));
        assert_eq!(flows(&["last"]).unwrap(), [None]);
        let words = ["42/pkg-2@db-1".to_owned()];
        assert_eq!(references(&words).unwrap().len(), 1);
    }

    #[test]
    fn numbers_fold_as_they_are_read() {
        let numbers = |text: &str| flows(&[text]).unwrap().into_iter().flatten().collect();
        for text in ["7", "1,3,5-8", "1-200,999"] {
            assert_eq!(folded(&numbers(text)), text);
        }
        assert_eq!(folded(&BTreeSet::new()), "");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in
            ["", "x", "01", "-0", "1-03", "01-3", "8-5", "0-3", "1-99999", "1,,2", "42.1", "42@db1"]
        {
            assert!(flows(&[bad]).is_err(), "{bad}");
        }
    }
}
