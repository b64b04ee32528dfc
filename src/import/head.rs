//! The log of a Prometheus: the samples that are in no block yet.
//!
//! Called by [`blocks`](super::blocks), after the blocks. The log is in order of time and of arrival, not of series, so samples are
//! gathered by series, some hundred thousand at a time. It is no part that can be done: more is written to it as long as its server
//! runs, and a second import goes through it again. What was deleted is in the log after what it deletes, so the log is read twice.
//! Its server may delete a file of it meanwhile; then what was in it is in a newer block, and the caller has to look again.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Result, anyhow};
use ingest::{
    samples::Samples,
    tsdb::{self, Logged, Wal},
};

use super::{Choice, encode::Series, sink::Sink};

/// Samples that are gathered before they are handed over: as many as fill some requests.
const GATHERED_MAX: usize = 500_000;

type Labels = Vec<(String, String)>;

/// What is known of the series of a log.
#[derive(Default)]
struct Head {
    /// Labels by number; none of those that were not chosen.
    series: HashMap<u64, Option<Labels>>,
    deleted: HashMap<u64, Vec<(i64, i64)>>,
    /// By the number of the series.
    gathered: HashMap<u64, Samples>,
    samples: usize,
    /// Samples of series that nothing is said about, by number.
    unknown: BTreeMap<u64, u64>,
}

/// How the reading of a log ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With its last file.
    Whole,
    /// With one that is not there any more.
    Vanished,
}

/// Why a log is not read on.
enum Stop {
    Log(ingest::Error),
    Sink(anyhow::Error),
}

impl From<ingest::Error> for Stop {
    fn from(error: ingest::Error) -> Self {
        Self::Log(error)
    }
}

/// Hands what was chosen of a log to the sink.
///
/// # Errors
/// If the log cannot be read; those of the sink.
pub(super) fn run(wal: &Wal, choice: &Choice, sink: &mut Sink) -> Result<Ended> {
    sink.begin_again();
    sink.progress.of("the log of the last hours".to_owned());
    match read(wal, choice, sink) {
        Ok(()) => Ok(Ended::Whole),
        Err(Stop::Log(error)) if tsdb::has_vanished(&error) => Ok(Ended::Vanished),
        Err(Stop::Log(error)) => Err(anyhow!(error)),
        Err(Stop::Sink(error)) => Err(error),
    }
}

fn read(wal: &Wal, choice: &Choice, sink: &mut Sink) -> Result<(), Stop> {
    let mut head = Head::default();
    let mut faults = Vec::new();
    for number in 0..wal.len() {
        faults.extend(wal.read::<Stop>(number, |logged| {
            head.learn(logged, choice);
            Ok(())
        })?);
    }
    for number in 0..wal.len() {
        // What is damaged was found the first time.
        wal.read::<Stop>(number, |logged| {
            head.gather(logged, choice);
            if head.samples >= GATHERED_MAX { head.hand_over(sink).map_err(Stop::Sink) } else { Ok(()) }
        })?;
    }
    head.hand_over(sink).map_err(Stop::Sink)?;
    // Only now: a log that is looked for again is read again.
    faults.into_iter().for_each(|fault| sink.damaged(fault));
    for (series, samples) in head.unknown {
        sink.damaged(format_args!(
            "the log does not say which series its samples are of: series={series} samples={samples}"
        ));
    }
    Ok(())
}

impl Head {
    fn learn(&mut self, logged: Logged<'_>, choice: &Choice) {
        match logged {
            Logged::Series(series, labels) => self.learn_series(series, labels, choice),
            Logged::Deleted(series, first_ms, last_ms) => {
                self.deleted.entry(series).or_default().push((first_ms, last_ms));
            }
            Logged::Sample(..) | Logged::Histogram(..) => {}
        }
    }

    fn learn_series(&mut self, series: u64, mut labels: Vec<(&str, &str)>, choice: &Choice) {
        labels.sort_unstable();
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let chosen = choice.takes(&labels).then(|| labels.iter().map(owned).collect());
        self.series.insert(series, chosen);
    }

    fn gather(&mut self, logged: Logged<'_>, choice: &Choice) {
        match logged {
            // Also those that the server has logged since the first reading.
            Logged::Series(series, labels) if !self.series.contains_key(&series) => {
                self.learn_series(series, labels, choice);
            }
            Logged::Sample(series, sample) if self.takes(series, sample.ts_ms, choice) => {
                self.samples += 1;
                self.gathered.entry(series).or_default().floats.push(sample);
            }
            Logged::Histogram(series, histogram) if self.takes(series, histogram.ts_ms, choice) => {
                // Some hundred bytes each, of which a sample has a tenth.
                self.samples += 10;
                self.gathered.entry(series).or_default().histograms.push(*histogram);
            }
            _ => {}
        }
    }

    fn takes(&mut self, series: u64, ts_ms: i64, choice: &Choice) -> bool {
        let is_deleted = |(first, last): &(i64, i64)| (*first..=*last).contains(&ts_ms);
        if !choice.times_ms.contains(&ts_ms)
            || self.deleted.get(&series).is_some_and(|deleted| deleted.iter().any(is_deleted))
        {
            return false;
        }
        match self.series.get(&series) {
            Some(chosen) => chosen.is_some(),
            None => {
                *self.unknown.entry(series).or_default() += 1;
                false
            }
        }
    }

    fn hand_over(&mut self, sink: &mut Sink) -> Result<()> {
        self.samples = 0;
        let mut gathered = self.gathered.drain().collect::<Vec<_>>();
        gathered.sort_unstable_by_key(|(series, _)| *series);
        for (series, mut samples) in gathered {
            let Some(Some(labels)) = self.series.get(&series) else { continue };
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            samples.sort();
            sink.series(&Series { labels: &labels, samples: &samples, exemplars: &[], about: None })?;
        }
        Ok(())
    }
}
