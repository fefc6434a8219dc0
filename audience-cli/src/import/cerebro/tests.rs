use orchestra_document::service::{Values, parse, show};

use super::*;

/// As the README of Cerebro prints it, tab, comments and commas included.
const EXAMPLE: &str = r##"
    {
        "dns_basename": "redis.startup.com",
        "deployment_recipe": "mystartup.recipes.deploy",
        "deployment_layout": {
            "aws-us-west-2a": {
                "mem": 500,
                "cpu": 1
            },
            "aws-us-east-1b": {
                "mem": 50,
                "cpu": 10
            }
        },
        "recipe_options": {
            # Passed as a dictionary to your jobs
            "release_dir": "/opt/startup/releases/"
        },
        "persistent": true,
        "task_configuration":
            {
                # Tasksitter configuration. 
                "allow_exit": false,
                "name": "Portal Server",
                "command": "/opt/wifast/run_wsgi",
                "auto_start": false,
                "ensure_alive": true,
                "max_restarts": -1,
                "restart": true,
                "uid": 0,
		"cpu": .5, # allow this job to use 50% of CPU
		"mem": 1200, # Allow this job to use 1.2GB of RAM
            }
    },

"##;

fn said(score: &str) -> Said {
    Said { score: Some(ScoreName::new(score).unwrap()), ..Said::default() }
}

/// A job of one zone whose task has these fields beside its name.
fn with_task(fields: &str) -> String {
    format!(
        "{{\"deployment_layout\": {{\"east\": {{\"cpu\": 2}}}},\n\"task_configuration\": \
         {{\"name\": \"web\", {fields}}}}}"
    )
}

#[test]
fn the_job_of_the_readme_is_a_service() {
    let job = Job::read(EXAMPLE, said("run-portal")).unwrap();
    let text = show(&job.spec, Values::Told);
    assert_eq!(parse(&text, Format::Yaml).unwrap(), job.spec, "{text}");
    let expected = parse(
        "service: portal-server\nscore: run-portal\nauto_start: false\n\
         place: {zones: {aws-us-west-2a: 1, aws-us-east-1b: 10}}\n\
         restart: {when: always, attempts: unlimited}\n\
         resources: {cpu: 0.5, memory: 1200MiB}\n",
        Format::Yaml,
    );
    assert_eq!(job.spec, expected.unwrap());
    let told: Vec<&str> = job.notes.iter().map(|note| note.split(": ").next().unwrap()).collect();
    let expected = [
        "deployment_layout.aws-us-west-2a.cpu",
        "deployment_layout.aws-us-west-2a.mem",
        "deployment_layout.aws-us-east-1b.cpu",
        "deployment_layout.aws-us-east-1b.mem",
        "deployment_layout",
        "deployment_recipe",
        "recipe_options",
        "dns_basename",
        "persistent",
        "task_configuration.name",
        "task_configuration.command",
        "task_configuration.cpu",
        "task_configuration.uid",
    ];
    assert_eq!(told, expected, "{:#?}", job.notes);
}

#[test]
fn the_recipe_prepares_each_host_by_the_score_that_its_reader_names() {
    let prepare = ScoreName::new("install-portal").ok();
    let job = Job::read(EXAMPLE, Said { prepare, ..said("run-portal") }).unwrap();
    let text = show(&job.spec, Values::Told);
    assert!(text.contains("prepare:\n  score: install-portal\n  params:\n"), "{text}");
    assert!(text.contains("    release_dir: /opt/startup/releases/\n"), "{text}");
    let told = job.notes.iter().any(|note| note.starts_with("deployment_recipe: install-portal"));
    assert!(told, "{:?}", job.notes);
}

#[test]
fn restarts_mean_what_they_meant() {
    for (fields, when, attempts, notes) in [
        ("\"restart\": true", RestartWhen::Always, None, 0),
        ("\"restart\": true, \"allow_exit\": true", RestartWhen::OnFailure, None, 0),
        ("\"restart\": true, \"max_restarts\": 0", RestartWhen::Always, Some(0), 1),
        ("\"restart\": true, \"max_restarts\": 71", RestartWhen::Always, Some(71), 1),
        ("\"ensure_alive\": true", RestartWhen::Never, None, 1),
        ("\"ensure_alive\": false", RestartWhen::Never, None, 0),
    ] {
        let job = Job::read(&with_task(fields), said("run-web")).unwrap();
        let restart = job.spec.upkeep.restart;
        assert_eq!((restart.when, restart.attempts), (when, attempts), "{fields}");
        let of_task = job.notes.iter().filter(|note| note.starts_with("task_configuration"));
        assert_eq!(of_task.count(), notes, "{fields}: {:?}", job.notes);
    }
}

#[test]
fn a_linked_job_is_where_the_other_is() {
    let text = "{\"linked_job\": \"Portal Server\", \"task_configuration\": {\"name\": \"log\"}}";
    let job = Job::read(text, said("run-log")).unwrap();
    assert_eq!(job.spec.upkeep.linked_to, Some(ServiceName::new("portal-server").unwrap()));
    assert_eq!(job.spec.place, None);
}

#[test]
fn what_has_no_meaning_here_is_an_error() {
    let no_score = Job::read(EXAMPLE, Said::default()).unwrap_err().in_one_line();
    assert!(no_score.contains("name it by --score"), "{no_score}");
    for (text, why) in [
        ("[]", "expected a table of fields"),
        ("{", "it is no job of Cerebro's"),
        ("{}", "task_configuration is missing"),
        (&with_task("\"max_restarts\": -2"), "expected -1 for no limit"),
        (&with_task("\"ensure_aliv\": true"), "did you mean ensure_alive?"),
        (&with_task("\"mem\": 1.5"), "mem: expected a whole number"),
        (&with_task("\"name\": \"x\""), "it is no job of Cerebro's"),
        (&with_task("\"mem\": 1").replace("\"web\"", "\"7\""), "name the service by --name"),
        (
            "{\"deployment_layout\": 3, \"task_configuration\": {\"name\": \"web\"}}",
            "a table of zones",
        ),
        (
            "{\"deployment_layout\": {\"east\": {\"mem\": 3}}, \"task_configuration\": {\"name\": \"web\"}}",
            "deployment_layout.east: cpu is missing",
        ),
    ] {
        let problems = Job::read(text, said("run-web")).map(drop).unwrap_err().in_one_line();
        assert!(problems.contains(why), "{text}: {problems}");
    }
}
