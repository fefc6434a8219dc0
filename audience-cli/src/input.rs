//! Values that come from elsewhere than the command line: `@file:PATH` and `-`.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use crate::error::Failure;

/// What marks a value as a file's name.
const FILE: &str = "@file:";

/// Where values come from. Standard input can be read once.
pub(crate) struct Inputs<'a> {
    stdin: Option<&'a mut dyn Read>,
    taken_by: Option<String>,
}

impl<'a> Inputs<'a> {
    /// With this standard input.
    pub(crate) fn new(stdin: &'a mut dyn Read) -> Self {
        Self { stdin: Some(stdin), taken_by: None }
    }

    /// The value that `written` stands for: itself, a file's content, or standard input. `what`
    /// names it in messages; `most` bounds it, in bytes.
    pub(crate) fn value(
        &mut self,
        written: &str,
        what: &str,
        most: usize,
    ) -> Result<String, Failure> {
        if written == "-" {
            self.standard_input(what, most)
        } else if let Some(path) = written.strip_prefix(FILE) {
            self.file(Path::new(path), what, most)
        } else {
            Ok(written.to_owned())
        }
    }

    /// A parameter's value: as [`value`](Self::value), but without the one line end that editors
    /// and shells leave at the end of what they write.
    pub(crate) fn parameter(
        &mut self,
        written: &str,
        what: &str,
        most: usize,
    ) -> Result<String, Failure> {
        let mut value = self.value(written, what, most.saturating_add(2))?;
        if is_elsewhere(written) && value.ends_with('\n') {
            value.pop();
            if value.ends_with('\r') {
                value.pop();
            }
        }
        Ok(value)
    }

    /// A host set: as [`value`](Self::value), where `#` begins a comment, and without the mark
    /// that some editors put at the start of a file.
    pub(crate) fn hosts(
        &mut self,
        written: &str,
        what: &str,
        most: usize,
    ) -> Result<String, Failure> {
        let text = self.value(written, what, most)?;
        if !is_elsewhere(written) {
            return Ok(text);
        }
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
        // Empty lines stay, so that an error names the line as the file has it.
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_end());
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    /// A document: all of a file, or of standard input if `-` is given. Returns the name by which
    /// messages call it, too.
    pub(crate) fn document<'n>(
        &mut self,
        given: &'n str,
        what: &str,
        most: usize,
    ) -> Result<(&'n str, String), Failure> {
        match given {
            "-" => Ok(("standard input", self.standard_input(what, most)?)),
            path => Ok((path, self.file(Path::new(path), what, most)?)),
        }
    }

    /// All of standard input.
    pub(crate) fn standard_input(&mut self, what: &str, most: usize) -> Result<String, Failure> {
        let Some(stdin) = self.stdin.take() else {
            let first = self.taken_by.as_deref().unwrap_or_default();
            return Err(Failure::usage(format!(
                "reading {what} from standard input: {first} was read from there already"
            )));
        };
        self.taken_by = Some(what.to_owned());
        read_bounded(stdin, &format!("reading {what} from standard input"), most)
    }

    /// All of a file.
    pub(crate) fn file(&mut self, path: &Path, what: &str, most: usize) -> Result<String, Failure> {
        read_file(path, what, most)
    }
}

/// Returns the content of a file of at most `most` bytes. `what` names it in messages.
pub(crate) fn read_file(path: &Path, what: &str, most: usize) -> Result<String, Failure> {
    let attempt = format!("reading {what} from {}", path.display());
    let file = File::open(path).map_err(|error| Failure::usage(&*attempt).because(error))?;
    read_bounded(file, &attempt, most)
}

fn is_elsewhere(written: &str) -> bool {
    written == "-" || written.starts_with(FILE)
}

fn read_bounded(reader: impl Read, attempt: &str, most: usize) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::usage(attempt).because(error);
    let mut bytes = Vec::new();
    reader.take(most as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > most {
        return Err(Failure::usage(format!("{attempt}: it is larger than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::usage(format!(
            "{attempt}: it is not UTF-8 from byte {} on",
            error.utf8_error().valid_up_to() + 1
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Render as _;

    #[test]
    fn standard_input_is_read_once() {
        let mut stdin: &[u8] = b"a\nb # comment\n\n# all\n";
        let mut inputs = Inputs::new(&mut stdin);
        assert_eq!(inputs.hosts("-", "the host set", 100).unwrap(), "a\nb\n\n");
        let error = inputs.parameter("-", "parameter k", 100).unwrap_err().render();
        assert!(error.contains("the host set was read from there already"), "{error}");
    }

    #[test]
    fn the_mark_of_an_editor_is_no_part_of_a_host() {
        let mut stdin: &[u8] = "\u{feff}n1\r\nn2\n".as_bytes();
        assert_eq!(Inputs::new(&mut stdin).hosts("-", "the host set", 100).unwrap(), "n1\nn2");
    }

    #[test]
    fn what_is_read_is_bounded_and_text() {
        let mut long: &[u8] = &[b'x'; 101];
        assert!(Inputs::new(&mut long).value("-", "it", 100).is_err());
        let mut bytes: &[u8] = &[b'a', 0xff];
        let error = Inputs::new(&mut bytes).value("-", "it", 100).unwrap_err().render();
        assert!(error.contains("from byte 2 on"), "{error}");
    }

    #[test]
    fn one_line_end_is_not_part_of_a_parameter() {
        for (given, value) in [("x\n", "x"), ("x\r\n", "x"), ("x\n\n", "x\n"), ("x", "x")] {
            let mut stdin = given.as_bytes();
            assert_eq!(Inputs::new(&mut stdin).parameter("-", "k", 9).unwrap(), value);
        }
        let mut stdin: &[u8] = b"";
        assert_eq!(Inputs::new(&mut stdin).parameter("x\n", "k", 9).unwrap(), "x\n");
    }
}
