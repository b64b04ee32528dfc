//! Templates against the programs whose templates they are, and against rules in use.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use alerting::{
    Labels,
    template::{AlertData, DEFAULT, Env, Flavour, NotificationData, RuleData, Sample, Set, Value},
};
use chrono::{DateTime, Utc};
use serde_json::json;

const EXTERNAL_URL: &str = "http://prom.example:9090/path";

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().copied().collect()
}

/// Is the program there? Says how to install it otherwise.
fn program(name: &str, package: &str) -> bool {
    let there = Command::new(name).arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: {name} is not installed, run: apt-get install {package}");
    }
    there
}

/// Values that samples have, as PromQL writes them.
const VALUES: [&str; 34] = [
    "0",
    "1",
    "-1",
    "0.5",
    "1.5",
    "-0.001",
    "999",
    "999.95",
    "1000",
    "1023",
    "1024",
    "1025",
    "1234.5678",
    "59.999",
    "60",
    "3599",
    "3600.5",
    "86399",
    "86400",
    "1234567",
    "100000",
    "1000000",
    "123456789.123",
    "1234567890123",
    "0.00001234",
    "1e-10",
    "1e-30",
    "1e30",
    "1435065584.128",
    "-12345.6789",
    "0.1",
    "NaN",
    "Inf",
    "-Inf",
];

const OF_VALUES: [&str; 26] = [
    "{{ $value }}",
    "{{ .Value }}",
    "{{ humanize $value }}",
    "{{ $value | humanize1024 }}",
    "{{ $value | humanizeDuration }}",
    "{{ $value | humanizePercentage }}",
    "{{ $value | humanizeTimestamp }}",
    "{{ printf \"%.2f\" $value }}",
    "{{ printf \"%.0f|%5.1f|%-8.3f|%08.2f|%+.1f|% .3f\" $value $value $value $value $value $value }}",
    "{{ printf \"%d %s %q %x %v %g %e %G %E\" $value $value $value $value $value $value $value $value $value }}",
    "{{ printf \"%.3g|%.10g|%#g|%.3e|%6.2f%%\" $value $value $value $value $value }}",
    "{{ print $value \" \" $value }}",
    "{{ println $value 1 }}.",
    "{{ if gt $value 1.0 }}more{{ else if eq $value 1.0 }}one{{ else }}less{{ end }}",
    "{{ if lt $value 1000.0 }}<{{ end }}{{ if ge $value 0.0 }}>={{ end }}{{ if le $value 0.5 }}<={{ end }}{{ ne $value 0.1 }}",
    "{{ with $value }}{{ . }}{{ else }}zero{{ end }}",
    "{{ $value | printf \"%v\" | toUpper }}",
    "{{ humanize \"12345.678\" }}{{ humanizeDuration \"61.5\" }}{{ humanize1024 2048 }}",
    "{{ args $value 1 \"x\" }}",
    "{{ (args $value).arg0 }}{{ (args 1).arg1 }}",
    "{{ html $value }}{{ urlquery $value }}{{ js $value }}",
    "{{ $x := $value }}{{ $x = 3.0 }}{{ $x }}{{ $value }}",
    "{{ printf \"%T\" $value }}",
    "{{ printf \"%s\" (humanize $value) }}",
    "{{ len (printf \"%v\" $value) }}",
    "{{ and $value 2 }}{{ or $value 2 }}{{ not $value }}",
];

const OF_LABELS: [&str; 58] = [
    "{{ $labels }}",
    "{{ .Labels }}{{ .ExternalLabels }}{{ $externalLabels }}",
    "{{ $labels.instance }}",
    "{{ $labels.missing }}.",
    "{{ .Labels.missing | printf \"%q\" }}",
    "{{ with $labels.missing }}there{{ else }}not there{{ end }}",
    "{{ range $name, $value := $labels }}{{ $name }}={{ $value }};{{ end }}",
    "{{ len $labels }}",
    "{{ index $labels \"job\" }}{{ index $labels \"none\" }}",
    "{{ $externalURL }} {{ .ExternalURL }}",
    "{{ stripPort $labels.instance }} {{ stripPort \"[::1]:80\" }} {{ stripPort \"::1\" }} {{ stripPort \"a.b\" }} {{ stripPort \"a:b:c\" }}",
    "{{ stripDomain \"web-1.example.com\" }} {{ stripDomain \"web-1.example.com:80\" }} {{ stripDomain \"10.0.0.1:80\" }} {{ stripDomain \"[::1]:80\" }} {{ stripDomain \"x\" }}",
    "{{ title \"aa bb-cc d_e f.g 1x é\" }} {{ toUpper \"aé\" }} {{ toLower \"AÉ\" }}",
    "{{ reReplaceAll \"(.*):(.*)\" \"${2}-$1\" $labels.instance }}",
    "{{ reReplaceAll \"a*\" \"x\" \"baaac\" }} {{ reReplaceAll \"\" \"-\" \"abc\" }} {{ reReplaceAll \"(?i)B\" \"$0$0\" \"abc\" }}",
    "{{ reReplaceAll \"\\\\d+\" \"#\" \"a1b22٣\" }} {{ reReplaceAll \"(?P<n>[a-z]+)\" \"<$n>${n}x$nx\" \"ab 1\" }}",
    "{{ match \"a.*\" \"xab\" }} {{ match \"^b\" \"ab\" }} {{ match \"[[:alpha:]]+$\" \"1a\" }}",
    "{{ graphLink \"up{a=\\\"b c\\\"} > 1\" }} {{ tableLink \"up\" }}",
    "{{ safeHtml \"<b>\" }} {{ html \"<b>'\\\"&\" }}",
    "{{ toTime 1435065584.128 }} {{ (toTime 0).Unix }} {{ (toTime 1e9).Year }} {{ toTime \"1.5\" }}",
    "{{ (toTime 1435065584.128).Format \"Mon, 02 Jan 2006 15:04:05.000 MST\" }}",
    "{{ parseDuration \"1h30m\" }} {{ parseDuration \"5d\" }} {{ parseDuration \"15ms\" }}",
    "{{ humanizeDuration (parseDuration \"26h3m\") }}",
    // Sorted: promtool has series in no order that is always the same.
    "{{ range query \"up\" | sortByLabel \"instance\" }}{{ .Labels.instance }} {{ .Value }} {{ .Labels.none }};{{ end }}",
    "{{ with query \"up\" }}{{ . | sortByLabel \"x\" | first | value | humanize }}{{ end }}",
    "{{ query \"up\" | sortByLabel \"x\" | first | label \"instance\" }}",
    "{{ range query \"none\" }}x{{ else }}empty{{ end }}",
    "{{ range sortByLabel \"instance\" (query \"up\") }}{{ .Labels.instance }}{{ .Labels }}{{ end }}",
    "{{ range $i, $s := query \"up\" | sortByLabel \"x\" }}{{ $i }}{{ label \"x\" $s }}{{ value $s }}{{ end }}",
    "{{ with (query \"up\") }}{{ len . }}{{ end }}{{ len (query \"none\") }}",
    "{{ (query \"up\" | sortByLabel \"x\" | first).Labels.x }}{{ strvalue (query \"up\" | sortByLabel \"x\" | first) }}.",
    "{{ define \"t\" }}{{ .arg0 }}-{{ .arg1 }}{{ end }}{{ template \"t\" args 1 \"b\" }}",
    "{{ define \"t\" }}{{ . }}{{ end }}{{ template \"t\" $labels.job }}{{ template \"t\" }}",
    "{{- /* comment */ -}} a {{- \" b \" -}} c",
    "{{ printf \"%s %q %v %d\" $labels.job $labels.job $labels.job $labels.job }}",
    "{{ printf \"%v %s %q\" $labels $labels $labels }}",
    "{{ printf \"%6s|%-6s|%.2s|%06d|%x|%X|% x|%c|%U|%t|%5t\" \"ab\" \"ab\" \"abc\" 42 \"hi\" \"hi\" \"hi\" 65 65 true false }}",
    "{{ printf \"%d %s\" 1 }}{{ printf \"%d\" 1 2 }}{{ printf \"%!\" }}{{ printf \"%[2]d %[1]d\" 1 2 }}{{ printf \"%*d\" 5 42 }}",
    "{{ 1 }} {{ 1.5 }} {{ 1e6 }} {{ 0x1F }} {{ 'a' }} {{ \"s\" }} {{ `r` }} {{ true }} {{ 1_000 }} {{ -3 }}",
    "{{ print 1 2 \"a\" 3 }} {{ print \"a\" \"b\" }} {{ print nil }} {{ println \"x\" }}",
    "{{ $x := \"a\" }}{{ if true }}{{ $x = \"b\" }}{{ end }}{{ $x }}",
    "{{ if and (eq $labels.job \"j\") (ne $labels.instance \"\") }}yes{{ end }}",
    "{{ if or (match \"x\" \"y\") $labels.job }}yes{{ end }}",
    "{{ eq $labels.job \"a\" \"j\" }} {{ lt \"a\" \"b\" }} {{ not true }}",
    "{{ slice $labels.instance 2 4 }} {{ index \"abc\" 1 }}",
    "{{ range $i, $c := slice (query \"up\") 0 1 }}{{ $i }}{{ end }}",
    "{{ .Labels.job | printf \"%s-%s\" \"x\" | toUpper }}",
    "{{ ($labels.job) }} {{ (printf \"%d\" 3) | len }}",
    "{{ $labels.job -}}   x   {{- $labels.job }}",
    "{{ \"quote \\\" \\t \\u263a\" }}",
    "{{ `raw \\n` }}",
    "{{ urlquery \"a b&c=é/\" }} {{ js \"it's \\\"<x>\\\"\" }}",
    "plain {{ \"{{\" }} text }} with } and {",
    "{{ with $x := $labels.job }}{{ $x }}{{ . }}{{ end }}",
    "{{ range $labels }}{{ . }},{{ end }}",
    "{{ block \"b\" $labels.job }}[{{ . }}]{{ end }}",
    "{{ len \"héé\" }}{{ len $labels.job }}",
    "{{ define \"r\" }}{{ if . }}{{ slice . 0 1 }}.{{ template \"r\" slice . 1 }}{{ end }}{{ end }}{{ template \"r\" \"abc\" }}",
];

fn up(query: &str) -> alerting::Result<Vec<Sample>> {
    let sample =
        |instance, x, value| Sample { labels: labels(&[("__name__", "up"), ("instance", instance), ("x", x)]), value };
    Ok(if query == "up" { vec![sample("a:1", "2", 1.0), sample("b:2", "1", 0.0)] } else { Vec::new() })
}

/// What we make of a template in a rule whose expression has this value.
fn rendered(text: &str, value: f64) -> alerting::Result<String> {
    let mut set = Set::new(Flavour::Rule);
    set.parse("rule", text)?;
    let data = RuleData {
        labels: labels(&[("instance", "a:9090"), ("job", "j")]),
        external_labels: labels(&[("region", "eu")]),
        external_url: EXTERNAL_URL.into(),
        value: Value::Float(value),
        values: Default::default(),
    };
    let env = Env { query: Some(&up), ..Env::new(DateTime::from_timestamp(300, 0).unwrap(), EXTERNAL_URL) };
    set.render("rule", data.into(), &env)
}

#[test]
fn templates_of_rules_render_as_promtool_does() {
    if !program("promtool", "prometheus") {
        return;
    }
    let of_values = VALUES.iter().flat_map(|value| OF_VALUES.iter().map(move |text| (*text, *value)));
    let cases: Vec<(&str, &str)> = of_values.chain(OF_LABELS.iter().map(|text| (*text, "1"))).collect();
    let (mut rules, mut tests) = (Vec::new(), Vec::new());
    for (nth, (text, value)) in cases.iter().enumerate() {
        // A time that is out of range is an error to both, in words of their own.
        let Ok(ours) = rendered(&format!("[{text}]"), value.replace("Inf", "inf").parse().unwrap()) else {
            assert!(text.contains("humanizeTimestamp"), "{text} of {value}");
            continue;
        };
        let expr = format!("m * 0 + {value}");
        rules.push(json!({"alert": format!("A{nth}"), "expr": expr, "annotations": {"x": format!("[{text}]")}}));
        tests.push(json!({"eval_time": "5m", "alertname": format!("A{nth}"), "exp_alerts": [{
            "exp_labels": {"instance": "a:9090", "job": "j"}, "exp_annotations": {"x": ours},
        }]}));
    }
    let folder = tempfile::tempdir().unwrap();
    let rules = json!({"groups": [{"name": "g", "rules": rules}]});
    std::fs::write(folder.path().join("rules.yml"), rules.to_string()).unwrap();
    let tests = json!({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [{
        "interval": "1m", "external_labels": {"region": "eu"}, "external_url": EXTERNAL_URL,
        "input_series": [
            {"series": "m{instance=\"a:9090\",job=\"j\"}", "values": "1x10"},
            {"series": "up{instance=\"a:1\",x=\"2\"}", "values": "1x10"},
            {"series": "up{instance=\"b:2\",x=\"1\"}", "values": "0x10"},
        ],
        "alert_rule_test": tests,
    }]});
    std::fs::write(folder.path().join("test.yml"), tests.to_string()).unwrap();
    let run = Command::new("promtool").args(["test", "rules", "test.yml"]).current_dir(&folder).output().unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{said}");
    println!("{} templates agree with promtool", rules["groups"][0]["rules"].as_array().map_or(0, Vec::len));
}

fn now() -> DateTime<Utc> {
    "2026-11-05T05:00:00Z".parse().unwrap()
}

fn notification() -> NotificationData {
    let alert = |is_firing, all: &[(&str, &str)], notes: &[(&str, &str)], url: &str| AlertData {
        is_firing,
        labels: labels(all),
        annotations: labels(notes),
        starts_at: "2026-11-05T04:03:09.12Z".parse().unwrap(),
        ends_at: None,
        generator_url: url.into(),
    };
    NotificationData {
        receiver: "team".into(),
        alerts: vec![
            alert(
                true,
                &[("alertname", "Hot"), ("instance", "a:1"), ("job", "j"), ("z", "<b>")],
                &[("summary", "it's <hot>")],
                "http://p/g?x=1&y=2",
            ),
            alert(true, &[("alertname", "Hot"), ("instance", "b:1"), ("job", "j")], &[], "javascript:alert(1)"),
            alert(false, &[("alertname", "Hot"), ("instance", "c:1"), ("job", "j")], &[("summary", "was")], ""),
        ],
        group_labels: labels(&[("alertname", "Hot")]),
        route_labels: labels(&[("team", "core")]),
        external_url: "http://am".into(),
        reason: "new alerts".into(),
    }
}

const OF_NOTIFICATIONS: [&str; 40] = [
    "{{ .Receiver }} {{ .Status }} {{ .ExternalURL }}",
    "{{ len .Alerts }} {{ .Alerts.Firing | len }} {{ .Alerts.Resolved | len }}",
    "{{ range .Alerts }}{{ .Status }} {{ .Labels.instance }} {{ .Labels.none }} {{ .StartsAt }} {{ .EndsAt }} {{ .GeneratorURL }} {{ .Fingerprint }};{{ end }}",
    "{{ range .Alerts.Firing }}{{ range .Labels.SortedPairs }}{{ .Name }}={{ .Value }},{{ end }};{{ end }}",
    "{{ .CommonLabels.Names | join \" \" }} {{ .CommonLabels.Values | join \" \" }}",
    "{{ .CommonLabels.SortedPairs.Names | join \",\" }} {{ .CommonLabels.SortedPairs.Values | join \",\" }}",
    "{{ with .CommonLabels.Remove .GroupLabels.Names }}{{ .Values | join \" \" }}{{ end }}",
    "{{ range (.CommonLabels.Remove (stringSlice \"alertname\")).SortedPairs }}{{ .Name }}{{ end }}",
    "{{ gt (len .CommonLabels) (len .GroupLabels) }}",
    "{{ title \"hello wORLD foo_bar don't a.b a:b x-y éa 1st 3D ab1cd\" }}",
    "{{ toUpper \"abc\" }} {{ toLower \"ABC\" }} {{ reReplaceAll \"(a)(b)\" \"$2$1\" \"xabx\" }} {{ match \"b\" \"abc\" }}",
    "{{ (index .Alerts 0).StartsAt.Unix }} {{ (index .Alerts 0).StartsAt.Format \"2006-01-02 3:04PM\" }}",
    "{{ (index .Alerts 0).EndsAt.IsZero }} {{ (index .Alerts 0).StartsAt.Weekday }}",
    "{{ ((index .Alerts 0).StartsAt.Add 60000000000).Minute }} {{ (index .Alerts 0).StartsAt.Sub (index .Alerts 0).StartsAt }}",
    "{{ stringSlice \"a\" \"b\" }} {{ join \"-\" (stringSlice \"a\" \"b\") }}",
    "{{ safeHtml \"<b>\" }}",
    "{{ $x := . }}{{ range .Alerts }}{{ $x.Status }}{{ end }}",
    "{{ range $i, $a := .Alerts }}{{ if $i }}, {{ end }}{{ $a.Labels.instance }}{{ end }}",
    "{{ .GroupLabels.alertname }} {{ .GroupLabels.none }}.",
    "{{ with .CommonAnnotations.summary }}x{{ else }}none{{ end }}",
    "{{ define \"a\" }}{{ .Labels.instance }}{{ end }}{{ range .Alerts }}{{ template \"a\" . }}{{ end }}",
    "{{ if eq .Status \"firing\" }}:{{ .Alerts.Firing | len }}{{ end }}",
    "{{ printf \"%s %d\" .Receiver (len .Alerts) }}",
    "{{ .Receiver | urlquery }} {{ html \"<\" }}",
    "{{ (index .Alerts 0).Labels.z }}{{ (index .Alerts 1).Labels.z }}",
    "{{ range .Alerts.Firing }}{{ break }}{{ end }}",
    "{{ len (index .Alerts 0).Annotations }}",
    "{{ and .Alerts.Firing 1 }}{{ or .CommonAnnotations 2 }}",
    "{{ index .CommonLabels \"job\" }}",
    "{{ eq .CommonLabels.job \"j\" \"k\" }}",
    "{{ .Nope }}",
    "{{ (index .Alerts 0).Nope }}",
    "{{ .Alerts.Nope }}",
    "{{ .CommonLabels.Remove }}",
    "{{ join 1 2 }}",
    "{{ toUpper .Alerts }}",
    "{{ index .Alerts 7 }}",
    "{{ unknown }}",
    "{{ template \"none\" . }}",
    "{{ .Status | }}",
];

const OF_MAILS: [&str; 13] = [
    "<p>{{ \"<i>+&\\\"'\" }}</p>",
    "<a href=\"{{ \"http://h/a b?x=1&y='2'\" }}\">",
    "<title>{{ \"<i>+\" }}</title>",
    "<a href=\"{{ \"javascript:1\" }}\">",
    "<a href=\"mailto:{{ \"a@b c\" }}\">",
    "{{ .CommonLabels.none }}{{ .CommonLabels.job }}.",
    "<br/>{{ 1.5 }}<hr>{{ \"é☺\" }}",
    "<a href=\"{{ \"\" }}x\">",
    "<a href=\"{{ \"/p/\" }}{{ \"a:b?c\" }}#{{ \"d e\" }}\">",
    "{{ safeHtml \"<b>\" }}{{ (index .Alerts 0).Labels.z }}",
    "<p title='{{ \"it's\" }}' class=\"{{ \"a b\" }}\">",
    "{{ range .Alerts }}<a href=\"{{ .GeneratorURL }}\">{{ .Annotations.summary }}</a>{{ end }}",
    "{{ define \"a\" }}<b>{{ . }}</b>{{ end }}{{ template \"a\" \"<\" }}",
];

#[test]
fn templates_of_notifications_render_as_amtool_does() {
    if !program("amtool", "prometheus-alertmanager") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty.tmpl"), "{{ define \"x\" }}X{{ end }}").unwrap();
    let mut set = Set::new(Flavour::Notification);
    let env = Env::new(now(), "http://am");
    let json = set.render_text("{{ toJson . }}", notification().try_into().unwrap(), &env).unwrap();
    std::fs::write(folder.path().join("data.json"), json).unwrap();
    set.parse("empty.tmpl", "{{ define \"x\" }}X{{ end }}").unwrap();
    let mails = OF_MAILS.iter().map(|text| (*text, Env { html: true, ..env }));
    let texts = OF_NOTIFICATIONS.iter().map(|text| (*text, env)).chain(mails);
    for (text, env) in texts {
        let run = Command::new("amtool")
            .args(["template", "render", "--template.glob=empty.tmpl", "--template.data=data.json"])
            .arg(format!("--template.type={}", if env.html { "html" } else { "text" }))
            .arg(format!("--template.text={text}"))
            .current_dir(&folder)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(if run.status.success() { &run.stdout } else { &run.stderr }).into_owned();
        let said = said.trim_start_matches("amtool: error: ").trim_end();
        let ours = set.render_text(text, notification().try_into().unwrap(), &env);
        let ours = ours.unwrap_or_else(|error| error.to_string());
        // What errors call the data differs: there it is no pointer.
        assert_eq!(ours.replace("*template.Data", "template.Data").trim_end(), said, "{text}");
    }
}

/// Debian's copy of the templates that Alertmanager has without being configured.
const OF_ALERTMANAGER: &str = "/usr/share/prometheus/alertmanager/default.tmpl";

#[test]
fn default_templates_of_alertmanager_render_as_amtool_does() {
    if !program("amtool", "prometheus-alertmanager") || !Path::new(OF_ALERTMANAGER).exists() {
        println!("SKIPPED: {OF_ALERTMANAGER} is not there, run: apt-get install prometheus-alertmanager");
        return;
    }
    let defaults = std::fs::read_to_string(OF_ALERTMANAGER).unwrap();
    let mut set = Set::new(Flavour::Notification);
    set.parse("default.tmpl", &defaults).unwrap();
    let env = Env::new(now(), "http://am");
    let folder = tempfile::tempdir().unwrap();
    let json = set.render_text("{{ toJson . }}", notification().try_into().unwrap(), &env).unwrap();
    std::fs::write(folder.path().join("data.json"), json).unwrap();
    let names = defaults.split("{{ define \"").skip(1).map(|rest| rest.split('"').next().unwrap());
    for name in names {
        let of_alerts = name.starts_with("__text_alert_list") || name == "pagerduty.default.instances";
        let text = format!("{{{{ template \"{name}\" {} }}}}", if of_alerts { ".Alerts" } else { "." });
        let run = Command::new("amtool")
            .args(["template", "render", "--template.data=data.json"])
            .args([format!("--template.glob={OF_ALERTMANAGER}"), format!("--template.text={text}")])
            .current_dir(&folder)
            .output()
            .unwrap();
        let ours = set.render_text(&text, notification().try_into().unwrap(), &env).unwrap();
        assert_eq!(ours, String::from_utf8_lossy(&run.stdout), "{name}");
    }
}

#[test]
fn default_templates_have_the_shape_that_users_know() {
    let mut set = Set::new(Flavour::Notification);
    set.parse("default.tmpl", DEFAULT).unwrap();
    let env = Env::new(now(), "http://am");
    let render = |text: &str| set.render_text(text, notification().try_into().unwrap(), &env).unwrap();
    assert_eq!(render("{{ template \"__subject\" . }}"), "[FIRING:2] Hot (j)");
    assert_eq!(
        render("{{ template \"slack.default.fallback\" . }}"),
        "[FIRING:2] Hot (j) | http://am/#/alerts?receiver=team"
    );
    assert_eq!(
        render("{{ template \"pagerduty.default.instances\" .Alerts.Resolved }}"),
        "Labels:\n - alertname = Hot\n - instance = c:1\n - job = j\nAnnotations:\n - summary = was\nSource: \n"
    );
    let html = Env { html: true, ..env };
    let mail = set.render("email.default.html", notification().try_into().unwrap(), &html).unwrap();
    assert!(mail.contains("<td>it&#39;s &lt;hot&gt;</td>") && mail.contains("<td>&lt;b&gt;</td>"), "{mail}");
    assert!(mail.contains("<a href=\"http://p/g?x=1&amp;y=2\">Source</a>"), "{mail}");
    assert!(!mail.contains("javascript:"), "{mail}");
    // Every one renders, with alerts and without.
    for name in DEFAULT.split("{{ define \"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        if name.starts_with("__") || name == "pagerduty.default.instances" {
            continue;
        }
        let mut data = notification();
        set.render(name, data.clone().try_into().unwrap(), &html).unwrap();
        data.alerts.clear();
        set.render(name, data.try_into().unwrap(), &env).unwrap();
    }
}

/// Templates of labels and annotations in a file of rules; none if it is no such file.
fn templates_of(path: &Path) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(path) else { return Vec::new() };
    let Ok(file) = serde_saphyr::from_str::<serde_json::Value>(&text) else { return Vec::new() };
    let mut found = Vec::new();
    for rule in
        file["groups"].as_array().into_iter().flatten().flat_map(|g| g["rules"].as_array().into_iter().flatten())
    {
        for part in ["labels", "annotations"] {
            let texts: BTreeMap<_, _> = rule[part].as_object().into_iter().flatten().collect();
            found.extend(texts.values().filter_map(|text| text.as_str()).map(str::to_owned));
        }
    }
    found
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") {
            found.push(entry);
        }
    }
}

/// Every template of these folders is read and rendered; how many there were.
fn read_all(folder: &Path) -> usize {
    let mut found = Vec::new();
    files(folder, &mut found);
    let mut count = 0;
    for path in found {
        for text in templates_of(&path) {
            let whole = rendered(&text, 12.5);
            let fails = whole.as_ref().err().map(ToString::to_string).unwrap_or_default();
            // The samples that a query would find are not there.
            let excused = fails.contains("first() called on vector with no elements")
                // Prometheus' own example of a file that is read; it does not render there either: the field is Labels.
                || (text.contains("$.labels") && fails.contains("can't evaluate field labels"));
            assert!(whole.is_ok() || excused, "{}: {text}\n{fails}", path.display());
            count += 1;
        }
    }
    count
}

#[test]
fn templates_of_rules_in_use_are_read_and_rendered() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let count = read_all(&here.join("tests/data/rules"));
    assert!(count > 100, "{count}");
    let shared = here.join("../../shared/data/alerting");
    if !shared.exists() {
        println!("SKIPPED: {} is not there, and with it thousands of rules in use", shared.display());
        return;
    }
    let count: usize = ["wikimedia-operations-alerts", "awesome-prometheus-alerts", "kubernetes-mixin"]
        .iter()
        .map(|corpus| read_all(&shared.join(corpus)))
        .sum();
    assert!(count > 3000, "{count}");
    println!("{count} templates in use render");
}
