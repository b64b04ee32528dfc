//! The log of a Prometheus: the samples that are in no block yet.
//!
//! Called by [`blocks`](super::blocks), after the blocks. The log is in order of time and of arrival, not of series, so samples are
//! gathered by series, some hundred thousand at a time. It is no part that can be done: more is written to it as long as its server
//! runs, and a second import goes through it again. What was deleted is in the log after what it deletes, so the log is read twice.

use std::collections::HashMap;

use anyhow::Result;
use ingest::tsdb::{Logged, Samples, Wal};

use super::{Choice, encode::Series, sink::Sink};

/// Samples that are gathered before they are handed over: as many as fill some requests.
const GATHERED_MAX: usize = 500_000;

type Labels = Vec<(String, String)>;

/// What is known of the series of a log.
#[derive(Default)]
struct Head {
    series: HashMap<u64, Labels>,
    deleted: HashMap<u64, Vec<(i64, i64)>>,
    /// By the number of the series.
    gathered: HashMap<u64, Samples>,
    samples: usize,
}

/// Hands what was chosen of a log to the sink.
///
/// # Errors
/// If the log cannot be read; those of the sink.
pub(super) fn run(wal: &Wal, choice: &Choice, sink: &mut Sink) -> Result<()> {
    sink.begin_again();
    sink.progress.of("the log of the last hours".to_owned());
    let mut head = Head::default();
    for number in 0..wal.len() {
        let faults = wal.read::<anyhow::Error>(number, |logged| {
            head.learn(logged, choice);
            Ok(())
        })?;
        faults.into_iter().for_each(|fault| sink.damaged(fault));
    }
    for number in 0..wal.len() {
        // Damage was told the first time.
        wal.read::<anyhow::Error>(number, |logged| {
            head.gather(logged, choice);
            if head.samples >= GATHERED_MAX { head.hand_over(sink) } else { Ok(()) }
        })?;
    }
    head.hand_over(sink)
}

impl Head {
    fn learn(&mut self, logged: Logged<'_>, choice: &Choice) {
        match logged {
            Logged::Series(series, mut labels) => {
                labels.sort_unstable();
                if choice.takes(&labels) {
                    let owned = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                    self.series.insert(series, owned.collect());
                }
            }
            Logged::Deleted(series, first_ms, last_ms) => {
                self.deleted.entry(series).or_default().push((first_ms, last_ms));
            }
            Logged::Sample(..) | Logged::Histogram(..) => {}
        }
    }

    fn gather(&mut self, logged: Logged<'_>, choice: &Choice) {
        match logged {
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

    fn takes(&self, series: u64, ts_ms: i64, choice: &Choice) -> bool {
        let is_deleted = |(first, last): &(i64, i64)| (*first..=*last).contains(&ts_ms);
        choice.times_ms.contains(&ts_ms)
            && self.series.contains_key(&series)
            && !self.deleted.get(&series).is_some_and(|deleted| deleted.iter().any(is_deleted))
    }

    fn hand_over(&mut self, sink: &mut Sink) -> Result<()> {
        self.samples = 0;
        let mut gathered = self.gathered.drain().collect::<Vec<_>>();
        gathered.sort_unstable_by_key(|(series, _)| *series);
        for (series, mut samples) in gathered {
            let Some(labels) = self.series.get(&series) else { continue };
            let labels: Vec<_> = labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            samples.sort();
            sink.series(&Series { labels: &labels, samples: &samples, exemplars: &[], about: None })?;
        }
        Ok(())
    }
}
