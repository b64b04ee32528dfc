//! Templates beside Go's own, promtool and amtool.

use std::{collections::BTreeMap, fmt::Write as _};

use chrono::{DateTime, Utc};

use super::*;

fn now() -> DateTime<Utc> {
    "2026-11-05T04:03:09.12Z".parse().unwrap()
}

fn map<const N: usize>(items: [(&str, Value); N]) -> Value {
    Value::map(items.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<BTreeMap<_, _>>()).unwrap()
}

/// The data that the program had which wrote `go.jsonl`.
fn data_of_go() -> Value {
    let list = |items| Value::list(ListKind::Any, items).unwrap();
    map([
        ("s", Value::text("hi")),
        ("e", Value::text("")),
        ("uni", Value::text("héé☺\u{a0}\n\t\"q\"`")),
        ("n", Value::Int(42)),
        ("z", Value::Int(0)),
        ("neg", Value::Int(-7)),
        ("f", Value::Float(3.25)),
        ("big", Value::Float(1_234_567_890_123.0)),
        ("small", Value::Float(0.000_012_34)),
        ("t", Value::Bool(true)),
        ("nil", Value::Nil),
        ("l", list(vec![Value::text("a"), Value::Int(1), Value::Float(2.5), Value::Nil, Value::Bool(true)])),
        ("ss", Value::texts(["x", "y", "z"])),
        ("el", list(Vec::new())),
        ("m", map([("a", Value::text("x")), ("b", Value::Int(1)), ("c", map([("d", Value::text("deep"))]))])),
        ("lab", Value::Labels([("a", "1"), ("b", "2")].into_iter().collect())),
        ("time", now().into()),
        ("dur", Value::Duration(3_723_500_000_000)),
    ])
}

#[test]
fn templates_render_and_fail_as_in_go() {
    let cases = include_str!("../../tests/data/templates/go.jsonl");
    let (mut count, mut wrong) = (0, String::new());
    for line in cases.lines() {
        let (text, expected): (String, String) = serde_json::from_str(line).unwrap();
        let mut set = Set::new(Flavour::Notification);
        let rendered = set.parse("t", &text).and_then(|()| set.render("t", data_of_go(), &Env::new(now(), "")));
        let got = rendered.unwrap_or_else(|error| format!("ERROR {error}"));
        count += 1;
        if got != expected {
            writeln!(wrong, "{text}\n  want {expected:?}\n  got  {got:?}").unwrap();
        }
    }
    assert!(count > 1000, "{count}");
    assert!(wrong.is_empty(), "{wrong}");
}

fn rule(text: &str, value: f64) -> Result<String> {
    let mut set = Set::new(Flavour::Rule);
    set.parse("t", text)?;
    let data = RuleData {
        labels: [("__name__", "m"), ("a", "b")].into_iter().collect(),
        external_labels: [("region", "eu")].into_iter().collect(),
        external_url: "http://h:9090/p/".into(),
        value: Value::Float(value),
        values: Default::default(),
    };
    set.render("t", data.into(), &Env::new(now(), "http://h:9090/p/"))
}

/// For machines without `promtool`, which gave these.
#[test]
fn templates_of_rules_render_as_was_measured() {
    for (text, value, expected) in [
        ("{{ $labels.missing }}", 1.0, ""),
        ("{{ $labels }}", 1.0, "map[__name__:m a:b]"),
        ("{{ $value }}", 1_234_567_890_123.0, "1.234567890123e+12"),
        ("{{ $value }}", 0.000_012_34, "1.234e-05"),
        ("{{ humanize $value }}", 1_234_567_890_123.0, "1.235T"),
        ("{{ humanize $value }}", 0.000_012_34, "12.34u"),
        ("{{ humanizeDuration $value }}", 1_234_567_890_123.0, "14288980d 5h 2m 3s"),
        ("{{ humanizeDuration $value }}", 0.000_012_34, "12.34us"),
        ("{{ humanize1024 $value }}", 1_048_576.0, "1Mi"),
        ("{{ humanizePercentage $value }}", 0.123_456_7, "12.35%"),
        ("{{ humanizeTimestamp $value }}", 1_435_065_584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ $value }}", f64::NAN, "NaN"),
        ("{{ $value }}", f64::INFINITY, "+Inf"),
        ("{{ printf \"%.2f\" $value }}", 2.675, "2.67"),
        ("{{ printf \"%d\" $value }}", 3.0, "%!d(float64=3)"),
        ("{{ stripPort \"a:1\" }}{{ stripDomain \"a.b:1\" }}", 0.0, "aa:1"),
        ("{{ title \"aa bb\" }}", 0.0, "Aa Bb"),
        ("{{ parseDuration \"1h30m\" }}", 0.0, "5400"),
        ("{{ graphLink \"up > 1\" }}", 0.0, "/graph?g0.expr=up+%3E+1&g0.tab=0"),
        ("{{ reReplaceAll \"(.)(.)\" \"${2}$1\" \"ab\" }}", 0.0, "ba"),
        // Later than the measured version.
        ("{{ externalURL }} {{ pathPrefix }} {{ $externalURL }}", 0.0, "http://h:9090/p/ /p/ http://h:9090/p/"),
        ("{{ toDuration 90.5 }} {{ urlQueryEscape \"a b\" }} {{ now }}", 0.0, "1m30.5s a+b 1.79385138912e+09"),
        ("{{ $externalLabels.region }}{{ .ExternalLabels.region }}", 0.0, "eueu"),
    ] {
        assert_eq!(rule(text, value).unwrap_or_else(|error| error.to_string()), expected, "{text} of {value}");
    }
}

#[test]
fn errors_say_where_they_are() {
    for (text, expected) in [
        ("a\n{{ unknown }}", "template: t:2: function \"unknown\" not defined"),
        ("{{ $x }}", "template: t:1: undefined variable \"$x\""),
        (
            "\n  {{ .Labels.a.b }}",
            "template: t:2:12: executing \"t\" at <.Labels.a.b>: can't evaluate field b in type string",
        ),
        (
            "{{ tmpl \"a\" . }}",
            "template: t:1:3: executing \"t\" at <tmpl \"a\" .>: error calling tmpl: tmpl is known in consoles only",
        ),
        (
            "{{ query \"up\" }}",
            "template: t:1:3: executing \"t\" at <query \"up\">: error calling query: queries cannot be asked here",
        ),
        (
            "{{ toUpper }}",
            "template: t:1:3: executing \"t\" at <toUpper>: wrong number of args for toUpper: want 1 got 0",
        ),
    ] {
        assert_eq!(rule(text, 1.0).unwrap_err().to_string(), expected, "{text:?}");
    }
}

fn notified(text: &str) -> Result<String> {
    let data = NotificationData {
        receiver: "r".into(),
        alerts: Vec::new(),
        group_labels: [("alertname", "X"), ("a", "1")].into_iter().collect(),
        route_labels: [("team", "core")].into_iter().collect(),
        external_url: "http://am".into(),
        reason: "repeat".into(),
    };
    Set::new(Flavour::Notification).render_text(text, data.try_into()?, &Env::new(now(), "http://am"))
}

/// Functions later than the version of `amtool` that the other test asks.
#[test]
fn functions_of_notifications_do_as_documented() {
    for (text, expected) in [
        ("{{ .GroupLabels }}|{{ .GroupLabels.SortedPairs }}", "alertname=X, a=1|alertname=X, a=1"),
        ("{{ .GroupLabels.Names }}{{ .GroupLabels.Values }}", "[alertname a][X 1]"),
        ("{{ routeLabels \"team\" }}{{ .RouteLabels.team }}{{ routeLabels \"x\" }}", "corecore"),
        ("{{ .NotificationReason }}", "repeat"),
        ("{{ trimSpace \" a \\n\" }}.", "a."),
        ("{{ urlUnescape \"a%20b+c%2F\" }}", "a b c/"),
        ("{{ list 1 \"a\" }}{{ append (list 1) 2 3 }}{{ len (list) }}", "[1 a][1 2 3]0"),
        ("{{ $d := dict \"a\" 1 \"b\" (list 2) }}{{ $d.a }}{{ $d.b }}{{ $d.c }}", "1[2]<no value>"),
        ("{{ date \"2006-01-02 15:04 MST\" now }}", "2026-11-05 04:03 UTC"),
        ("{{ now | tz \"Europe/Paris\" | date \"15:04 MST -0700\" }}", "05:03 CET +0100"),
        ("{{ now | tz \"Asia/Kolkata\" }}", "2026-11-05 09:33:09.12 +0530 IST"),
        ("{{ since (toDate \"2006-01-02\" \"2026-11-05\") }}", "4h3m9.12s"),
        ("{{ since (toDate \"2006-01-02\" \"2026-11-05\") | humanizeDuration }}", "4h 3m 9s"),
        ("{{ (toDate \"Jan 2 2006 3:04PM -0700\" \"Nov 5 2026 4:30PM +0200\").UTC }}", "2026-11-05 14:30:00 +0000 UTC"),
        ("{{ (toDate \"2006\" \"no\").IsZero }}", "true"),
        ("{{ humanizeDuration 61.0 }}{{ humanizeDuration 3700 }}", "1m 1s1h 1m 40s"),
        ("{{ base64encode \"a?>b\" }} {{ base64decode \"YT8-Yg==\" }}", "YT8-Yg== a?>b"),
        (
            "{{ toJson (dict \"b\" (list 1 2.5 true nil \"<&\\\"\") \"a\" 1e21) }}",
            "{\"a\":1e+21,\"b\":[1,2.5,true,null,\"\\u003c\\u0026\\\"\"]}",
        ),
        ("{{ toJson .GroupLabels }}{{ toJson now }}", "{\"a\":\"1\",\"alertname\":\"X\"}\"2026-11-05T04:03:09.12Z\""),
        (
            "{{ money \"1234567.891\" }} {{ money \"-0.125\" \"USD\" }} {{ money \"999999.995\" }}",
            "1,234,567.89 USD -0.12 1,000,000.00",
        ),
        (
            "{{ money \"0.135\" }} {{ money \".5\" }} {{ money \"-0.001\" }} {{ money 12 \"EUR\" }} {{ money 1.5 }}",
            "0.14 0.50 0.00 EUR 12.00 1.50",
        ),
        ("{{ money \"123456789012345678901234567890.125\" }}", "123,456,789,012,345,678,901,234,567,890.12"),
    ] {
        assert_eq!(notified(text).unwrap_or_else(|error| error.to_string()), expected, "{text}");
    }
    for wrong in [
        "{{ money \"1,5\" }}",
        "{{ money \"\" }}",
        "{{ money \".\" }}",
        "{{ dict 1 }}",
        "{{ dict 1 2 }}",
        "{{ now | tz \"Nowhere\" }}",
        "{{ mustToDate \"2006\" \"x\" }}",
        "{{ base64decode \"?\" }}",
        "{{ urlUnescape \"%zz\" }}",
        "{{ reReplaceAll \"(\" \"\" \"\" }}",
        "{{ append 1 2 }}",
        "{{ toJson (index (list 1 2) 5) }}",
        "{{ query \"up\" }}",
    ] {
        notified(wrong).unwrap_err();
    }
}

#[test]
fn what_is_too_much_is_an_error_and_no_hang() {
    let deep = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    for (text, expected) in [
        ("{{ range 1000000000 }}x{{ end }}".into(), "too many steps"),
        ("{{ range 1000000000 }}{{ end }}".into(), "too many steps"),
        ("{{ define \"a\" }}{{ template \"a\" }}{{ end }}{{ template \"a\" }}".into(), "too deep"),
        ("{{ define \"a\" }}{{ if true }}{{ with 1 }}{{ template \"a\" (print ((1))) }}{{ end }}{{ end }}{{ end }}{{ template \"a\" }}".into(), "too deep"),
        (
            (0..60).map(|nth| format!("{{{{ define \"{nth}\" }}}}{{{{ template \"{}\" }}}}{{{{ template \"{}\" }}}}{{{{ end }}}}", nth + 1, nth + 1)).collect::<String>()
                + "{{ define \"60\" }}{{ end }}{{ template \"0\" }}",
            "too many steps",
        ),
        ("{{ printf \"%1000000d\" 1 }}".into(), "too large"),
        ("{{ printf \"%*d\" 1000000 1 }}".into(), "too large"),
        ("{{ printf \"%.1000000f\" 1.0 }}".into(), "too large"),
        ("{{ $x := \"abcdefgh\" }}{{ range 100 }}{{ $x = print $x $x }}{{ end }}".into(), "too long"),
        ("{{ $x := printf \"%1000d\" 1 }}{{ range 10000 }}{{ $x }}{{ end }}".into(), "too long"),
        ("{{ $l := list }}{{ range 100000 }}{{ $l = append $l 1 }}{{ end }}".into(), "makes too much"),
        ("{{ $l := list 1 }}{{ range 100000 }}{{ $l = list $l $l }}{{ end }}".into(), "nest too deep"),
        ("{{ $l := list 1 }}{{ range 30 }}{{ $l = list $l $l }}{{ end }}{{ $l }}".into(), "too long"),
        ("{{ $l := list 1 }}{{ range 30 }}{{ $l = list $l $l }}{{ end }}{{ toJson $l }}".into(), "too long"),
        ("{{ $x := printf \"%1000d\" 1 }}{{ reReplaceAll \"\" (print $x $x $x $x) $x }}".into(), "too long"),
        ("{{ range 100000 }}{{ $x := match (printf \"a{%d}\" .) \"x\" }}{{ end }}".into(), "makes too much"),
        (deep("{{ if ", " }}{{ end }}", 1), ""),
        (deep("{{ if true }}", "{{ end }}", 10_000), "nest too deep"),
        (format!("{{{{ {} }}}}", deep("(", ")", 10_000)), "nest too deep"),
        (format!("{{{{ {} }}}}", deep("(print ", ")", 10_000)), "nest too deep"),
        ("{{ $x := 1 }}".repeat(2_000), "too many variables"),
        ((0..2_000).map(|nth| format!("{{{{ define \"{nth}\" }}}}x{{{{ end }}}}")).collect(), "too many templates"),
        ("{{ printf `".to_owned() + &"%[".repeat(200_000) + "` 1 }}", ""),
        (format!("{{{{ if 0 }}}}{}{{{{ end }}}}", "{{ else if 0 }}".repeat(10_000)), "nest too deep"),
    ] {
        match notified(&text) {
            Ok(_) => assert!(expected.is_empty(), "{}", &text[..text.len().min(100)]),
            Err(error) => assert!(!expected.is_empty() && error.to_string().contains(expected), "{expected}: {error:.300}"),
        }
    }
    let many = |_: &str| Ok(Vec::new());
    let mut set = Set::new(Flavour::Rule);
    set.parse("t", "{{ range query \"x\" }}{{ end }}".repeat(101).as_str()).unwrap();
    let env = Env { query: Some(&many), ..Env::new(now(), "") };
    assert!(set.render("t", Value::Nil, &env).unwrap_err().to_string().contains("too many queries"));
    let env = Env { bytes_max: 3, ..env };
    set.parse("t", "{{ print 12 }}34").unwrap();
    assert!(set.render("t", Value::Nil, &env).unwrap_err().to_string().contains("too long"));
}

#[test]
fn later_definitions_take_the_place_of_earlier_ones() {
    let mut set = Set::new(Flavour::Notification);
    set.parse("one", "{{ define \"a\" }}1{{ end }}{{ define \"b\" }}[{{ template \"a\" }}]{{ end }}").unwrap();
    set.parse("two", "{{ define \"a\" }}2{{ end }}").unwrap();
    set.parse("three", "{{ define \"a\" }} {{ end }}").unwrap();
    set.parse("four", "{{ define \"a\" }}4{{ end }}{{ unknown }}").unwrap_err();
    let env = Env::new(now(), "");
    assert_eq!(set.render("b", Value::Nil, &env).unwrap(), "[2]");
    assert_eq!(set.render_text("{{ template \"b\" }}!", Value::Nil, &env).unwrap(), "[2]!");
    assert_eq!(set.render_text("", Value::Nil, &env).unwrap(), "");
    assert!(set.contains("a") && !set.contains("c"));
    set.render("c", Value::Nil, &env).unwrap_err();
}

#[test]
fn html_is_escaped_for_where_it_stands() {
    let env = Env { html: true, ..Env::new(now(), "") };
    let data = map([
        ("x", Value::text("<i>\"it's\" & a+b")),
        ("js", Value::text("javascript:alert(1)")),
        ("url", Value::text("http://h/a b?x=1&y=\"2\"")),
        ("nil", Value::Nil),
        ("java", Value::text("java")),
        ("script", Value::text("script:alert(1)")),
    ]);
    let render = |text: &str| Set::new(Flavour::Notification).render_text(text, data.clone(), &env);
    for (text, expected) in [
        ("<p>{{ .x }}</p>", "<p>&lt;i&gt;&#34;it&#39;s&#34; &amp; a&#43;b</p>"),
        ("<p title=\"{{ .x }}\">", "<p title=\"&lt;i&gt;&#34;it&#39;s&#34; &amp; a&#43;b\">"),
        ("<a href=\"{{ .url }}\">", "<a href=\"http://h/a%20b?x=1&amp;y=%222%22\">"),
        ("<a href='{{ .java }}{{ .script }}'>", "<a href='java#ZgotmplZ'>"),
        ("<a href='/x?{{ .java }}&y={{ .script }}'>", "<a href='/x?java&y=script%3Aalert%281%29'>"),
        ("<!-- {{ .x }} -->{{ .java }}", "<!--  -->java"),
        ("<a href='{{ .js }}'>", "<a href='#ZgotmplZ'>"),
        ("<a HREF = \"{{ .js }}\">", "<a HREF = \"#ZgotmplZ\">"),
        ("<a href={{ .js }}>", "<a href=&#35;ZgotmplZ>"),
        ("<a href=\"/x?q={{ .x }}\">", "<a href=\"/x?q=%3Ci%3E%22it%27s%22%20%26%20a%2Bb\">"),
        ("<p title={{ .x }}>", "<p title=&#60;i&#62;&#34;it&#39;s&#34;&#32;&#38;&#32;a&#43;b>"),
        ("{{ safeHtml \"<b>\" }}{{ .nil }}{{ .none }}", "<b>"),
        ("<b title=\"{{ safeHtml \"<b>\" }}\">", "<b title=\"&lt;b&gt;\">"),
        (
            "<title>{{ .x }}</title><p>{{ .x }}",
            "<title>&lt;i&gt;&#34;it&#39;s&#34; &amp; a&#43;b</title><p>&lt;i&gt;&#34;it&#39;s&#34; &amp; a&#43;b",
        ),
        ("<script>1 < 2</script>{{ .x }}", "<script>1 < 2</script>&lt;i&gt;&#34;it&#39;s&#34; &amp; a&#43;b"),
        ("1 < 2 {{ .js }}", "1 < 2 javascript:alert(1)"),
    ] {
        assert_eq!(render(text).unwrap_or_else(|error| error.to_string()), expected, "{text}");
    }
    for text in [
        "<script>{{ .x }}</script>",
        "<style>{{ .x }}</style>",
        "<p onclick=\"{{ .x }}\">",
        "<p style='{{ .x }}'>",
        "<{{ .x }}>",
        "<p {{ .x }}>",
        "<p {{ .x }}=1>",
        "<iframe srcdoc=\"{{ .x }}\">",
        "<SCRIPT a>{{ .x }}",
        "<p onmouseover={{ .x }}>",
    ] {
        render(text).unwrap_err();
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(\\{\\{-?|-?\\}\\}|[ .$|()\"`':=,]|if |end|range |with |else|define |x|\\$x|\\.a|1|0x|nil|print |\n|/\\*|\\*/|é){0,24}") {
        let _ = notified(&text);
        let _ = rule(&text, 1.0);
    }

    #[test]
    fn any_format_prints_or_is_refused(format in "(%|[#0+\\- ]|[0-9]|[.*\\[\\]]|[a-zA-Z]|é){0,12}") {
        let values = [Value::Int(-5), Value::text("é\u{0}"), Value::Float(-1.5e-7), Value::Nil, Value::texts(["a"])];
        for value in values {
            let _ = format::printf(&format, &[value, Value::Int(3)], 10_000);
        }
    }

    #[test]
    fn values_in_html_open_no_tag(value in "[<>\"'&=a-z:/ +]{0,20}") {
        let env = Env { html: true, ..Env::new(now(), "") };
        let data = map([("x", Value::text(value))]);
        let text = "<a href=\"{{ .x }}\" title='{{ .x }}' id={{ .x }}>{{ .x }}</a>";
        let html = Set::new(Flavour::Notification).render_text(text, data, &env).unwrap();
        assert_eq!((html.matches('<').count(), html.matches('>').count(), html.matches('"').count()), (2, 2, 2), "{html}");
        assert!(html.matches('\'').count() == 2 && html.matches('=').count() >= 3, "{html}");
    }
}
