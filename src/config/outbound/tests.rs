//! What is written against what it means; and that no secret comes out, however it is shown.

use super::*;
use crate::config::{Config, DEFAULTS, shown::Shown};

const VARIABLES: [(&str, &str); 2] = [("AM_PASSWORD", "hush-from-variable"), ("BEAT", "https://beat.example/hush")];

fn read(text: &str) -> Result<Config, String> {
    let variables =
        |name: &str| VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let outside = Outside { origin: "gauge.yaml", variables: &variables, memory_limit: 8 << 30 };
    Config::read(text, &outside).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = read(text).expect_err(text);
    assert!(error.contains(expected) && !error.contains("hush"), "{text}\n{error}");
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

#[test]
fn an_entry_of_prometheus_is_read_as_it_is() {
    let text = "\
alerting:
  alert_relabel_configs:
    - {action: labeldrop, regex: replica}
  alertmanagers:
    - scheme: https
      path_prefix: /alerts/
      timeout: 3s
      api_version: v2
      basic_auth: {username: gauge, password: '${AM_PASSWORD}'}
      tls_config: {ca_file: ca.pem, cert_file: own.pem, key_file: own.key}
      static_configs: [{targets: ['am-1:9093', '10.0.0.2:9093', 'am-old:9093'], labels: {site: a}}]
      relabel_configs:
        - {action: drop, source_labels: [__address__], regex: am-old.*}
        - {source_labels: [site], target_label: __alerts_path__, replacement: /$1/api/v2/alerts}
      alert_relabel_configs: [{action: drop, source_labels: [severity], regex: none}]
    - static_configs: [{targets: ['localhost:9093', '[::1]:9093']}]
      authorization: {credentials_file: /run/token}
";
    let Others { active, dropped } = read(text).unwrap().alerting.others;
    let urls: Vec<&str> = active.iter().map(|other| other.url.as_str()).collect();
    assert_eq!(
        urls,
        [
            "https://am-1:9093/a/api/v2/alerts",
            "https://10.0.0.2:9093/a/api/v2/alerts",
            "http://localhost:9093/api/v2/alerts",
            "http://[::1]:9093/api/v2/alerts",
        ]
    );
    assert_eq!(dropped, ["https://am-old:9093/alerts/api/v2/alerts"]);
    assert_eq!((active[0].timeout.as_secs(), active[2].timeout.as_secs()), (3, 10));
    let password = active[0].http.basic_auth.as_ref().and_then(|auth| auth.password.clone());
    assert_eq!(password, Some(Secret::Text("hush-from-variable".into())));
    let token = active[2].http.authorization.as_ref().and_then(|auth| auth.credentials.clone());
    assert_eq!(token, Some(Secret::File("/run/token".into())));
    let told = |other: &Other, pairs: &[(&str, &str)]| other.relabelled(&labels(pairs));
    let alert = [("alertname", "a"), ("replica", "1"), ("severity", "none")];
    assert_eq!(told(&active[0], &alert), None);
    assert_eq!(told(&active[0], &alert[..2]), Some(labels(&alert[..1])));
    assert_eq!(told(&active[2], &alert), Some(labels(&[("alertname", "a"), ("severity", "none")])));
}

#[test]
fn what_nobody_would_do_is_refused() {
    let entry =
        |keys: &str| format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: ['a:1']}}], {keys}}}]}}");
    for (keys, why) in [
        ("scheme: ftp", "a scheme is http or https"),
        ("api_version: v1", "only `v2`"),
        ("timeout: 1h", "1h is out of range"),
        ("tls_config: {server_name: b}", "`tls_config.server_name` is not known here"),
        ("basic_auth: {password: hush, password_file: b}", "at most one of `password` and `password_file`"),
        ("basic_auth: {password: hush}, bearer_token: hush", "at most one of `basic_auth`"),
        ("bearer_token: '${NOPE}'", "environment variable `NOPE` is not set"),
        ("sigv4: {}", "unknown key `sigv4`"),
        ("relabel_configs: [{action: hashmod, target_label: a}]", "action hashmod needs a `modulus`"),
        ("relabel_configs: [{target_label: __address__, replacement: ''}]", "no address of an Alertmanager"),
    ] {
        refused(&entry(keys), why);
    }
    for target in ["", "http://a:9093", "u:hush@a:9093", "a:9093/path", "a b", "a:b"] {
        let text = format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{target}']}}]}}]}}");
        refused(&text, "gauge.yaml:1:57: no address of an Alertmanager");
    }
    refused(
        "alerting: {alertmanagers: [{static_configs: [{targets: ['a:1', 'a:1']}]}]}",
        "1:64: this Alertmanager is given twice",
    );
    let many: Vec<String> = (0..=ALERTMANAGERS_MAX).map(|nth| format!("'a:{}'", nth + 1)).collect();
    let text = format!("alerting: {{alertmanagers: [{{static_configs: [{{targets: [{}]}}]}}]}}", many.join(", "));
    refused(&text, "more Alertmanagers than are told");
}

#[test]
fn a_heartbeat_has_one_address() {
    let heartbeat = |text: &str| read(text).unwrap().alerting.heartbeat;
    assert!(heartbeat("").is_none());
    let of_variable = heartbeat("alerting: {heartbeat: {url: '${BEAT}'}}").unwrap();
    assert_eq!(of_variable.url, Secret::Text("https://beat.example/hush".into()));
    assert_eq!(of_variable.every.as_secs(), 60);
    let of_file = heartbeat("alerting: {heartbeat: {url_file: /run/beat, interval: 5m}}").unwrap();
    assert_eq!((of_file.url, of_file.every.as_secs()), (Secret::File("/run/beat".into()), 300));
    for (keys, why) in [
        ("{}", "a heartbeat needs a `url` or a `url_file`"),
        ("{url: 'http://a/hush', url_file: b}", "at most one of `url` and `url_file`"),
        ("{url: 'beat.example/hush'}", "the address of the heartbeat is wrong"),
        ("{url: 'http://a/hush', interval: 0s}", "0s is out of range"),
        ("{url: 'http://a/hush', every: 1m}", "unknown key `every`"),
    ] {
        refused(&format!("alerting: {{heartbeat: {keys}}}"), why);
    }
}

#[test]
fn a_watch_says_what_has_to_arrive_and_what_fires() {
    let text = "\
alerting:
  external_labels: {site: a, severity: low}
  watch:
    - name: PrometheusMissing
      matchers: ['alertname=\"Watchdog\", cluster=~\"a|b\"', severity=none]
      within: 10m
      labels: {severity: critical}
    - {name: Other, matchers: [alertname=Watchdog], annotations: {summary: gone}}
";
    let watches = read(text).unwrap().alerting.watches;
    assert_eq!((watches[0].within_ms, watches[1].within_ms), (600_000, 300_000));
    assert_eq!(watches[0].labels, labels(&[("severity", "critical"), ("site", "a")]));
    assert_eq!(
        watches[0].annotations.get("summary"),
        r#"no alert {alertname="Watchdog",cluster=~"a|b",severity="none"} has arrived for 10m"#
    );
    assert_eq!(watches[1].annotations, labels(&[("summary", "gone")]));
    for (entries, why) in [
        ("{matchers: [a=b]}", "a watch needs a `name`"),
        ("{name: a}", "a watch needs `matchers`"),
        ("{name: a, matchers: ['a=~(']}", "no regular expression"),
        ("{name: a, matchers: [a=b], labels: {alertname: c}}", "the name of a watch is its alert's `alertname`"),
        ("{name: a, matchers: [a=b]}, {name: a, matchers: [a=b]}", "watch `a` is given twice"),
        ("{name: a, matchers: [a=b], within: 0s}", "0s is out of range"),
    ] {
        refused(&format!("alerting: {{watch: [{entries}]}}"), why);
    }
}

#[test]
fn check_shows_what_would_run() {
    let text = "\
alerting:
  alertmanagers: [{static_configs: [{targets: ['a:9093']}]}]
  heartbeat: {url: 'https://beat.example/hush', interval: 90s}
  watch: [{name: Gone, matchers: [alertname=Watchdog]}]
";
    let shown = read(text).unwrap().to_string();
    for line in [
        "alertmanager   http://a:9093/api/v2/alerts\n",
        "heartbeat      every 1m30s\n",
        "watch          Gone: {alertname=\"Watchdog\"} within 5m\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn no_secret_is_shown() {
    let text = "\
alerting:
  external_labels: {key: shown}
  heartbeat: {url: 'https://beat.example/hush', http_config: {authorization: {credentials: hush}}}
  alertmanagers:
    - basic_auth: {username: shown, password: hush}
      proxy_url: http://u:hush@proxy:3128
      tls_config: {cert: shown, key: hush}
      http_headers: {X: {secrets: [hush], values: [shown]}}
      static_configs: [{targets: ['shown:9093']}]
    - {bearer_token: hush, static_configs: [{targets: ['a:9093']}]}
    - {authorization: {credentials: hush}, static_configs: [{targets: ['b:9093']}]}
";
    let config = read(text).unwrap();
    let yaml = Shown::of(DEFAULTS, text).yaml().unwrap();
    assert_eq!(yaml.matches("shown").count(), 5, "{yaml}");
    let everything = format!("{config} {config:?} {yaml}");
    assert!(!everything.contains("hush"), "{everything}");
}
