use clap::{CommandFactory as _, Parser as _};
use orchestra_client::Exit;

use super::*;
use crate::flow::{status::StatusArgs, submit::SubmitArgs};

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
