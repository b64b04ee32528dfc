//! Which routes alerts take, as amtool says too.

use std::{io::Write as _, path::Path, process::Command};

use super::*;
use crate::Config;

const TREE: &str = "
route:
  receiver: root
  group_by: [alertname]
  labels: {team: none, reason: x}
  routes:
  - matchers: ['owner=\"team-A\"']
    receiver: a
    group_by: [foo, bar]
    group_wait: 2m
    labels: {team: a}
    routes:
    - matchers: ['env=\"testing\"']
      receiver: testing
      group_by: []
      mute_time_intervals: [nights]
      routes: [{matchers: ['x=\"y\"']}]
    - matchers: ['env=\"production\"']
      receiver: production
      group_by: [...]
      repeat_interval: 1h
      continue: true
    - matchers: ['env=~\"produ.*\"', 'job=~\".*\"']
      receiver: warehouse
      continue: true
  - match_re: {owner: 'team-(B|C)'}
    receiver: bc
    continue: true
  - match: {group_by: role, owner: team-B}
    receiver: role
  - matchers: ['owner=\"team-C\"']
receivers: [{name: root}, {name: a}, {name: testing}, {name: production}, {name: warehouse}, {name: bc}, {name: role}]
time_intervals: [{name: nights}]
";

const ALERTS: &[(&str, &[&str])] = &[
    ("", &["root"]),
    ("owner=none", &["root"]),
    ("owner=team-A", &["a"]),
    ("owner=team-A env=unset", &["a"]),
    ("owner=team-A env=testing", &["testing"]),
    ("owner=team-A env=testing x=y", &["testing"]),
    ("owner=team-A env=production", &["production", "warehouse"]),
    ("owner=team-A env=product", &["warehouse"]),
    ("owner=team-B", &["bc"]),
    ("owner=team-B group_by=role", &["bc", "role"]),
    ("owner=team-C", &["bc", "root"]),
    ("owner=team-BC", &["root"]),
];

fn routes(text: &str) -> Routes {
    Config::parse(text, Path::new("")).unwrap().routes
}

fn labels(text: &str) -> Labels {
    text.split(' ').filter_map(|pair| pair.split_once('=')).collect()
}

#[test]
fn alerts_take_the_first_route_that_matches_and_those_after_it_that_continue() {
    let tree = routes(TREE);
    for (alert, receivers) in ALERTS {
        assert_eq!(tree.receivers(&labels(alert)), *receivers, "{alert}");
    }
}

#[test]
fn options_come_from_above() {
    let tree = routes(TREE);
    let seconds = std::time::Duration::from_secs;
    let one = |alert: &str| tree.matching(&labels(alert))[0];
    let root = one("");
    assert_eq!(
        (root.group_wait(), root.group_interval(), root.repeat_interval()),
        (seconds(30), seconds(300), seconds(14_400))
    );
    let a = one("owner=team-A");
    assert_eq!((a.group_wait(), a.labels()["team"].as_str(), a.labels()["reason"].as_str()), (seconds(120), "a", "x"));
    let alert = labels("owner=team-A foo=1 alertname=n");
    assert_eq!(a.group_labels(&alert), labels("foo=1"));
    assert_eq!(root.group_labels(&alert), labels("alertname=n"));
    let testing = one("owner=team-A env=testing");
    assert_eq!(*testing.group_by(), GroupBy::Labels(BTreeSet::new()));
    assert_eq!((testing.mute_time_intervals().len(), testing.group_wait()), (1, seconds(120)));
    // Times are not inherited, other options are.
    let below = one("owner=team-A env=testing x=y");
    assert_eq!((below.mute_time_intervals().len(), below.group_by()), (0, testing.group_by()));
    let production = one("owner=team-A env=production");
    assert_eq!((production.group_labels(&alert), production.repeat_interval()), (alert, seconds(3600)));
}

#[test]
fn keys_are_those_of_alertmanager() {
    let tree = routes(TREE);
    let route = tree.matching(&labels("owner=team-A env=product"))[0];
    assert_eq!(route.key(), r#"{}/{owner="team-A"}/{env=~"produ.*",job=~".*"}"#);
    assert_eq!(route.id(), r#"{}/{owner="team-A"}/0/{env=~"produ.*",job=~".*"}/2"#);
    assert_eq!(
        route.group_key(&labels("foo=1 bar=\"x\"")),
        r#"{}/{owner="team-A"}/{env=~"produ.*",job=~".*"}:{bar="\"x\"", foo="1"}"#
    );
    let ids: BTreeSet<_> = tree.iter().map(|route| route.id()).collect();
    assert_eq!(ids.len(), tree.iter().len());
    let role = tree.matching(&labels("owner=team-B group_by=role"))[1];
    assert_eq!(role.key(), r#"{}/{group_by="role",owner="team-B"}"#);
    // The older way to write a regular expression has another key.
    assert_eq!(tree.matching(&labels("owner=team-B"))[0].key(), r#"{}/{owner=~"^(?:team-(B|C))$"}"#);
}

#[test]
fn amtool_routes_as_we_do() {
    if Command::new("amtool").arg("--version").output().is_err() {
        println!("SKIPPED: amtool is not installed; apt-get install prometheus-alertmanager");
        return;
    }
    // Labels of routes are newer than amtool 0.25.
    let older: String = TREE.lines().filter(|line| !line.contains("labels:")).map(|line| format!("{line}\n")).collect();
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/alertmanager");
    let read = |name: &str| std::fs::read_to_string(format!("{fixture}/{name}")).unwrap();
    let (routing, reverted) = (read("cli-testdata/conf.routing.yml"), read("cli-testdata/conf.routing-reverted.yml"));
    let good = read("config-testdata/conf.good.yml");
    let tests = ["test=1", "test=2", "test=3", "test=12"];
    let services = [
        "service=foo1",
        "service=foo12",
        "service=baz severity=critical",
        "service=files",
        "service=files severity=critical",
        "service=database",
        "service=database owner2=team-X owner=team-Y",
        "service=database owner2=team-X",
        "service=database owner=team-Y",
    ];
    let alerts: Vec<&str> = ALERTS.iter().map(|(alert, _)| *alert).filter(|alert| !alert.is_empty()).collect();
    for (text, alerts) in [(&older, &alerts[..]), (&routing, &tests), (&reverted, &tests), (&good, &services)] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let ours = routes(text);
        for alert in alerts {
            let output = Command::new("amtool")
                .args(["config", "routes", "test", "--config.file"])
                .arg(file.path())
                .args(alert.split(' '))
                .output()
                .unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            assert_eq!(ours.receivers(&labels(alert)).join(","), theirs.trim(), "{alert}");
        }
    }
}
