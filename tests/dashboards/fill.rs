//! Fills in what a dashboard leaves open, as Grafana does before it asks: variables first, in its formats, then the macros of its data source for
//! PostgreSQL.
//!
//! What no variable and no macro is called stays as it is written; the caller asserts that nothing does.

use std::collections::BTreeMap;

/// What is filled in: values of variables by name, and the shown range.
pub struct Filling {
    pub variables: BTreeMap<String, Variable>,
    /// Seconds since the epoch.
    pub from: i64,
    pub to: i64,
    /// Seconds between two points of a panel.
    pub step: i64,
}

/// What is chosen of a variable.
#[derive(Debug, Clone, Default)]
pub struct Variable {
    pub values: Vec<String>,
    /// May more than one be chosen? Values of such are escaped by the data source.
    pub is_multi: bool,
    /// What stands for all of them, as it is written.
    pub all: Option<String>,
}

impl Variable {
    pub fn one(value: &str) -> Self {
        Self { values: vec![value.to_owned()], ..Self::default() }
    }
}

/// A name in a text: where it begins and ends, its name, and its format.
struct Named {
    begin: usize,
    end: usize,
    name: String,
    format: Option<String>,
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// The next `$name`, `${name}` or `${name:format}` from `at` on.
fn next(text: &str, at: usize) -> Option<Named> {
    let begin = at + text[at..].find('$')?;
    let rest = &text[begin + 1..];
    if let Some(inner) = rest.strip_prefix('{')
        && let Some(end) = inner.find('}')
    {
        let (name, format) = inner[..end]
            .split_once(':')
            .map_or((&inner[..end], None), |(name, format)| (name, Some(format.to_owned())));
        return Some(Named { begin, end: begin + 2 + end + 1, name: name.to_owned(), format });
    }
    let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    Some(Named { begin, end: begin + 1 + length, name: rest[..length].to_owned(), format: None })
}

/// Names of all variables and macros in a text.
pub fn names(text: &str) -> Vec<String> {
    let (mut at, mut names) = (0, Vec::new());
    while let Some(named) = next(text, at) {
        at = named.end;
        names.push(named.name);
    }
    names
}

impl Filling {
    /// The text with its variables; `$__interval` and its kin are variables too.
    pub fn fill(&self, text: &str) -> String {
        let (mut at, mut out) = (0, String::new());
        while let Some(Named { begin, end, name, format }) = next(text, at) {
            out += &text[at..begin];
            out += &self.value(&name, format.as_deref()).unwrap_or_else(|| text[begin..end].to_owned());
            at = end;
        }
        out + &text[at..]
    }

    fn value(&self, name: &str, format: Option<&str>) -> Option<String> {
        // With an interval of scrapes of a minute, which is what the data source is told in `provisioning`.
        match name {
            "__interval" => return Some(format!("{}s", self.step)),
            "__rate_interval" => return Some(format!("{}s", (self.step + 60).max(240))),
            "__range" => return Some(format!("{}s", self.to - self.from)),
            _ => {}
        }
        let Variable { values, is_multi, all } = self.variables.get(name)?;
        if let Some(all) = all {
            return Some(all.clone());
        }
        Some(match format {
            Some("raw") => values.join(","),
            Some("sqlstring") => {
                let quoted = values.iter().map(|value| format!("'{}'", value.replace('\'', "''")));
                quoted.collect::<Vec<_>>().join(",")
            }
            Some(format) => panic!("{name}: the format {format} is none that these dashboards need"),
            None if *is_multi => {
                let escape = |value: &String| {
                    value.chars().fold(String::new(), |mut out, c| {
                        if "\\^$*+?.()|[]{}".contains(c) {
                            out += "\\\\";
                        }
                        out.push(c);
                        out
                    })
                };
                let escaped: Vec<_> = values.iter().map(escape).collect();
                if let [one] = &escaped[..] { one.clone() } else { format!("({})", escaped.join("|")) }
            }
            None => values.join(","),
        })
    }

    /// SQL as it is sent.
    pub fn sql(&self, text: &str) -> String {
        let text = self.fill(text);
        let (mut rest, mut out) = (text.as_str(), String::new());
        while let Some(begin) = rest.find("$__") {
            out += &rest[..begin];
            rest = &rest[begin + 1..];
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let name = &rest[..length];
            // Its arguments end at the first bracket, whatever is in them.
            let arguments = rest[length..].strip_prefix('(').and_then(|inner| inner.split_once(')'));
            let Some((arguments, after)) = arguments else { panic!("${name} has no arguments: {text}") };
            let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
            out += &self.expand(name, &arguments);
            rest = after;
        }
        out + rest
    }

    fn expand(&self, name: &str, arguments: &[&str]) -> String {
        let time = |seconds: i64| chrono::DateTime::from_timestamp(seconds, 0).unwrap().format("'%Y-%m-%dT%H:%M:%SZ'");
        let group = || {
            let seconds = seconds(arguments[1].trim_matches(['\'', '"']));
            format!("floor(extract(epoch from {})/{seconds})*{seconds}", arguments[0])
        };
        match name {
            "__time" => format!("{} AS \"time\"", arguments[0]),
            "__timeFilter" => format!("{} BETWEEN {} AND {}", arguments[0], time(self.from), time(self.to)),
            "__timeFrom" => time(self.from).to_string(),
            "__timeTo" => time(self.to).to_string(),
            "__timeGroup" => group(),
            "__timeGroupAlias" => format!("{} AS \"time\"", group()),
            _ => panic!("${name} is no macro of Grafana's that these dashboards need"),
        }
    }
}

/// Seconds of a duration of one unit, such as `5m`.
pub fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => panic!("{text} is no duration"),
    };
    number.parse::<i64>().unwrap() * unit
}

#[test]
fn names_are_filled_as_grafana_does() {
    let several = Variable { values: vec!["a.b".into(), "it's".into()], is_multi: true, all: None };
    let all = Variable { all: Some(".+".into()), ..several.clone() };
    let variables = [("team", several), ("job", all), ("metric", Variable::one("orders"))];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).into();
    let filling = Filling { variables, from: 1_795_305_600, to: 1_795_348_800, step: 60 };
    let expr = r#"rate($metric{team=~"$team", job=~"$job"}[$__rate_interval])"#;
    assert_eq!(filling.fill(expr), r#"rate(orders{team=~"(a\\.b|it's)", job=~".+"}[240s])"#);
    assert_eq!(
        filling.sql("SELECT $__timeGroupAlias(at,$__interval) WHERE team IN (${team:sqlstring}) AND $__timeFilter(at)"),
        "SELECT floor(extract(epoch from at)/60)*60 AS \"time\" WHERE team IN ('a.b','it''s') \
         AND at BETWEEN '2026-11-22T00:00:00Z' AND '2026-11-22T12:00:00Z'"
    );
    assert_eq!(filling.sql("CAST($__timeTo() AS TIMESTAMP)"), "CAST('2026-11-22T12:00:00Z' AS TIMESTAMP)");
    assert_eq!(names("$a + ${b:raw} $__range"), ["a", "b", "__range"]);
}
