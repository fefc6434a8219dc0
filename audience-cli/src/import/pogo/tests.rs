use orchestra_model::names::AppName;

use super::*;

/// What pogo's own tests read.
const EXAMPLE: &str = "\
# example constraints
---
plugins:
  targets: Pogo::Plugin::Inline

apps:
  frontend:
    - foo[1-101].east.example.com
    - foo[1-101].west.example.com
  backend:
    - bar[1-10].east.example.com
    - bar[1-10].west.example.com
  tail:
    - zar[1-10].west.example.com

envs:
  coast:
    east:
      - foo[1-101].east.example.com
      - bar[1-10].east.example.com
    west:
      - foo[1-101].west.example.com
      - bar[1-10].west.example.com

constraints:
  coast:
    concurrency:
      - frontend: 25%
      - backend: 1
    sequence:
      - [ backend, frontend, tail ]
";

fn read(text: &str) -> Result<Namespaces, String> {
    let name = DeploymentName::new("example").unwrap();
    Namespaces::read(text, &name).map_err(|problems| problems.to_string())
}

#[test]
fn a_namespace_becomes_a_deployment_named_as_its_file() {
    assert!(Namespaces::is_likely(EXAMPLE));
    let read = read(EXAMPLE).unwrap();
    let written = read.file();
    let again = orchestra_document::deployment::parse(&written, Format::Yaml, &NoGroups).unwrap();
    assert_eq!((again.len(), again[0].name.as_str()), (1, "example"), "{written}");
    assert_eq!(again, read.deployments);
    let cells: Vec<&str> = again[0].apps.keys().map(AppName::as_str).collect();
    assert_eq!(cells, ["backend", "frontend", "tail"]);
    assert!(written.contains("frontend: 25%") && written.contains("backend: 1"), "{written}");
    let starts = ["plugins: nothing is loaded", "limits: there", "a host that failed: there"];
    let begins = |note: &String| starts.iter().any(|start| note.starts_with(start));
    assert!(read.notes.len() == 3 && read.notes.iter().all(begins), "{:?}", read.notes);
}

#[test]
fn named_namespaces_lose_what_is_pogos_alone() {
    let text = "
shop:
  globals: {retry: 3}
  apps: {web: {inline: 'fe[1-4]'}}
  envs: {coast: {inline: {east: 'fe[1-2]', west: 'fe[3-4]'}}}
  constraints: {coast: {concurrency: {web: 1}, sequence: [[web]]}}
";
    assert!(Namespaces::is_likely(text));
    let read = read(text).unwrap();
    assert_eq!(read.deployments[0].name.as_str(), "shop");
    for note in [
        "shop: globals: they are defaults of pogo's jobs",
        "shop: constraints coast, sequence: of one app, so it orders nothing",
    ] {
        assert!(read.notes.iter().any(|told| told.starts_with(note)), "{:?}", read.notes);
    }
}

#[test]
fn what_cannot_be_carried_over_says_why_and_what_instead() {
    let old =
        "appgroups: {frontend: [frontend.host]}\nsequences: {cluster: [[backend, frontend]]}\n";
    assert!(Namespaces::is_likely(old));
    let told = read(old).unwrap_err();
    for part in ["example: appgroups: of the first form", "write apps, envs with their hosts"] {
        assert!(told.contains(part), "{told}");
    }
    let told = read("apps: {web: fe1}\nenvs: {coast: {east: fe1}}\nconstraints: {coast: {concurrency: {api: 1}}}").unwrap_err();
    assert!(told.contains("api"), "{told}");
    assert!(
        !Namespaces::is_likely("branches 4\nhosts [\"a\"]\n")
            && !Namespaces::is_likely("interface=pipe")
    );
}
