use clap::{CommandFactory as _, Parser as _};
use orchestra_client::Exit;

use super::*;
use crate::{
    flow::{status::StatusArgs, submit::SubmitArgs},
    manual::short,
};

#[test]
fn the_definitions_are_sound() {
    SubmitArgs::command().debug_assert();
    StatusArgs::command().debug_assert();
    OrcArgs::command().debug_assert();
}

fn orc(words: &[&str]) -> Result<Noun, Failure> {
    let words = std::iter::once("orc").chain(words.iter().copied());
    Ok(OrcArgs::try_parse_from(words).map_err(|e| Failure::usage(e.to_string()))?.noun)
}

#[test]
fn reasons_are_given_and_bounded() {
    let long = "x".repeat(1_001);
    for verb in [&["drain", "fe1"][..], &["ledger", "release", "fe1"]] {
        let with = |reason: &[&str]| orc(&[verb, reason].concat());
        assert!(with(&["--reason", "disk"]).is_ok());
        for bad in [&[][..], &["--reason", " "], &["--reason", &long]] {
            assert_eq!(with(bad).unwrap_err().exit, Exit::Usage, "{verb:?} {bad:?}");
        }
    }
    assert!(orc(&["ledger", "--all", "release", "fe1", "--reason", "x"]).is_err());
}

#[test]
fn short_help_has_ten_lines() {
    let mut commands = vec![SubmitArgs::command(), StatusArgs::command(), OrcArgs::command()];
    for command in &mut commands {
        command.build();
    }
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned());
        let help = short::help(command);
        assert!(help.lines().count() <= 10, "{} lines:\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
        assert!(help.contains("Usage: "), "{help}");
    }
}

#[test]
fn help_fits_a_screen_and_ends_with_two_examples() {
    let mut commands = vec![SubmitArgs::command(), StatusArgs::command(), OrcArgs::command()];
    while let Some(mut command) = commands.pop() {
        command = command.term_width(100);
        let help = command.render_help().to_string();
        assert!(help.lines().count() <= 50, "{} lines:\n{help}", help.lines().count());
        let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
        commands.extend(shown);
        // The sandbox's own verbs are few and short.
        let name = command.get_name();
        if ["sandbox", "start", "stop", "status", "ps", "reload", "recover", "run"].contains(&name)
        {
            continue;
        }
        let examples = help.split("Examples:\n").nth(1).map_or(0, |text| text.lines().count());
        assert_eq!(examples, 2, "{help}");
    }
}

/// The manual's page of what is typed elsewhere.
const CHEAT_SHEET: &str = include_str!("../../../docs/cheatsheet.md");

/// Splits a command line into words as a shell does that is given nothing but words in quotes.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut quoted) = (vec![String::new()], false);
    for c in line.chars() {
        match (c, words.last_mut()) {
            ('\'', _) => quoted = !quoted,
            (' ', _) if !quoted => words.push(String::new()),
            (c, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    assert!(!quoted, "{line}");
    words
}

#[test]
fn every_command_of_the_cheat_sheet_is_one() {
    let mut commands = 0;
    for row in CHEAT_SHEET.lines().filter(|line| line.starts_with("| ")) {
        let ours = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        for line in ours.split('`').skip(1).step_by(2) {
            let words = words(line);
            let parsed = match words[0].as_str() {
                "submitjob" => SubmitArgs::try_parse_from(&words).map(drop),
                "getstatus" => StatusArgs::try_parse_from(&words).map(drop),
                "orc" => OrcArgs::try_parse_from(&words).map(drop),
                other => panic!("{other}: {row}"),
            };
            parsed.unwrap_or_else(|error| panic!("{line}: {error}"));
            commands += 1;
        }
    }
    assert!(commands >= 40, "the sheet was read as {commands} commands");
}
