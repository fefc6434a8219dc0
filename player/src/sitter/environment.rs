//! The environment of an attempt, and of a unit's run. It is built anew, and nothing is inherited.
//!
//! Parameters are named `ORC_<key>`, so none can be `PATH`, `LD_PRELOAD` or the like. Keys that
//! Orchestra sets itself are refused where parameters are parsed. Three variables together mark
//! every process of an attempt that does not remove them: [`marks`].

use std::{
    ffi::{CString, NulError},
    os::unix::ffi::OsStrExt,
    path::Path,
};

use orchestra_model::{
    HostName, Params, ScoreName,
    delivery::{AttemptKey, JobPart, SpoolId},
    service::UnitOrder,
    tree::TreePlace,
};
use orchestra_units::{RunId, UnitKey};

use super::users::Runner;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a check has in its environment and a run has not. No parameter can be called so.
const CHECK: &[u8] = b"ORCHESTRA_CHECK=1";

/// What is the same for all attempts of a player.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    /// `ORC_SPOOL`: tells the processes of several players on one host apart.
    pub(crate) spool: SpoolId,
    /// `ORC_PLAYER`.
    pub(crate) player: HostName,
}

/// An attempt, and what its environment tells it.
pub(crate) struct AttemptOf<'a> {
    pub(crate) key: AttemptKey,
    pub(crate) part: &'a JobPart,
    /// Where its task is in its tree, if its job has one.
    pub(crate) tree: Option<&'a TreePlace>,
    pub(crate) runner: &'a Runner,
}

/// The environment of one attempt, `KEY=VALUE` each.
pub(crate) fn of_attempt(
    surroundings: &Surroundings,
    of: &AttemptOf<'_>,
    scores_dir: &Path,
) -> Result<Vec<CString>, NulError> {
    let AttemptOf { key, part, tree, runner } = *of;
    let mut all = marks(surroundings.spool, key);
    let mut set = |name: &str, value: &[u8]| all.push([name.as_bytes(), b"=", value].concat());
    set("PATH", PATH.as_bytes());
    set("LANG", b"C.UTF-8");
    set("HOME", runner.home.to_bytes());
    set("ORC_FLOW", key.job.flow.to_string().as_bytes());
    set("ORC_JOB", part.name.as_str().as_bytes());
    set("ORC_PLAYER", surroundings.player.as_str().as_bytes());
    set("ORC_SCORE", part.score.as_str().as_bytes());
    set("ORC_SCORE_DIR", scores_dir.as_os_str().as_bytes());
    set("ORC_AUDIENCE", part.audience.as_str().as_bytes());
    if let Some(tree) = tree {
        for (name, value) in of_tree(tree) {
            set(name, value.as_bytes());
        }
    }
    for (key, value) in part.params.iter() {
        set(&format!("ORC_{key}"), value.as_bytes());
    }
    all.into_iter().map(CString::new).collect()
}

/// What a score is told of its place in a tree. Lists of hosts are separated by blanks.
fn of_tree(tree: &TreePlace) -> [(&'static str, String); 5] {
    let names =
        |hosts: &[HostName]| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" ");
    [
        ("ORC_TREE_PARENT", tree.parent.to_string()),
        ("ORC_TREE_ANCESTORS", names(&tree.ancestors)),
        ("ORC_TREE_ROOT", names(&tree.root)),
        ("ORC_TREE_DEPTH", tree.depth.to_string()),
        ("ORC_TREE_CHILDREN", names(&tree.children)),
    ]
}

/// A run of a unit, and what its environment tells it.
pub(crate) struct RunOf<'a> {
    pub(crate) unit: &'a UnitKey,
    pub(crate) run: RunId,
    pub(crate) order: &'a UnitOrder,
    /// What is executed: the unit's own score, or a check.
    pub(crate) score: &'a ScoreName,
    /// What of the unit's parameters it is given.
    pub(crate) params: &'a Params,
    pub(crate) run_dir: &'a Path,
    /// Where it says that it is ready.
    pub(crate) notify: Option<&'a Path>,
    /// The directory that its service keeps on a disk.
    pub(crate) state_dir: Option<&'a Path>,
    /// Where it reads its parameters again.
    pub(crate) params_file: Option<&'a Path>,
    pub(crate) runner: &'a Runner,
    pub(crate) scores_dir: &'a Path,
}

/// The environment of one run of a unit, `KEY=VALUE` each.
pub(crate) fn of_run(
    surroundings: &Surroundings,
    of: &RunOf<'_>,
) -> Result<Vec<CString>, NulError> {
    let RunOf { unit, run, order, score, params, run_dir, .. } = of;
    let RunOf { notify, state_dir, params_file, runner, scores_dir, .. } = of;
    let mut all = marks_of_unit(run_dir);
    all.extend(marks_of_player(surroundings.spool));
    let mut set = |name: &str, value: &[u8]| all.push([name.as_bytes(), b"=", value].concat());
    let instance = format!("{}/{}", unit.service, order.instance.ordinal);
    set("PATH", PATH.as_bytes());
    set("LANG", b"C.UTF-8");
    set("HOME", runner.home.to_bytes());
    set("ORC_SERVICE", unit.service.as_str().as_bytes());
    set("ORC_INSTANCE", instance.as_bytes());
    set("ORC_ORDINAL", order.instance.ordinal.to_string().as_bytes());
    set("ORC_VERSION", order.version.to_string().as_bytes());
    set("ORC_PLACEMENT", run.placement.to_string().as_bytes());
    set("ORC_RUN", run.number.to_string().as_bytes());
    set("ORC_PLAYER", surroundings.player.as_str().as_bytes());
    set("ORC_SCORE", score.as_str().as_bytes());
    set("ORC_SCORE_DIR", scores_dir.as_os_str().as_bytes());
    set("ORC_AUDIENCE", order.audience.as_str().as_bytes());
    if let Some(notify) = notify {
        set("NOTIFY_SOCKET", notify.as_os_str().as_bytes());
    }
    if let Some(dir) = state_dir {
        set("ORC_STATE_DIR", dir.as_os_str().as_bytes());
    }
    if let Some(file) = params_file {
        set("ORC_PARAMS_FILE", file.as_os_str().as_bytes());
    }
    for (key, value) in params.iter() {
        set(&format!("ORC_{key}"), value.as_bytes());
    }
    all.into_iter().map(CString::new).collect()
}

/// Returns what marks the processes of a unit, `KEY=VALUE` each: its run directory. That is named
/// by player, path of the spool, store and service, so it is the same after the spool was wiped.
pub(crate) fn marks_of_unit(run_dir: &Path) -> Vec<Vec<u8>> {
    vec![[b"ORC_RUN_DIR=", run_dir.as_os_str().as_bytes()].concat()]
}

/// The environment of a check of a run, `KEY=VALUE` each.
pub(crate) fn of_check(
    surroundings: &Surroundings,
    of: &RunOf<'_>,
) -> Result<Vec<CString>, NulError> {
    let mut all = of_run(surroundings, of)?;
    all.push(CString::new(CHECK)?);
    Ok(all)
}

/// What marks the processes of a unit's check, `KEY=VALUE` each.
pub(crate) fn marks_of_check(run_dir: &Path) -> Vec<Vec<u8>> {
    let mut marks = marks_of_unit(run_dir);
    marks.push(CHECK.to_vec());
    marks
}

/// What marks the processes of all checks of a player.
pub(crate) fn marks_of_checks(spool: SpoolId) -> Vec<Vec<u8>> {
    let mut marks = marks_of_player(spool);
    marks.push(CHECK.to_vec());
    marks
}

/// Returns what marks the processes of an attempt, `KEY=VALUE` each. The first is
/// [`marks_of_player`].
pub(crate) fn marks(spool: SpoolId, key: AttemptKey) -> Vec<Vec<u8>> {
    let mut marks = marks_of_player(spool);
    marks.push(format!("ORC_TASK={}", key.job).into_bytes());
    marks.push(format!("ORC_ATTEMPT={}", key.attempt).into_bytes());
    marks
}

/// Returns what marks everything that a player started.
pub(crate) fn marks_of_player(spool: SpoolId) -> Vec<Vec<u8>> {
    vec![format!("ORC_SPOOL={spool}").into_bytes()]
}

/// Returns what marks launchers, and newborns that have executed nothing yet.
pub(crate) fn mark_of_launchers(spool: SpoolId) -> CString {
    let mark = format!("ORC_LAUNCHER={spool}");
    // An id's text holds no NUL byte.
    CString::new(mark).unwrap_or_default()
}
