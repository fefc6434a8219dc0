//! Files of settings: TOML whose values are fields of one table, and of tables in it.

use crate::{Fields, Format, Problems};

/// Reads a text of settings: `read` asks for every field that there may be. What it did not ask for is unknown.
///
/// Fails with everything that is wrong. Where `read` has nothing to give, it has noted why.
pub fn settings<T>(
    text: &str,
    read: impl FnOnce(&mut Fields<'_>, &mut Problems) -> Option<T>,
) -> Result<T, Problems> {
    let mut problems = Problems::default();
    let tree = match Format::Toml.parse(text) {
        Ok(tree) => tree,
        Err(malformed) => {
            problems.add("", format_args!("it is not TOML: {malformed}"));
            return Err(problems);
        }
    };
    let settings = Fields::of(&tree, "", &mut problems).and_then(|mut fields| {
        let settings = read(&mut fields, &mut problems);
        fields.finish(&[], &mut problems);
        settings
    });
    match settings {
        Some(settings) => problems.into_result().map(|()| settings),
        None => {
            assert!(!problems.is_empty(), "nothing was read, and nothing noted as wrong");
            Err(problems)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use orchestra_model::{ByteSize, Millis};

    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Kept {
        most: Option<u32>,
        size: Option<ByteSize>,
        age: Option<Millis>,
        key: Option<PathBuf>,
        hosts: Option<Vec<String>>,
    }

    fn read(text: &str) -> Result<Kept, String> {
        let read = |fields: &mut Fields<'_>, problems: &mut Problems| {
            let (least, most) = (ByteSize(4 << 10), ByteSize(64 << 20));
            let settings = Kept {
                most: fields.whole("most", 1..=1024, problems),
                size: fields.within("size", least..=most, problems),
                age: fields.parsed("age", problems),
                hosts: fields.texts("hosts", problems),
                key: fields.table("tls", problems).and_then(|mut tls| {
                    let key = tls.path("key", Path::new("/etc/x"), problems);
                    tls.needed("key", problems);
                    tls.finish(&[], problems);
                    key
                }),
            };
            Some(settings)
        };
        settings(text, read).map_err(|problems| problems.to_string())
    }

    #[test]
    fn settings_are_read() {
        let text =
            "most = 1024\nsize = '1MiB'\nage = '30d'\nhosts = ['a', 'b']\n[tls]\nkey = 'k'\n";
        let expected = Kept {
            most: Some(1024),
            size: Some(ByteSize(1 << 20)),
            age: Some(Millis(30 * 86_400_000)),
            key: Some("/etc/x/k".into()),
            hosts: Some(vec!["a".to_owned(), "b".to_owned()]),
        };
        assert_eq!(read(text), Ok(expected));
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_line() {
        let text =
            "most = 1025\nsize = '65MiB'\n\nage = 5\nhosts = ['a', 5]\nmots = 1\ntls = {ky = 1}\n";
        let told = "7 problems
  line 1: most: 1025: expected a whole number from 1 to 1024
  line 2: size: \"65MiB\": expected 4KiB to 64MiB
  line 4: age: \"5\": expected a duration like 500ms, 30s, 10m, 1h30m or 7d, at most ten years
  line 5: hosts: expected texts in quotes, found a number
  tls: key is missing
  line 7: tls: unknown field \"ky\"; did you mean key?
  line 6: unknown field \"mots\"; did you mean most?";
        assert_eq!(read(text).unwrap_err(), told);
        assert_eq!(read("").unwrap_err(), "tls: key is missing");
        assert_eq!(
            read("most = 'x'\ntls = 1\n").unwrap_err(),
            "2 problems\n  line 1: most: expected a whole number from 1 to 1024, found text\n  \
             line 2: tls: expected a table of fields, found a number"
        );
        let broken = read("most = \n").unwrap_err();
        assert!(broken.starts_with("it is not TOML: ") && broken.ends_with(" at line 1, column 8"));
    }
}
