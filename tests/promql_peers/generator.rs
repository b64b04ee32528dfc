//! Random queries over the series of [`data`](super::data), with data behind them more often than not.
//!
//! What an expression promises is kept beside its text. Numbers that may differ in their last digits go only where a
//! small difference stays small: not into comparisons, remainders or roundings, and not into differences.
//!
//! Left out, as Prometheus 3 answers in another way than 2.42 does:
//! - sample times at the begin of a range, since ranges are open there: samples are 7 s past, and subqueries longer
//!   than their steps;
//! - `offset 0s`, which 2.42 refuses; `holt_winters`, which has another name;
//! - `atan2` of series with a name, which 2.42 keeps;
//! - `predict_linear` of a range with `@`, of which 2.42 gives the first step only;
//! - `stddev`, `stdvar` and quantiles of what may be NaN or infinite;
//! - comparisons of series that have several partners, which 2.42 refuses only if more than one of them is left;
//! - `count_values` with a label that comes before one of the groups' or is one of them, by which 2.42 loses labels.
//!
//! Left out, as no version has a rule for it or keeps to its rule:
//! - which ones of equal values `topk` takes;
//! - `timestamp` of a selector with both `@` and an offset, of which Prometheus forgets the offset;
//! - `@` inside of a subquery with modifiers: where the subquery happens to begin with the range of the query,
//!   Prometheus looks for samples at another time.

use crate::support::random::Random;

use super::queries::Query;

/// What an expression promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    /// Sums of its values are exact.
    Summable,
    /// Its values are the same to the last bit.
    Same,
    /// Its values are nearly the same.
    Near,
}
use Level::{Near, Same, Summable};

type Made = (String, Level);

/// A metric, and matchers that find some of its series.
struct Metric {
    name: &'static str,
    matchers: &'static [&'static str],
}

const COUNTERS: [Metric; 6] = [
    Metric {
        name: "requests_total",
        matchers: &[
            "job=\"api\"",
            "job=~\"api|web\"",
            "job!=\"db\"",
            "code!~\"4..\"",
            "code=~\"5.*\"",
            "instance=\"a:1\"",
            "method=\"GET\"",
            "nothing=\"\"",
            "code=~\".+\"",
        ],
    },
    Metric {
        name: "failures_total",
        matchers: &["job=\"api\"", "job=~\"w.*\"", "code!=\"200\"", "instance=~\"[ab]:1\""],
    },
    Metric { name: "latency_seconds_count", matchers: &["job=\"web\"", "instance=\"a:1\""] },
    Metric { name: "latency_seconds_sum", matchers: &["job=\"web\"", "instance=\"a:1\""] },
    Metric { name: "pod_cpu_seconds_total", matchers: &["node=\"n1\"", "pod=~\"pod-1.?\"", "node!~\"n[02]\""] },
    Metric {
        name: "latency_seconds_bucket",
        matchers: &["job=\"api\"", "le=\"+Inf\"", "le=~\"0.*\"", "le!=\"0.1\"", "instance!~\"c.*\""],
    },
];

const GAUGES: [Metric; 9] = [
    Metric {
        name: "temperature_celsius",
        matchers: &["room=\"süd\"", "room=~\"...\"", "kind!=\"min\"", "room=~\"hall 1|東\"", "kind=~\"m.*\""],
    },
    Metric { name: "gaps", matchers: &["half=\"odd\"", "n!=\"3\"", "half!=\"odd\""] },
    Metric { name: "stale", matchers: &["n=~\"[0-5]\"", "n=\"1\""] },
    Metric { name: "constant", matchers: &["n!=\"0\""] },
    Metric { name: "up", matchers: &["job=\"db\"", "instance=\"b:1\"", "job!~\"api\""] },
    Metric { name: "pod_memory_bytes", matchers: &["node=\"n1\"", "pod=~\"pod-[1-3].?\"", "node=~\"n1|n3\""] },
    Metric { name: "single", matchers: &["n=~\"1|2\""] },
    Metric { name: "build_info", matchers: &["version=\"1.1\"", "job=\"api\"", "goversion=~\"go1.*\""] },
    Metric { name: "text_info", matchers: &["text=\"é\"", "text=~\"[a-zé]\"", "text!=\" \"", "text=~\"a.b\""] },
];

const ODD: Metric = Metric { name: "odd", matchers: &["kind!=\"0\"", "kind=~\"[5-7]\"", "kind=\"4\""] };

const LABELS: [&str; 13] =
    ["job", "instance", "code", "method", "le", "node", "pod", "room", "kind", "n", "version", "nothing", "half"];

const COMPARISONS: [&str; 6] = ["==", "!=", ">", "<", ">=", "<="];

/// Makes queries.
pub struct Generator(pub Random);

impl Generator {
    /// The next query.
    pub fn query(&mut self) -> Query {
        if self.chance(3) {
            let (text, level) = self.scalar(3);
            return Query { text, near: level == Near, sorted: false };
        }
        let depth = self.one(&[1, 2, 2, 3, 3, 4]);
        let odd = self.chance(30);
        let (text, level) = self.vector(depth, odd);
        // What is sorted inside of something else is not any more.
        let sorted = ["sort(", "sort_desc(", "topk(", "bottomk("].iter().any(|begin| text.starts_with(begin));
        Query {
            sorted: sorted && level != Near && !text.contains(") by ") && !text.contains(") without "),
            near: level == Near,
            text,
        }
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.0.below(of.len() as u64)).expect("few")]
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.0.below(100) < percent
    }

    /// A vector; with `odd`, maybe of numbers that are huge, tiny or none.
    fn vector(&mut self, depth: u32, odd: bool) -> Made {
        if depth == 0 {
            return if self.chance(70) { self.selector(odd) } else { self.of_counter() };
        }
        match self.0.below(20) {
            0 => self.selector(odd),
            1 | 2 => self.of_counter(),
            3..=5 => self.over_time(depth, odd),
            6..=10 => self.aggregation(depth, odd),
            11..=15 => self.binary(depth, odd),
            _ => self.function(depth, odd),
        }
    }

    /// A vector whose values are the same to the last bit.
    fn exact(&mut self, depth: u32, odd: bool) -> Made {
        for _ in 0..8 {
            let made = self.vector(depth, odd);
            if made.1 <= Same {
                return made;
            }
        }
        self.selector(odd)
    }

    /// A vector of numbers that are finite.
    fn finite(&mut self) -> Made {
        if self.chance(50) { self.selector(false) } else { self.of_counter() }
    }

    fn metric(&mut self, odd: bool) -> &'static Metric {
        if odd && self.chance(20) {
            &ODD
        } else if self.chance(50) {
            self.one(&COUNTERS.each_ref())
        } else {
            self.one(&GAUGES.each_ref())
        }
    }

    fn series_of(&mut self, metric: &Metric) -> String {
        let mut matchers: Vec<String> = Vec::new();
        for _ in 0..self.0.below(3) {
            let matcher = self.one(metric.matchers).to_owned();
            if !matchers.contains(&matcher) {
                matchers.push(matcher);
            }
        }
        let name = metric.name;
        if self.chance(4) {
            matchers.insert(0, format!("__name__=\"{name}\""));
        } else if self.chance(4) {
            matchers.insert(0, format!("__name__=~\"{}.*\"", &name[..name.len() - 2]));
        } else if matchers.is_empty() {
            return name.to_owned();
        } else {
            return format!("{name}{{{}}}", matchers.join(", "));
        }
        format!("{{{}}}", matchers.join(", "))
    }

    fn modifiers(&mut self) -> String {
        let mut text = String::new();
        if self.chance(15) {
            text +=
                self.one(&[" offset 1m", " offset 5m", " offset 90s", " offset -2m", " offset 20m", " offset -45s"]);
        }
        if self.chance(8) {
            text += self.one(&[" @ start()", " @ end()", " @ EARLY", " @ LATE"]);
        }
        text
    }

    fn selector(&mut self, odd: bool) -> Made {
        let metric = self.metric(odd);
        (self.series_of(metric) + &self.modifiers(), if metric.name == ODD.name { Same } else { Summable })
    }

    fn range_of(&mut self, metric: &Metric) -> String {
        let series = self.series_of(metric);
        let range = self.one(&["15s", "30s", "45s", "75s", "1m", "2m", "5m", "10m", "20m"]);
        format!("{series}[{range}]")
    }

    fn subquery(&mut self, of: &str) -> String {
        let range = self.one(&["68s", "128s", "307s", "607s", "1328s"]);
        let step = self.one(&["", "15s", "30s", "45s", "1m", "2m"]);
        let modifiers = if of.contains('@') { String::new() } else { self.modifiers() };
        format!("{}[{range}:{step}]{modifiers}", enclosed(of))
    }

    fn of_counter(&mut self) -> Made {
        let metric = self.one(&COUNTERS.each_ref());
        let name = self.one(&["rate", "increase", "rate", "increase", "irate", "resets", "delta", "idelta"]);
        let of = if self.chance(12) {
            let of = self.series_of(metric) + &self.modifiers();
            self.subquery(&of)
        } else {
            self.range_of(metric) + &self.modifiers()
        };
        (format!("{name}({of})"), if name == "resets" { Summable } else { Same })
    }

    fn over_time(&mut self, depth: u32, odd: bool) -> Made {
        let metric = self.metric(odd);
        let is_odd = metric.name == ODD.name;
        let nested = !is_odd && self.chance(30);
        let (of, level) = if nested {
            let (of, level) = self.vector(depth - 1, false);
            (self.subquery(&of), level)
        } else {
            (self.range_of(metric) + &self.modifiers(), if is_odd { Same } else { Summable })
        };
        match self.0.below(if level == Near { 7 } else { 14 }) {
            0 => (format!("{}_over_time({of})", self.one(&["min", "max", "last"])), level),
            1 => (format!("{}_over_time({of})", self.one(&["count", "present"])), Summable),
            2 => (format!("absent_over_time({of})"), Summable),
            3 if !is_odd && !nested => {
                (format!("quantile_over_time({}, {of})", self.one(&["0", "0.25", "0.5", "0.9", "1"])), level.max(Same))
            }
            4 if !is_odd => (format!("sum_over_time({of})"), level),
            5 if !is_odd => (format!("avg_over_time({of})"), Near),
            7 => (format!("{}({of})", self.one(&["changes", "resets"])), Summable),
            8 if !is_odd && !of.contains('@') => {
                (format!("predict_linear({of}, {})", self.one(&["60", "3600", "-600", "0"])), Same)
            }
            9 if !is_odd => (format!("deriv({of})"), Same),
            10 if !is_odd && !nested => {
                (format!("{}({of})", self.one(&["stddev_over_time", "stdvar_over_time"])), Same)
            }
            11 => (format!("idelta({of})"), Same),
            _ => (format!("max_over_time({of})"), level),
        }
    }

    fn labels(&mut self, most: u64) -> String {
        let mut names: Vec<&str> = Vec::new();
        for _ in 0..=self.0.below(most) {
            names.push(self.one(&LABELS));
        }
        names.sort_unstable();
        names.dedup();
        names.join(", ")
    }

    fn aggregation(&mut self, depth: u32, odd: bool) -> Made {
        let grouping = match self.0.below(5) {
            0 => String::new(),
            1 => format!(" without ({})", self.labels(2)),
            2 => " by ()".to_owned(),
            _ => format!(" by ({})", self.labels(3)),
        };
        let (name, (of, level)) = match self.0.below(13) {
            0..=2 => {
                let (of, level) = self.vector(depth - 1, false);
                ("sum", (of, if level == Summable { Summable } else { Near }))
            }
            3 | 4 => ("avg", (self.vector(depth - 1, false).0, Near)),
            5 => (self.one(&["min", "max"]), self.vector(depth - 1, odd)),
            6 => (self.one(&["count", "group"]), (self.vector(depth - 1, odd).0, Summable)),
            7 => (self.one(&["stddev", "stdvar"]), (self.finite().0, Near)),
            8 | 9 => (self.one(&["topk", "bottomk"]), self.ranked()),
            10 | 11 => {
                let (of, level) = self.finite();
                let q = self.one(&["0.5", "0.9", "0", "1", "1.5", "-0.5", "0.33"]);
                ("quantile", (format!("{q}, {of}"), level.max(Same)))
            }
            _ => {
                let of = self.one(&["up", "stale", "requests_total", "build_info", "constant", "odd"]);
                ("count_values", (format!("\"z\", {of}"), Summable))
            }
        };
        let text = if self.chance(50) { format!("{name}({of}){grouping}") } else { format!("{name}{grouping}({of})") };
        (text, level)
    }

    /// What has no equal values.
    fn ranked(&mut self) -> Made {
        let k = self.one(&["1", "2", "3", "5", "0", "-1"]);
        let of = self.one(&["latency_seconds_sum", "pod_memory_bytes", "pod_memory_bytes{node=\"n1\"} / 1024"]);
        (format!("{k}, {of}{}", if of.ends_with("1024") { String::new() } else { self.modifiers() }), Same)
    }

    fn scalar(&mut self, depth: u32) -> Made {
        match self.0.below(if depth == 0 { 5 } else { 11 }) {
            0..=3 => {
                let numbers =
                    ["0", "1", "2", "0.5", "-1", "10", "100", "1e3", "1e-3", "Inf", "-Inf", "NaN", "0x1F", "60"];
                (self.one(&numbers).to_owned(), Same)
            }
            4 => ("time()".to_owned(), Same),
            5 => ("pi()".to_owned(), Same),
            6 => (
                format!("scalar({})", self.one(&["single", "constant{n=\"3\"}", "up{job=\"db\", instance=\"a:1\"}"])),
                Same,
            ),
            7 => (format!("scalar({}({}))", self.one(&["max", "count", "min"]), self.exact(depth - 1, false).0), Same),
            8 => {
                let (of, _) = self.scalar(depth - 1);
                (format!("-{}", enclosed(&of)), Same)
            }
            9 => {
                let (one, other) = (self.scalar(depth - 1).0, self.scalar(depth - 1).0);
                (format!("({one} {} bool {other})", self.one(&COMPARISONS)), Same)
            }
            _ => {
                let (one, other) = (self.scalar(depth - 1).0, self.scalar(depth - 1).0);
                (format!("({one} {} {other})", self.one(&["+", "-", "*", "/", "%"])), Same)
            }
        }
    }

    /// An operator, what its answer promises, for values with a promise.
    fn operator(&mut self, level: Level) -> (String, Level) {
        if level == Near {
            return (self.one(&["*", "/"]).to_owned(), Near);
        }
        match self.0.below(10) {
            0..=5 => (self.one(&["+", "-", "*", "/", "%"]).to_owned(), Same),
            6 => ("^".to_owned(), Near),
            7 | 8 => (self.one(&COMPARISONS).to_owned(), Same),
            _ => (format!("{} bool", self.one(&COMPARISONS)), Same),
        }
    }

    fn binary(&mut self, depth: u32, odd: bool) -> Made {
        match self.0.below(10) {
            0..=3 => {
                let ((of, level), (number, _)) = (self.vector(depth - 1, odd), self.scalar(1));
                let (op, level) = self.operator(level);
                let of = enclosed(&of);
                let text = if self.chance(60) { format!("{of} {op} {number}") } else { format!("{number} {op} {of}") };
                (text, level)
            }
            4 | 5 => {
                let ((one, level), (other, other_level)) = (self.vector(depth - 1, odd), self.vector(depth - 1, odd));
                let op = self.one(&["and", "or", "unless"]);
                let on = self.one(&[
                    "",
                    " on (job)",
                    " on ()",
                    " ignoring (code)",
                    " on (job, instance)",
                    " ignoring (le, code)",
                ]);
                let level = if op == "or" { level.max(other_level).max(Same) } else { level };
                (format!("{} {op}{on} {}", enclosed(&one), enclosed(&other)), level)
            }
            _ => self.matched(),
        }
    }

    /// Two vectors that have labels in common.
    fn matched(&mut self) -> Made {
        let (by, metrics, many): (_, &[&'static str], _) = self.one(&[
            (
                "job, instance",
                &["requests_total", "failures_total", "latency_seconds_count", "up", "build_info"],
                "requests_total",
            ),
            ("node", &["pod_cpu_seconds_total", "pod_memory_bytes"], "pod_memory_bytes"),
            ("job", &["requests_total", "failures_total", "up", "latency_seconds_sum"], "requests_total"),
            ("n", &["gaps", "stale", "constant", "single"], "gaps"),
        ]);
        let (one, level) = self.grouped(by, metrics);
        if self.chance(50) {
            let (other, other_level) = self.grouped(by, metrics);
            let (op, level) = self.operator(level.max(other_level));
            let matching = match self.0.below(3) {
                0 => String::new(),
                1 => format!(" on ({by})"),
                _ => " ignoring (nothing, half, method, code)".to_owned(),
            };
            return (format!("{} {op}{matching} {}", enclosed(&one), enclosed(&other)), level);
        }
        let (op, level) = self.operator(level);
        let many = if many == "requests_total" && self.chance(40) {
            "rate(requests_total[2m])".to_owned()
        } else {
            many.to_owned() + &self.modifiers()
        };
        let (one, include) = if by == "job, instance" && self.chance(20) {
            ("build_info".to_owned(), "version")
        } else {
            (one, self.one(&["", "", "version", "half", "job"]))
        };
        let (many, one) = (enclosed(&many), enclosed(&one));
        let text = if self.chance(50) {
            format!("{many} {op} on ({by}) group_left ({include}) {one}")
        } else {
            format!("{one} {op} on ({by}) group_right ({include}) {many}")
        };
        (text, level)
    }

    fn grouped(&mut self, by: &str, metrics: &[&'static str]) -> Made {
        let name = self.one(metrics);
        let counter = COUNTERS.iter().find(|metric| metric.name == name);
        let (of, level) = match counter {
            Some(metric) if self.chance(50) => {
                let range = self.range_of(metric);
                (format!("{}({range})", self.one(&["rate", "increase", "irate"])), Same)
            }
            _ => (name.to_owned() + &self.modifiers(), Summable),
        };
        if (by == "n" || (by == "job, instance" && name == "up")) && self.chance(50) {
            return (of, level);
        }
        let (op, level) = match self.0.below(6) {
            0 | 1 => ("sum", if level == Summable { Summable } else { Near }),
            2 => ("max", level),
            3 => ("min", level),
            4 => ("avg", Near),
            _ => ("count", Summable),
        };
        (format!("{op} by ({by}) ({of})"), level)
    }

    fn function(&mut self, depth: u32, odd: bool) -> Made {
        match self.0.below(18) {
            0 | 1 => {
                let name = self.one(&["abs", "ceil", "floor", "sgn", "sqrt"]);
                let (of, level) = self.exact(depth - 1, odd);
                (format!("{name}({of})"), if name == "sqrt" { Same } else { level })
            }
            2 | 3 => {
                let names =
                    ["exp", "ln", "log2", "log10", "sin", "cos", "atan", "tanh", "asinh", "acosh", "deg", "rad"];
                let name = self.one(&names);
                // Huge degrees overflowed.
                let odd = odd && !["deg", "rad"].contains(&name);
                (format!("{name}({})", self.exact(depth - 1, odd).0), Near)
            }
            4 => {
                let (of, _) = self.exact(depth - 1, odd);
                (format!("round({of}{})", self.one(&["", ", 10", ", 0.1", ", 5", ", 0.25"])), Same)
            }
            5 => {
                let (of, _) = self.exact(depth - 1, odd);
                (format!("clamp({of}, {}, {})", self.scalar(1).0, self.scalar(1).0), Same)
            }
            6 => {
                let (of, _) = self.exact(depth - 1, odd);
                (format!("{}({of}, {})", self.one(&["clamp_min", "clamp_max"]), self.scalar(1).0), Same)
            }
            7 => {
                let names =
                    ["minute", "hour", "day_of_week", "day_of_month", "days_in_month", "month", "year", "day_of_year"];
                let of = self.one(&["", "timestamp(stale)", "vector(time())", "pod_memory_bytes"]);
                (format!("{}({of})", self.one(&names)), Summable)
            }
            8 => {
                let metric = self.metric(odd);
                let of = self.series_of(metric) + self.one(&["", " offset 1m", " offset -45s", " @ EARLY", " @ end()"]);
                (format!("timestamp({of})"), Summable)
            }
            9 => (format!("timestamp(-{})", enclosed(&self.vector(depth - 1, odd).0)), Summable),
            10 | 11 => self.labelled(depth, odd),
            12 => {
                let of = [
                    "nothing{a=\"b\"}",
                    "nothing{a=~\"b\", c=\"d\", e=\"\"}",
                    "up{job=\"none\", x=\"\"}",
                    "single",
                    "up > 1",
                ];
                (format!("absent({})", self.one(&of)), Summable)
            }
            13 => {
                let (of, level) = self.vector(depth - 1, odd);
                (format!("{}({of})", self.one(&["sort", "sort_desc"])), level)
            }
            14 => (format!("vector({})", self.scalar(depth).0), Same),
            15 => {
                let (of, level) = self.vector(depth - 1, odd);
                (format!("{}{}", self.one(&["-", "+"]), enclosed(&of)), level)
            }
            _ => self.histogram(),
        }
    }

    fn labelled(&mut self, depth: u32, odd: bool) -> Made {
        let (of, level) = self.vector(depth - 1, odd);
        if self.chance(40) {
            let from = [
                "\"job\"",
                "\"job\", \"instance\"",
                "\"pod\", \"nothing\", \"node\"",
                "\"__name__\"",
                "\"room\", \"kind\"",
            ];
            let (to, separator) = (self.one(&["to", "job", "n"]), self.one(&[",", "-", ""]));
            return (format!("label_join({of}, \"{to}\", \"{separator}\", {})", self.one(&from)), level);
        }
        let to = self.one(&["to", "job", "instance", "n"]);
        let text = self.one(&["$1", "x-$1-$2", "", "${1}y", "fix"]);
        let from = self.one(&["job", "instance", "pod", "nothing", "room", "__name__"]);
        let pattern = self.one(&["(.*)", "(.).*", "pod-(.*)", "(.*):(.*)", "x", "(?P<q>a).*"]);
        (format!("label_replace({of}, \"{to}\", \"{text}\", \"{from}\", \"{pattern}\")"), level)
    }

    fn histogram(&mut self) -> Made {
        let metric = &COUNTERS[5];
        let (mut of, mut level) = if self.chance(60) {
            let range = self.range_of(metric);
            (format!("{}({range}{})", self.one(&["rate", "increase", "irate"]), self.modifiers()), Same)
        } else {
            (self.series_of(metric) + &self.modifiers(), Summable)
        };
        if self.chance(50) {
            of =
                format!("sum by ({}) ({of})", self.one(&["le", "le, job", "le, instance", "job", "le, job, instance"]));
            level = if level == Summable { Same } else { Near };
        }
        let q = self.one(&["0.5", "0.9", "0.99", "0", "1", "-1", "2", "scalar(constant{n=\"3\"})"]);
        (format!("histogram_quantile({q}, {of})"), level.max(Same))
    }
}

/// An expression as an operand.
fn enclosed(text: &str) -> String {
    let is_name = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.');
    if is_name { text.to_owned() } else { format!("({text})") }
}
