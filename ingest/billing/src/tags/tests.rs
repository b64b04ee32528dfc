//! Mandatory tags as bills have them.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, MapBuilder, StringBuilder, TimestampMicrosecondArray},
    compute::cast,
    datatypes::{DataType, Field, Schema},
};

use super::*;

const TEAM: usize = 1;

/// A row: account, service, time and tags.
type Line<'a> = (Option<&'a str>, &'a str, i64, &'a [(&'a str, &'a str)]);

fn rows(lines: &[Line<'_>]) -> RecordBatch {
    let text = |texts: StringArray| cast(&texts, &schemas::dictionary()).unwrap();
    let mut tags = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (.., pairs) in lines {
        for (key, value) in *pairs {
            tags.keys().append_value(key);
            tags.values().append_value(value);
        }
        tags.append(true).unwrap();
    }
    let starts: TimestampMicrosecondArray = lines.iter().map(|line| Some(line.2)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("SubAccountId", text(lines.iter().map(|line| line.0).collect())),
        ("ServiceName", text(lines.iter().map(|line| Some(line.1)).collect())),
        ("ChargePeriodStart", Arc::new(starts.with_timezone("UTC"))),
        ("Tags", cast(&tags.finish(), &schemas::string_map()).unwrap()),
    ];
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, column)| column).collect()).unwrap()
}

/// The team of each row.
fn teams(tags: &Tags, lines: &[Line<'_>]) -> Vec<String> {
    assert_eq!(names()[TEAM], "Team");
    let found = cast(&tags.of_rows(&rows(lines)).unwrap()[TEAM], &DataType::Utf8).unwrap();
    found.as_string::<i32>().iter().map(|team| team.unwrap_or("-").to_owned()).collect()
}

fn with_team(rule: TagRule) -> Tags {
    let mut rules: [TagRule; MANDATORY_TAGS] = Default::default();
    rules[TEAM] = rule;
    Tags::new(rules)
}

fn alias(key: &str) -> Alias {
    Alias { key: key.to_owned(), ..Alias::default() }
}

#[test]
fn a_tag_is_found_however_it_is_spelled_and_an_empty_one_is_none() {
    let spelled = ["Team", "team", "TE_AM", "te-am", "user:Team", "user_team"];
    for key in spelled {
        assert_eq!(teams(&Tags::default(), &[(None, "s", 0, &[(key, "a")])]), ["a"], "{key}");
    }
    let others: [Line<'_>; 3] =
        [(None, "s", 0, &[("Team", "")]), (None, "s", 0, &[("Teams", "a")]), (None, "s", 0, &[])];
    assert_eq!(teams(&Tags::default(), &others), ["-", "-", "-"]);
}

#[test]
fn the_first_alias_that_has_a_value_counts_while_it_is_valid() {
    let old = Alias { until_us: Some(100), ..alias("squad") };
    let tags = with_team(TagRule { aliases: vec![alias("Team"), old, alias("owner")], ..TagRule::default() });
    let both: &[(&str, &str)] = &[("owner", "o"), ("squad", "s")];
    let lines: [Line<'_>; 4] = [
        (None, "s", 99, both),
        (None, "s", 100, both),
        (None, "s", 0, &[("owner", "o"), ("squad", "s"), ("team", "t")]),
        (None, "s", 0, &[("squad", ""), ("owner", "o")]),
    ];
    assert_eq!(teams(&tags, &lines), ["s", "o", "t", "o"]);
}

#[test]
fn values_mean_others_and_what_is_not_tagged_has_a_default() {
    let fallback = |account: Option<&str>, service: Option<&str>, label: Option<(&str, &str)>, value: &str| Fallback {
        account: account.map(str::to_owned),
        service: service.map(str::to_owned),
        label: label.map(|(key, value)| (key.to_owned(), value.to_owned())),
        value: value.to_owned(),
    };
    let tags = with_team(TagRule {
        values: vec![("plat".to_owned(), "platform".to_owned())],
        defaults: vec![
            fallback(Some("1"), Some("ec2"), None, "compute"),
            fallback(Some("1"), None, None, "first"),
            fallback(None, None, Some(("app_name", "shop")), "web"),
        ],
        ..TagRule::default()
    });
    let lines: [Line<'_>; 5] = [
        (Some("1"), "ec2", 0, &[("team", "PLAT")]),
        (Some("1"), "ec2", 0, &[]),
        (Some("1"), "s3", 0, &[]),
        (Some("2"), "s3", 0, &[("App-Name", "shop")]),
        (None, "s3", 0, &[("App-Name", "blog")]),
    ];
    assert_eq!(teams(&tags, &lines), ["platform", "compute", "first", "web", "-"]);
}

#[test]
fn the_version_changes_with_the_rules_alone() {
    assert_eq!(Tags::default().version(), Tags::default().version());
    assert!(Tags::default().version() >= 0);
    let other = with_team(TagRule { aliases: vec![alias("squad")], ..TagRule::default() });
    assert_ne!(Tags::default().version(), other.version());
}
