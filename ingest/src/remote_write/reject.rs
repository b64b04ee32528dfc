//! Why a part of a request was not written: a bounded set of reasons, counted as they occur, the first one named.
//!
//! Filled by the decoders and by admission; the answer's text and the metric `rejected_total{reason}` are made of it.

use std::fmt::Write as _;

/// Reasons, each a value of the metric's label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No label `__name__`, or an empty one.
    NameMissing,
    /// A label set that is no label set: an empty or repeated name, broken bytes, text that is not UTF-8.
    Labels,
    /// More labels, or longer ones, than the limits allow.
    LabelLimit,
    /// A reference to a symbol that is not there.
    Symbol,
    /// A series with nothing in it, or with both samples and histograms.
    Series,
    /// Older than what is kept.
    TooOld,
    /// Too far ahead of our clock.
    TooNew,
    /// A native histogram that contradicts itself.
    Histogram,
    /// An exemplar without a usable label set.
    Exemplar,
    /// Metadata that is too long or not UTF-8.
    Metadata,
    /// Another series of this metric has the same identity.
    Collision,
    /// No room for another series.
    SeriesLimit,
    /// No room for another series of this metric.
    MetricLimit,
}

impl Reason {
    /// Every reason, in the order of [`Rejects::counts`].
    pub const ALL: [Self; 13] = [
        Self::NameMissing,
        Self::Labels,
        Self::LabelLimit,
        Self::Symbol,
        Self::Series,
        Self::TooOld,
        Self::TooNew,
        Self::Histogram,
        Self::Exemplar,
        Self::Metadata,
        Self::Collision,
        Self::SeriesLimit,
        Self::MetricLimit,
    ];

    /// Value of the metric's label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NameMissing => "name_missing",
            Self::Labels => "labels",
            Self::LabelLimit => "label_limit",
            Self::Symbol => "symbol",
            Self::Series => "series",
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Histogram => "histogram",
            Self::Exemplar => "exemplar",
            Self::Metadata => "metadata",
            Self::Collision => "collision",
            Self::SeriesLimit => "series_limit",
            Self::MetricLimit => "metric_limit",
        }
    }
}

/// One rejected part: its reason, and the sentence for the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Why, for the metric.
    pub reason: Reason,
    /// Why, for the sender.
    pub text: &'static str,
}

impl Reject {
    pub(crate) const fn new(reason: Reason, text: &'static str) -> Self {
        Self { reason, text }
    }
}

/// All that was rejected of a request.
#[derive(Clone, Debug, Default)]
pub struct Rejects {
    /// Rejected samples, histograms, exemplars and metadata, by reason in the order of [`Reason::ALL`].
    pub counts: [u64; Reason::ALL.len()],
    first: Option<String>,
}

/// Characters of a series that an answer repeats.
const SERIES_CHARS_MAX: usize = 240;

impl Rejects {
    /// Counts `count` parts; `series` describes the culprit and is asked for the first one alone.
    pub(crate) fn add(&mut self, reject: Reject, count: u64, series: impl FnOnce() -> String) {
        self.counts[reject.reason as usize] += count;
        if self.first.is_none() {
            let mut text = String::from(reject.text);
            // Writing to a String cannot fail.
            let _ = write!(text, ": series={}", quoted(&series()));
            self.first = Some(text);
        }
    }

    /// Adds facts to the first one in words.
    pub(crate) fn add_facts(&mut self, facts: &str) {
        if let Some(first) = &mut self.first {
            first.push(' ');
            first.push_str(facts);
        }
    }

    /// How many parts were rejected.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The first one in words: what is wrong, with which series.
    #[must_use]
    pub fn first(&self) -> Option<&str> {
        self.first.as_deref()
    }
}

/// Foreign text, escaped and cut, so that an answer or a log line stays one line and cannot be taken for markup.
pub(crate) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(SERIES_CHARS_MAX).collect();
    let ellipsis = if cut.len() < text.len() { "…" } else { "" };
    format!("{cut:?}{ellipsis}")
}
