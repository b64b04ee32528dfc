//! Writes a result as JSON, in parts.

use promql::{Columns, Histogram, Labels, Outcome, Point, Samples, Symbols, format_float, plain, push_float};

use crate::Found;

/// Bytes of a part, about.
const PART_BYTES: usize = 256 << 10;

/// A result that is being written.
pub(super) struct Writer {
    found: Found,
    time_ms: i64,
    with_stats: bool,
    /// The next row; none when all is written.
    row: Option<usize>,
    /// How a sample of each step of a range begins: its time, and the quotes around its value.
    begins: Vec<String>,
}

impl Writer {
    pub(super) fn new(found: Found, time_ms: i64, with_stats: bool) -> Self {
        let begin = |time| {
            let mut text = String::from("[");
            timestamp(&mut text, time);
            text + ",\""
        };
        let begins = match &found.result {
            Outcome::Matrix(columns) => columns.times().map(begin).collect(),
            _ => Vec::new(),
        };
        Self { found, time_ms, with_stats, row: Some(0), begins }
    }

    pub(super) fn is_done(&self) -> bool {
        self.row.is_none()
    }

    fn rows(&self) -> usize {
        match &self.found.result {
            Outcome::Scalar(_) | Outcome::String(_) => 0,
            Outcome::Vector(columns) | Outcome::Matrix(columns) => columns.labels.len(),
            Outcome::Raw(samples) => samples.labels.len(),
        }
    }

    fn begin(&self, out: &mut String) {
        out.push_str(r#"{"status":"success","data":{"resultType":"#);
        out.push_str(match &self.found.result {
            Outcome::Scalar(_) => r#""scalar","result":"#,
            Outcome::String(_) => r#""string","result":"#,
            Outcome::Vector(_) => r#""vector","result":["#,
            Outcome::Matrix(_) | Outcome::Raw(_) => r#""matrix","result":["#,
        });
        match &self.found.result {
            // Prometheus writes these without an exponent, unlike the numbers of series.
            Outcome::Scalar(value) => {
                out.push('[');
                timestamp(out, self.time_ms);
                out.push_str(",\"");
                out.push_str(&plain(*value));
                out.push_str("\"]");
            }
            Outcome::String(text) => {
                out.push('[');
                timestamp(out, self.time_ms);
                out.push(',');
                string(out, text);
                out.push(']');
            }
            _ => {}
        }
    }

    fn write_row(&self, out: &mut String, row: usize) {
        if row > 0 {
            out.push(',');
        }
        let symbols = &self.found.symbols;
        match &self.found.result {
            Outcome::Vector(columns) => {
                metric(out, &columns.labels[row], symbols);
                for (time, point) in columns.points(row).take(1) {
                    match point {
                        Point::Float(value) => {
                            out.push_str(r#","value":"#);
                            pair(out, time, value);
                        }
                        Point::Histogram(histogram) => {
                            out.push_str(r#","histogram":"#);
                            histogram_pair(out, time, histogram);
                        }
                    }
                }
                out.push('}');
            }
            Outcome::Matrix(columns) => self.write_range(out, columns, row),
            Outcome::Raw(samples) => raw_row(out, samples, row, symbols),
            _ => {}
        }
    }

    fn write_range(&self, out: &mut String, columns: &Columns, row: usize) {
        metric(out, &columns.labels[row], &self.found.symbols);
        let mut open = "";
        for (step, value) in columns.floats(row) {
            out.push_str(if open.is_empty() { r#","values":["# } else { "," });
            open = "]";
            out.push_str(self.begins.get(step).map_or("", String::as_str));
            push_float(out, value);
            out.push_str("\"]");
        }
        out.push_str(open);
        if columns.has_histograms() {
            open = "";
            for (time, point) in columns.points(row) {
                if let Point::Histogram(histogram) = point {
                    out.push_str(if open.is_empty() { r#","histograms":["# } else { "," });
                    open = "]";
                    histogram_pair(out, time, histogram);
                }
            }
            out.push_str(open);
        }
        out.push('}');
    }

    fn end(&self, out: &mut String) {
        if !matches!(self.found.result, Outcome::Scalar(_) | Outcome::String(_)) {
            out.push(']');
        }
        if self.with_stats {
            let samples = self.found.samples;
            let seconds = |us: i64| micros(us);
            out.push_str(&format!(
                r#","stats":{{"timings":{{"evalTotalTime":{},"resultSortTime":0,"queryPreparationTime":{},"innerEvalTime":{},"execQueueTime":0,"execTotalTime":{}}},"samples":{{"totalQueryableSamples":{samples},"peakSamples":{}}}}}"#,
                seconds(self.found.eval_us),
                seconds(self.found.load_us),
                seconds(self.found.eval_us),
                seconds(self.found.load_us + self.found.eval_us),
                self.found.peak.max(samples),
            ));
        }
        out.push('}');
        for (name, texts) in [("warnings", &self.found.warnings), ("infos", &self.found.infos)] {
            if texts.is_empty() {
                continue;
            }
            out.push_str(&format!(",\"{name}\":["));
            for (at, text) in texts.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                string(out, text);
            }
            out.push(']');
        }
        out.push('}');
    }
}

impl Iterator for Writer {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let mut row = self.row?;
        let rows = self.rows();
        let mut out = String::with_capacity(if rows > 1 { PART_BYTES + PART_BYTES / 4 } else { 256 });
        if row == 0 {
            self.begin(&mut out);
        }
        while row < rows && out.len() < PART_BYTES {
            self.write_row(&mut out, row);
            row += 1;
        }
        if row == rows {
            self.end(&mut out);
            self.row = None;
        } else {
            self.row = Some(row);
        }
        Some(out)
    }
}

fn raw_row(out: &mut String, samples: &Samples, row: usize, symbols: &Symbols) {
    metric(out, &samples.labels[row], symbols);
    let (times, values) = samples.floats_of(row);
    let mut open = "";
    for (time, value) in times.iter().zip(values) {
        out.push_str(if open.is_empty() { r#","values":["# } else { "," });
        open = "]";
        pair(out, *time, *value);
    }
    out.push_str(open);
    let histograms = samples.histograms.get(row).map(Vec::as_slice).unwrap_or_default();
    if !histograms.is_empty() {
        out.push_str(r#","histograms":["#);
        for (at, sample) in histograms.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            histogram_pair(out, sample.time, &sample.histogram);
        }
        out.push(']');
    }
    out.push('}');
}

fn metric(out: &mut String, labels: &Labels, symbols: &Symbols) {
    out.push_str(r#"{"metric":"#);
    object(out, labels, symbols);
}

/// Labels as an object.
pub(in crate::http) fn object(out: &mut String, labels: &Labels, symbols: &Symbols) {
    out.push('{');
    for (at, (name, value)) in labels.texts(symbols).enumerate() {
        if at > 0 {
            out.push(',');
        }
        string(out, name);
        out.push(':');
        string(out, value);
    }
    out.push('}');
}

/// A time and a value.
fn pair(out: &mut String, time_ms: i64, value: f64) {
    out.push('[');
    timestamp(out, time_ms);
    out.push_str(",\"");
    push_float(out, value);
    out.push_str("\"]");
}

fn histogram_pair(out: &mut String, time_ms: i64, histogram: &Histogram) {
    out.push('[');
    timestamp(out, time_ms);
    let float = format_float;
    out.push_str(&format!(r#",{{"count":"{}","sum":"{}""#, float(histogram.count), float(histogram.sum)));
    let mut open = "";
    for (rule, lower, upper, count) in histogram.json_buckets() {
        out.push_str(if open.is_empty() { r#","buckets":["# } else { "," });
        open = "]";
        out.push_str(&format!(r#"[{rule},"{}","{}","{}"]"#, float(lower), float(upper), float(count)));
    }
    out.push_str(open);
    out.push_str("}]");
}

/// Seconds, with milliseconds if there are any.
pub(in crate::http) fn timestamp(out: &mut String, milliseconds: i64) {
    use std::fmt::Write;
    if milliseconds < 0 {
        out.push('-');
    }
    let (seconds, rest) = (milliseconds.unsigned_abs() / 1000, milliseconds.unsigned_abs() % 1000);
    // Writing to a string cannot fail.
    let _ = write!(out, "{seconds}");
    if rest != 0 {
        let _ = write!(out, ".{rest:03}");
    }
}

/// Microseconds as seconds.
fn micros(us: i64) -> String {
    format!("{}.{:06}", us / 1_000_000, us % 1_000_000)
}

/// A text in quotes.
pub(in crate::http) fn string(out: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= 0x20 && byte != b'"' && byte != b'\\';
    if text.bytes().all(is_plain) {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    out.push_str(&serde_json::Value::from(text).to_string());
}
