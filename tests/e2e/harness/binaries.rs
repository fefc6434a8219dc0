//! Where the programs under test are: where Cargo put them, beside this test.

use std::{env, path::PathBuf};

/// The path of a program of the workspace.
pub(crate) fn path(program: &str) -> PathBuf {
    // TARGET/PROFILE/deps/e2e-HASH: the programs are two above.
    let own = env::current_exe().expect("a process knows its program");
    let profile = own.ancestors().nth(2).expect("a test is in TARGET/PROFILE/deps");
    let path = profile.join(program);
    assert!(
        path.is_file(),
        "{} is not there; Cargo builds the programs of other packages only when asked:\n\n    \
         cargo build --workspace --bins\n",
        path.display()
    );
    path
}
