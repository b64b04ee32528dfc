//! Prometheus' text format, version 0.0.4: families and samples with their times.
//!
//! Called by the endpoint. Names that this version has no words for are made of underscores, or quoted if the client takes that.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderValue, header};
use promql::{NAME, short};

use crate::raw::RawSeries;

/// What becomes of names that are not of letters, digits and underscores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    /// Each other character is an underscore.
    Underscores,
    /// They are written between quotes.
    Quoted,
}

impl Escaping {
    /// What a client takes.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accepted = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
        let takes = |part: &str| part.split(';').any(|param| param.trim() == "escaping=allow-utf-8");
        if accepted.split(',').any(takes) { Self::Quoted } else { Self::Underscores }
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Underscores => "text/plain; version=0.0.4; charset=utf-8; escaping=underscores",
            Self::Quoted => "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        })
    }
}

/// A text that is being written.
pub(super) struct Text {
    out: String,
    escaping: Escaping,
}

// Writing to a string cannot fail.
impl Text {
    pub(super) fn new(escaping: Escaping) -> Self {
        Self { out: String::new(), escaping }
    }

    pub(super) fn len(&self) -> usize {
        self.out.len()
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    /// Samples of a metric follow.
    pub(super) fn family(&mut self, metric: &str, kind: &str) {
        self.out.push_str("# TYPE ");
        self.name(metric, true);
        let _ = writeln!(self.out, " {kind}");
    }

    /// A value at a time of a series; of a bucket, with its upper bound.
    pub(super) fn sample(
        &mut self,
        series: &RawSeries<'_>,
        suffix: &str,
        bound: Option<f64>,
        (value, time_ms): (f64, i64),
    ) {
        let name = format!("{}{suffix}", series.metric());
        // A name in quotes stands among the labels.
        let is_quoted = self.escaping == Escaping::Quoted && !is_plain(&name, true);
        if !is_quoted {
            self.name(&name, true);
        }
        self.out.push('{');
        if is_quoted {
            self.name(&name, true);
            self.out.push(',');
        }
        let mut has_instance = false;
        for (label, value) in series.texts().filter(|(label, _)| *label != NAME) {
            has_instance |= label == "instance";
            self.label(label, value);
            self.out.push(',');
        }
        // So that the scraping server does not put its own there.
        if !has_instance {
            self.label("instance", "");
            self.out.push(',');
        }
        match bound {
            Some(bound) => self.label("le", &float(bound)),
            None => drop(self.out.pop()),
        }
        let _ = writeln!(self.out, "}} {} {time_ms}", float(value));
    }

    fn label(&mut self, name: &str, value: &str) {
        self.name(name, false);
        self.out.push_str("=\"");
        self.escaped(value);
        self.out.push('"');
    }

    /// A name of a metric or of a label.
    fn name(&mut self, name: &str, of_metric: bool) {
        if is_plain(name, of_metric) {
            self.out.push_str(name);
            return;
        }
        match self.escaping {
            Escaping::Underscores => {
                let plain =
                    name.char_indices().map(|(at, c)| if is_plain_char(c, at == 0, of_metric) { c } else { '_' });
                self.out.extend(plain);
            }
            Escaping::Quoted => {
                self.out.push('"');
                self.escaped(name);
                self.out.push('"');
            }
        }
    }

    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '"' => self.out.push_str("\\\""),
                c => self.out.push(c),
            }
        }
    }
}

fn is_plain(name: &str, of_metric: bool) -> bool {
    name.char_indices().all(|(at, c)| is_plain_char(c, at == 0, of_metric))
}

fn is_plain_char(c: char, is_first: bool, of_metric: bool) -> bool {
    c.is_ascii_alphabetic() || c == '_' || (of_metric && c == ':') || (!is_first && c.is_ascii_digit())
}

/// A number, zero without a sign as the format's writers have it.
pub(super) fn float(value: f64) -> String {
    short(if value == 0.0 { 0.0 } else { value })
}
