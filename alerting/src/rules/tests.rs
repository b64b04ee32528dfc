//! Rule files: what they may have, and where errors are.

use super::*;

fn read(text: &str) -> Result<Vec<Group>, Vec<Error>> {
    parse(text, &Options { ignores_unknown_fields: false, template: &|_| Ok(()) })
}

fn wrong(text: &str) -> String {
    let errors = read(text).unwrap_err();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

const ALL: &str = "groups:
- name: g
  interval: 90s
  query_offset: 0s
  limit: 3
  limit_mode: prometheus
  labels: {team: a}
  rules:
  - record: job:x:sum
    expr: sum by (job) (x)
  - alert: A
    expr: |
      job:x:sum > 1
        and ALERTS{alertname=\"B\"}
    for: 1h30m
    keep_firing_for: 5m
    no_data: keep
    notify: once
    labels: {severity: '{{ $value }}', n: '1.10', y: 'yes'}
    annotations: {summary: \"a: b\\n'c'\\td\"}
  - alert: Spend
    sql: SELECT service, sum(cost) AS c FROM focus GROUP BY 1
    value: c
    labels: [service]
    table: focus
    max_age: 2d
";

#[test]
fn a_group_is_printed_and_read_again() {
    let groups = read(ALL).unwrap();
    let yaml = groups[0].to_yaml().unwrap();
    let list: String = yaml.lines().map(|line| format!("    {line}\n")).collect();
    let again = read(&format!("groups:\n  -\n{list}")).unwrap_or_else(|errors| panic!("{errors:?}\n{yaml}"));
    assert!(groups[0].means_the_same(&again[0]), "{yaml}\n{}", again[0].to_yaml().unwrap());
    assert_eq!((again[0].query_offset_ms, again[0].limit), (Some(0), 3));
    let Condition::Sql(sql) = &again[0].rules[2].condition else { panic!() };
    assert_eq!((sql.labels.as_deref(), sql.max_age_ms), (Some(["service".to_owned()].as_slice()), Some(172_800_000)));
    let Action::Alert(alert) = &again[0].rules[1].action else { panic!() };
    assert_eq!(alert.annotations["summary"], "a: b\n'c'\td");
    assert_eq!((alert.for_ms, alert.no_data, alert.notify), (5_400_000, NoData::Keep, Notify::Once));
    assert_eq!(again[0].rules[1].labels["n"], "1.10");
}

#[test]
fn a_rule_of_sql_need_not_say_which_column_is_its_value() {
    let group = |value: &str| {
        let text = format!("groups:\n- name: g\n  rules:\n  - alert: A\n    sql: SELECT 1 AS n\n{value}");
        read(&text).unwrap().remove(0)
    };
    let (unsaid, empty) = (group(""), group("    value: ''\n"));
    let Condition::Sql(sql) = &unsaid.rules[0].condition else { panic!() };
    assert_eq!((sql.text.as_str(), sql.value.as_str()), ("SELECT 1 AS n", ""));
    let yaml = unsaid.to_yaml().unwrap();
    assert!(unsaid.means_the_same(&empty) && !yaml.contains("value"), "{yaml}");
    assert!(!unsaid.means_the_same(&group("    value: n\n")));
    let alone = super::parse_group(&yaml, &Options { ignores_unknown_fields: false, template: &|_| Ok(()) }).unwrap();
    assert!(alone.means_the_same(&unsaid), "{yaml}");
}

#[test]
fn what_is_wrong_has_its_place_and_all_of_it_is_told() {
    let text = "groups:
- name: g
  rules:
  - record: a
    expr: rate(x)
  - alert: B
    expr: x
    for: 1 hour
  - expr: x
  - alert: C
    expr: x
    labels: {__name__: y}
- name: g
- name: h
  rules: [{record: r, expr: 1, for: 1m}]
";
    let expected = "5:11: group \"g\", rule 1, \"a\": could not parse expression: 1:6: parse error: expected type range vector in \
         call to function \"rate\", got instant vector
8:10: group \"g\", rule 2, \"B\": unknown unit \" hour\" in duration \"1 hour\"
9:5: group \"g\", rule 3, \"\": one of `record` or `alert` must be set
12:14: group \"g\", rule 4, \"C\": invalid label name \"__name__\"
13:3: group \"g\": the name is used twice in this file
15:37: group \"h\", rule 1, \"r\": `for` is for alerts, not for recording rules";
    assert_eq!(wrong(text), expected);
    assert_eq!(
        wrong("groups:\n- name: g\n  intervall: 1m\n"),
        "3:3: group \"g\": unknown field `intervall`; fields here are name, rules, limit, interval, limit_mode, query_offset, labels"
    );
    assert!(wrong("groups: 5").starts_with("1:9: expected a list"));
}

#[test]
fn templates_are_checked_where_they_stand() {
    let check =
        |text: &str| if text.contains("{{ bad") { Err(Error::invalid("no such function: bad")) } else { Ok(()) };
    let text = "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: 1\n    annotations:\n      a: fine\n      b: '{{ bad }}'\n";
    let errors = parse(text, &Options { ignores_unknown_fields: false, template: &check }).unwrap_err();
    assert_eq!(errors[0].to_string(), "8:10: group \"g\", rule 1, \"A\": template of \"b\": no such function: bad");
    // Nobody expands those of recording rules.
    let text = "groups:\n- name: g\n  rules:\n  - record: A\n    expr: 1\n    labels: {b: '{{ bad }}'}\n";
    assert!(parse(text, &Options { ignores_unknown_fields: false, template: &check }).is_ok());
}

#[test]
fn unknown_fields_are_passed_over_when_told() {
    let text = "x: 1\ngroups:\n- name: g\n  owner: {a: b}\n  rules:\n  - record: A\n    expr: 1\n    by: me\n";
    assert!(read(text).is_err());
    assert!(parse(text, &Options { ignores_unknown_fields: true, template: &|_| Ok(()) }).is_ok());
}

#[test]
fn rules_that_do_not_read_one_another_are_asked_together() {
    let steps = |rules: &[(&str, &str)]| {
        let rules: String = rules.iter().map(|(name, expr)| format!("  - {name}\n    expr: '{expr}'\n")).collect();
        read(&format!("groups:\n- name: g\n  rules:\n{rules}")).unwrap()[0].steps()
    };
    let chain = [
        ("record: a", "x"),
        ("record: b", "y"),
        ("record: c", "a + z"),
        ("alert: D", "b > 1"),
        ("alert: E", "ALERTS{alertname=\"F\"}"),
        ("alert: F", "ALERTS{alertname=~\"D|X\"}"),
        ("record: g", "count({job=\"x\"})"),
        ("record: h", "{__name__=~\"g.*\"}"),
    ];
    assert_eq!(steps(&chain), [0..2, 2..5, 5..6, 6..7, 7..8]);
    let own = steps(&[("record: a", "a"), ("record: a", "1"), ("alert: b", "up")]);
    assert_eq!((own.len(), &own[0]), (1, &(0..3)), "what is one's own is of before");
    assert!(steps(&[]).is_empty());
}

#[test]
fn rules_that_are_the_same_to_whoever_follows_them_are_numbered() {
    let rules = "[{alert: A, expr: x}, {record: A, expr: x}, {alert: A, expr: y}, {alert: A, expr: x, labels: {a: b}}, \
                 {alert: B, expr: x}, {alert: A, expr: x}, {alert: A, expr: z, labels: {a: b}}]";
    let groups = read(&format!("groups: [{{name: g, rules: {rules}}}]")).unwrap();
    assert_eq!(groups[0].ordinals(), [0, 0, 1, 0, 0, 2, 1]);
}

#[test]
fn a_file_of_many_rules_is_read() {
    let rule = |at: usize| {
        format!("  - record: r{at}\n    expr: sum(x{{n=\"{at}\"}})\n    labels: {{a: b, c: d, e: '{at}'}}\n")
    };
    let text = format!("groups:\n- name: g\n  rules:\n{}", (0..20_000).map(rule).collect::<String>());
    let groups = read(&text).unwrap();
    assert_eq!((groups[0].rules.len(), groups[0].rules[19_999].place), (20_000, (60_001, 5)));
    assert_eq!(groups[0].steps().len(), 1);
    assert_eq!(groups[0].ordinals(), [0; 20_000]);
    assert!(wrong(&"#".repeat(FILE_BYTES_MAX + 1)).starts_with("rule file is too large; split it"));
}

#[test]
fn a_group_alone_and_a_file_of_groups_are_written_and_read_again() {
    let groups = read(ALL).unwrap();
    let options = Options { ignores_unknown_fields: false, template: &|_| Ok(()) };
    let alone = super::parse_group(&groups[0].to_yaml().unwrap(), &options).unwrap();
    assert!(alone.means_the_same(&groups[0]));
    let more = Group { name: "other: 'x'".to_owned(), ..alone };
    let file = super::to_yaml(&[groups[0].clone(), more.clone()]).unwrap();
    let again = read(&file).unwrap();
    assert!(again.len() == 2 && again[0].means_the_same(&groups[0]) && again[1].means_the_same(&more), "{file}");
    let all = super::by_file_to_yaml(&BTreeMap::from([("a: b", again.as_slice()), ("c/d.yaml", &[])])).unwrap();
    assert!(all.contains("c/d.yaml: []") && all.contains("- name: g"), "{all}");
    assert_eq!(super::by_file_to_yaml(&BTreeMap::new()).unwrap().trim(), "{}");
    let wrong = |text: &str| super::parse_group(text, &options).unwrap_err()[0].to_string();
    assert!(wrong("name: g\nrules:\n- alert: A\n  expr: x > > 1\n").starts_with("4:9: group \"g\", rule 1, \"A\""));
    assert!(wrong("- a").starts_with("1:1"), "{}", wrong("- a"));
    assert!(wrong("groups: []").contains("`name` must be set"), "{}", wrong("groups: []"));
    assert!(!wrong("\u{0}").is_empty() && !wrong("").is_empty());
    // What Grafana sends.
    let sent = "name: g\ninterval: 1m\nrules:\n    - alert: A\n      expr: up == 0\n      for: 0s\n      keep_firing_for: 0s\n      labels: {}\n      annotations:\n        summary: \"\"\n";
    assert_eq!(super::parse_group(sent, &options).unwrap().rules.len(), 1);
}
