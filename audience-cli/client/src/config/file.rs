//! The configuration file of an audience.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use orchestra_document::{Fields, Problems, settings};

use crate::Failure;

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 << 10;

/// The settings of a configuration file, of which only the form is checked.
#[derive(Debug, Default)]
pub(super) struct FileSettings {
    pub(super) conductors: Option<Vec<String>>,
    pub(super) conductor_name: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) crl: Option<PathBuf>,
}

impl FileSettings {
    /// Reads the first of these files that exists.
    pub(super) fn first_of(files: &[PathBuf]) -> Result<Self, Failure> {
        for path in files {
            let attempt = || format!("reading {}", path.display());
            match File::open(path) {
                Ok(file) => {
                    let mut text = String::new();
                    let read = file.take(FILE_BYTES).read_to_string(&mut text);
                    read.map_err(|error| Failure::usage(attempt()).because(error))?;
                    return Self::parse(&text, path, &attempt());
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(Failure::usage(attempt()).because(error)),
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str, path: &Path, attempt: &str) -> Result<Self, Failure> {
        let base = path.parent().unwrap_or(Path::new("."));
        settings(text, |fields, problems| Some(Self::read(fields, base, problems)))
            .map_err(|problems| Failure::usage(attempt).because(problems))
    }

    /// Reads the fields. Relative paths start from the directory `base`.
    fn read(fields: &mut Fields<'_>, base: &Path, problems: &mut Problems) -> Self {
        let mut settings = Self {
            conductors: fields.texts("conductors", problems),
            conductor_name: fields.text("conductor_name", problems).map(Into::into),
            domain: fields.text("domain", problems).map(Into::into),
            ..Self::default()
        };
        if let Some(mut tls) = fields.table("tls", problems) {
            settings.ca = tls.path("ca", base, problems);
            settings.cert = tls.path("cert", base, problems);
            settings.key = tls.path("key", base, problems);
            settings.crl = tls.path("crl", base, problems);
            tls.finish(&[], problems);
        }
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_together() {
        let text = "conductor = 'x'\n[tls]\nkeyy = 'y'\n";
        let failure = FileSettings::parse(text, Path::new("/e/a.toml"), "reading /e/a.toml");
        let failure = failure.unwrap_err().to_string();
        assert!(failure.contains("did you mean conductors?"), "{failure}");
        assert!(failure.contains("tls: unknown field \"keyy\"; did you mean key?"), "{failure}");
    }
}
