//! Reads OpenMetrics text, a line at a time: samples with their times, exemplars, and what is said about metrics.
//!
//! Called by the command that imports a history, which reads the lines and counts them. Takes what
//! `promtool tsdb create-blocks-from openmetrics` takes, quoted names among it. A line that is wrong is an error of its own.
//!
//! Invariants: a sample has a time, since history without one is none; names and values are UTF-8; NaN is the one NaN that Prometheus
//! stores for values that are none. Times are rounded to milliseconds: they are written as seconds, and cutting off would move every
//! second one by a millisecond, away from the sample it was printed from. Not here: which samples make a histogram, and their order.
//! Spec: <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>

use std::{borrow::Cow, fmt};

/// Bits of the value that is none.
const NAN_BITS: u64 = 0x7ff8_0000_0000_0001;
/// Largest time that is believed, milliseconds: the year 9999.
const TIME_MS_MAX: f64 = 253_402_300_800_000.0;
/// The label that holds the name of the metric.
const NAME: &str = "__name__";

/// A line that was read.
#[derive(Debug, PartialEq)]
pub enum Line<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// Something about a metric.
    About(About<'a>),
    /// `# EOF`, after which there is nothing.
    End,
    /// An empty line, or a comment of no meaning.
    Nothing,
}

/// A sample with the labels of its series.
#[derive(Debug, PartialEq)]
pub struct Sample<'a> {
    /// Names and values, by name; the metric's name is one of them.
    pub labels: Labels<'a>,
    /// Milliseconds since the epoch.
    pub ts_ms: i64,
    /// The value's bits.
    pub bits: u64,
    /// What was seen when the value was counted.
    pub exemplar: Option<Exemplar<'a>>,
}

/// Names and values.
pub type Labels<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Something that was seen.
#[derive(Debug, PartialEq)]
pub struct Exemplar<'a> {
    /// Names and values, by name.
    pub labels: Labels<'a>,
    /// Milliseconds since the epoch; that of the sample, if the exemplar has none.
    pub ts_ms: i64,
    /// Its value.
    pub value: f64,
}

/// What is said about a metric.
#[derive(Debug, PartialEq)]
pub enum About<'a> {
    /// Its type, as messages number it.
    Type(Cow<'a, str>, u32),
    /// What it means.
    Help(Cow<'a, str>, Cow<'a, str>),
    /// What it counts.
    Unit(Cow<'a, str>, Cow<'a, str>),
}

/// What is wrong with a line, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Column, from 1, in bytes.
    pub column: usize,
    /// What is wrong there.
    pub what: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} column={}", self.what, self.column)
    }
}

impl std::error::Error for Fault {}

type Result<T> = std::result::Result<T, Fault>;

/// Reads a line, without its end.
///
/// # Errors
/// What is wrong with it.
pub fn line(bytes: &[u8]) -> Result<Line<'_>> {
    let text = str::from_utf8(bytes).map_err(|error| Fault { column: error.valid_up_to() + 1, what: "no UTF-8" })?;
    let mut at = Place { text, at: 0 };
    if text.is_empty() {
        return Ok(Line::Nothing);
    }
    if at.eat("#") { comment(at) } else { sample(at) }
}

/// Where in a line.
#[derive(Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Place<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn fault<T>(&self, what: &'static str) -> Result<T> {
        Err(Fault { column: self.at + 1, what })
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn spaces(&mut self) -> bool {
        let before = self.at;
        while self.eat(" ") || self.eat("\t") {}
        self.at > before
    }

    /// Steps over what `keep` is true of.
    fn word(&mut self, keep: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !keep(c)).unwrap_or(rest.len());
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    /// Between quotes, after the first one.
    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        let rest = self.rest();
        let mut escaped = false;
        for (i, byte) in rest.bytes().enumerate() {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => {
                    self.at += i + 1;
                    return Ok(unescape(rest.get(..i).unwrap_or_default()));
                }
                _ => {}
            }
        }
        self.fault("quoted text has no end")
    }

    /// A name, quoted or plain.
    fn name(&mut self, colons: bool) -> Result<Option<Cow<'a, str>>> {
        if self.eat("\"") {
            return self.quoted().map(Some);
        }
        if self.rest().starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        let name = self.word(|c| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':'));
        Ok((!name.is_empty()).then_some(Cow::Borrowed(name)))
    }

    fn number(&mut self) -> Result<f64> {
        let before = *self;
        let word = self.word(|c| c != ' ' && c != '\t');
        match word.parse() {
            Ok(number) => Ok(number),
            Err(_) if word.is_empty() => before.fault("a number is missing"),
            Err(_) => before.fault("no number"),
        }
    }

    /// A time in seconds, as milliseconds.
    fn time(&mut self) -> Result<i64> {
        let before = *self;
        let ms = (self.number()? * 1000.0).round();
        if ms.is_nan() || ms.abs() > TIME_MS_MAX {
            return before.fault("no time in seconds since 1970; are these milliseconds?");
        }
        #[allow(clippy::cast_possible_truncation, reason = "checked above")]
        Ok(ms as i64)
    }
}

fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(escaped @ ('\\' | '"')) => plain.push(escaped),
                Some(other) => plain.extend(['\\', other]),
                None => plain.push('\\'),
            },
            _ => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

fn comment(mut at: Place<'_>) -> Result<Line<'_>> {
    if !at.eat(" ") {
        return Ok(Line::Nothing);
    }
    if at.rest().trim_end() == "EOF" {
        return Ok(Line::End);
    }
    let word = at.word(|c| c != ' ');
    if !matches!(word, "HELP" | "TYPE" | "UNIT") {
        return Ok(Line::Nothing);
    }
    at.spaces();
    let Some(name) = at.name(true)? else { return at.fault("name of a metric is missing") };
    let space = at.eat(" ");
    if !space && !at.rest().is_empty() {
        return at.fault("name of a metric has characters that have to be quoted");
    }
    let text = at.rest();
    Ok(Line::About(match word {
        "HELP" => About::Help(name, unescape(text)),
        "UNIT" => About::Unit(name, Cow::Borrowed(text)),
        _ => {
            let number = match text {
                "unknown" | "untyped" => 0,
                "counter" => 1,
                "gauge" => 2,
                "histogram" => 3,
                "gaugehistogram" => 4,
                "summary" => 5,
                "info" => 6,
                "stateset" => 7,
                _ => return at.fault("type of a metric is not known"),
            };
            About::Type(name, number)
        }
    }))
}

fn sample(mut at: Place<'_>) -> Result<Line<'_>> {
    let mut labels = Labels::new();
    if !at.rest().starts_with('{') {
        match at.name(true)? {
            Some(name) => labels.push((Cow::Borrowed(NAME), name)),
            None => return at.fault("name of a metric is missing"),
        }
    }
    if at.eat("{") {
        pairs(&mut at, &mut labels, true)?;
    }
    if !labels.iter().any(|(name, _)| name == NAME) {
        return at.fault("name of the metric is missing");
    }
    sort(&at, &mut labels)?;
    if !at.spaces() {
        return at.fault("a space and the value are missing");
    }
    let value = at.number()?;
    let bits = if value.is_nan() { NAN_BITS } else { value.to_bits() };
    at.spaces();
    if at.rest().is_empty() || at.rest().starts_with('#') {
        return at.fault("the time is missing, without which there is no history");
    }
    let ts_ms = at.time()?;
    at.spaces();
    let exemplar = if at.rest().is_empty() { None } else { Some(exemplar(&mut at, ts_ms)?) };
    Ok(Line::Sample(Sample { labels, ts_ms, bits, exemplar }))
}

fn exemplar<'a>(at: &mut Place<'a>, sample_ms: i64) -> Result<Exemplar<'a>> {
    if !(at.eat("# {") || at.eat("#{")) {
        return at.fault("something follows the time that is no exemplar");
    }
    let mut labels = Labels::new();
    pairs(at, &mut labels, false)?;
    sort(at, &mut labels)?;
    if !at.spaces() {
        return at.fault("a space and the value of the exemplar are missing");
    }
    let value = at.number()?;
    at.spaces();
    let ts_ms = if at.rest().is_empty() { sample_ms } else { at.time()? };
    at.spaces();
    if !at.rest().is_empty() {
        return at.fault("something follows the exemplar");
    }
    Ok(Exemplar { labels, ts_ms, value })
}

/// Labels after the opening brace, to the closing one. A quoted text alone is the metric's name.
fn pairs<'a>(at: &mut Place<'a>, labels: &mut Labels<'a>, of_sample: bool) -> Result<()> {
    loop {
        at.spaces();
        if at.eat("}") {
            return Ok(());
        }
        let is_quoted = at.rest().starts_with('"');
        let Some(name) = at.name(false)? else { return at.fault("name of a label is missing") };
        at.spaces();
        if at.eat("=") {
            at.spaces();
            if !at.eat("\"") {
                return at.fault("value of a label is not quoted");
            }
            let value = at.quoted()?;
            labels.push((name, value));
        } else if of_sample && is_quoted {
            labels.push((Cow::Borrowed(NAME), name));
        } else {
            return at.fault("`=` and the value of a label are missing");
        }
        at.spaces();
        if !at.eat(",") && !at.rest().starts_with('}') {
            return at.fault("`,` or `}` is missing");
        }
    }
}

/// Labels by name, without those whose empty value means that they are not there.
fn sort(at: &Place<'_>, labels: &mut Labels<'_>) -> Result<()> {
    labels.sort();
    if labels.array_windows().any(|[a, b]| a.0 == b.0) {
        return at.fault("a label is there twice");
    }
    labels.retain(|(_, value)| !value.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests;
