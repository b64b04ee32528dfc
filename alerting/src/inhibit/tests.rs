//! What inhibits what.

use std::path::Path;

use super::*;
use crate::Config;

fn rules(text: &str) -> Vec<Inhibit> {
    let text = format!("route: {{receiver: a}}\nreceivers: [{{name: a}}]\ninhibit_rules: [{text}]\n");
    Config::parse(&text, Path::new("")).unwrap().inhibit_rules
}

fn labels(text: &str) -> Labels {
    text.split(',').filter_map(|pair| pair.split_once('=')).collect()
}

#[test]
fn an_alert_is_inhibited_by_a_source_with_equal_labels() {
    let plain = "{source_matchers: [s=1], target_matchers: [t=1], equal: [e]}";
    let older = "{source_match: {s: 1}, target_match_re: {t: '1|2'}, equal: [e]}";
    let same = "{source_matchers: [s=1], target_matchers: [s=1], equal: [e]}";
    for (rule, source, target, inhibits) in [
        (plain, "s=1,e=x", "t=1,e=x", true),
        (plain, "s=1,e=x", "t=1,e=y", false),
        (plain, "s=1,e=x", "t=1", false),
        // Neither has the label: it is equal.
        (plain, "s=1", "t=1", true),
        (plain, "s=2,e=x", "t=1,e=x", false),
        (plain, "s=1,e=x", "t=2,e=x", false),
        (older, "s=1,e=x", "t=2,e=x", true),
        (older, "s=1,e=x", "t=12,e=x", false),
        // Both sides: not by another of both sides, but by one that is a source alone.
        (plain, "s=1,t=1,e=x", "s=1,t=1,e=x", false),
        (plain, "s=1,t=1,e=x", "s=1,t=1,e=x,n=2", false),
        (plain, "s=1,e=x", "s=1,t=1,e=x", true),
        (plain, "s=1,t=1,e=x", "t=1,e=x", true),
        (same, "s=1,e=x", "s=1,e=x,n=2", false),
        ("{source_matchers: [s=1], target_matchers: [t=1]}", "s=1,e=x", "t=1,e=y", true),
    ] {
        assert_eq!(rules(rule)[0].inhibits(&labels(source), &labels(target)), inhibits, "{rule}: {source} {target}");
    }
}

#[test]
fn every_alert_that_inhibits_is_named_once() {
    let rules = rules(
        "{name: first, source_matchers: [s=1], target_matchers: [t=1]}, {source_matchers: ['s=~\"1|2\"'], target_matchers: [t=1]}",
    );
    assert_eq!(rules[0].name(), "first");
    let active = ["s=1", "s=2", "s=3", "t=1"].map(labels);
    let target = labels("t=1");
    let sources = Sources::new(&rules, &active);
    assert_eq!(sources.inhibiting(&target), [&active[0], &active[1]]);
    assert!(sources.inhibiting(&labels("t=2")).is_empty());
}
