//! Which argument the last word of a command line belongs to, by the definitions of the programs.

use clap::{Arg, Command};

/// The argument that is being written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The verbs that lead to it: `["service", "show"]`.
    pub(super) verbs: Vec<&'a str>,
    /// How help calls its value: `HOSTS`.
    pub(super) value: String,
    /// Its long flag; `None` for one that goes by its position.
    pub(super) flag: Option<String>,
    /// What is written of its value.
    pub(super) written: &'a str,
}

/// Returns the place of the last of the words after a program's name; `None` where no value is written:
/// at flags and verbs, and where the words make no sense.
pub(super) fn find<'a>(program: &'a Command, words: &'a [String]) -> Option<Place<'a>> {
    let (current, before) = words.split_last()?;
    let mut walk =
        Walk { command: program, verbs: Vec::new(), awaited: None, position: 0, flags_end: false };
    before.iter().try_for_each(|word| walk.pass(word))?;
    walk.place(current)
}

/// A walk over the words of a command line.
struct Walk<'a> {
    command: &'a Command,
    verbs: Vec<&'a str>,
    /// The flag whose value comes next.
    awaited: Option<&'a Arg>,
    /// How many values that go by their position came.
    position: usize,
    /// Whether `--` came, after which there are no flags.
    flags_end: bool,
}

impl<'a> Walk<'a> {
    /// Passes a word that is written to its end. Returns `None` if it makes no sense.
    fn pass(&mut self, word: &str) -> Option<()> {
        if self.awaited.is_some() {
            self.awaited = None;
        } else if self.flags_end || !word.starts_with('-') || word == "-" {
            self.pass_plain(word);
        } else if word == "--" {
            self.flags_end = true;
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = long.split_once('=').map_or((long, None), |(n, v)| (n, Some(v)));
            let flag = self.long(name)?;
            self.awaited = Some(flag).filter(|flag| value.is_none() && takes_value(flag));
        } else {
            self.awaited =
                self.short(word)?.filter(|(_, rest)| rest.is_empty()).map(|(flag, _)| flag);
        }
        Some(())
    }

    fn pass_plain(&mut self, word: &str) {
        match self.command.find_subcommand(word).filter(|_| self.position == 0) {
            Some(verb) => {
                self.command = verb;
                self.verbs.push(verb.get_name());
            }
            None => self.position += 1,
        }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|arg| arg.get_long() == Some(name))
    }

    /// Reads a word of short flags, `-Ww`. Returns the one that takes a value, with what of its value is
    /// in the word; `Some(None)` if none of them does.
    fn short<'w>(&self, word: &'w str) -> Option<Option<(&'a Arg, &'w str)>> {
        for (at, letter) in word.char_indices().skip(1) {
            let flag = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
            if takes_value(flag) {
                return Some(Some((flag, &word[at + letter.len_utf8()..])));
            }
        }
        Some(None)
    }

    /// Returns the place of the word that is being written.
    fn place(self, current: &'a str) -> Option<Place<'a>> {
        if let Some(flag) = self.awaited {
            return self.of(flag, current);
        }
        if !self.flags_end && current.starts_with('-') {
            if let Some((name, value)) =
                current.strip_prefix("--").and_then(|it| it.split_once('='))
            {
                return self.of(self.long(name)?, value);
            }
            return match self.short(current)?? {
                (flag, written) if !written.is_empty() => self.of(flag, written),
                _ => None,
            };
        }
        let positions = || self.command.get_positionals();
        let last = positions().last().filter(|arg| takes_many(arg));
        let arg = positions().nth(self.position).or(last)?;
        self.of(arg, current)
    }

    fn of(&self, arg: &Arg, written: &'a str) -> Option<Place<'a>> {
        let value = arg.get_value_names()?.first()?.to_string();
        let flag = arg.get_long().map(str::to_owned);
        Some(Place { verbs: self.verbs.clone(), value, flag, written })
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn takes_many(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual::programs;

    /// The place as text: `service restart --on HOSTS fe`.
    fn told(line: &str) -> Option<String> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let [mut submitjob, mut getstatus, mut orc] = programs();
        [&mut submitjob, &mut getstatus, &mut orc].into_iter().for_each(Command::build);
        let program = match words[0].as_str() {
            "submitjob" => &submitjob,
            "getstatus" => &getstatus,
            _ => &orc,
        };
        let place = find(program, &words[1..])?;
        let flag = place.flag.map_or_else(String::new, |flag| format!("--{flag} "));
        Some(format!("{} {flag}{} {}", place.verbs.join(" "), place.value, place.written))
    }

    #[test]
    fn the_last_word_is_found_by_the_definitions() {
        for (line, expected) in [
            ("orc cancel ", " ID "),
            ("orc cancel 41 4", " ID 4"),
            ("getstatus -b 4", " ID 4"),
            ("submitjob hel", " SCORE hel"),
            ("submitjob hello -Ww fe", " --all-of HOSTS fe"),
            ("submitjob hello -wfe", " --all-of HOSTS fe"),
            ("submitjob hello --one-of=@w", " --one-of HOSTS @w"),
            ("submitjob hello -w fe1 -x @", " --exclude HOSTS @"),
            ("submitjob hello name=x ", " KEY=VALUE "),
            ("orc service restart web -w ", "service restart --on HOSTS "),
            ("orc service show w", "service show NAME w"),
            ("orc drain ", "drain HOSTS "),
            ("orc flows --score ", "flows --score SCORE "),
        ] {
            let told = told(line).unwrap_or_else(|| panic!("{line}"));
            assert!(told.ends_with(expected), "{line}: {told}");
        }
    }

    #[test]
    fn flags_verbs_and_nonsense_are_no_values() {
        for line in [
            "orc can",
            "orc cancel -",
            "orc cancel --all",
            "orc cancel --no-such 1",
            "orc wait 1 -Q 2",
        ] {
            assert_eq!(told(line), None, "{line}");
        }
    }
}
