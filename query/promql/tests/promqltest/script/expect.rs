//! What an `eval` expects, and whether an answer is that.
//!
//! `command` hands on the lines below an `eval`, each to [`Expect::read`]. The lines that begin with `expect` are about failing,
//! annotations, order, a text or the times of a range; what else there is are a number or series with their values.
//! `expect` without `msg:` and `regex:` takes any text. A kind of annotation that is not mentioned is not looked at.

use regex::Regex;

use super::notation::{self, Item};
use super::{Labels, Outcome, Value, compare, literal, show};

/// What an `eval` expects.
#[derive(Debug, Default)]
pub(super) struct Expect {
    /// Whether the series come in the order of the lines.
    pub(super) is_ordered: bool,
    /// Whether the answer makes no sense in a range: texts and range vectors.
    pub(super) is_instant_only: bool,
    /// The times the values of series are at. None for an instant query, unless it is to yield a range.
    pub(super) window: Option<Window>,
    /// Instead of series.
    pub(super) scalar: Option<f64>,
    /// Instead of series; empty if none is expected.
    pub(super) text: String,
    /// The series and the places of their lines, the first being 1.
    pub(super) series: Vec<(Labels, usize, Vec<Item>)>,
    /// All must be met. The first is of `eval_fail`, which may be followed by one of `expect fail`.
    failure: Vec<Pattern>,
    warnings: Annotations,
    infos: Annotations,
    has_failure_line: bool,
    lines: usize,
}

/// Times, from the first to the last and both included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) step_ms: i64,
}

/// A text that is expected.
#[derive(Clone, Debug)]
enum Pattern {
    Any,
    Text(String),
    Regex(Regex),
}

/// What is expected of the warnings, or of the infos.
#[derive(Debug, Default)]
struct Annotations {
    /// Each must be met, and each annotation must meet one.
    wanted: Vec<Pattern>,
    /// There is at least one, whatever it says (`eval_warn`).
    is_some: bool,
    is_none: bool,
}

/// Whether the lines of an `eval` go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    More,
    End,
}

impl Expect {
    /// What follows `eval_`.
    pub(super) fn new(modifier: &str) -> Result<Self, String> {
        let mut expect = Self::default();
        match modifier {
            "" => {}
            "fail" => expect.failure.push(Pattern::Any),
            "ordered" => expect.is_ordered = true,
            "warn" => expect.warnings.is_some = true,
            "info" => expect.infos.is_some = true,
            _ => return Err(format!("unknown command eval_{modifier}")),
        }
        Ok(expect)
    }

    /// Reads a line below an `eval`.
    pub(super) fn read(&mut self, line: &str) -> Result<Next, String> {
        if self.fails() {
            if let Some(message) = line.strip_prefix("expected_fail_message") {
                self.failure.push(Pattern::Text(message.trim().to_owned()));
                return Ok(Next::End);
            }
            if let Some(pattern) = line.strip_prefix("expected_fail_regexp") {
                self.failure.push(Pattern::regex(pattern)?);
                return Ok(Next::End);
            }
        }
        if let Some(window) = line.strip_prefix("expect range vector") {
            self.window = Some(Window::read(window)?);
            self.is_instant_only = true;
        } else if let Some(quoted) = line.strip_prefix("expect string") {
            let (text, rest) = literal::string(quoted.trim_start())?;
            if !rest.is_empty() {
                return Err(format!("unexpected {rest:?} after the text"));
            }
            self.text = text;
            self.is_instant_only = true;
        } else if let Some(annotation) = line.strip_prefix("expect ") {
            self.read_annotation(annotation.trim())?;
            return Ok(Next::More);
        } else if let Ok(value) = literal::number(line) {
            self.scalar = Some(value);
            return Ok(Next::End);
        } else {
            let (labels, items) = notation::series(line)?;
            if items.len() > 1 && self.window.is_none() {
                return Err("several values are expected of an instant query, say `expect range vector`".to_owned());
            }
            self.series.retain(|(known, ..)| *known != labels);
            self.series.push((labels, self.lines + 1, items));
        }
        self.lines += 1;
        Ok(Next::More)
    }

    fn read_annotation(&mut self, text: &str) -> Result<(), String> {
        let (kind, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
        let pattern = match rest.trim() {
            "" => Pattern::Any,
            rest if rest.starts_with("msg:") => Pattern::Text(rest["msg:".len()..].trim().to_owned()),
            rest if rest.starts_with("regex:") => Pattern::regex(&rest["regex:".len()..])?,
            rest => return Err(format!("expected `msg:` or `regex:` at {rest:?}")),
        };
        match kind {
            "ordered" => self.is_ordered = true,
            "fail" if self.has_failure_line => return Err("only one `expect fail` is allowed".to_owned()),
            "fail" => {
                self.failure.push(pattern);
                self.has_failure_line = true;
            }
            "warn" => self.warnings.wanted.push(pattern),
            "no_warn" => self.warnings.is_none = true,
            "info" => self.infos.wanted.push(pattern),
            "no_info" => self.infos.is_none = true,
            _ => return Err(format!("unknown expectation {kind:?}")),
        }
        if [&self.warnings, &self.infos].iter().any(|kind| kind.is_none && !kind.wanted.is_empty()) {
            return Err("annotations are expected and excluded at once".to_owned());
        }
        Ok(())
    }

    /// Whether the query is to fail.
    pub(super) fn fails(&self) -> bool {
        !self.failure.is_empty()
    }

    /// Whether an answer is as expected, and if not, how it differs.
    pub(super) fn check(&self, outcome: &Result<Outcome, String>) -> Result<(), String> {
        match outcome {
            Err(error) if !self.fails() => Err(format!("the query failed: {error}")),
            Err(error) => match self.failure.iter().find(|pattern| !pattern.is_met_by(error)) {
                None => Ok(()),
                Some(pattern) => Err(format!("expected to fail with\n  {}\ngot\n  {error}", pattern.show())),
            },
            Ok(outcome) if self.fails() => Err(format!("expected to fail, got {}", show::value(&outcome.value))),
            Ok(outcome) => {
                self.warnings.check("warning", &outcome.warnings)?;
                self.infos.check("info", &outcome.infos)?;
                self.check_value(&outcome.value)
            }
        }
    }

    /// Whether a value is as expected.
    pub(super) fn check_value(&self, value: &Value) -> Result<(), String> {
        compare::value(self, value)
    }
}

impl Window {
    /// Reads `from 1m to 2m step 10s`.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let words: Vec<_> = text.split_whitespace().collect();
        let ["from", start, "to", end, "step", step] = words.as_slice() else {
            return Err(format!("expected `from … to … step …` at {text:?}"));
        };
        let window = |start_ms, end_ms, step_ms| Self { start_ms, end_ms, step_ms };
        let window = window(literal::duration_ms(start)?, literal::duration_ms(end)?, literal::duration_ms(step)?);
        if window.end_ms < window.start_ms {
            return Err(format!("the range ends before it starts: {text:?}"));
        }
        Ok(window)
    }
}

impl Pattern {
    fn regex(pattern: &str) -> Result<Self, String> {
        Regex::new(pattern.trim()).map(Self::Regex).map_err(|error| error.to_string())
    }

    fn is_met_by(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Text(wanted) => wanted == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Any => "anything".to_owned(),
            Self::Text(text) => text.clone(),
            Self::Regex(regex) => format!("/{regex}/"),
        }
    }
}

impl Annotations {
    fn check(&self, kind: &str, got: &[String]) -> Result<(), String> {
        let is_missed = |pattern: &&Pattern| !got.iter().any(|text| pattern.is_met_by(text));
        let is_extra = |text: &&String| !self.wanted.iter().any(|pattern| pattern.is_met_by(text));
        let all = || if got.is_empty() { "none".to_owned() } else { got.join("\n  ") };
        if self.is_none && !got.is_empty() {
            return Err(format!("expected no {kind}, got\n  {}", all()));
        }
        if self.is_some && got.is_empty() {
            return Err(format!("expected a {kind}, got none"));
        }
        if let Some(missed) = self.wanted.iter().find(is_missed) {
            return Err(format!("expected the {kind}\n  {}\ngot\n  {}", missed.show(), all()));
        }
        if let Some(extra) = got.iter().find(is_extra).filter(|_| !self.wanted.is_empty()) {
            return Err(format!("unexpected {kind}\n  {extra}"));
        }
        Ok(())
    }
}
