//! What is written against what it means, and the place of what is wrong.

use super::*;

const GIB: u64 = 1 << 30;

fn outside() -> Outside<'static> {
    Outside { origin: "gauge.yaml", variables: &|_| None, memory_limit: 8 * GIB }
}

fn read(text: &str) -> Result<Config, String> {
    Config::read(text, &outside()).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let error = read(text).expect_err(text);
    assert!(error.contains(expected), "{text}\n{error}");
}

#[test]
fn the_documented_file_says_what_the_defaults_are() {
    let documented = include_str!("../../deploy/streamgauge.yaml");
    // What is shown of the settings is what was written.
    let known = |text| format!("{:?}", Config { shown: Shown::default(), ..read(text).unwrap() });
    assert_eq!(known(documented), known(""));
}

/// Every setting outside of lists and maps.
const SETTINGS: [&str; 81] = [
    "data_dir",
    "data",
    "roots",
    "s3",
    "cache",
    "endpoint",
    "region",
    "path_style",
    "allow_http",
    "sse",
    "kms_key_id",
    "request_timeout",
    "spool_bytes",
    "bytes",
    "listen",
    "pg",
    "listen",
    "idle",
    "flight",
    "listen",
    "tenant",
    "memory",
    "insecure",
    "tls",
    "auth",
    "storage",
    "remote_write",
    "sql",
    "promql",
    "queries",
    "log",
    "cert",
    "key",
    "client_ca",
    "tokens_file",
    "tokens",
    "flush_bytes",
    "flush_age",
    "wal_segment_bytes",
    "retention",
    "retention_rules",
    "body_bytes_max",
    "decoded_bytes_max",
    "labels_max",
    "label_value_bytes_max",
    "series_max",
    "series_per_metric_max",
    "relabel",
    "ha",
    "timeout",
    "rows_max",
    "concurrent_max",
    "slow",
    "lookback",
    "series_max",
    "samples_max",
    "points_max",
    "features",
    "billing",
    "archive",
    "close_after",
    "look_every",
    "tags",
    "accounts",
    "exports",
    "alerting",
    "config",
    "rules",
    "evaluation_interval",
    "query_offset",
    "external_url",
    "external_labels",
    "allowed_networks",
    "alertmanagers",
    "alert_relabel_configs",
    "heartbeat",
    "watch",
    "pagerduty_secrets_file",
    "silences",
    "format",
    "level",
];

#[test]
fn the_documented_file_names_every_setting() {
    let documented = include_str!("../../deploy/streamgauge.yaml");
    let shown = |line: &str| line.strip_prefix('#').filter(|line| !line.starts_with(' ')).unwrap_or(line).to_owned();
    let everything: String = documented.lines().map(|line| shown(line).replacen("  #", "  ", 1) + "\n").collect();
    for key in SETTINGS {
        assert!(everything.lines().any(|line| line.trim().starts_with(&format!("{key}:"))), "{key}");
    }
    let nested = [
        "remote_write: {ha: {zzz: 1}}",
        "remote_write: {relabel: [{zzz: 1}]}",
        "storage: {retention_rules: [{zzz: 1}]}",
        "alerting: {silences: {zzz: 1}}",
        "billing: {tags: {Team: {zzz: 1}}}",
        "billing: {accounts: [{zzz: 1}]}",
        "billing: {exports: [{zzz: 1}]}",
        "alerting: {alertmanagers: [{zzz: 1}]}",
        "alerting: {heartbeat: {zzz: 1}}",
        "alerting: {watch: [{zzz: 1}]}",
        "queries: {a: {zzz: 1}}",
        "queries: {a: {params: {b: {zzz: 1}}}}",
    ];
    for error in nested.map(|text| read(text).unwrap_err()) {
        let (_, known) = error.split_once("keys here are ").unwrap_or_else(|| panic!("{error}"));
        for key in known.split(", ") {
            assert!(everything.contains(&format!("{key}: ")), "{key}");
        }
    }
    // An unknown key is answered with those that are known, so the list above cannot go stale unnoticed.
    let known = read("zzz: 1").unwrap_err();
    let sections = [
        "s3",
        "cache",
        "pg",
        "flight",
        "tls",
        "auth",
        "storage",
        "remote_write",
        "sql",
        "promql",
        "billing",
        "alerting",
        "log",
    ];
    let inner: String = sections.iter().map(|section| read(&format!("{section}: {{zzz: 1}}")).unwrap_err()).collect();
    let listed = |text: &str| text.matches("keys here are").count() + text.matches(", ").count();
    assert_eq!(listed(&known) + listed(&inner), SETTINGS.len(), "{known} {inner}");
}

#[test]
fn the_page_of_settings_is_fresh_and_names_every_one() {
    // Where the test runs, which need not be where it was built.
    let folder = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let folder = Path::new(&folder);
    let page = page::settings_page(&fs::read_to_string(folder.join("deploy/streamgauge.yaml")).unwrap());
    for key in SETTINGS {
        let is_named = page.contains(&format!("\n## {key}\n")) || page.contains(&format!("| `{key}` |"));
        assert!(is_named || page.contains(&format!(".{key}` |")), "{key}");
    }
    for row in [
        "| `storage.flush_bytes` | `32MiB` | size | Recent rows of a dataset ",
        "| `alerting.silences.alerts_max` | not set; such as `100` | number | ",
        "| `remote_write.ha` | not set | settings | ",
    ] {
        assert!(page.contains(row), "{row}");
    }
    let path = folder.join("docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    let command = "UPDATE=1 cargo test --release --workspace --lib page_of_settings";
    assert!(found == page, "docs/configuration.md is stale: run `{command}`");
}

#[test]
fn retention_is_by_dataset_and_samples_beyond_it_are_refused() {
    let config = read("storage: {retention: {samples: 400d, metadata: 36h}}").unwrap();
    let days = |pairs: &[(&str, u32)]| pairs.iter().map(|(name, days)| ((*name).to_owned(), *days)).collect();
    // Labels are kept as long as what they name.
    assert_eq!(config.storage.retention_days, days(&[("metadata", 2), ("samples", 400), ("series", 400)]));
    refused(
        "storage: {retention: {samples: 400d, series: 90d}}",
        "gauge.yaml:1:46: labels would go before what they name: keep series for 400d at least",
    );
    assert_eq!(config.remote_write.retention_ms, 400 * 86_400_000);
    assert_eq!(read("").unwrap().remote_write.retention_ms, 90 * 86_400_000);
    let refused = read("storage:\n  retention:\n    sample: 400d\n").unwrap_err();
    assert!(refused.contains(":3:13: ") && refused.contains("no dataset \"sample\""), "{refused}");
    assert!(read("storage: {retention: {samples: 0s}}").is_err());
}

#[test]
fn rules_keep_series_for_a_shorter_time_or_are_refused_with_place_and_reason() {
    let text = "storage:\n  retention_rules:\n    - {match: 'up{job=\"debug\"}', keep: 36h}\n    - {match: '{a=\"b\"}', keep: 90d}\n";
    let config = read(text).unwrap();
    let rules: Vec<_> = config.retention_rules.iter().map(|rule| (rule.text.as_ref(), rule.days)).collect();
    assert_eq!(rules, [("up{job=\"debug\"}", 2), ("{a=\"b\"}", 90)]);
    assert!(config.to_string().contains("kept           2d of up{job=\"debug\"}"), "{config}");
    let rule = |keys: &str| {
        format!(
            "storage:\n  retention: {{samples: 30d, histograms: 30d, exemplars: 30d}}\n  retention_rules:\n    - {keys}\n"
        )
    };
    assert!(read(&rule("{match: up, keep: 30d}")).is_ok());
    refused(
        &rule("{match: up, keep: 31d}"),
        "gauge.yaml:4:25: a rule cannot keep series for longer than everything is kept, 30d",
    );
    refused(&rule("{match: up, keep: 1h}"), "gauge.yaml:4:25: 1h is out of range");
    refused(&rule("{match: 'up{job=api}', keep: 7d}"), "gauge.yaml:4:15: no selector: ");
    refused(&rule("{match: '{job=~\".*\"}', keep: 7d}"), "gauge.yaml:4:15: no selector: ");
    refused(&rule("{match: up}"), "gauge.yaml:4:7: a rule has no `keep`");
    refused(&rule("{keep: 7d}"), "gauge.yaml:4:7: a rule has no `match`");
    refused(&rule("{matcher: up, keep: 7d}"), "unknown key `matcher`; did you mean `match`?");
}

#[test]
fn a_file_needs_only_what_differs() {
    let config = read("storage: {flush_age: 5m}\nlisten: localhost:9\n").unwrap();
    assert_eq!(config.storage.flush_age_ms, 300_000);
    assert_eq!(config.storage.wal_segment_bytes, 64 << 20);
    assert_eq!(config.listen, "127.0.0.1:9".parse().unwrap());
}

#[test]
fn unknown_keys_are_refused_with_place_and_hint() {
    refused("lisen: x\n", "gauge.yaml:1:1: unknown key `lisen`; did you mean `listen`?");
    refused(
        "storage:\n  flush_bites: 1MiB\n",
        "gauge.yaml:2:3: unknown key `flush_bites`; did you mean `flush_bytes`?",
    );
    refused("tls:\n  zzzzzzzz: 1\n", "gauge.yaml:2:3: unknown key `zzzzzzzz`; keys here are cert, key, client_ca");
    refused("listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", "gauge.yaml:2:1: key `listen` is given twice");
}

#[test]
fn bad_values_are_refused_with_place_and_hint() {
    refused("listen: here\n", "gauge.yaml:1:9: `here` is no address to listen on: write an IP address and a port");
    refused("storage:\n  flush_bytes: 64MB\n", "gauge.yaml:2:16: `64MB` is no size: write a number and a unit");
    refused("storage:\n  flush_bytes: 1KiB\n", "gauge.yaml:2:16: 1KiB is out of range: 1MiB to 4GiB");
    refused("storage:\n  flush_age: 5\n", "gauge.yaml:2:14: `5` is no duration");
    refused("memory: 120%\n", "gauge.yaml:1:9: `120%` is no share of memory");
    refused("memory: 1MiB\n", "gauge.yaml:1:9: a memory budget of 1MiB is too small");
    refused("memory: 9GiB\n", "gauge.yaml:1:9: a memory budget of 9GiB is more than this process may use");
    refused("tenant: ../other\n", "gauge.yaml:1:9: a tenant's name");
    refused("log: {level: loud}\n", "gauge.yaml:1:14: `loud` is no log level");
    refused("log: {format: xml}\n", "gauge.yaml:1:15: `xml` is not known here; write one of text, json");
    refused("insecure: maybe\n", "gauge.yaml:1:11: expected true or false");
    refused("data_dir: ${HOME}/data\n", "gauge.yaml:1:11: variables are read in secrets only");
    refused("tls: {cert: a.pem}\n", "gauge.yaml:1:13: tls needs both `cert` and `key`");
    refused("sql: {rows_max: many}\n", "gauge.yaml:1:17: expected a whole number");
    refused("sql:\n\ttimeout: 1m\n", "gauge.yaml:2:");
    refused("- 1\n", "gauge.yaml:1:1: expected keys and values");
}

#[test]
fn a_token_comes_from_the_variable_the_file_names() {
    let text = "auth: {tokens: [{name: p, scopes: [write], token: '${SG_TOKEN}'}]}\n";
    refused(text, "gauge.yaml:1:51: environment variable `SG_TOKEN` is not set");
    let variables = |name: &str| (name == "SG_TOKEN").then(|| "t".repeat(43));
    let config = Config::read(text, &Outside { variables: &variables, ..outside() }).unwrap();
    assert!(config.auth.is_closed());
    assert!(!format!("{config:?}").contains("tttt"));
}

#[test]
fn a_reachable_address_needs_tokens_or_the_word_that_it_is_meant() {
    let exposed = |text: &str| read(text).unwrap().check_exposure();
    let error = exposed("listen: 0.0.0.0:4090").unwrap_err().to_string();
    assert!(error.contains("auth.tokens_file") && error.contains("--insecure"), "{error}");
    assert!(exposed("listen: '[::]:4090'").is_err());
    assert!(exposed("listen: '[::ffff:10.0.0.1]:4090'").is_err());
    for fine in [
        "listen: 127.0.0.2:4090",
        "listen: '[::1]:4090'",
        "listen: '[::ffff:127.0.0.1]:4090'",
        "listen: 0.0.0.0:4090\ninsecure: true",
        "listen: 0.0.0.0:4090\nauth: {tokens_file: tokens.yaml}",
    ] {
        assert!(exposed(fine).is_ok(), "{fine}");
    }
}

#[test]
fn the_command_line_stands_over_the_file() {
    let overrides = Overrides {
        data_dir: Some("elsewhere".into()),
        listen: Some("127.0.0.1:7".parse().unwrap()),
        pg_listen: Some(listening("off").unwrap()),
        flight_listen: Some(listening("127.0.0.1:9").unwrap()),
        insecure: true,
        log_format: Some(telemetry::Format::Json),
        log_level: Some("debug".into()),
    };
    let config = read("data_dir: here\nlog: {level: warn}").unwrap().overridden(overrides).unwrap();
    assert_eq!(config.storage.data_dir, PathBuf::from("elsewhere"));
    assert_eq!((config.listen.port(), config.insecure, config.pg.listen), (7, true, None));
    assert_eq!(config.flight.listen, Some("127.0.0.1:9".parse().unwrap()));
    assert_eq!(config.log, telemetry::Config { format: telemetry::Format::Json, level: "debug".into() });
}

#[test]
fn on_a_small_machine_rows_are_flushed_before_their_memory_is_full() {
    let config = Config::read("memory: 100%", &Outside { memory_limit: 256 << 20, ..outside() }).unwrap();
    assert!(config.storage.flush_bytes < 32 << 20);
    assert!(config.storage.flush_bytes * 4 <= config.storage.head_bytes_max, "{:?}", config.storage);
}

#[test]
fn a_machine_too_small_for_the_defaults_is_told_so_without_a_line_it_did_not_write() {
    let error = Config::read("tenant: t", &Outside { memory_limit: 100 << 20, ..outside() }).unwrap_err().to_string();
    assert_eq!(error, "gauge.yaml: a memory budget of 60MiB is too small: at least 128MiB");
}

#[test]
fn rules_of_relabelling_are_read_as_prometheus_writes_them() {
    let text = r"
remote_write:
  relabel:
    - source_labels: [__name__]
      regex: go_.*
      action: drop
    - target_label: replica_count
      replacement: 1
    - action: LabelDrop
      regex: pod|uid
    - {source_labels: [a, b], separator: '', target_label: c, modulus: 18446744073709551615, action: hashmod}
";
    assert_eq!(read(text).unwrap().remote_write.rules.relabel.len(), 4);
    assert!(read("").unwrap().remote_write.rules.relabel.is_empty());
    let shown = read(text).unwrap().to_string();
    assert!(shown.contains("relabelling    4 rules"), "{shown}");
}

#[test]
fn rules_that_cannot_be_are_refused_with_place_and_reason() {
    let rule = |keys: &str| format!("remote_write:\n  relabel:\n    - action: keep\n    - {keys}\n");
    refused(&rule("action: remove"), "gauge.yaml:4:15: `remove` is no action; write one of replace, keep, drop");
    refused(&rule("{regex: '(', action: keep}"), "gauge.yaml:4:15: `(` is no regular expression: unclosed group");
    refused(&rule("source_labels: [a]"), "gauge.yaml:4:7: action replace needs a `target_label`");
    refused(
        &rule("{action: labeldrop, regex: a, separator: '-'}"),
        "gauge.yaml:4:48: action labeldrop has no `separator`",
    );
    refused(
        &rule("{action: hashmod, target_label: a, modulus: 0}"),
        "gauge.yaml:4:51: action hashmod needs a `modulus`",
    );
    refused(&rule("{action: labelmap, regex: a, replacement: ''}"), "gauge.yaml:4:49: action labelmap needs");
    refused(&rule("{action: drop, source_labels: ['']}"), "gauge.yaml:4:37: the name of a label is empty");
    refused(&rule("sourcelabels: [a]"), "gauge.yaml:4:7: unknown key `sourcelabels`; did you mean `source_labels`?");
    refused(&rule("{action: hashmod, target_label: a, modulus: x}"), "gauge.yaml:4:51: expected a whole number");
    refused("remote_write: {relabel: {a: b}}", "gauge.yaml:1:25: expected a list");
}

#[test]
fn ha_pairs_are_off_until_they_are_written() {
    let ha = |text: &str| read(text).unwrap().remote_write.rules.ha;
    assert_eq!(ha("remote_write: {labels_max: 50}"), None);
    assert_eq!(ha("remote_write: {ha: {}}"), Some(ingest::remote_write::ReplicaLabels::default()));
    let named = ha("remote_write: {ha: {cluster_label: site, replica_label: prometheus_replica}}").unwrap();
    assert_eq!((named.cluster.as_str(), named.replica.as_str()), ("site", "prometheus_replica"));
    refused("remote_write: {ha: {replica_label: ''}}", "gauge.yaml:1:36: the name of a label is empty");
    refused("remote_write: {ha: {replica_label: cluster}}", "gauge.yaml:1:36: `cluster` cannot name both");
}

#[test]
fn limits_of_series_are_derived_from_memory_or_written() {
    let limits = |text: &str| {
        let config = read(text).unwrap().remote_write;
        (config.series_max, config.series_per_metric_max)
    };
    let (derived, per_metric) = limits("memory: 4GiB");
    assert!((2_000_000..2_500_000).contains(&derived), "{derived}");
    assert_eq!(per_metric, 1_000_000);
    let written = "memory: 4GiB\nremote_write: {series_max: 5000000, series_per_metric_max: 0}";
    assert_eq!(limits(written), (5_000_000, usize::MAX));
    assert!(read(written).unwrap().to_string().contains("series         up to 5000000, any number of one metric"));
    refused(
        "memory: 1GiB\nremote_write:\n  series_max: 5000000\n",
        "gauge.yaml:3:15: 5000000 series take 953MiB, more than half of the memory budget of 1GiB",
    );
    refused("remote_write: {series_max: 0}", "gauge.yaml:1:28: 0 is out of range: 1 to");
}

// === tables ===

fn read_in(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let look = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    Config::read(text, &Outside { variables: &look, ..outside() }).map_err(|error| error.to_string())
}

const KEYS: [(&str, &str); 3] =
    [("AWS_ACCESS_KEY_ID", "AKIAKEY"), ("AWS_SECRET_ACCESS_KEY", "hushhush"), ("AWS_SESSION_TOKEN", "hushtoken")];

#[test]
fn tables_are_in_the_folder_unless_the_file_says_otherwise() {
    let config = read_in("", &KEYS).unwrap();
    assert!(!config.storage.tables.remote());
    assert!(config.storage.tables.s3.credentials.0.is_empty(), "what is not needed is not kept");
    assert!(!config.to_string().contains("s3"));
    let config = read_in("data: s3://gauge/prod\nroots: {series: s3://gauge-eu}\n", &KEYS).unwrap();
    let tables = &config.storage.tables;
    assert_eq!(tables.root_of("samples").to_string(), "s3://gauge/prod");
    assert_eq!(tables.root_of("series").to_string(), "s3://gauge-eu");
    assert_eq!((tables.cache_bytes, tables.s3.spool_bytes), (10 << 30, 16 << 30));
    assert_eq!((tables.s3.path_style, tables.s3.allow_http), (false, false));
}

#[test]
fn check_shows_the_roots_and_no_secret() {
    let text = "data: s3://gauge/prod\nroots: {series: s3://gauge-eu}\ns3: {region: eu-central-1, sse: AES256}\n";
    let config = read_in(text, &KEYS).unwrap();
    let shown = config.to_string();
    for said in [
        "s3://gauge/prod",
        "series: s3://gauge-eu",
        "AWS (eu-central-1)",
        "AES256",
        "AWS_SECRET_ACCESS_KEY",
        "10GiB",
        "16GiB",
    ] {
        assert!(shown.contains(said), "{said} in\n{shown}");
    }
    let everything = format!("{shown} {config:?}");
    assert!(!everything.contains("hush") && !everything.contains("AKIAKEY"), "{everything}");
}

#[test]
fn the_environment_says_what_the_file_does_not() {
    let variables = [("AWS_REGION", "eu-west-1"), ("AWS_ENDPOINT_URL", "https://own.example"), ("AWS_ROLE_ARN", "")];
    let s3 = read_in("data: s3://gauge\n", &variables).unwrap().storage.tables.s3;
    assert_eq!((s3.region.as_deref(), s3.endpoint.as_deref()), (Some("eu-west-1"), Some("https://own.example")));
    assert!(s3.path_style && s3.credentials.0.is_empty());
    let text = "data: s3://gauge\ns3: {region: us-east-2, endpoint: 'https://file.example', path_style: false}\n";
    let s3 = read_in(text, &variables).unwrap().storage.tables.s3;
    assert_eq!((s3.region.as_deref(), s3.endpoint.as_deref()), (Some("us-east-2"), Some("https://file.example")));
    assert!(!s3.path_style);
    let error = read_in("data: s3://gauge\n", &[("AWS_ENDPOINT_URL", "http://own.example")]).unwrap_err();
    assert!(error.contains("AWS_ENDPOINT_URL: `http://own.example`") && error.contains("allow_http"), "{error}");
}

#[test]
fn bad_places_for_tables_are_refused_with_place_and_hint() {
    refused("data: gs://gauge\n", "gauge.yaml:1:7: `gs://gauge` is no place for tables: it does not begin with s3://");
    refused("data: s3://Gauge\n", "gauge.yaml:1:7: `s3://Gauge` is no place for tables: a bucket's name");
    refused("roots:\n  series: here\n", "gauge.yaml:2:11: `here` is no place for tables");
    refused("roots:\n  serie: s3://gauge\n", "gauge.yaml:2:10: `serie` is no dataset; those with a root are among ");
    refused("s3: {endpoint: 'http://10.0.0.1:9000'}\n", "gauge.yaml:1:16: `http://10.0.0.1:9000` sends everything");
    refused("s3: {endpoint: 'minio:9000'}\n", "gauge.yaml:1:16: `minio:9000` is no endpoint");
    refused("s3: {endpoint: 'https://user:hush@own'}\n", "is no endpoint");
    refused("s3: {kms_key_id: key}\n", "gauge.yaml:1:18: a key of KMS needs `sse: aws:kms` beside it");
    refused("s3: {sse: AES256, kms_key_id: key}\n", "gauge.yaml:1:31: a key of KMS needs");
    refused("s3: {sse: aes}\n", "gauge.yaml:1:11: `aes` is not known here; write one of AES256, aws:kms");
    refused("s3: {request_timeout: 1h}\n", "gauge.yaml:1:23: 1h is out of range");
    refused("s3: {spool_bytes: 16GB}\n", "gauge.yaml:1:19: `16GB` is no size");
    refused("s3: {access_key: hush}\n", "gauge.yaml:1:6: unknown key `access_key`");
    refused("cache: {bytes: 10GB}\n", "gauge.yaml:1:16: `10GB` is no size");
    for fine in ["http://127.0.0.1:8333", "http://localhost:8333/", "http://[::1]:8333", "https://10.0.0.1:9000"] {
        assert!(read(&format!("s3: {{endpoint: '{fine}'}}\n")).is_ok(), "{fine}");
    }
    assert!(read("s3: {endpoint: 'http://10.0.0.1:9000', allow_http: true}\n").is_ok());
}

#[test]
fn silences_have_limits() {
    let config = read("alerting: {silences: {duration_max: 7d, alerts_max: 50, remind_before: 0s}}").unwrap();
    let limits = config.alerting.silences;
    assert_eq!((limits.duration_ms_max, limits.alerts_max, limits.silences_max), (7 * 86_400_000, Some(50), 10_000));
    assert_eq!((config.alerting.remind_before_ms, read("").unwrap().alerting.remind_before_ms), (0, 900_000));
    refused("alerting: {silences: {remind_before: 1s}}", "out of range");
    refused("alerting: {silences: {alerts_max: 0}}", "out of range");
}
