//! Host sets: the grammar by example, and what holds for any set.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that panics has failed"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
};

use orchestra_model::{
    HostName, HostSet,
    hostset::{Groups, InvalidHostSet, NoGroups, Unknown, natural_order},
    limits,
    names::GroupName,
};
use proptest::prelude::*;

fn set(text: &str) -> HostSet {
    HostSet::parse_plain(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn names(text: &str) -> Vec<String> {
    set(text).iter().map(ToString::to_string).collect()
}

/// The error as people read it, with its cause.
fn refusal(text: &str) -> String {
    let error = HostSet::parse_plain(text).expect_err(text);
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[test]
fn ranges_expand_with_their_padding_and_step() {
    for (text, expanded) in [
        ("db1", "db1"),
        (
            "fe[1-3].east.example.com",
            "fe1.east.example.com fe2.east.example.com fe3.east.example.com",
        ),
        ("fe{1-3}", "fe1 fe2 fe3"),
        ("fe[01-10/2]", "fe01 fe03 fe05 fe07 fe09"),
        ("fe[08-10]", "fe08 fe09 fe10"),
        ("fe[098-101]", "fe098 fe099 fe100 fe101"),
        ("fe[00-01]", "fe00 fe01"),
        ("fe[0-1]", "fe0 fe1"),
        ("fe[1-3,5]", "fe1 fe2 fe3 fe5"),
        ("fe[5,1-3,2]", "fe1 fe2 fe3 fe5"),
        ("fe[9-11]", "fe9 fe10 fe11"),
        ("fe[1,01,001]", "fe1 fe01 fe001"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("r[1-2]n{1-2}", "r1n1 r1n2 r2n1 r2n2"),
        ("[1-2][1-2]", "11 12 21 22"),
        ("[1-2]", "1 2"),
        ("a[1]-b[2-3]", "a1-b2 a1-b3"),
        ("FE1,Fe[2-3].East", "fe1 fe2.east fe3.east"),
        ("a[7-7]", "a7"),
        ("a[1-10/20]", "a1"),
        ("a[99999999999999998-99999999999999999]", "a99999999999999998 a99999999999999999"),
    ] {
        assert_eq!(names(text).join(" "), expanded, "{text}");
    }
}

#[test]
fn operators_are_read_from_left_to_right() {
    for (text, expanded) in [
        ("db1,db2", "db1 db2"),
        ("db2,db1,db2", "db1 db2"),
        ("fe[1-6]!fe[2-3,5]", "fe1 fe4 fe6"),
        ("fe[1-6]&fe[5-9]", "fe5 fe6"),
        ("fe[1-3]^fe[2-4]", "fe1 fe4"),
        ("a^a^a", "a"),
        ("a!a,a", "a"),
        ("a,b!a,b", "b"),
        ("a,b,c!a!b", "c"),
        ("a&b,c", "c"),
        ("a,b&b", "b"),
        ("a!a", ""),
        ("a[1-9]!a[1-4]&a[3-6]^a[6-7],b", "a5 a7 b"),
        ("  db1\n db2\tdb3 ", "db1 db2 db3"),
        ("a , b ! a", "b"),
        ("a,\nb\r\nc\n", "a b c"),
        ("", ""),
        (" \n", ""),
    ] {
        assert_eq!(names(text).join(" "), expanded, "{text:?}");
    }
}

#[test]
fn what_is_not_a_host_set_says_why() {
    for (text, why) in [
        ("fe[6-1]", "host set \"fe[6-1]\", character 4: a range runs upwards"),
        ("db1,fe[6-1] x", "host set \"db1,fe[6-1] x\", character 8: a range runs upwards"),
        ("fe[a-c]", "character 4: only numbers make a range"),
        ("fe[1-c]", "only numbers make a range"),
        ("fe[]", "a number is missing"),
        ("fe[1,]", "a number is missing"),
        ("fe[,1]", "a number is missing"),
        ("fe[-1]", "character 4: a number is missing before this `-`"),
        ("fe[1-]", "a number is missing"),
        ("fe[1-3-5]", "ranges are like"),
        ("fe[1-9/]", "a number is missing"),
        ("fe[1-9/0]", "a step is at least 1"),
        ("fe[1/2]", "a step belongs to a range"),
        ("fe[1-9/2/3]", "ranges are like"),
        ("fe[1-[2-3]]", "brackets do not nest"),
        ("fe[1-{2-3}]", "brackets do not nest"),
        ("fe[1-6}", "closed by their own kind"),
        ("fe{1-6]", "closed by their own kind"),
        ("fe[1-6", "character 3: this bracket is never closed"),
        ("fe[", "never closed"),
        ("fe1-6]", "this bracket closes nothing"),
        ("fe[1, 2]", "brackets hold no spaces"),
        ("fe[1-010]", "same number of digits"),
        ("fe[01-100]", "same number of digits"),
        ("fe[001-10]", "same number of digits"),
        ("fe[100000000000000000]", "at most 17 digits"),
        ("fe[1-99999999999999999999999]", "at most 17 digits"),
        ("!a", "character 1: a host set is missing"),
        ("a,", "character 2: a host set is missing after this `,`"),
        ("a,,b", "character 3: a host set is missing before this `,`"),
        (",a", "a host set is missing"),
        ("a!", "a host set is missing"),
        ("a!!b", "a host set is missing"),
        ("a,&b", "a host set is missing"),
        ("a&\n", "a host set is missing"),
        ("a_", "\"a_\" is not a host name: each label starts and ends"),
        ("../etc/passwd", "character 3: '/' is in no host name; only a-z"),
        ("a..b", "empty label"),
        ("é1", "only a-z"),
        ("a\0", "only a-z"),
        ("a*", "character 2: there are no wildcards"),
        ("a[1-2]_", "each label starts and ends"),
        ("x@frontend", "character 2: `@` begins a group or label"),
        ("a, é[1", "host set \"a, é[1\", character 5: this bracket is never closed"),
    ] {
        let error = refusal(text);
        assert!(error.contains(why), "{text:?}: {error}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

#[test]
fn expansion_is_bounded_before_anything_is_made() {
    let too_many = |text: &str| {
        assert!(
            matches!(HostSet::parse_plain(text), Err(InvalidHostSet::TooMany { .. })),
            "{text:.100}"
        );
    };
    too_many("a[1-1000000][1-1000000]");
    too_many("a[0-1000000]");
    too_many("a[1-99999999999999999]");
    too_many("a[1-1000]b[1-1000]c[0-1]");
    too_many(&"a[0-99999999999999999]".repeat(50));
    too_many("a[1-600000],b[1-600000]");

    let text = "a[1-100000]".to_owned() + &"!b,b".repeat(30);
    assert!(matches!(HostSet::parse_plain(&text), Err(InvalidHostSet::TooMuchWork { .. })));
    let text = "a[1-100000]".to_owned() + &"!b".repeat(1_000) + &",b".repeat(1_000);
    assert_eq!(set(&text).len(), 100_001, "a run of one operator is cheap");
    let long = "a ".repeat(limits::HOSTSET_BYTES / 2) + "a";
    assert!(matches!(HostSet::parse_plain(&long), Err(InvalidHostSet::TooLong { .. })));
    let full = "db10001 ".repeat(limits::HOSTSET_BYTES / 8);
    assert_eq!(set(&full).len(), 1, "a text of the largest size is read");
    let many_ranges = "[1]".repeat(100_000);
    assert!(HostSet::parse_plain(&many_ranges).is_err());
    assert!(refusal(&"[1]".repeat(64)).contains("longer than 63"));
}

#[test]
fn an_error_about_a_long_text_is_short() {
    for text in ["é".repeat(1 << 20), "[".repeat(1 << 20), format!("{}[", "x".repeat(1 << 20))] {
        assert!(refusal(&text).len() < 600);
    }
}

/// Groups and labels as the conductor would answer.
struct Fleet {
    groups: BTreeMap<&'static str, HostSet>,
    labels: BTreeMap<(&'static str, &'static str), HostSet>,
}

impl Groups for Fleet {
    fn all(&self) -> HostSet {
        self.groups.values().fold(HostSet::default(), |all, group| all.union(group))
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        self.groups.get(name.as_str()).cloned()
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.labels.get(&(key, value)).cloned()
    }
}

fn fleet() -> Fleet {
    Fleet {
        groups: BTreeMap::from([
            ("frontend", set("fe[1-6]")),
            ("Frontend", set("Old1")),
            ("db", set("db[1-3]")),
            ("none", HostSet::default()),
            ("rack1", set("fe[1-2]")),
            ("rack2", set("fe[3-4]")),
            ("rack3", set("fe[4-6],db1")),
        ]),
        labels: BTreeMap::from([
            (("cluster", "east"), set("fe[1-3],db1")),
            (("cluster", "west"), set("fe[4-6],db[2-3]")),
        ]),
    }
}

#[test]
fn groups_and_labels_are_looked_up() {
    let fleet = fleet();
    for (text, folded) in [
        ("@all", "db[1-3],fe[1-6],old1"),
        ("@frontend", "fe[1-6]"),
        ("@Frontend", "old1"),
        ("@none", ""),
        ("@all!@Frontend&@cluster=east", "db1,fe[1-3]"),
        ("@db,fe1 @cluster=east", "db[1-3],fe[1-3]"),
        ("@cluster=east^@db", "db[2-3],fe[1-3]"),
        ("@rack[1-2]", "fe[1-4]"),
        ("@rack{1,3}", "db1,fe[1-2,4-6]"),
        ("@rack[1-3/2]!fe1", "db1,fe[2,4-6]"),
        // Together they are one operand, whatever is done with it.
        ("@frontend&@rack[2-3]", "fe[3-6]"),
        ("@frontend^@rack[2-3]", "db1,fe[1-2]"),
        ("@frontend!@rack[1-2]", "fe[5-6]"),
    ] {
        assert_eq!(HostSet::parse(text, &fleet).unwrap().to_string(), folded, "{text}");
    }
    for (text, why) in [
        ("fe1,@nosuch", "host set \"fe1,@nosuch\", character 5: there is no group nosuch"),
        ("@cluster=north", "no host has the label cluster=north"),
        ("@FRONTEND", "there is no group FRONTEND"),
        ("@", "not a group name"),
        ("@=", "not a group name"),
        ("@cluster=", "not a group name"),
        ("@a=b=c", "not a group name"),
        ("@../x", "not a group name"),
        ("@frontend[1-2]", "character 1: there is no group frontend1"),
        ("@rack[3-4]", "there is no group rack4"),
        ("@rack[1-", "this bracket is never closed"),
    ] {
        let error = HostSet::parse(text, &fleet).expect_err(text).to_string();
        assert!(error.contains(why), "{text}: {error}");
    }
}

/// What others' tools take, or refuse otherwise, and what is answered here: each says what would be
/// right, at the character that is wrong.
#[test]
fn what_other_tools_understand_is_answered_in_our_words() {
    let fleet = fleet();
    let no_host = "is in no host name; only a-z, 0-9, '-', '_' and '.' are allowed";
    let below = "a number is missing before this `-`: ranges are like [1-6], and no number is";
    for (text, at, why) in [
        ("cluster%s", 8, format!("'%' {no_host}")),
        ("clust%ser[3-30]", 6, format!("'%' {no_host}")),
        ("a,cluster%eth[0-8]", 10, format!("'%' {no_host}")),
        ("fe80::5054:ff", 5, format!("':' {no_host}")),
        ("ૐ[000-042]", 1, format!("'ૐ' {no_host}")),
        ("*foo*", 1, "there are no wildcards; name ranges like fe[1-6]".to_owned()),
        ("foo[1-2]*[0]", 9, "there are no wildcards".to_owned()),
        ("foo2-ib0!*", 10, "there are no wildcards".to_owned()),
        ("bar??1,foo1", 4, "there are no wildcards".to_owned()),
        ("n[-5]", 3, below.to_owned()),
        ("n[-12,-10--9]", 3, below.to_owned()),
        ("n[1,-10]", 5, below.to_owned()),
        ("n[ 1,5]", 3, "brackets hold no spaces".to_owned()),
        ("n[01 - 02]", 5, "brackets hold no spaces".to_owned()),
        ("n[0-8 / 2],m1", 6, "brackets hold no spaces".to_owned()),
        ("p[00-3]p", 3, "both ends of a padded range have the same number of digits".to_owned()),
        (",1,2,3", 1, "a host set is missing before this `,`".to_owned()),
        ("n1,n2,", 6, "a host set is missing after this `,`".to_owned()),
        ("n1,n2, ", 6, "a host set is missing after this `,`".to_owned()),
        ("n[1-999999999]", 1, "it expands to too many hosts".to_owned()),
        ("n1,n[1-999999999]", 4, "it expands to too many hosts".to_owned()),
        ("foo[9-11],-foo10", 11, "no name starts with `-`; `!` takes hosts away".to_owned()),
        ("foo[0-20],/0$/", 11, "there are no patterns".to_owned()),
        ("foo[0-20],-/[1-9]$/", 11, "there are no patterns".to_owned()),
        ("^./wcoll", 1, "a host set is missing before this `^`; a file of hosts is".to_owned()),
        ("foo[8-12],-^./wcoll", 11, "no name starts with `-`".to_owned()),
        ("foo1;foo2", 5, "';' is no operator".to_owned()),
        ("web1@frontend", 5, "`@` begins a group or label".to_owned()),
        ("db1,@*", 5, "@all is every host".to_owned()),
        ("@@", 1, "\"@\" is not a group name: it starts with a letter or digit".to_owned()),
        ("@local:foo", 1, "\"local:foo\" is not a group name".to_owned()),
        ("@escape%test", 1, "\"escape%test\" is not a group name".to_owned()),
        ("@unknown", 1, "there is no group unknown".to_owned()),
    ] {
        let told = HostSet::parse(text, &fleet).expect_err(text).to_string();
        let quoted = text.trim_end();
        let expected = format!("host set {quoted:?}, character {at}: {why}");
        assert!(told.starts_with(&expected), "{text:?}: {told}");
    }
    let told = HostSet::parse("foo1\n#include B", &fleet).expect_err("a comment").to_string();
    assert!(told.starts_with("host set \"#include B\", line 2, character 1: a comment"), "{told}");
}

/// The hosts of a players file.
struct Known(HostSet);

impl Groups for Known {
    fn all(&self) -> HostSet {
        self.0.clone()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        fleet().group(name)
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        fleet().labelled(key, value)
    }

    fn hosts(&self) -> Option<&HostSet> {
        Some(&self.0)
    }
}

#[test]
fn what_nobody_knows_is_an_error_wherever_it_stands() {
    let known = Known(set("fe[1-6],db[1-3]"));
    for (text, unknown) in [
        ("fe[1-6],h03", "h03"),
        ("fe[1-6]!h03", "h03"),
        ("fe[1-6]!h03!fe1!h[04-05]", "h[03-05]"),
        ("fe[1-6]&fe[5-9]", "fe[7-9]"),
        ("@all^h03", "h03"),
        ("fe[1-9]!fe[7-9]", "fe[7-9]"),
        ("h03!h03", "h03"),
        ("@frontend!FE7", "fe7"),
    ] {
        let refused = HostSet::parse(text, &known).expect_err(text);
        assert_eq!(refused, InvalidHostSet::UnknownHosts(set(unknown)), "{text}");
    }
    for (text, hosts) in [("fe[1-6]!db1", "fe[1-6]"), ("@all!fe[1-6]", "db[1-3]")] {
        assert_eq!(HostSet::parse(text, &known).unwrap(), set(hosts), "{text}");
    }
}

#[test]
fn what_nobody_knows_is_left_out_and_told_where_that_is_meant() {
    let known = Known(set("fe[1-6],db[1-3]"));
    let resolve = |text: &str| HostSet::resolve(text, &known, Unknown::LeftOut).unwrap();
    let resolved = resolve("fe[5-9],h03!h04!db1,@nosuch,@cluster=north,db2");
    assert_eq!(resolved.hosts, set("fe[5-6],db2"));
    assert_eq!(resolved.unknown, set("fe[7-9],h[03-04]"));
    assert_eq!(resolved.words.iter().collect::<Vec<_>>(), ["cluster=north", "nosuch"]);
    assert_eq!(resolve("h03").hosts, HostSet::default());
    assert_eq!(resolve("fe1").unknown, HostSet::default());
    let broken = HostSet::resolve("@*", &known, Unknown::LeftOut);
    assert!(matches!(broken, Err(InvalidHostSet::Syntax { .. })));
}

#[test]
fn names_that_a_list_repeats_and_that_are_taken_away_in_vain_are_told() {
    let resolve = |text: &str| HostSet::resolve(text, &fleet(), Unknown::Refused).unwrap();
    for (text, repeated) in [
        ("db1,db2,db1", "db1"),
        ("db[1-3],db2 DB3", "db[2-3]"),
        ("db1,db1,db1", "db1"),
        ("db[1,1]", "db1"),
        ("@db,db1", ""),
        ("db1!db2!db2", ""),
        ("db[1-3]", ""),
    ] {
        assert_eq!(resolve(text).repeated, set(repeated), "{text}");
    }
    for (text, vain) in
        [("db[1-3]!db4", "db4"), ("@db!@frontend", "fe[1-6]"), ("db[1-3]!db[3-4],db4", "db4")]
    {
        assert_eq!(resolve(text).vain, set(vain), "{text}");
    }
    assert!(resolve("db[1-3]!db1").vain.is_empty());
    assert_eq!(HostSet::define("db[1-3]!db2").unwrap(), set("db[1,3]"));
    assert_eq!(HostSet::define("db[1-3]!db4"), Err(InvalidHostSet::Vain(set("db4"))));
}

#[test]
fn look_ups_are_bounded() {
    for text in ["@none,".repeat(100_000) + "a", "@none[0-99999]".to_owned()] {
        let refused = HostSet::resolve(&text, &fleet(), Unknown::LeftOut);
        assert!(matches!(refused, Err(InvalidHostSet::TooMuchWork { .. })));
    }
}

#[test]
fn without_groups_every_at_word_asks_for_the_conductor() {
    for text in ["@all", "a,@frontend", "@cluster=east", "@", "@rack[1-2]"] {
        let refused = HostSet::parse_plain(text);
        assert!(matches!(refused, Err(InvalidHostSet::NeedsConductor { .. })), "{text}");
        assert_eq!(refused, HostSet::parse(text, &NoGroups));
    }
    assert!(refusal("@all").contains("conductor"));
}

#[test]
fn folding_is_as_people_write_it() {
    for (text, folded) in [
        (
            "fe1.east.example.com fe3.east.example.com fe2.east.example.com",
            "fe[1-3].east.example.com",
        ),
        ("r[1-2]n[1-4]", "r[1-2]n[1-4]"),
        ("r[1-2]n[1-4].dc[1-3].example.com", "r[1-2]n[1-4].dc[1-3].example.com"),
        (
            "ip-10-[0-1]-[2-3]-[4-5].eu-west-1.internal",
            "ip-10-[0-1]-[2-3]-[4-5].eu-west-1.internal",
        ),
        ("fe[1-6].east2", "fe[1-6].east2"),
        ("fe[01-10/2]", "fe[01,03,05,07,09]"),
        ("fe[08-12]", "fe[08-12]"),
        ("fe[8-12]", "fe[8-12]"),
        ("fe[1-12],fe[01-09]", "fe[1-12,01-09]"),
        ("fe1", "fe1"),
        ("fe[9-10],fe[099-101]", "fe[9-10,099-101]"),
        ("db[1-3],api1,fe[1-2],x", "api1,db[1-3],fe[1-2],x"),
        ("1,2,3", "[1-3]"),
        ("[1-2][1-2]", "[11-12,21-22]"),
        ("a123456789012345678,a123456789012345679", "a123456789012345678,a123456789012345679"),
        ("r[1-2]n1,r1n2", "r1n[1-2],r2n1"),
        ("", ""),
    ] {
        assert_eq!(set(text).to_string(), folded, "{text}");
        assert_eq!(set(folded), set(text), "{text}");
    }
    assert_eq!(set("fe[1-6]").counted().to_string(), "fe[1-6] (6)");
    assert_eq!(format!("{:>8}|{:<8}|", set("a"), set("b")), "       a|b       |");
}

#[test]
fn a_large_rectangle_folds_to_one_word() {
    let text = "r[1-40]n[01-50].dc[1-9].example.com";
    assert_eq!(set(text).to_string(), text);
}

#[test]
fn numbers_are_found_wherever_they_stand_in_a_name() {
    for before in 1..230 {
        let front: String = "abc.".chars().cycle().take(before - 1).chain(['x']).collect();
        for text in [format!("{front}[8-101]"), format!("{front}[01-31].y[2-3]z")] {
            assert_eq!(set(&text).to_string(), text);
        }
    }
}

#[test]
fn unknown_hosts_are_listed_folded() {
    let known = set("fe[1-6]");
    let asked = set("fe[4-9],db1");
    assert_eq!(asked.unknown(|host| known.contains(host)).to_string(), "db1,fe[7-9]");
}

#[test]
fn natural_order_is_by_value_then_width() {
    let ordered = [
        "a", "a-1", "a.b", "a0", "a00", "a1", "a01", "a1-x", "a1b", "a2", "a02b", "a9", "a10",
        "a010", "a010b", "aa", "b",
    ];
    // What is written after a number matters only when the number is the same one.
    let mut sorted = ordered;
    sorted.sort_by(|a, b| natural_order(a, b));
    for (a, b) in
        [("a2", "a10"), ("a9", "a010"), ("a1", "a01"), ("a01", "a2"), ("fe2.b1", "fe10.a1")]
    {
        assert!(natural_order(a, b).is_lt(), "{a} {b}");
    }
    for pair in sorted.windows(2) {
        assert!(natural_order(pair[0], pair[1]).is_lt(), "{pair:?}");
    }
    assert_eq!(names("fe10 fe9 fe09 fe1"), ["fe1", "fe9", "fe09", "fe10"]);
}

/// Names from few letters, so that sets share prefixes, paddings and suffixes.
fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "(a|b|fe)[0-9]{1,3}(\\.e[0-9]{1,2})?",
        2 => "r[0-3]n[0-3](\\.dc[0-2])?",
        2 => "[0-9]{1,3}(-[0-9]{1,2}){0,5}",
        1 => "[ab01][ab01_.-]{0,6}[ab01]",
        1 => "a[01][0-9]{16,20}",
        1 => "a0{0,20}[1-9][0-9]{12,17}(b[0-9])?",
    ]
    .prop_filter("a host name", |name| HostName::new(name).is_ok())
}

fn any_names() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set(any_name(), 0..60)
}

fn of(names: &BTreeSet<String>) -> HostSet {
    names.iter().map(|name| HostName::new(name).unwrap()).collect()
}

fn back(set: &HostSet) -> BTreeSet<String> {
    set.iter().map(ToString::to_string).collect()
}

proptest! {
    #[test]
    fn folded_text_parses_to_the_same_set(names in any_names()) {
        let set = of(&names);
        prop_assert_eq!(set.len(), names.len());
        let folded = set.to_string();
        let again = HostSet::parse_plain(&folded).unwrap();
        prop_assert!(set.iter().eq(again.iter()), "{}", folded);
        prop_assert_eq!(again.to_string(), folded);
    }

    #[test]
    fn folding_never_writes_a_name_twice(names in any_names()) {
        let folded = of(&names).to_string();
        let mut written = Vec::new();
        for operand in split_outside_brackets(&folded) {
            written.extend(HostSet::parse_plain(&operand).unwrap());
        }
        prop_assert_eq!(written.len(), names.len());
    }

    #[test]
    fn order_of_the_text_does_not_matter(
        names in prop::collection::vec(any_name(), 0..60).prop_shuffle()
    ) {
        let set = HostSet::parse_plain(&names.join(",")).unwrap();
        prop_assert_eq!(back(&set), names.iter().cloned().collect());
        for pair in set.as_slice().windows(2) {
            prop_assert!(natural_order(pair[0].as_str(), pair[1].as_str()).is_lt());
        }
        for name in &names {
            prop_assert!(set.contains(&HostName::new(name).unwrap()));
        }
    }

    #[test]
    fn natural_order_is_total(a in any_name(), b in any_name(), c in any_name()) {
        prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
        prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
        if natural_order(&a, &b).is_lt() && natural_order(&b, &c).is_lt() {
            prop_assert!(natural_order(&a, &c).is_lt());
        }
    }

    #[test]
    fn set_operations_are_those_of_sets(a in any_names(), b in any_names()) {
        let (x, y) = (of(&a), of(&b));
        prop_assert_eq!(back(&x.union(&y)), &a | &b);
        prop_assert_eq!(back(&x.minus(&y)), &a - &b);
        prop_assert_eq!(back(&x.intersection(&y)), &a & &b);
        prop_assert_eq!(back(&x.symmetric_difference(&y)), &a ^ &b);
        prop_assert_eq!(&x.minus(&y), &x.unknown(|host| y.contains(host)));
        prop_assert_eq!(x.union(&y), y.union(&x));
    }

    #[test]
    fn expressions_evaluate_from_left_to_right(
        first in prop::collection::btree_set("[a-c][0-3]", 1..6),
        rest in prop::collection::vec(
            (prop::sample::select(vec!['!', '&', '^', ',']), "[a-c][0-3]"), 0..12
        ),
    ) {
        let mut text = first.iter().cloned().collect::<Vec<_>>().join(",");
        let mut expected = first;
        for (operator, name) in rest {
            text.push(operator);
            text.push_str(&name);
            let operand = BTreeSet::from([name]);
            expected = match operator {
                ',' => &expected | &operand,
                '!' => &expected - &operand,
                '&' => &expected & &operand,
                _ => &expected ^ &operand,
            };
        }
        prop_assert_eq!(back(&HostSet::parse_plain(&text).unwrap()), expected, "{}", text);
    }

    #[test]
    fn ranges_are_what_counting_gives(low in 0u64..300, more in 0u64..300, step in 1u64..9, width in 0usize..5) {
        let text = |n: u64| format!("{n:0width$}");
        prop_assume!(text(low).len() == text(low + more).len() || !text(low).starts_with('0') || low == 0 && width < 2);
        let expected: BTreeSet<String> =
            (low..=low + more).step_by(step as usize).map(|n| format!("a{}.b", text(n))).collect();
        let expression = format!("a[{}-{}/{step}].b", text(low), text(low + more));
        prop_assert_eq!(back(&HostSet::parse_plain(&expression).unwrap()), expected, "{}", expression);
    }

    #[test]
    fn no_text_does_harm(text in "[a-b0-2@=,!&^\\[\\]{}/ .-]{0,40}|\\PC{0,40}") {
        if let Err(error) = HostSet::parse(&text, &fleet()) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

fn split_outside_brackets(text: &str) -> Vec<String> {
    let mut operands = Vec::new();
    let mut inside = false;
    let mut operand = String::new();
    for c in text.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            ',' if !inside => {
                operands.push(std::mem::take(&mut operand));
                continue;
            }
            _ => {}
        }
        operand.push(c);
    }
    operands.push(operand);
    operands
}
