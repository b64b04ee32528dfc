//! What came of a request, part by part.
//!
//! Filled by admission; the answer ([`response`](super::response)) and the counters of `/metrics` are made of it. What a rule
//! set aside is neither written nor refused: the sender is told that all is well.

use super::{admit::Request, decoded::Series, refused::Refused, reject::Rejects};

/// Parts of a request that are acknowledged and not kept, because a rule says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetAside {
    /// Float samples.
    pub samples: u64,
    /// Native histograms.
    pub histograms: u64,
    /// Exemplars.
    pub exemplars: u64,
}

impl SetAside {
    pub(crate) fn add(&mut self, series: &Series) {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        self.samples += count(series.samples.len());
        self.histograms += count(series.histograms.len());
        self.exemplars += count(series.exemplars.len());
    }

    /// Together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.samples + self.histograms + self.exemplars
    }
}

/// What came of a request.
#[derive(Debug, Default)]
pub struct Report {
    /// Samples that are kept, those that were already included.
    pub samples_written: u64,
    /// Histograms, likewise.
    pub histograms_written: u64,
    /// Exemplars, likewise.
    pub exemplars_written: u64,
    /// Rows of metadata.
    pub metadata_written: u64,
    /// Samples, histograms and exemplars that took the late lane.
    pub late: u64,
    /// Samples, histograms and exemplars that were kept already.
    pub duplicates: u64,
    /// What was refused.
    pub rejects: Rejects,
    /// What relabelling dropped.
    pub dropped: SetAside,
    /// What was left to another replica.
    pub replicated: SetAside,
    /// Whose turn it is, if all of the request was left to another replica.
    pub elected: Option<String>,
    /// New series that there was no room for.
    pub refused: Refused,
}

impl Report {
    /// The report of a request that is left to another replica as a whole.
    pub(crate) fn left(request: Request<'_>, elected: String) -> Self {
        let mut report = Self { elected: Some(elected), ..Self::default() };
        request.decoded.series.iter().for_each(|series| report.replicated.add(series));
        report
    }
}
