use clap::Parser as _;

use super::*;
use crate::error::Render as _;
use crate::{
    flow,
    orc::{Noun, OrcArgs},
};

fn again(words: &[&str]) -> Result<Again, Failure> {
    let words = ["orc", "retry"].iter().chain(words);
    match OrcArgs::try_parse_from(words).map_err(|e| Failure::usage(e.to_string()))?.noun {
        Noun::Flow(flow::Verbs::Retry(retry)) => {
            retry.verb.validate(&mut Inputs::new(&mut &b"fe1\nfe2\n"[..]))
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_retry_is_narrowed_by_its_id_or_by_flags() {
    let whole = again(&["last"]).unwrap();
    assert_eq!((whole.flow, whole.job, whole.hosts.as_str()), (None, None, ""));
    for words in [
        &["42/web@fe3"][..],
        &["42/web", "-w", "fe3"],
        &["42@fe3", "--job", "web"],
        &["42", "--job", "web", "-w", "fe3"],
    ] {
        let narrowed = again(words).unwrap();
        let job = narrowed.job.as_ref().map(orchestra_model::JobName::as_str);
        assert_eq!((job, narrowed.hosts.as_str()), (Some("web"), "fe3"), "{words:?}");
    }
    assert_eq!(again(&["42", "-w", "-"]).unwrap().hosts, "fe1\nfe2");
    let set = again(&["42", "--set", "a=1", "--set", "web.b=2", "--set", "we.b/c=3"]).unwrap().set;
    assert_eq!(set.everywhere["a"].0, "1");
    let of = |job: &str| &set.of_job[&orchestra_model::JobName::new(job).unwrap()];
    assert_eq!((&*of("web")["b"].0, &*of("we.b")["c"].0), ("2", "3"));
    for (words, said) in [
        (&["42.1"][..], "orc retry takes a flow"),
        (&["42,43"], "orc retry takes a flow"),
        (&["42/web", "--job", "web"], "orc retry takes a flow"),
        (&["42@fe3", "-w", "fe4"], "given twice"),
        (&["42", "--set", "a"], "expected KEY=VALUE"),
        (&["42", "--jsonl"], "add --wait"),
        (&["42", "-w", "fe["], "host set"),
    ] {
        let text = again(words).unwrap_err().render();
        assert!(text.contains(said), "{words:?}: {text}");
    }
}
