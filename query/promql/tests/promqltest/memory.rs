//! Series in memory, as a backend of the tests.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::AtomicBool};

use promql::{
    Control, Features, Gather, HistogramSample, Labels, NO_START, Options, Planned, Query, Samples, Symbols, Syntax,
    Want,
};

use super::{
    script::{Backend, LoadedSeries, Outcome, Point, Sample, pinned_times},
    shown::shown,
};

/// How far before what is wanted histograms are looked at.
const LOOK_BACK_MS: i64 = 300_000;

/// All that was loaded, by labels.
#[derive(Default)]
pub struct Memory {
    series: BTreeMap<Vec<(String, String)>, BTreeMap<i64, Sample>>,
}

impl Backend for Memory {
    fn clear(&mut self) -> Result<(), String> {
        self.series.clear();
        Ok(())
    }

    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String> {
        for loaded in series {
            let known = self.series.entry(loaded.labels).or_default();
            known.extend(loaded.samples.into_iter().map(|sample| (sample.t_ms, sample)));
        }
        Ok(())
    }

    fn instant(&mut self, query: &str, at_ms: i64) -> Result<Outcome, String> {
        self.ask(query, options(at_ms, at_ms, 1))
    }

    fn range(&mut self, query: &str, start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Outcome, String> {
        self.ask(query, options(start_ms, end_ms, step_ms))
    }

    fn pinned(&mut self, query: &str, at_ms: i64) -> Option<Vec<(String, i64)>> {
        let text = read(query).ok()?.pinned(at_ms)?;
        Some(pinned_times(at_ms).into_iter().map(|time| (text.clone(), time)).collect())
    }
}

/// As the tests of Prometheus have it, all of them.
fn read(query: &str) -> promql::Result<Query> {
    Query::parse_with(query, Syntax { unquoted_utf8: true })
}

/// As the tests of Prometheus have it.
pub fn options(start_ms: i64, end_ms: i64, step_ms: i64) -> Options {
    Options {
        is_instant: start_ms == end_ms,
        start_ms,
        end_ms,
        step_ms,
        lookback_ms: 300_000,
        subquery_step_ms: 60_000,
        samples_max: 1_000_000,
        threads: 2,
        features: Features {
            experimental_functions: true,
            fill: true,
            delayed_name_removal: true,
            start_timestamps: true,
            type_and_unit: false,
        },
    }
}

impl Memory {
    fn ask(&self, query: &str, options: Options) -> Result<Outcome, String> {
        let planned = read(query).and_then(|query| query.plan(options)).map_err(|error| error.to_string())?;
        let mut symbols = Symbols::default();
        let samples: Vec<Samples> = planned.wants().iter().map(|want| self.samples(want, &mut symbols)).collect();
        evaluate(&planned, &samples, &mut symbols)
    }

    fn samples(&self, want: &Want, symbols: &mut Symbols) -> Samples {
        let mut out = Gather::default();
        for (labels, samples) in &self.series {
            let value = |name: &str| labels.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
            if !want.matchers.iter().all(|matcher| matcher.matches(value(matcher.label()))) {
                continue;
            }
            if samples.range(want.after_ms + 1..=want.to_ms).next().is_none() {
                continue;
            }
            let wanted = samples.range(want.after_ms + 1 - LOOK_BACK_MS..=want.to_ms).map(|(_, sample)| sample);
            let labels = Labels::of(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())), symbols);
            let (mut times, mut values, mut starts, mut histograms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for sample in wanted {
                let start = sample.start_ms.unwrap_or(NO_START);
                match &sample.point {
                    Point::Float(_) if sample.t_ms <= want.after_ms => {}
                    Point::Float(value) => {
                        times.push(sample.t_ms);
                        values.push(*value);
                        starts.push(start);
                    }
                    Point::Histogram(histogram) => {
                        let histogram = Arc::new(histogram.clone());
                        histograms.push(HistogramSample::new(sample.t_ms, start, histogram));
                    }
                }
            }
            out.add(labels, (&times, &values, &starts), HistogramSample::linked(histograms, want.after_ms));
        }
        out.finish()
    }
}

/// Evaluates a plan, and gives the result as the tests want it.
fn evaluate(planned: &Planned, samples: &[Samples], symbols: &mut Symbols) -> Result<Outcome, String> {
    let stop = AtomicBool::new(false);
    let control = Control { stop: &stop, reserve: &|_| true };
    let answer = planned.evaluate(samples, symbols, control).map_err(|error| error.to_string())?;
    Ok(shown(&answer.result, symbols, planned.options().start_ms, (answer.warnings, answer.infos)))
}
