//! Cerebro's jobs, as its README prints one: JSON with comments, commas before a closing bracket, and
//! `.5`. Readers of YAML take all three, so this is read as YAML.

use std::{collections::BTreeMap, fmt::Display};

use orchestra_document::{Fields, Foreign, Format, Node, Problems, read_params};
use orchestra_model::{
    names::{LabelValue, ScoreName, ServiceName},
    service::{
        INSTANCES, Layout, MilliCores, PlaceRule, Recipe, Resources, RestartRule, RestartWhen,
        ServiceSpec, Spread,
    },
    size::ByteSize,
};

#[cfg(test)]
mod tests;

/// What stands in the command's place.
const COMMAND: &str = "a service runs an installed score that starts it, and no command: name it by \
                       --score";

/// What people write who know Cerebro's options from its command line.
const FOREIGN: &[Foreign] = &[
    Foreign::Renamed("layout", "deployment_layout"),
    Foreign::Renamed("recipe", "deployment_recipe"),
    Foreign::Renamed("ensure-alive", "ensure_alive"),
    Foreign::Renamed("max-restarts", "max_restarts"),
    Foreign::Renamed("time-limit", "time_limit"),
];

/// A job of Cerebro's as a service.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) spec: ServiceSpec,
    /// What was left out, or means something else here; each with its field.
    pub(crate) notes: Vec<String>,
}

/// What its reader says in place of the file.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// The score that starts what the command did.
    pub(crate) score: Option<ScoreName>,
    /// How the service is called.
    pub(crate) name: Option<ServiceName>,
    /// The score that does what the recipe did.
    pub(crate) prepare: Option<ScoreName>,
}

impl Job {
    /// Reads one. Fails with everything that is wrong, each with its place.
    pub(crate) fn read(text: &str, said: Said) -> Result<Job, Problems> {
        let mut problems = Problems::default();
        // The README has its job as a member of a list, whose brackets it does not print.
        let text = text.trim_end().trim_end_matches(',');
        let job = match Format::Yaml.parse(text) {
            Ok(tree) => Reader::default().job(&tree, said, &mut problems),
            Err(malformed) => {
                problems.add("", format_args!("it is no job of Cerebro's: {malformed}"));
                None
            }
        };
        problems.into_result()?;
        let Some(job) = job else {
            let mut problems = Problems::default();
            problems.add("", "it is no job of Cerebro's");
            return Err(problems);
        };
        Ok(job)
    }
}

/// What is noted while a job is read.
#[derive(Default)]
struct Reader {
    notes: Vec<String>,
}

impl Reader {
    fn note(&mut self, field: &str, text: impl Display) {
        self.notes.push(format!("{field}: {text}"));
    }

    fn job(mut self, tree: &Node, said: Said, problems: &mut Problems) -> Option<Job> {
        let mut fields = Fields::of(tree, "", problems)?;
        let linked = fields.text("linked_job", problems).map(str::to_owned);
        let layout = self.layout(&mut fields, problems);
        let prepare = self.recipe(&mut fields, said.prepare.clone(), problems);
        self.left_out(&mut fields, problems);
        let task = fields.table("task_configuration", problems);
        fields.needed("task_configuration", problems);
        if linked.is_none() {
            fields.needed("deployment_layout", problems);
        }
        fields.finish(FOREIGN, problems);
        let mut spec = self.task(task?, said, problems)?;
        match linked {
            Some(other) => {
                spec.upkeep.linked_to = Some(self.service_name("linked_job", &other, problems)?);
                if layout.is_some() {
                    self.note("deployment_layout", "left out: it is where the other job is");
                }
            }
            None => {
                spec.place = Some(PlaceRule {
                    layout: Layout::Zones(layout?),
                    require: BTreeMap::new(),
                    spread: Spread::Zone,
                });
            }
        }
        spec.prepare = prepare;
        if let Err(invalid) = spec.check() {
            problems.add("", invalid);
        }
        Some(Job { spec, notes: self.notes })
    }

    /// Reads how many machines each zone has.
    fn layout(
        &mut self,
        fields: &mut Fields<'_>,
        problems: &mut Problems,
    ) -> Option<BTreeMap<LabelValue, u32>> {
        const LAYOUT: &str = "deployment_layout";
        let zones = match fields.get(LAYOUT, problems)? {
            Node::Map(zones) => zones,
            other => {
                let found = other.kind();
                fields.note(
                    LAYOUT,
                    format_args!("expected a table of zones, found {found}"),
                    problems,
                );
                return None;
            }
        };
        let mut counts = BTreeMap::new();
        for (zone, node) in zones {
            let place = format!("{LAYOUT}.{}", &**zone);
            let Some(mut fields) = Fields::of(node, &place, problems) else { continue };
            let count = fields.whole("cpu", 0..=INSTANCES, problems);
            fields.needed("cpu", problems);
            let has_memory = fields.get("mem", problems).is_some();
            fields.finish(&[], problems);
            match LabelValue::new(zone) {
                Ok(zone) => counts.extend(count.map(|count| (zone, count))),
                Err(error) => problems.add(&place, error),
            }
            let why = "so many instances, one a machine, as Cerebro's code takes it; its README calls \
                       it processors";
            self.note(&format!("{place}.cpu"), why);
            if has_memory {
                let why =
                    "left out: it chose machines; task_configuration.mem is what is kept free";
                self.note(&format!("{place}.mem"), why);
            }
        }
        self.note(LAYOUT, "a zone is the label zone of the players file");
        Some(counts)
    }

    /// Notes what has no counterpart.
    fn left_out(&mut self, fields: &mut Fields<'_>, problems: &mut Problems) {
        const LEFT_OUT: [(&str, &str); 2] = [
            (
                "dns_basename",
                "left out: orc service endpoints NAME --watch tells where it is ready",
            ),
            ("persistent", "left out: every service outlives conductor and players"),
        ];
        for (name, why) in LEFT_OUT {
            if fields.get(name, problems).is_some() {
                self.note(name, why);
            }
        }
    }

    /// Reads what installs the task, if its reader names a score that does.
    fn recipe(
        &mut self,
        fields: &mut Fields<'_>,
        score: Option<ScoreName>,
        problems: &mut Problems,
    ) -> Option<Recipe> {
        const OPTIONS: &str = "recipe_options";
        let recipe = fields.get("deployment_recipe", problems).is_some();
        let Some(score) = score else {
            if recipe {
                let why = "left out: name an installed score that does it by --prepare";
                self.note("deployment_recipe", why);
            }
            if fields.get(OPTIONS, problems).is_some() {
                self.note(OPTIONS, "left out with the recipe: they become its parameters");
            }
            return None;
        };
        let pairs = fields.values_of(OPTIONS, OPTIONS, problems);
        let params = read_params(pairs, OPTIONS, problems)?;
        self.note("deployment_recipe", format_args!("{score} prepares each host for each version"));
        Some(Recipe { score, params })
    }

    /// Reads how the task is kept running.
    fn task(
        &mut self,
        mut fields: Fields<'_>,
        said: Said,
        problems: &mut Problems,
    ) -> Option<ServiceSpec> {
        let name = match (said.name, fields.text("name", problems)) {
            (Some(name), _) => Some(name),
            (None, Some(given)) => self.service_name("task_configuration.name", given, problems),
            (None, None) => {
                fields.needed("name", problems);
                None
            }
        };
        let command = fields.text("command", problems);
        match (&said.score, command) {
            (None, _) => fields.note("command", COMMAND, problems),
            (Some(score), Some(command)) => {
                self.note(
                    "task_configuration.command",
                    format_args!("{command:?}: the score {score} has to start it"),
                );
            }
            (Some(_), None) => {}
        }
        let restart = self.restart(&mut fields, problems);
        let resources = self.resources(&mut fields, problems);
        let auto_start = fields.yes_or_no("auto_start", problems).unwrap_or(true);
        self.process(&mut fields, problems);
        fields.finish(FOREIGN, problems);
        let mut spec = ServiceSpec::new(name?, said.score?, String::new());
        spec.upkeep.restart = restart;
        spec.upkeep.resources = resources;
        spec.auto_start = auto_start;
        Some(spec)
    }

    fn restart(&mut self, fields: &mut Fields<'_>, problems: &mut Problems) -> RestartRule {
        let is_restarted = fields.yes_or_no("restart", problems).unwrap_or(false);
        let is_kept_alive = fields.yes_or_no("ensure_alive", problems).unwrap_or(false);
        let may_exit = fields.yes_or_no("allow_exit", problems).unwrap_or(false);
        if is_kept_alive && !is_restarted {
            let why = "alone it restarted nothing in Cerebro, and so restart.when is never here";
            self.note("task_configuration.ensure_alive", why);
        }
        let attempts = match fields.get("max_restarts", problems) {
            None | Some(Node::Whole(-1)) => None,
            Some(Node::Whole(count @ 0..=0xFFFF_FFFF)) => {
                let window = RestartRule::default().window;
                self.note(
                    "task_configuration.max_restarts",
                    format_args!(
                        "so many within restart.window, which is {window}; Cerebro counted for ever"
                    ),
                );
                u32::try_from(*count).ok()
            }
            Some(_) => {
                fields.note(
                    "max_restarts",
                    "expected -1 for no limit, or a whole number",
                    problems,
                );
                None
            }
        };
        let when = match (is_restarted, may_exit) {
            (false, _) => RestartWhen::Never,
            (true, true) => RestartWhen::OnFailure,
            (true, false) => RestartWhen::Always,
        };
        RestartRule { when, attempts, ..RestartRule::default() }
    }

    fn resources(&mut self, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Resources> {
        let cpu = fields.number::<MilliCores>("cpu", problems);
        // Cerebro counts megabytes, of 2^20 bytes.
        let memory = fields.whole("mem", 1..=1_u64 << 30, problems);
        if cpu.is_some() {
            let why = "a run that wants more is slowed down; Cerebro killed it";
            self.note("task_configuration.cpu", why);
        }
        let memory = memory.map(|megabytes| ByteSize(megabytes << 20));
        (cpu.is_some() || memory.is_some()).then_some(Resources { memory, cpu, ..Resources::NONE })
    }

    /// Notes what the score or the player says here.
    fn process(&mut self, fields: &mut Fields<'_>, problems: &mut Problems) {
        if let Some(Node::Whole(uid)) = fields.get("uid", problems) {
            let why =
                format!("left out: user in the score's .conf says who runs it; here user {uid}");
            self.note("task_configuration.uid", why);
        }
        const LEFT_OUT: [(&str, &str); 5] = [
            (
                "time_limit",
                "left out: a service has no time to end in; max_age begins new runs, and a task of a flow has a timeout",
            ),
            ("stdout_location", "left out: orc logs NAME/N -f reads it"),
            ("stderr_location", "left out: orc logs NAME/N --stderr reads it"),
            (
                "http_monitoring",
                "left out: a player opens no port; orc service show NAME --json tells it",
            ),
            ("http_monitoring_port", "left out: a player opens no port"),
        ];
        for (name, why) in LEFT_OUT {
            if fields.get(name, problems).is_some() {
                self.note(&format!("task_configuration.{name}"), why);
            }
        }
    }

    /// Returns the name of a service for a name of Cerebro's: in lower case, with `-` for what names of
    /// services do not have.
    fn service_name(
        &mut self,
        field: &str,
        given: &str,
        problems: &mut Problems,
    ) -> Option<ServiceName> {
        let plain: String = given
            .to_lowercase()
            .chars()
            .map(
                |c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' },
            )
            .collect();
        match ServiceName::new(&plain) {
            Ok(name) => {
                if plain != given {
                    self.note(field, format_args!("{given:?} is called {name}"));
                }
                Some(name)
            }
            Err(error) => {
                problems.add(field, format_args!("{error}; name the service by --name"));
                None
            }
        }
    }
}
