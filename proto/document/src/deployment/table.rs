//! Tables whose keys are names that people chose, in the two shapes that they are written in.

use orchestra_model::names::InvalidName;

use crate::{Node, Problems};

/// The members of `{NAME: value, …}` or of `[{NAME: value}, …]`, in the order of writing. What is
/// neither is noted and left out.
pub(super) fn named<'a>(
    node: &'a Node,
    place: &str,
    problems: &mut Problems,
) -> Vec<(&'a str, &'a Node)> {
    let members = match node {
        Node::Map(fields) => return fields.iter().map(|(name, node)| (&**name, node)).collect(),
        Node::List(members) => members,
        other => {
            let found = other.kind();
            problems.add(place, format_args!("expected names with their values, found {found}"));
            return Vec::new();
        }
    };
    let mut pairs = Vec::new();
    let mut is_told = false;
    for (index, member) in members.iter().enumerate() {
        let number = index + 1;
        match member {
            Node::Map(fields) => match fields.as_slice() {
                [(name, node)] => pairs.push((&**name, node)),
                fields => {
                    let found = fields.len();
                    let problem = format_args!(
                        "member {number}: expected one name with its value, found {found}"
                    );
                    problems.add(place, problem);
                }
            },
            // Whoever lists hosts here lists many.
            _ if is_told => {}
            other => {
                is_told = true;
                let found = other.kind();
                let problem = format_args!(
                    "member {number}: expected a name with its value, found {found}; what belongs \
                     to a name goes below it, as in: - east: [fe1, fe2]"
                );
                problems.add(place, problem);
            }
        }
    }
    pairs
}

/// A key as a name.
pub(super) fn name<T>(key: &str, place: &str, problems: &mut Problems) -> Option<T>
where
    T: std::str::FromStr<Err = InvalidName>,
{
    key.parse().map_err(|error| problems.add(place, error)).ok()
}

/// A value as a name. A number that is written as a name is would be meant as one.
pub(super) fn name_of<T>(node: &Node, place: &str, problems: &mut Problems) -> Option<T>
where
    T: std::str::FromStr<Err = InvalidName>,
{
    match node {
        Node::Text(text) | Node::Spelt(text) => name(text, place, problems),
        Node::Whole(number) => name(&number.to_string(), place, problems),
        other => {
            let found = other.kind();
            problems.add(place, format_args!("expected a name, found {found}; quote it"));
            None
        }
    }
}
