//! Names of fields that people bring from elsewhere, and those that are not offered yet.

use crate::Foreign::{self, Instead, Later, Renamed};

const SCORE: &str = "commands are not sent; name an installed score: score: NAME";
const USER: &str = "the score's .conf names its user";
const ENVIRONMENT: &str = "what the score is told goes into params";
const FORM: &str = "a service is written in Orchestra's own form, which begins: service: NAME";
const DOWN: &str = "how many hosts may be down at once: update.parallel, and budget for all causes";
const EACH: &str =
    "on: one instance on each of these hosts; place: {count: 3}: so many, where there is room";
const LIMITS: &str = "limits are written as resources: {memory: 512MiB, cpu: 1.5, processes: 200}";
const RESERVE: &str = "what is kept for a run is resources.reserve, which is of memory alone";
const SWAP: &str = "resources.memory is for memory and swap together";
const CPU: &str = "resources.cpu is in processors: 1.5 is 150%";
const HEALTH: &str = "checks of health: health: {http: \"8080/healthz\", every: 10s, fall: 3}";
const PROBE: &str = "tcp: 8080, http: \"8080/healthz\", or unix:NAME for the port";
const EXEC: &str = "commands are not sent; name an installed score that checks it: score: NAME";
const START: &str = "health is asked once a run is ready: ready says what that is";
const AT_MOST_ONE: &str =
    "an instance that is never alive twice: at_most_one: {lease: 2m}, or true";
const SEVERAL: &str = super::SEVERAL;

/// Beside the fields of a service.
pub(super) const SERVICE: &[Foreign] = &[
    Later("logs"),
    Later("dns"),
    Instead("services", SEVERAL),
    // Ours, one level further in or out.
    Renamed("name", "service"),
    Renamed("targets", "on"),
    Renamed("hosts", "on"),
    Renamed("parallel", "update.parallel"),
    Renamed("canary", "update.canary"),
    Renamed("bake", "update.bake"),
    Renamed("healthy_for", "update.healthy_for"),
    Renamed("max_failures", "update.max_failures"),
    Renamed("auto_revert", "update.auto_revert"),
    Renamed("surge", "update.surge"),
    Renamed("signal", "stop.signal"),
    Renamed("grace", "stop.grace"),
    Renamed("memory", "resources.memory"),
    Renamed("cpu", "resources.cpu"),
    Renamed("processes", "resources.processes"),
    Renamed("resources_enforced", "resources.enforced"),
    Instead("timeout", "a service has no timeout; its runs have ready.deadline and stop.grace"),
    Instead("user", USER),
    // Kubernetes'.
    Instead("apiVersion", FORM),
    Instead("kind", FORM),
    Instead("metadata", FORM),
    Instead("spec", FORM),
    Instead("containers", FORM),
    Instead("replicas", EACH),
    Instead("image", SCORE),
    Instead("args", SCORE),
    Instead("env", ENVIRONMENT),
    Renamed("nodeSelector", "place.require, or on"),
    Renamed("topologySpreadConstraints", "place.spread"),
    Renamed("zones", "place.zones"),
    Renamed("require", "place.require"),
    Renamed("spread", "place.spread"),
    Renamed("per_host", "place.per_host"),
    Renamed("strategy", "update"),
    Instead("maxUnavailable", DOWN),
    Instead("minAvailable", DOWN),
    Renamed("maxSurge", "update.surge"),
    Renamed("minReadySeconds", "update.healthy_for"),
    Renamed("progressDeadlineSeconds", "update.deadline"),
    Renamed("restartPolicy", "restart.when"),
    Renamed("terminationGracePeriodSeconds", "stop.grace"),
    Renamed("readinessProbe", "ready: {http: …}, and health from then on"),
    Instead("startupProbe", "ready: {http: \"8080/healthz\", deadline: 2m}"),
    Instead("livenessProbe", HEALTH),
    Instead("limits", LIMITS),
    Instead("requests", RESERVE),
    Instead("revisionHistoryLimit", "the newest 100 versions are kept"),
    // Nomad's.
    Instead("job", FORM),
    Instead("group", FORM),
    Instead("task", FORM),
    Instead("driver", SCORE),
    Instead("config", SCORE),
    Instead("count", EACH),
    Renamed("datacenters", "place.zones, or on"),
    Renamed("constraint", "place.require, or on"),
    Renamed("max_parallel", "update.parallel"),
    Renamed("min_healthy_time", "update.healthy_for"),
    Renamed("healthy_deadline", "update.deadline"),
    Renamed("progress_deadline", "update.deadline"),
    Renamed("kill_timeout", "stop.grace"),
    Renamed("kill_signal", "stop.signal"),
    Instead("check", HEALTH),
    Instead("memory_max", "resources.memory is the limit"),
    // systemd's.
    Instead("Unit", FORM),
    Instead("Service", FORM),
    Instead("Install", FORM),
    Instead("ExecStart", SCORE),
    Instead("ExecStartPre", "a score that prepares the host for a version: prepare: {score: NAME}"),
    Instead("ExecReload", "reload: {signal: HUP}, for other parameters"),
    Instead("ExecStop", "a run is ended by a signal: stop.signal"),
    Instead("Type", "readiness is told by ready: {notify: true} is Type=notify"),
    Renamed("Restart", "restart.when"),
    Renamed("RestartSec", "restart.first, and restart.max_delay for later ones"),
    Renamed("RestartMaxDelaySec", "restart.max_delay"),
    Renamed("StartLimitBurst", "restart.attempts"),
    Renamed("StartLimitIntervalSec", "restart.window"),
    Renamed("TimeoutStartSec", "ready.deadline"),
    Renamed("TimeoutStopSec", "stop.grace"),
    Renamed("KillSignal", "stop.signal"),
    Instead("KillMode", "a run ends when no process of it is left"),
    Instead("WatchdogSec", "the service asks to be watched by itself (sd_notify, WATCHDOG_USEC)"),
    Renamed("MemoryMax", "resources.memory"),
    Instead("MemoryHigh", "there is one limit: resources.memory"),
    Instead("MemorySwapMax", SWAP),
    Instead("CPUQuota", CPU),
    Renamed("TasksMax", "resources.processes"),
    Instead("User", USER),
    Instead("Environment", ENVIRONMENT),
    // supervisor's, and compose's.
    Instead("command", SCORE),
    Instead("cmd", SCORE),
    Instead("exec", SCORE),
    Renamed("program", "service"),
    Renamed("autostart", "auto_start"),
    Renamed("autorestart", "restart.when"),
    Renamed("startsecs", "restart.stable_after, and update.healthy_for for a new version"),
    Renamed("startretries", "restart.attempts"),
    Renamed("stopsignal", "stop.signal"),
    Renamed("stop_signal", "stop.signal"),
    Renamed("stopwaitsecs", "stop.grace"),
    Renamed("stop_grace_period", "stop.grace"),
    Instead("stopasgroup", "every process of a run gets the signal"),
    Instead("killasgroup", "every process of a run is killed"),
    Instead("exitcodes", "exit code 0 alone is no failure: restart: {when: on-failure}"),
    Instead("numprocs", EACH),
    Instead("environment", ENVIRONMENT),
    Instead("healthcheck", HEALTH),
    Renamed("mem_limit", "resources.memory"),
    Instead("memswap_limit", SWAP),
    Instead("mem_reservation", RESERVE),
    Renamed("cpus", "resources.cpu"),
    Instead("cpu_quota", CPU),
    Renamed("pids_limit", "resources.processes"),
    Instead("deploy", DOWN),
    // Of those who fence.
    Instead("exclusive", AT_MOST_ONE),
    Instead("singleton", AT_MOST_ONE),
    Renamed("lease", "at_most_one.lease"),
    Renamed("stop_on_client_after", "at_most_one: {lease: 2m}"),
    Renamed("stop_after_client_disconnect", "at_most_one: {lease: 2m}"),
    Renamed("disconnect", "absent: {replace_after: 5m}"),
    Renamed("replace_after", "absent.replace_after"),
    Renamed("max_client_disconnect", "absent.replace_after"),
    Renamed("lost_after", "absent.replace_after"),
    Renamed("tolerations", "absent.replace_after"),
];

/// Beside the fields of `absent`.
pub(super) const ABSENT: &[Foreign] = &[
    Renamed("lost_after", "replace_after"),
    Renamed("max_client_disconnect", "replace_after"),
    Renamed("tolerationSeconds", "replace_after"),
    Renamed("timeout", "replace_after"),
    Renamed("after", "replace_after"),
    Instead("replace", "replace_after: never keeps an instance where it is"),
    Instead("reconcile", "who comes back is ended once the other one is ready"),
    Instead("stop_on_client_after", AT_MOST_ONE),
];

/// Beside the fields of `at_most_one`.
pub(super) const AT_MOST_ONE_FIELDS: &[Foreign] = &[
    Renamed("ttl", "lease"),
    Renamed("leaseDuration", "lease"),
    Renamed("timeout", "lease"),
    Renamed("stop_on_client_after", "lease"),
    Renamed("stop_after_client_disconnect", "lease"),
    Instead("renew", "a lease is renewed each quarter of it"),
    Instead("grace", "how long a run has when its lease ran out is stop.grace"),
    Renamed("lost_after", "absent.replace_after, beside at_most_one"),
];

/// Beside the fields of `place`.
pub(super) const PLACE: &[Foreign] = &[
    Later("machines"),
    Instead("on", "on is instead of place: one instance on each of these hosts"),
    Renamed("replicas", "count"),
    Renamed("instances", "count"),
    Renamed("labels", "require"),
    Renamed("nodeSelector", "require"),
    Renamed("constraint", "require"),
    Renamed("datacenters", "zones"),
    Renamed("maxPerHost", "per_host"),
];

/// Beside the fields of `update`.
pub(super) const UPDATE: &[Foreign] = &[
    Renamed("maxSurge", "surge"),
    Instead("maxUnavailable", DOWN),
    Renamed("max_parallel", "parallel"),
    Renamed("parallelism", "parallel"),
    Renamed("concurrency", "parallel"),
    Renamed("minReadySeconds", "healthy_for"),
    Renamed("min_healthy_time", "healthy_for"),
    Renamed("healthy_deadline", "deadline"),
    Renamed("progress_deadline", "deadline"),
    Renamed("progressDeadlineSeconds", "deadline"),
    Renamed("timeout", "deadline"),
    Renamed("auto_promote", "bake: how long the others wait after the canary"),
    Renamed("failure_action", "auto_revert: true or false"),
    Instead("success", "all have to succeed but max_failures"),
];

/// Beside the fields of `restart`.
pub(super) const RESTART: &[Foreign] = &[
    Renamed("policy", "when"),
    Renamed("condition", "when"),
    Renamed("delay", "first, and max_delay for later ones"),
    Renamed("RestartSec", "first, and max_delay for later ones"),
    Renamed("backoff", "max_delay: waits double up to it"),
    Renamed("interval", "window"),
    Renamed("max_attempts", "attempts"),
    Renamed("max_restarts", "attempts"),
    Renamed("retries", "attempts"),
    Renamed("startretries", "attempts"),
    Renamed("startsecs", "stable_after"),
    Instead("mode", "a unit whose attempts are used up gives up, until a person restarts it"),
];

/// Beside the fields of `ready`.
pub(super) const READY: &[Foreign] = &[
    Renamed("timeout", "deadline"),
    Renamed("TimeoutStartSec", "deadline"),
    Renamed("httpGet", "http: \"8080/healthz\""),
    Renamed("tcpSocket", "tcp: 8080"),
    Instead("exec", EXEC),
    Instead("port", PROBE),
    Instead("path", PROBE),
    Instead("every", "how often is health.every; until it is ready a run is asked twice a second"),
    Renamed("notification-fd", "fd"),
];

/// Beside the fields of `stop`.
pub(super) const STOP: &[Foreign] = &[
    Instead("before", "a run is out of its endpoints before it gets the signal: linger"),
    Instead("preStop", "a run is out of its endpoints before it gets the signal: linger"),
    Renamed("shutdown_delay", "linger"),
    Renamed("timeout", "grace"),
    Renamed("TimeoutStopSec", "grace"),
    Renamed("KillSignal", "signal"),
    Renamed("kill_timeout", "grace"),
    Renamed("kill_signal", "signal"),
];

/// Beside the fields of `reload`.
pub(super) const RELOAD: &[Foreign] = &[
    Later("score"),
    Instead("command", SCORE),
    Instead("exec", SCORE),
    Renamed("reload_signal", "signal"),
];

/// Beside the fields of `resources`.
pub(super) const RESOURCES: &[Foreign] = &[
    Instead("limits", LIMITS),
    Instead("requests", RESERVE),
    Instead("reservations", RESERVE),
    Renamed("memory_low", "reserve"),
    Renamed("MemoryLow", "reserve"),
    Renamed("mem_reservation", "reserve"),
    Renamed("mem", "memory"),
    Renamed("mem_limit", "memory"),
    Renamed("memory_mb", "memory"),
    Renamed("memory_max", "memory"),
    Renamed("MemoryMax", "memory"),
    Instead("swap", SWAP),
    Instead("MemorySwapMax", SWAP),
    Renamed("cores", "cpu"),
    Renamed("cpus", "cpu"),
    Instead("CPUQuota", CPU),
    Instead("cpu_quota", CPU),
    Renamed("pids", "processes"),
    Renamed("pids_limit", "processes"),
    Renamed("tasks", "processes"),
    Renamed("threads", "processes, which counts them too"),
    Renamed("TasksMax", "processes"),
    Renamed("resources_enforced", "enforced"),
];

/// Beside the fields of `health`.
pub(super) const HEALTH_FIELDS: &[Foreign] = &[
    Renamed("httpGet", "http: \"8080/healthz\""),
    Renamed("tcpSocket", "tcp: 8080"),
    Instead("exec", EXEC),
    Instead("test", EXEC),
    Instead("command", EXEC),
    Instead("grpc", PROBE),
    Instead("type", PROBE),
    Instead("port", PROBE),
    Instead("path", PROBE),
    Instead("host", "a unit is asked on its own host"),
    Instead("scheme", "it is HTTP without TLS, on this host alone"),
    Renamed("interval", "every"),
    Renamed("period", "every"),
    Renamed("periodSeconds", "every"),
    Renamed("timeoutSeconds", "timeout"),
    Renamed("failureThreshold", "fall"),
    Renamed("failures_before_critical", "fall"),
    Renamed("retries", "fall"),
    Renamed("successThreshold", "rise"),
    Renamed("success_before_passing", "rise"),
    Instead("initialDelaySeconds", START),
    Instead("start_period", START),
    Instead("on_unhealthy", "it stands beside health"),
    Instead("check_restart", "on_unhealthy: restart stands beside health"),
];

/// Beside the fields of `prepare` and `cleanup`.
pub(super) const RECIPE: &[Foreign] = &[
    Renamed("name", "score"),
    Instead("command", SCORE),
    Instead("exec", SCORE),
    Renamed("recipe", "score"),
    Renamed("options", "params"),
    Renamed("recipe_options", "params"),
    Instead("env", ENVIRONMENT),
    Instead("user", USER),
    Instead("timeout", "the score's .conf says how long it may take"),
];
