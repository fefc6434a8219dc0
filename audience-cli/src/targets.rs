//! Host set expressions as the audience writes them. What can be known here is checked here; the
//! conductor resolves them.

use orchestra_client::Exit;
use orchestra_document::check_host_set;
use orchestra_model::hostset::{HostSet, InvalidHostSet};

use crate::error::Failure;

/// Whether the conductor must be asked what an expression means.
pub(crate) fn needs_conductor(expression: &str) -> bool {
    expression.contains('@')
}

/// What `--all-of` or `--one-of` names without what the `-x` name, as one expression.
///
/// Fails if the expression is wrong, if it is without groups and empty, or if a `-x` has groups
/// together with operators, which left-to-right expressions cannot exclude as a whole.
pub(crate) fn without(hosts: &str, excluded: &[String]) -> Result<String, Failure> {
    check(hosts)?;
    let mut expression = hosts.trim().to_owned();
    for text in excluded {
        check(text)?;
        if text.trim().is_empty() {
            continue;
        }
        let folded;
        let union = if !text.contains(['&', '^', '!']) {
            text
        } else if !needs_conductor(text) {
            folded = HostSet::parse_plain(text).map_err(wrong)?.to_string();
            &folded
        } else {
            return Err(Failure::usage(
                "excluding hosts: an expression with groups and the operators &, ^ or ! cannot be \
                 taken away",
            )
            .hint(format!("resolve it first: -x \"$(orc hostset -f '{}')\"", text.trim())));
        };
        for operand in operands(union) {
            expression.push('!');
            expression.push_str(operand);
        }
    }
    if !needs_conductor(&expression) && HostSet::parse_plain(&expression).map_err(wrong)?.is_empty()
    {
        return Err(Failure::new(Exit::Hosts, "the host set is empty"));
    }
    Ok(expression)
}

fn check(expression: &str) -> Result<(), Failure> {
    check_host_set(expression).map_err(wrong)
}

fn wrong(error: InvalidHostSet) -> Failure {
    Failure::usage("reading the host set").because(error)
}

/// The operands of a union: split at commas and blanks that are not within brackets.
fn operands(union: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    union
        .split(move |c: char| {
            match c {
                '[' | '{' => depth += 1,
                ']' | '}' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && (c == ',' || c.is_whitespace())
        })
        .filter(|operand| !operand.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Render as _;

    fn taken(hosts: &str, excluded: &[&str]) -> Result<String, Failure> {
        without(hosts, &excluded.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_excluded_is_taken_away_as_a_whole() {
        for (hosts, excluded, left) in [
            ("a,b,c", &["b"][..], "a,c"),
            ("fe[1-10]", &["fe[2,4],fe6 fe8"], "fe[1,3,5,7,9-10]"),
            ("a,b,c", &["a", "b"], "c"),
            ("fe[1-4]", &["fe[1-3]&fe[2-9]"], "fe[1,4]"),
            ("a,b", &[""], "a-b"),
        ] {
            let expression = taken(hosts, excluded).unwrap();
            let set = HostSet::parse_plain(&expression).unwrap();
            let expected = left.replace('-', if left == "a-b" { "," } else { "-" });
            assert_eq!(set, HostSet::parse_plain(&expected).unwrap(), "{expression}");
        }
        assert_eq!(taken("@web", &["@canary,fe1"]).unwrap(), "@web!@canary!fe1");
    }

    #[test]
    fn what_cannot_be_said_is_refused() {
        assert_eq!(taken("", &[]).unwrap_err().exit, Exit::Hosts);
        assert_eq!(taken("a", &["a"]).unwrap_err().exit, Exit::Hosts);
        assert_eq!(taken("a[", &[]).unwrap_err().exit, Exit::Usage);
        assert_eq!(taken("a", &["b["]).unwrap_err().exit, Exit::Usage);
        let failure = taken("@web", &["@a&@b"]).unwrap_err();
        assert!(failure.render().contains("-x \"$(orc hostset -f '@a&@b')\""));
    }
}
