//! What a daemon tells of its configuration when it is called with `--check`: a line for each thing that
//! was looked at, and for each mistake what mends it.
//!
//! ```text
//! ok     the players file: 20 hosts
//! note   the certificate … ends at 2027-01-02T00:00:00Z
//!        mend: …
//! wrong  /etc/orchestra/groups.toml: …
//!        mend: …
//! ```

use std::{
    fmt::Display,
    io::{self, Write as _},
    process::ExitCode,
};

use orchestra_model::foreign;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Check {
    text: String,
    is_wrong: bool,
}

impl Check {
    /// Tells of something that is in order.
    pub fn ok(&mut self, what: impl Display) {
        self.line("ok", &what.to_string());
    }

    /// Tells of something that a start goes on with, and that somebody should know.
    pub fn note(&mut self, what: impl Display) {
        self.line("note", &what.to_string());
    }

    /// Tells of a mistake, with which the daemon does not start or does not do what is asked of it.
    pub fn wrong(&mut self, what: impl Display) {
        self.is_wrong = true;
        self.line("wrong", &what.to_string());
    }

    /// Tells what mends what was told last.
    pub fn mend(&mut self, how: impl Display) {
        self.line("", &format!("mend: {how}"));
    }

    /// Whether there was no mistake so far.
    pub fn is_in_order(&self) -> bool {
        !self.is_wrong
    }

    /// What was told so far, as it is printed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Prints everything to standard output. Exit code 0: there is no mistake; 1: there are, or
    /// nobody could be told.
    pub fn print(mut self) -> ExitCode {
        let verdict = if self.is_wrong { "not in order\n" } else { "in order\n" };
        self.text.push_str(verdict);
        // Names of files, and what stands in them, are somebody else's words.
        let told = io::stdout().write_all(&foreign::lines(self.text.as_bytes()));
        match (told, self.is_wrong) {
            (Ok(()), false) => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        }
    }

    /// Adds lines of which the first begins with a word, and the others are indented as far.
    fn line(&mut self, word: &str, text: &str) {
        let mut word = word;
        for line in text.lines() {
            self.text.push_str(format!("{word:<7}{line}").trim_end());
            self.text.push('\n');
            word = "";
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_follow_are_indented_and_a_mistake_is_remembered() {
        let mut check = Check::default();
        check.ok("the players file: 2 hosts");
        check.note("soon");
        assert!(check.is_in_order());
        check.wrong("2 problems\n  line 1: a\n  line 2: b");
        check.mend("write them anew");
        let told = "ok     the players file: 2 hosts\n\
                    note   soon\n\
                    wrong  2 problems\n\
                    \x20        line 1: a\n\
                    \x20        line 2: b\n\
                    \x20      mend: write them anew\n";
        assert_eq!(check.text(), told);
        assert!(!check.is_in_order());
    }
}
