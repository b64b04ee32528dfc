//! Relabelling: each action, each odd case that Prometheus documents, and that nothing behind it can tell.

use std::borrow::Cow;

use proptest::prelude::*;
use prost::Message as _;
use storage::Lane;

use super::{
    HOUR_MS, NOW_MS,
    admission::{Receiver, rows},
    limits, messages,
};
use crate::remote_write::{Action, Reason, Relabel, RelabelRule, Rules};

/// A rule in one line: `action key=value …`, labels separated by commas. `_` in a value stands for nothing.
fn rule(text: &str) -> RelabelRule {
    let mut words = text.split(' ');
    let action = Action::named(words.next().unwrap()).unwrap();
    let mut rule = RelabelRule { action, ..RelabelRule::default() };
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let value = if value == "_" { "" } else { value };
        match key {
            "from" => rule.source_labels = value.split(',').map(str::to_owned).collect(),
            "by" => rule.separator = value.into(),
            "regex" => rule.regex = value.into(),
            "modulus" => rule.modulus = value.parse().unwrap(),
            "to" => rule.target_label = value.into(),
            "with" => rule.replacement = value.into(),
            other => panic!("{other}"),
        }
    }
    rule
}

fn compiled(rules: &[&str]) -> Relabel {
    let mut relabel = Relabel::none();
    for text in rules {
        relabel.add(&rule(text)).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    }
    relabel
}

type Labels = Vec<(String, String)>;

fn apply(rules: &[&str], labels: &[(&str, &str)]) -> Result<Option<Labels>, Reason> {
    let mut pairs: Vec<_> = labels.iter().map(|(n, v)| (Cow::Borrowed(*n), Cow::Borrowed(*v))).collect();
    pairs.sort_unstable();
    let applied = compiled(rules).apply(pairs, &limits().labels).map_err(|reject| reject.reason)?;
    Ok(applied.map(|pairs| pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()))
}

/// Labels `name=value`, separated by commas; `None` if the series is dropped.
#[track_caller]
fn check(rules: &[&str], before: &str, after: Option<&str>) {
    let labels: Vec<(&str, &str)> = before.split(',').map(|pair| pair.split_once('=').unwrap()).collect();
    let applied = apply(rules, &labels).unwrap();
    let text = applied.map(|labels| labels.iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join(","));
    assert_eq!(text.as_deref(), after, "{rules:?} on {before}");
}

#[test]
fn replace_writes_what_matched() {
    check(&["replace from=pod regex=web-(.*) to=id with=${1}.${1}"], "pod=web-7", Some("id=7.7,pod=web-7"));
    check(&["replace from=a,b regex=(.*);(.*) to=c with=$2$1"], "a=x,b=y", Some("a=x,b=y,c=yx"));
    check(&["replace from=a,b by=_ to=c"], "a=x,b=y", Some("a=x,b=y,c=xy"));
    check(&["replace from=a,missing,b to=c"], "a=x,b=y", Some("a=x,b=y,c=x;;y"));
    // Without sources the joined value is empty and the usual expression matches it: a label for all.
    check(&["replace to=site with=berlin"], "a=x", Some("a=x,site=berlin"));
    check(&["replace to=a with=new"], "a=x", Some("a=new"));
    check(&["replace from=a to=a with=$1$1"], "a=x", Some("a=xx"));
    check(&["replace from=__name__ regex=(.*)_total to=__name__"], "__name__=a_total", Some("__name__=a"));
}

#[test]
fn replace_without_a_match_changes_nothing_and_with_nothing_removes() {
    check(&["replace from=a regex=w to=b with=y"], "a=web", Some("a=web"));
    check(&["replace from=a regex=eb to=b with=y"], "a=web", Some("a=web"));
    check(&["replace from=a to=b with=_"], "a=x,b=y", Some("a=x"));
    check(&["replace from=missing to=b"], "a=x,b=y", Some("a=x"));
    check(&["replace from=a regex=(w).* to=$1 with=$2"], "a=web,w=x", Some("a=web"));
    // An expression that wants something does not match what is missing.
    check(&["replace from=missing regex=(.+) to=b"], "a=x,b=y", Some("a=x,b=y"));
}

#[test]
fn the_target_of_replace_may_be_made_of_groups() {
    check(&["replace from=tag regex=([^=]+)=(.*) to=${1} with=${2}"], "tag=team=core", Some("tag=team=core,team=core"));
    check(&["replace from=a regex=(.).* to=x.$1 with=y"], "a=web", Some("a=web,x.w=y"));
    // A target that comes out empty is none.
    check(&["replace from=a regex=(w)(x)?.* to=${2} with=${1}"], "a=web", Some("a=web"));
}

#[test]
fn references_are_read_as_go_reads_them() {
    let with = |with: &str| {
        let rules = [&*format!("replace from=a regex=(?P<first>.)(?<second>.)(x)? to=b with={with}")];
        let labels = apply(&rules, &[("a", "uv")]).unwrap().unwrap();
        labels.into_iter().find(|(name, _)| name == "b").map_or(String::new(), |(_, value)| value)
    };
    for (written, expanded) in [
        ("$1$2", "uv"),
        ("$0", "uv"),
        ("${1}x", "ux"),
        // The longest name counts: there is no group `1x`.
        ("$1x", ""),
        ("$1_$2", "v"),
        ("$1-$2", "u-v"),
        ("$first$second", "uv"),
        ("${first}st", "ust"),
        ("$firsts", ""),
        ("$$1", "$1"),
        ("$$", "$"),
        ("a$", "a$"),
        ("$-", "$-"),
        ("${", "${"),
        ("${}", "${}"),
        ("${1", "${1"),
        ("${1-2}", "${1-2}"),
        ("$3", ""),
        ("$4", ""),
        ("$01", ""),
        ("$99999999999999999999", ""),
    ] {
        assert_eq!(with(written), expanded, "{written}");
    }
}

#[test]
fn keep_and_drop_match_the_whole_value() {
    check(&["drop from=a regex=.*e.*"], "a=web", None);
    check(&["drop from=a regex=w|b"], "a=web", Some("a=web"));
    check(&["drop from=a regex=w|web"], "a=web", None);
    check(&["drop from=a,b regex=web;eu"], "a=web,b=eu", None);
    check(&["drop from=missing regex=_"], "a=web", None);
    check(&["drop from=a regex=_"], "a=web", Some("a=web"));
    check(&["keep from=a regex=w.*"], "a=web", Some("a=web"));
    check(&["keep from=a regex=no"], "a=web", None);
    check(&["keep from=a"], "a=web", Some("a=web"));
    check(&["drop from=a"], "b=web", None);
    // The rules behind are not asked.
    check(&["drop from=a regex=web", "replace from=a to=d"], "a=web", None);
}

#[test]
fn a_dot_matches_a_line_break() {
    let applied = apply(&["replace from=a regex=(.*)end to=b"], &[("a", "two\nlines end")]);
    assert_eq!(applied.unwrap().unwrap()[1], ("b".to_owned(), "two\nlines ".to_owned()));
    assert_eq!(apply(&["drop from=a"], &[("a", "x\ny")]).unwrap(), None);
}

#[test]
fn equal_values_are_kept_or_dropped() {
    let labels = "host=n1,node=n1,rack=r2";
    check(&["keepequal from=host to=node"], labels, Some(labels));
    check(&["keepequal from=host to=rack"], labels, None);
    check(&["dropequal from=host to=node"], labels, None);
    check(&["dropequal from=host to=rack"], labels, Some(labels));
    check(&["dropequal from=missing to=absent"], labels, None);
    check(&["keepequal from=a,b to=c"], "a=x,b=y,c=x;y", Some("a=x,b=y,c=x;y"));
}

#[test]
fn hashmod_is_the_md5_of_the_joined_values() {
    // Computed with another implementation of MD5.
    check(&["hashmod from=a to=b modulus=1000"], "a=node-7:9100", Some("a=node-7:9100,b=169"));
    check(&["hashmod from=a,b to=c modulus=16"], "a=eu,b=node-7", Some("a=eu,b=node-7,c=0"));
    let applied = apply(&["hashmod from=a to=b modulus=97"], &[("a", "first\nsecond")]).unwrap().unwrap();
    assert_eq!(applied[1].1, "53");
    check(&["hashmod from=a to=b modulus=1"], "a=x", Some("a=x,b=0"));
    // Sharding: each series is of exactly one.
    for n in 0..50 {
        let labels = format!("a={n}");
        let kept = (0..3).filter(|shard| {
            let keep = format!("keep from=__tmp regex={shard}");
            let pair = labels.split_once('=').unwrap();
            apply(&["hashmod from=a to=__tmp modulus=3", &keep], &[pair]).unwrap().is_some()
        });
        assert_eq!(kept.count(), 1);
    }
}

#[test]
fn labelmap_copies_and_the_last_of_two_wins() {
    check(
        &["labelmap regex=(k8s_.*) with=x_${1}"],
        "a=w,k8s_ns=n,k8s_pod=p",
        Some("a=w,k8s_ns=n,k8s_pod=p,x_k8s_ns=n,x_k8s_pod=p"),
    );
    check(&["labelmap regex=k8s_(p.*)"], "k8s_ns=n,k8s_pod=p", Some("k8s_ns=n,k8s_pod=p,pod=p"));
    check(&["labelmap regex=x(.) with=y"], "x1=a,x2=b", Some("x1=a,x2=b,y=b"));
    // Labels set by a rule before come after those that were sent.
    check(&["replace from=x2 to=x1 with=z", "labelmap regex=x(.) with=y"], "x1=a,x2=b", Some("x1=z,x2=b,y=z"));
    // What is mapped is what was there: copies are not copied again.
    check(&["labelmap regex=(a+) with=${1}a"], "a=x", Some("a=x,aa=x"));
    // A name that comes out empty is no name.
    check(&["labelmap regex=a(x?)"], "a=x", Some("a=x"));
}

#[test]
fn names_are_dropped_and_kept() {
    check(&["labelkeep regex=k8s_.*"], "a=w,k8s_ns=n,k8s_pod=p", Some("k8s_ns=n,k8s_pod=p"));
    check(&["labeldrop regex=k8s_.*"], "a=w,k8s_ns=n,k8s_pod=p", Some("a=w"));
    check(&["labeldrop regex=k8s"], "a=w,k8s_ns=n", Some("a=w,k8s_ns=n"));
    // Without an expression all names match, and a series without labels is none.
    check(&["labeldrop"], "a=foo", None);
    check(&["labelkeep regex=no"], "a=foo", None);
}

#[test]
fn cases_are_mapped_letter_by_letter() {
    check(&["uppercase from=a to=b", "lowercase from=a to=c"], "a=Web-7b", Some("a=Web-7b,b=WEB-7B,c=web-7b"));
    check(&["uppercase from=a,b to=c"], "a=x,b=é", Some("a=x,b=é,c=X;É"));
    // Languages would write more letters here than Go's strings do.
    check(&["uppercase from=a to=a"], "a=straße ŉ ﬁ ᾳ", Some("a=STRAßE ŉ ﬁ ᾼ"));
    check(&["lowercase from=a to=a"], "a=İΣ", Some("a=iσ"));
    check(&["lowercase from=missing to=a"], "a=x,b=y", Some("b=y"));
}

#[test]
fn labels_with_underscores_in_front_stay_until_a_rule_removes_them() {
    check(&["replace from=a to=__tmp_a"], "a=x", Some("__tmp_a=x,a=x"));
    check(&["replace from=a to=__tmp_a", "labeldrop regex=__tmp_.*"], "a=x", Some("a=x"));
}

#[test]
fn expressions_are_those_of_go() {
    let matches = |regex: &str, value: &str| {
        let rule =
            RelabelRule { action: Action::Keep, source_labels: vec!["a".into()], regex: regex.into(), ..rule("keep") };
        let mut relabel = Relabel::none();
        relabel.add(&rule).unwrap_or_else(|fault| panic!("{regex}: {fault:?}"));
        relabel.apply(vec![("a".into(), value.into())], &limits().labels).unwrap().is_some()
    };
    for (regex, value, expected) in [
        (r"\d+", "12", true),
        (r"\d+", "١٢", false),
        (r"\w+", "a_1", true),
        (r"\w+", "é", false),
        (r"\W", "é", true),
        (r"[\w.]+", "a.b", true),
        (r"[^\d]+", "ab", true),
        (r"[^\D]+", "12", true),
        (r"\s", "\u{a0}", false),
        (r"a\b.*", "a é", true),
        (r"é\b.*", "é a", false),
        (r".\B.", "éé", true),
        ("a{2}", "aa", true),
        ("a{1,}", "aaa", true),
        ("a{,2}", "a{,2}", true),
        ("a{", "a{", true),
        ("{a}", "{a}", true),
        (r"\<a\>", "<a>", true),
        (r"\Qa.b\E.", "a.bc", true),
        (r"\Qa.b\E", "axb", false),
        ("[[a]", "[", true),
        ("[[:alpha:]]+", "ab", true),
        ("[a&&b]+", "&", true),
        ("[a~~b]+", "~", true),
        ("[]a]+", "]a", true),
        ("[^]a]+", "b", true),
        ("(?i)ABC", "abc", true),
        (r"\x41\.", "A.", true),
        (r"\pL", "é", true),
        ("a|b", "ab", false),
        ("a$", "a", true),
    ] {
        assert_eq!(matches(regex, value), expected, "{regex} on {value}");
    }
}

#[test]
fn what_prometheus_refuses_is_refused_with_the_key() {
    let fault = |text: &str| compiled_fault(&rule(text));
    for (text, key, reason) in [
        ("replace from=a", "target_label", "action replace needs a `target_label`"),
        ("hashmod from=a modulus=5", "target_label", "action hashmod needs"),
        ("lowercase from=a", "target_label", "needs a `target_label`"),
        ("keepequal from=a", "target_label", "needs a `target_label`"),
        ("hashmod from=a to=b", "modulus", "at least 1"),
        ("labelmap regex=a with=_", "replacement", "needs a `replacement`"),
        ("labeldrop from=a", "source_labels", "action labeldrop has no `source_labels`; it takes regex"),
        ("labelkeep to=a", "target_label", "it takes regex"),
        ("labeldrop with=a", "replacement", "it takes regex"),
        ("labeldrop by=,", "separator", "it takes regex"),
        ("labelkeep modulus=3", "modulus", "it takes regex"),
        ("dropequal from=a to=b regex=x", "regex", "it takes source_labels, target_label"),
        ("keepequal from=a to=b by=-", "separator", "it takes source_labels, target_label"),
        ("uppercase from=a to=b with=x", "replacement", "action uppercase has no `replacement`"),
        ("keep from=a regex=(", "regex", "`(` is no regular expression: unclosed group"),
        (r"keep from=a regex=\Qa", "regex", "is no regular expression"),
        ("keep from=a regex=(?!x)", "regex", "look-around"),
        ("keep from=a regex=a{1000}{1000}{1000}", "regex", "is no regular expression"),
        ("keep from=a, regex=x", "source_labels", "empty"),
    ] {
        let fault = fault(text);
        assert_eq!(fault.0, key, "{text}: {}", fault.1);
        assert!(fault.1.contains(reason), "{text}: {}", fault.1);
    }
    for text in ["labeldrop regex=a by=;", "labelkeep with=$1", "keep", "drop regex=a"] {
        compiled(&[text]);
    }
    assert_eq!(Action::named("LabelDrop"), Some(Action::LabelDrop));
    assert_eq!(Action::named("remove"), None);
}

fn compiled_fault(rule: &RelabelRule) -> (&'static str, String) {
    let fault = Relabel::none().add(rule).unwrap_err();
    (fault.key, fault.reason)
}

#[test]
fn rules_that_double_a_value_are_stopped_at_the_limit() {
    let double = vec!["replace from=a to=a with=$1$1"; 64];
    assert_eq!(apply(&double, &[("a", "x")]).unwrap_err(), Reason::LabelLimit);
    let more: Vec<String> = (0..200).map(|n| format!("replace to=l{n} with=x")).collect();
    let more: Vec<&str> = more.iter().map(String::as_str).collect();
    assert_eq!(apply(&more, &[("a", "x")]).unwrap_err(), Reason::LabelLimit);
}

fn rules(relabel: &[&str]) -> Rules {
    Rules { relabel: compiled(relabel), ..Rules::default() }
}

#[test]
fn dropped_series_are_acknowledged_and_dropped_again_without_a_look() {
    let mut receiver = Receiver::with_rules(rules(&["drop from=__name__ regex=go_.*"]));
    let send = |after| {
        vec![
            messages::v1::series(&[("__name__", "go_threads")], &[(NOW_MS + after, 1.0), (NOW_MS + after + 1, 1.0)]),
            messages::v1::series(&[("__name__", "up")], &[(NOW_MS + after, 1.0)]),
        ]
    };
    for after in [0, 10, 20] {
        let report = receiver.v1(send(after)).report;
        assert_eq!((report.samples_written, report.dropped.samples, report.rejects.total()), (1, 2, 0));
    }
    assert_eq!((receiver.admission.series(), receiver.admission.index.forms()), (1, 2));
    assert_eq!(receiver.admission.index.metrics(), 1);
}

#[test]
fn two_forms_that_become_one_series_are_one_series() {
    let mut receiver = Receiver::with_rules(rules(&["labeldrop regex=pod"]));
    let from =
        |pod: &str, after: i64| messages::v1::series(&[("__name__", "up"), ("pod", pod)], &[(NOW_MS + after, 1.0)]);
    let first = receiver.v1(vec![from("a", 0), from("b", 0), from("b", 5)]).report;
    assert_eq!((first.samples_written, first.duplicates), (3, 1));
    let second = receiver.v1(vec![from("b", 7), from("a", 7), from("c", 6)]).report;
    assert_eq!((second.samples_written, second.duplicates, second.late), (3, 1, 1));
    assert_eq!(receiver.admission.series(), 1);
}

#[test]
fn the_rows_of_every_day_have_the_labels_that_the_rules_leave() {
    let mut under_rules = Receiver::with_rules(rules(&["labeldrop regex=pod", "replace to=site with=berlin"]));
    let mut plain = Receiver::new();
    let raw = [("__name__", "up"), ("pod", "a")];
    let relabelled = [("__name__", "up"), ("site", "berlin")];
    // Known since noon; a minute to midnight, when tomorrow's row is due; the day before yesterday, by the late lane.
    for after in [0, 12 * HOUR_MS - 60_000, -48 * HOUR_MS] {
        for receiver in [&mut under_rules, &mut plain] {
            receiver.now_ms = NOW_MS + after.max(0);
        }
        let send = |labels: &[(&str, &str)]| vec![messages::v1::series(labels, &[(NOW_MS + after, 1.0)])];
        let (a, b) = (under_rules.v1(send(&raw)), plain.v1(send(&relabelled)));
        for lane in [Lane::InOrder, Lane::Late] {
            assert_eq!(rows(&a, "series", lane), rows(&b, "series", lane));
        }
        let written =
            [Lane::InOrder, Lane::Late].map(|lane| rows(&a, "series", lane).map_or(0, |rows| rows.num_rows()));
        assert_eq!(written.iter().sum::<usize>(), 1, "after {after} ms");
    }
}

#[test]
fn a_label_set_may_be_cut_down_to_the_limit() {
    let names: Vec<String> = (0..150).map(|n| format!("junk_{n}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "x")).chain([("__name__", "up")]).collect();
    let series = || vec![messages::v1::series(&labels, &[(NOW_MS, 1.0)])];
    assert_eq!(Receiver::with_rules(rules(&["labeldrop regex=junk_.*"])).v1(series()).report.samples_written, 1);
    let report = Receiver::new().v1(series()).report;
    assert_eq!(report.rejects.counts[Reason::LabelLimit as usize], 1);
}

#[test]
fn a_series_that_loses_its_name_is_refused_and_says_so() {
    let mut receiver = Receiver::with_rules(rules(&["labeldrop regex=__name__"]));
    let report = receiver.v1(vec![messages::v1::series(&[("__name__", "up"), ("a", "b")], &[(NOW_MS, 1.0)])]).report;
    assert_eq!(report.rejects.counts[Reason::NameMissing as usize], 1);
}

/// Rules, and what they make of labels, written down a second time.
const RULES: [&str; 6] = [
    "drop from=a regex=x",
    "replace from=a,b regex=(.*);(.*) to=ab with=$1$2",
    "labeldrop regex=c",
    "replace from=d regex=y to=__name__ with=renamed",
    "uppercase from=b to=b",
    "keep from=e regex=|z",
];

fn by_hand(labels: &[(String, String)]) -> Option<Labels> {
    let mut map: std::collections::BTreeMap<String, String> = labels.iter().cloned().collect();
    let get = |map: &std::collections::BTreeMap<String, String>, name: &str| map.get(name).cloned().unwrap_or_default();
    if get(&map, "a") == "x" || !["", "z"].contains(&&*get(&map, "e")) {
        return None;
    }
    let joined = get(&map, "a") + &get(&map, "b");
    map.insert("ab".into(), joined);
    map.remove("c");
    if get(&map, "d") == "y" {
        map.insert("__name__".into(), "renamed".into());
    }
    let upper = get(&map, "b").to_uppercase();
    map.insert("b".into(), upper);
    Some(map.into_iter().filter(|(_, value)| !value.is_empty()).collect())
}

proptest! {
    /// Relabelling on the way in gives what the relabelled request would have given without rules: rows, lanes, days.
    #[test]
    fn admission_under_rules_is_admission_of_the_relabelled_request(
        requests in proptest::collection::vec(
            proptest::collection::vec(
                (proptest::collection::btree_map("[a-e]", "[xyz]", 0..5), -200_000_000i64..500_000, 0u8..3),
                1..12,
            ),
            1..10,
        ),
        version in 1u8..3,
    ) {
        let mut under_rules = Receiver::with_rules(rules(&RULES));
        let mut plain = Receiver::new();
        for request in requests {
            let (mut raw, mut relabelled, mut dropped) = (Vec::new(), Vec::new(), 0);
            for (labels, after, value) in request {
                let mut labels: Labels = labels.into_iter().collect();
                labels.push(("__name__".into(), "up".into()));
                let sample = [(NOW_MS + after, f64::from(value))];
                raw.push((labels.clone(), sample));
                match by_hand(&labels) {
                    Some(labels) => relabelled.push((labels, sample)),
                    None => dropped += 1,
                }
            }
            let (a, b) = (send(&mut under_rules, version, &raw), send(&mut plain, version, &relabelled));
            prop_assert_eq!(a.report.dropped.samples, dropped);
            prop_assert_eq!(a.report.samples_written, b.report.samples_written);
            prop_assert_eq!((a.report.late, a.report.duplicates), (b.report.late, b.report.duplicates));
            for lane in [Lane::InOrder, Lane::Late] {
                for dataset in ["samples", "series"] {
                    prop_assert_eq!(rows(&a, dataset, lane), rows(&b, dataset, lane));
                }
            }
        }
        prop_assert_eq!(under_rules.admission.series(), plain.admission.series());
    }
}

fn send(receiver: &mut Receiver, version: u8, series: &[(Labels, [(i64, f64); 1])]) -> crate::remote_write::Admitted {
    let borrowed = |labels: &Labels| -> Vec<(String, String)> { labels.clone() };
    if version == 1 {
        let timeseries = series.iter().map(|(labels, samples)| {
            let labels = borrowed(labels);
            let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            messages::v1::series(&labels, samples)
        });
        let body = messages::v1::WriteRequest { timeseries: timeseries.collect(), metadata: Vec::new() };
        return receiver.body(crate::remote_write::Version::V1, &body.encode_to_vec());
    }
    let mut request = messages::v2::Request::empty();
    for (labels, [(ts_ms, value)]) in series {
        let labels: Vec<(&str, &str)> = labels.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        request.add(&labels).sample(*ts_ms, *value);
    }
    receiver.v2(&request)
}
