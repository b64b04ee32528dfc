//! Annotations: what a query has to say beside its result.
//!
//! Gathered while a query is evaluated; texts and places are those of Prometheus, which tools tell apart by them.
//! Invariant: one note of each text and place, in the order in which they came up.

use std::fmt::Write;

use hashbrown::HashMap;

use super::ast::Span;
use super::wrong::Wrong;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Level {
    Warning,
    Info,
}

/// Notes on one evaluation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    order: Vec<Key>,
    known: HashMap<Key, More>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    level: Level,
    text: String,
    at: Span,
}

/// What is summed up over occurrences.
#[derive(Debug, Clone, Copy)]
enum More {
    Nothing,
    /// Told from the second on.
    Count(u64),
    Forced(Forced),
}

/// Where the buckets of classic histograms were not monotonic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Forced {
    pub times_ms: (i64, i64),
    pub buckets: (f64, f64),
    pub difference: f64,
    pub count: u64,
}

impl Notes {
    pub(crate) fn warn(&mut self, text: impl Into<String>, at: Span) {
        self.add(Level::Warning, text.into(), at, More::Nothing);
    }

    pub(crate) fn info(&mut self, text: impl Into<String>, at: Span) {
        self.add(Level::Info, text.into(), at, More::Nothing);
    }

    /// A warning whose occurrences are counted.
    pub(crate) fn warn_counted(&mut self, text: String, at: Span) {
        self.add(Level::Warning, text, at, More::Count(1));
    }

    /// An info of buckets that had to be made monotonic.
    pub(crate) fn forced(&mut self, metric: &str, at: Span, forced: Forced) {
        const TEXT: &str = "input to histogram_quantile needed to be fixed for monotonicity (see \
                            https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
        self.add(Level::Info, with_metric(TEXT, metric), at, More::Forced(forced));
    }

    fn add(&mut self, level: Level, text: String, at: Span, more: More) {
        let key = Key { level, text, at };
        match self.known.get_mut(&key) {
            Some(known) => known.merge(more),
            None => {
                self.order.push(key.clone());
                self.known.insert(key, more);
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The same notes on a part of the query that was written again at another place.
    pub(crate) fn moved(&self, from: usize, to: usize) -> Self {
        let mut moved = Self::default();
        for key in &self.order {
            let moved_to = |at: usize| at.checked_sub(from).map_or(at, |within| within + to);
            let at = Span { start: moved_to(key.at.start), end: moved_to(key.at.end) };
            let more = self.known.get(key).copied().unwrap_or(More::Nothing);
            moved.add(key.level, key.text.clone(), at, more);
        }
        moved
    }

    /// Takes in the notes of a part.
    pub(crate) fn merge(&mut self, other: Self) {
        for key in other.order {
            if let Some(more) = other.known.get(&key) {
                self.add(key.level, key.text, key.at, *more);
            }
        }
    }

    /// Their texts, with places in `query`.
    pub(crate) fn texts(&self, wanted: Level, query: &str) -> Vec<String> {
        let text = |key: &Key| {
            let (line, column) = Wrong::new("", key.at).place(query);
            let mut out = match key.level {
                Level::Warning => "PromQL warning: ".to_owned(),
                Level::Info => "PromQL info: ".to_owned(),
            };
            out.push_str(&key.text);
            // Writing to a string cannot fail.
            let _ = match self.known.get(key) {
                Some(More::Forced(forced)) => write!(out, "{}", forced.text()),
                Some(More::Count(count)) if *count > 1 => write!(out, " ({count} occurrences)"),
                _ => Ok(()),
            };
            let _ = write!(out, " ({line}:{column})");
            out
        };
        self.order.iter().filter(|key| key.level == wanted).map(text).collect()
    }
}

impl More {
    fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Count(count), Self::Count(more)) => *count += more,
            (Self::Forced(known), Self::Forced(more)) => known.merge(more),
            _ => {}
        }
    }
}

impl Forced {
    fn merge(&mut self, other: Self) {
        self.times_ms = (self.times_ms.0.min(other.times_ms.0), self.times_ms.1.max(other.times_ms.1));
        self.buckets = (self.buckets.0.min(other.buckets.0), self.buckets.1.max(other.buckets.1));
        self.difference = self.difference.max(other.difference);
        self.count += other.count;
    }

    fn text(&self) -> String {
        let number = crate::number::short;
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            number(self.buckets.0),
            number(self.buckets.1),
            crate::number::two_digits(self.difference),
            self.count,
            crate::date::rfc3339(self.times_ms.0),
            crate::date::rfc3339(self.times_ms.1),
        )
    }
}

/// A text about a metric, if its name is known.
pub(crate) fn with_metric(text: &str, metric: &str) -> String {
    if metric.is_empty() {
        return text.to_owned();
    }
    format!("{text} for metric name {}", crate::literal::quoted(metric))
}
