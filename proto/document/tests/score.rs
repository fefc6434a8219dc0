//! What a score's `.conf` may say, and what parameters then pass.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that panics has failed")]

use std::collections::BTreeMap;

use orchestra_document::score;
use orchestra_model::{
    Millis, ParamKey, Params, limits,
    score::{BrokenRule, DEFAULT_TIMEOUT, Interface, ParamKind, ParamSpec, ScoreSpec},
};
use proptest::prelude::*;

fn conf(text: &str) -> ScoreSpec {
    score::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn key(text: &str) -> ParamKey {
    ParamKey::new(text).unwrap()
}

/// All problems.
fn problems(text: &str) -> String {
    match score::parse(text) {
        Err(problems) => problems.in_one_line(),
        Ok(spec) => panic!("{text}: {spec:?}"),
    }
}

#[test]
fn the_documented_conf_reads_as_documented() {
    let spec = conf(
        r#"
        description = "Restart Apache and wait until it answers"
        interface = "pipe"
        timeout = "1h30m"
        user = "www-data"
        concurrency = 1
        exclusive = true
        disruptive = false
        [params.package]
        type = "string"
        pattern = "^[a-z0-9.+-]+$"
        max_length = 64
        required = true
        description = "Which one"
        [params.token]
        sensitive = true
        [params.mode]
        type = "choice"
        choices = ["fast", "safe"]
        "#,
    );
    let package = ParamSpec {
        kind: ParamKind::String,
        pattern: Some("^[a-z0-9.+-]+$".to_owned()),
        max_length: Some(64),
        required: true,
        sensitive: false,
        description: "Which one".to_owned(),
    };
    let token = ParamSpec { sensitive: true, ..ParamSpec::default() };
    let mode = ParamSpec {
        kind: ParamKind::Choice(vec!["fast".to_owned(), "safe".to_owned()]),
        ..ParamSpec::default()
    };
    let expected = ScoreSpec {
        description: "Restart Apache and wait until it answers".to_owned(),
        interface: Interface::Pipe,
        timeout: Millis::minutes(90),
        user: Some("www-data".to_owned()),
        concurrency: Some(1),
        exclusive: true,
        disruptive: false,
        params: Some(BTreeMap::from([
            (key("package"), package),
            (key("token"), token),
            (key("mode"), mode),
        ])),
    };
    assert_eq!(spec, expected);
}

#[test]
fn an_empty_conf_is_all_defaults() {
    let spec = conf("# nothing\n");
    assert_eq!(spec, ScoreSpec::default());
    assert_eq!(spec.timeout, DEFAULT_TIMEOUT);
    assert!(spec.disruptive);
    assert_eq!(spec.params, None);
    assert_eq!(conf("[params]").params, Some(BTreeMap::new()));
}

#[test]
fn unknown_keys_are_told_all_at_once_with_their_paths() {
    let told = problems(
        r#"
        descripton = "x"
        zzzzzzzzzz = 1
        [params.package]
        patern = "x"
        [params.other]
        Required = true
        enum = []
        [nested.deep]
        x = 1
        "#,
    );
    let expected = [
        "line 5: params.package: unknown field \"patern\"; did you mean pattern?",
        "line 7: params.other: unknown field \"Required\"; did you mean required?",
        "line 8: params.other: unknown field \"enum\"; here it is called choices",
        "line 2: unknown field \"descripton\"; did you mean description?",
        "line 3: unknown field \"zzzzzzzzzz\"; there are description, interface, timeout, user, \
         concurrency, exclusive, disruptive, params",
        "line 9: unknown field \"nested\"; there are description, interface, timeout, user, \
         concurrency, exclusive, disruptive, params",
    ];
    assert_eq!(told, expected.join("; "));
}

#[test]
fn every_wrong_value_is_told_by_its_key() {
    for (text, key, why) in [
        ("interface = 'tty'", "interface", "\"env\" or \"pipe\""),
        ("interface = 1", "interface", "expected text, found"),
        ("description = ['x']", "description", "expected text, found"),
        ("timeout = 600", "timeout", "expected text, found"),
        ("timeout = '0s'", "timeout", "longer than 0"),
        ("timeout = '10'", "timeout", "expected a duration"),
        ("timeout = '11y'", "timeout", "expected a duration"),
        ("user = ''", "user", "a user name"),
        ("user = 'Root'", "user", "a user name"),
        ("user = '0'", "user", "a user name"),
        ("user = '-x'", "user", "a user name"),
        ("user = 'a b'", "user", "a user name"),
        ("user = 'a\\n'", "user", "a user name"),
        ("user = 'a23456789012345678901234567890123'", "user", "a user name"),
        ("concurrency = 0", "concurrency", "from 1 to 4294967295"),
        ("concurrency = -1", "concurrency", "from 1 to 4294967295"),
        ("concurrency = 1.5", "concurrency", "from 1 to 4294967295"),
        ("concurrency = '1'", "concurrency", "from 1 to 4294967295"),
        ("concurrency = 4294967296", "concurrency", "from 1 to 4294967295"),
        ("exclusive = 1", "exclusive", "true or false"),
        ("disruptive = 'no'", "disruptive", "true or false"),
        ("params = 1", "params", "like [params.package]"),
        ("[params]\npackage = 'string'", "params.package", "expected a table"),
        ("[params.FLOW]", "params.FLOW", "sets this one itself"),
        ("[params.a-b]", "params.a-b", "letters, digits and '_'"),
        ("[params.p]\ntype = 'float'", "params.p.type", "expected string, integer"),
        ("[params.p]\ntype = 'choice'", "params.p.choices", "at least one"),
        ("[params.p]\ntype = 'choice'\nchoices = []", "params.p.choices", "at least one"),
        (
            "[params.p]\ntype = 'choice'\nchoices = [1]",
            "params.p.choices",
            "expected texts in quotes",
        ),
        ("[params.p]\nchoices = ['a']", "params.p.choices", "only a parameter of type"),
        ("[params.p]\npattern = '['", "params.p.pattern", "not a regular expression"),
        ("[params.p]\npattern = 'a)|(?:b'", "params.p.pattern", "not a regular expression"),
        (
            "[params.p]\npattern = '((a{9}){99}){99}'",
            "params.p.pattern",
            "not a regular expression",
        ),
        ("[params.p]\nmax_length = 0", "params.p.max_length", "from 1 to 4294967295"),
        ("[params.p]\nrequired = 'yes'", "params.p.required", "true or false"),
    ] {
        let told = problems(text);
        // `params.p.type` is the field `type` at the place `params.p`.
        let place = match key.matches('.').count() {
            2 => key.rsplit_once('.').map(|(table, field)| format!("{table}: {field}: ")),
            _ => Some(format!("{key}: ")),
        };
        assert!(told.contains(&place.unwrap()), "{text}: {told}");
        assert!(told.contains(why), "{text}: {told}");
    }
    let long = format!("[params.p]\npattern = '{}'", "a".repeat(limits::PATTERN_BYTES + 1));
    assert!(problems(&long).contains("at most 256 bytes"));
    let many: String = (0..=limits::PARAMS).map(|n| format!("[params.p{n}]\n")).collect();
    assert!(problems(&many).contains("at most 256 are allowed"));
}

#[test]
fn several_wrong_values_are_told_together() {
    let told = problems(
        "timeout = 5\nconcurrency = 0\ntypo = 1\n[params.b]\ntype = 'x'\n[params.a]\npattern = '('",
    );
    for field in [
        "line 1: timeout: ",
        "line 2: concurrency: ",
        "line 3: unknown field \"typo\"",
        "line 5: params.b: type: ",
        "line 7: params.a: pattern: ",
    ] {
        assert!(told.contains(field), "{field}: {told}");
    }
    assert_eq!(told.matches("; line ").count(), 4, "{told}");
}

#[test]
fn what_is_not_toml_or_too_large_is_refused() {
    let twice = problems("user = 'x'\nuser = 'y'\n");
    assert!(twice.contains("line 2") && !twice.contains('\n'), "{twice}");
    for bad in ["x", "=", "[params", "a = [[[[", "\u{0}"] {
        assert!(problems(bad).starts_with("it is not TOML: "), "{bad:?}");
    }
    assert!(score::parse(&format!("a = {}", "[".repeat(20_000))).is_err());
    let large = "#".repeat(limits::SCORE_CONF_BYTES + 1);
    let (bytes, most) = (large.len(), limits::SCORE_CONF_BYTES);
    assert_eq!(problems(&large), format!("it has {bytes} bytes; at most {most} are allowed"));
    assert!(score::parse(&large[1..]).is_ok());
}

#[test]
fn without_a_params_table_anything_passes_and_with_one_only_what_it_names() {
    let params = Params::from_pairs([("anything", "x")]).unwrap();
    assert_eq!(conf("").check(&params), Ok(()));
    assert_eq!(conf("[params]").check(&Params::default()), Ok(()));
    assert_eq!(
        conf("[params]").check(&params).unwrap_err().to_string(),
        "parameter anything: the score takes no such parameter"
    );
}

#[test]
fn kinds_admit_what_they_say() {
    let admits = |kind: &str, value: &str| {
        let spec = conf(&format!("[params.p]\n{kind}"));
        spec.check(&Params::from_pairs([("p", value)]).unwrap()).is_ok()
    };
    for (kind, good, bad) in [
        ("", vec!["", "any thing\n"], vec![]),
        (
            "type = 'integer'",
            vec!["0", "-5", "42", "9223372036854775807", "-9223372036854775808"],
            vec![
                "",
                "-",
                "+5",
                "1.0",
                "1e3",
                " 1",
                "1 ",
                "1\n",
                "0x1f",
                "9223372036854775808",
                "٣",
                "007",
                "-007",
                "00",
                "-0",
                "-00",
            ],
        ),
        (
            "type = 'number'",
            vec!["0", "-5", "1.5", "-0.25", "1e3", "1E-3", "-0", "0.5", "0e1"],
            vec![
                "", ".", "+1", "inf", "-inf", "nan", "NaN", "infinity", "1e999", "1,5", "1.5 ",
                "0x1", "1_000", "007", "-01.5", "00",
            ],
        ),
        ("type = 'boolean'", vec!["true", "false"], vec!["", "True", "1", "yes", "true\n"]),
        (
            "type = 'choice'\nchoices = ['on', 'off']",
            vec!["on", "off"],
            vec!["", "On", "on ", "on,off"],
        ),
        (
            "type = 'host'",
            vec!["db1", "fe1.east.example.com"],
            vec!["", "DB1", "db1.", "-x", "a b", "db1\n", "db[1-2]"],
        ),
        (
            "type = 'path'",
            vec!["/a", "/srv/app-1/.config", "/a/..b", "/a b"],
            vec!["", "/", "a", "./a", "/a/", "//a", "/a//b", "/a/../b", "/..", "/.", "/a/."],
        ),
        ("pattern = '^[a-z]+$'", vec!["abc"], vec!["", "abc\n", "Abc", "abc;rm"]),
        ("pattern = 'a|ab'", vec!["a", "ab"], vec!["b", "aab"]),
        ("max_length = 3", vec!["", "abc", "é1"], vec!["abcd", "éé"]),
    ] {
        for value in good {
            assert!(admits(kind, value), "{kind}: {value:?}");
        }
        for value in bad {
            assert!(!admits(kind, value), "{kind}: {value:?}");
        }
    }
}

#[test]
fn all_problems_of_a_job_are_told_at_once() {
    let spec = conf(
        r#"
        [params.count]
        type = "integer"
        [params.host]
        type = "host"
        required = true
        [params.name]
        pattern = "[a-z]+"
        max_length = 5
        [params.word]
        pattern = "[a-z]+"
        [params.mode]
        type = "choice"
        choices = ["on", "off"]
        "#,
    );
    let params = Params::from_pairs([
        ("count", "many"),
        ("name", "abcdef"),
        ("word", "WORD"),
        ("mode", "maybe"),
        ("nmae", "x"),
        ("HOST", "db1"),
    ])
    .unwrap();
    let refused = spec.check(&params).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "parameter HOST: the score takes no such parameter; did you mean host?; \
         parameter count: expected a whole number that fits 64 bits, without leading zeros; \
         parameter host: it must be given; \
         parameter mode: expected one of on, off; \
         parameter name: it has 6 bytes; at most 5 are allowed; \
         parameter nmae: the score takes no such parameter; did you mean name?; \
         parameter word: it does not match the pattern [a-z]+"
    );
}

#[test]
fn a_pattern_from_elsewhere_that_cannot_be_used_admits_nothing() {
    let param = ParamSpec { pattern: Some("(".to_owned()), ..ParamSpec::default() };
    let spec =
        ScoreSpec { params: Some(BTreeMap::from([(key("p"), param)])), ..ScoreSpec::default() };
    let refused = spec.check(&Params::from_pairs([("p", "(")]).unwrap()).unwrap_err();
    assert_eq!(refused.0[0].rule, BrokenRule::UnusablePattern);
}

#[test]
fn only_declared_and_not_sensitive_values_may_be_shown() {
    let spec = conf("[params.package]\n[params.token]\nsensitive = true");
    assert!(spec.may_show(&key("package")));
    assert!(!spec.may_show(&key("token")));
    assert!(!spec.may_show(&key("other")));
    assert!(!conf("").may_show(&key("package")), "without a schema nobody knows");
}

proptest! {
    #[test]
    fn no_refusal_repeats_a_value(value in "[a-zA-Z0-9/-]{0,4}hunter2[^\u{0}]{0,8}") {
        for kind in [
            "type = 'integer'", "type = 'number'", "type = 'boolean'", "type = 'host'",
            "type = 'path'", "type = 'choice'\nchoices = ['a']", "pattern = '[A-F]+'",
            "max_length = 2",
        ] {
            let spec = conf(&format!("[params.p]\nsensitive = true\n{kind}"));
            let params = Params::from_pairs([("p", value.as_str()), ("q", value.as_str())]).unwrap();
            let refused = spec.check(&params).unwrap_err();
            prop_assert!(!refused.to_string().contains("hunter2"));
            let debug = format!("{refused:?}");
            prop_assert!(!debug.contains("hunter2"));
        }
    }

    #[test]
    fn no_conf_does_harm(text in "([a-z_.\\[\\]= \"'0-9{}\n-]|params|pattern = |type = ){0,40}") {
        let _ = score::parse(&text);
    }
}
