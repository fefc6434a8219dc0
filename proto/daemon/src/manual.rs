//! A daemon's man page, made of the very text that its `--help` prints.

/// Turns what `--help` of a daemon prints into a page of section 8, for man(1).
///
/// The text has, apart by empty lines: a sentence that says what the daemon is for; `Usage:` with a
/// line a way to call it; `Options:`, each indented, with what it says two columns or more behind it and
/// on the lines that follow; and paragraphs, of which one may begin with `Signals:`.
pub fn page(program: &str, version: &str, help: &str) -> String {
    let mut parts = help.split("\n\n");
    let about = parts.next().unwrap_or_default().trim().trim_end_matches('.');
    let mut page = format!(".TH {} 8 \"\" \"{program} {version}\"\n", program.to_uppercase());
    page.push_str(&format!(".SH NAME\n{program} \\- {}\n", escaped(&lower_first(about))));
    for part in parts.map(|part| part.trim_end_matches('\n')) {
        if let Some(usage) = part.strip_prefix("Usage:") {
            page.push_str(".SH SYNOPSIS\n.nf\n");
            usage.lines().for_each(|line| page.push_str(&format!("{}\n", escaped(line.trim()))));
            page.push_str(".fi\n");
        } else if let Some(options) = part.strip_prefix("Options:\n") {
            page.push_str(".SH OPTIONS\n");
            options.lines().for_each(|line| page.push_str(&option(line)));
        } else if let Some(signals) = part.strip_prefix("Signals:") {
            page.push_str(&format!(".SH SIGNALS\n{}\n", escaped(signals.trim())));
        } else {
            page.push_str(&format!(".SH NOTES\n{}\n", escaped(part.trim())));
        }
    }
    page.push_str(
        ".SH EXIT STATUS\n0 if it was asked to stop, 1 if it failed, 64 if it was called wrongly.\n\
         .SH SEE ALSO\norc(1), orchestra\\-certs(1)\n",
    );
    page
}

/// A line of the options: a flag with what it says, or more of what the one before says.
fn option(line: &str) -> String {
    let line = line.trim();
    if !line.starts_with('-') {
        return format!("{}\n", escaped(line));
    }
    let (flag, says) = line.split_once("  ").unwrap_or((line, ""));
    format!(".TP\n.B {}\n{}\n", escaped(flag), escaped(says.trim()))
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_lowercase().collect::<String>());
    first.into_iter().chain([chars.as_str().to_owned()]).collect()
}

/// A text in which nothing means anything to the formatter, each of its lines.
fn escaped(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace('\\', "\\e").replace('-', "\\-");
        match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line,
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Holds the flows of a fleet.

Usage: it [--dir DIR]
       it --check

Options:
      --dir DIR    Where its files are,
                   all of them
  -h, --help       Print this

Signals: HUP reloads; TERM stops.
.It prints its address.
";

    #[test]
    fn help_becomes_a_page() {
        let page = page("it", "1.2", HELP);
        let expected = ".TH IT 8 \"\" \"it 1.2\"\n.SH NAME\nit \\- holds the flows of a fleet\n\
             .SH SYNOPSIS\n.nf\nit [\\-\\-dir DIR]\nit \\-\\-check\n.fi\n\
             .SH OPTIONS\n.TP\n.B \\-\\-dir DIR\nWhere its files are,\nall of them\n\
             .TP\n.B \\-h, \\-\\-help\nPrint this\n\
             .SH SIGNALS\nHUP reloads; TERM stops.\n\\&.It prints its address.\n";
        assert!(page.starts_with(expected), "{page}");
    }
}
