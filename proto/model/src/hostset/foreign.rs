//! What other tools would have understood: said in our words, at the character that gives it away.

use std::borrow::Cow;

/// Why an operand's text, without its ranges, cannot be part of a host's name; at which byte.
/// `None` where each of its characters may be.
pub(super) fn explain(text: &str) -> Option<(usize, Cow<'static, str>)> {
    if let Some(rest) = text.strip_prefix('-') {
        let problem = match rest.starts_with(['/', '^']) {
            true => "there are no patterns, and a file of hosts is @file:PATH",
            false => "no name starts with `-`; `!` takes hosts away, like fe[1-6]!fe3",
        };
        return Some((0, problem.into()));
    }
    let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let (at, c) = text.char_indices().find(|(_, c)| !is_fine(*c))?;
    let problem: Cow<'static, str> = match c {
        '*' | '?' => {
            "there are no wildcards; name ranges like fe[1-6], a group like @frontend, or @all"
                .into()
        }
        '/' if at == 0 => "there are no patterns, and a file of hosts is @file:PATH".into(),
        '#' => "a comment stands in a file only, and files do not include others".into(),
        '@' => "`@` begins a group or label; a comma comes before it".into(),
        ';' | '|' | '+' | '\\' | '(' | ')' => format!(
            "{c:?} is no operator; these are `,` (and), `!` (without), `&` (in both), `^` (in one)"
        )
        .into(),
        _ => {
            format!("{c:?} is in no host name; only a-z, 0-9, '-', '_' and '.' are allowed").into()
        }
    };
    Some((at, problem))
}
