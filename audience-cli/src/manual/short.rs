//! What `-h` prints: what a command is for, its usage, and two lines to paste. `--help` is whole.

use clap::Command;

use super::wrapped;

/// Columns of a terminal, less a margin.
const COLUMNS: usize = 78;

/// Returns whether a command line asks for help in short: help was asked for, and not by `--help`.
pub(crate) fn is_asked(mut words: impl Iterator<Item = String>) -> bool {
    words.by_ref().take_while(|word| word != "--").any(|word| word == "-h")
}

/// Returns the command that the words of a command line name, below a program.
pub(crate) fn named(program: &Command, words: impl Iterator<Item = String>) -> Command {
    let mut whole = program.clone();
    // Names of commands below others are put together, for the usage.
    whole.build();
    words
        .filter(|word| !word.starts_with('-'))
        .fold(whole, |command, word| command.find_subcommand(&word).cloned().unwrap_or(command))
}

/// Returns the help of a command in short.
pub(crate) fn help(mut command: Command) -> String {
    let mut lines = Vec::new();
    lines.extend(command.get_about().map(ToString::to_string));
    lines.push(String::new());
    lines.extend(command.render_usage().to_string().lines().map(str::to_owned));
    let verbs: Vec<&str> = command
        .get_subcommands()
        .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        .map(Command::get_name)
        .collect();
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let examples = after.split_once("Examples:\n").map_or("", |(_, examples)| examples);
    if verbs.is_empty() {
        lines.push(String::new());
        lines.extend(examples.lines().map(str::to_owned));
    } else {
        lines.extend(wrapped(&verbs.join(" "), 2, COLUMNS));
    }
    lines.push(String::new());
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    lines.push(format!(
        "{name} --help has all of it, and orc help host-sets, exit-codes, json, limits."
    ));
    let mut text = lines.join("\n");
    text.push('\n');
    text
}
