use super::*;

fn carried(text: &str) -> Result<Carried, String> {
    let kind = Kind::of(text).unwrap();
    kind.read(text).map_err(|problems| problems.to_string())
}

#[test]
fn a_command_line_says_the_same_in_our_words() {
    for (theirs, ours) in [
        ("submitjob hello foo1 foo2 ! name you", "submitjob hello name=you --one-of 'foo[1-2]'"),
        ("submitjob -all-of hello foo1", "submitjob hello --all-of foo1"),
        ("submitjob --all-of hello foo1", "submitjob hello --all-of foo1"),
        (
            "/usr/bin/submitjob -all-of=true hello a b.example.com ! k 'two words' empty \"\"",
            "submitjob hello empty= 'k=two words' --all-of a,b.example.com",
        ),
        (
            "submitjob -audience-sock /x hello a ! q \"it's\"",
            "submitjob hello 'q=it'\\''s' --one-of a",
        ),
    ] {
        assert_eq!(carried(theirs).unwrap().written, format!("{ours}\n"), "{theirs}");
    }
    for (wrong, said) in [
        ("submitjob", "the score is missing"),
        ("submitjob -all-of hello", "the players are missing"),
        ("submitjob hello a ! k", "after the ! k has no value"),
        ("submitjob -x hello a", "-x: submitjob had no such option"),
        ("submitjob hello $(hosts)", "$: only words and quotes are read"),
        ("submitjob hello 'a", "a quote has no end"),
        ("submitjob hello a ! FLOW y", "Orchestra sets this one itself"),
    ] {
        let told = carried(wrong).unwrap_err();
        assert!(told.contains(said), "{wrong}: {told}");
    }
}

#[test]
fn a_request_is_the_command_line_that_sends_it() {
    let request =
        |rest: &str| carried(&format!("{{\"op\": \"queue\", \"score\": \"hello\", {rest}}}"));
    let read = request(
        "\"players\": [\"foo1\", \"foo2\"], \"scope\": \"all\", \"params\": {\"k\": \"v\"}",
    );
    assert_eq!(read.unwrap().written, "submitjob hello k=v --all-of 'foo[1-2]'\n");
    let read = request("\"players\": [\"foo1\"], \"scope\": \"one\"").unwrap();
    assert_eq!(read.written, "submitjob hello --one-of foo1\n");
    for (wrong, said) in [
        ("\"scope\": \"one\"", "players is missing"),
        ("\"players\": []", "players: there are none"),
        ("\"players\": [\"a\"], \"scope\": \"some\"", "expected one or all"),
    ] {
        let told = request(wrong).unwrap_err();
        assert!(told.contains(said), "{wrong}: {told}");
    }
}

#[test]
fn a_scores_conf_is_quoted_and_what_is_not_ours_is_told() {
    let read = carried("# its way\ninterface=pipe\nuser = www\ndir=/srv\npath=/opt/bin\n").unwrap();
    assert_eq!(read.written, "interface = \"pipe\"\nuser = \"www\"\n");
    let spec = orchestra_document::score::parse(&read.written).unwrap();
    assert_eq!(spec.user.as_deref(), Some("www"));
    for note in ["line 4: dir: a score runs in / here", "line 5: path: a score has a plain PATH"] {
        assert!(read.notes.iter().any(|told| told.starts_with(note)), "{:?}", read.notes);
    }
    assert!(carried("interface=socket").unwrap_err().contains("expected env or pipe"));
    assert!(carried("user=Www").unwrap_err().contains("user"));
}

#[test]
fn players_stay_what_they_are() {
    let read = carried("# the fleet\nfe1.example.com\n\n  fe2.example.com\n").unwrap();
    assert_eq!(read.written, "fe1.example.com\nfe2.example.com\n");
    assert_eq!(Kind::of("branches 4\nhosts [\"a\"]"), None);
    assert_eq!(Kind::of("# nothing\n"), None);
}
