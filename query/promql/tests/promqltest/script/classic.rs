//! Makes histograms with custom buckets of classic ones, as `load_with_nhcb` asks.
//!
//! Called by `command`. The series `x_bucket`, `x_count` and `x_sum` of a load become the series `x`, one histogram for each time at
//! which any of them has a number. Start timestamps are lost on the way, as they are in Prometheus.

use std::collections::BTreeMap;

use super::{Buckets, CUSTOM, Histogram, Labels, LoadedSeries, Point, Sample, Span};

/// What is known of a classic histogram at a time.
#[derive(Default)]
struct Classic {
    /// Upper bounds and how many observations are not above.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

#[derive(Clone, Copy)]
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The histograms of the classic series among some.
pub(super) fn converted(series: &[LoadedSeries]) -> Result<Vec<LoadedSeries>, String> {
    let mut bases: BTreeMap<Labels, BTreeMap<i64, Classic>> = BTreeMap::new();
    for LoadedSeries { labels, samples } in series {
        let Some((base, part)) = part(labels)? else { continue };
        let times = bases.entry(base).or_default();
        for sample in samples {
            let Point::Float(value) = sample.point else { continue };
            let classic = times.entry(sample.t_ms).or_default();
            match part {
                Part::Bucket(bound) => classic.buckets.push((bound, value)),
                Part::Count => classic.count = Some(value),
                Part::Sum => classic.sum = value,
            }
        }
    }
    let mut out = Vec::new();
    for (labels, times) in bases {
        let sample = |(t_ms, classic): (i64, Classic)| match classic.histogram() {
            Ok(histogram) => Ok(Sample { t_ms, point: Point::Histogram(histogram), start_ms: None }),
            Err(error) => Err(format!("the classic histogram {labels:?} at {t_ms} ms: {error}")),
        };
        let samples: Vec<_> = times.into_iter().map(sample).collect::<Result<_, _>>()?;
        if !samples.is_empty() {
            out.push(LoadedSeries { labels, samples });
        }
    }
    Ok(out)
}

/// The name of the histogram a series is of, and which part it is. A bound that is no number makes a series none.
fn part(labels: &Labels) -> Result<Option<(Labels, Part)>, String> {
    let of = |wanted: &str| labels.iter().find(|(name, _)| name == wanted).map_or("", |(_, value)| value.as_str());
    let name = of("__name__");
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        let bound = of("le");
        if bound.is_empty() {
            return Err(format!("the bucket {labels:?} has no label `le`"));
        }
        let Some(bound) = bound.parse().ok().filter(|bound: &f64| !bound.is_nan()) else { return Ok(None) };
        (base, Part::Bucket(bound))
    } else if let Some(base) = name.strip_suffix("_sum") {
        (base, Part::Sum)
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        return Ok(None);
    };
    let kept = labels.iter().filter(|(name, _)| name != "le" && name != "__name__").cloned();
    let named = (!base.is_empty()).then(|| ("__name__".to_owned(), base.to_owned()));
    let mut labels: Labels = kept.chain(named).collect();
    labels.sort();
    Ok(Some((labels, part)))
}

impl Classic {
    fn histogram(mut self) -> Result<Histogram, String> {
        self.buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        self.buckets.dedup_by(|(a, _), (b, _)| a == b);
        if self.count.is_some_and(|count| count < 0.0) || self.buckets.iter().any(|(_, count)| *count < 0.0) {
            return Err("a count is negative".to_owned());
        }
        if self.buckets.windows(2).any(|pair| pair[1].1 < pair[0].1) {
            return Err("the counts are not cumulative".to_owned());
        }
        let last = self.buckets.last().copied();
        let count = self.count.or(last.map(|(_, count)| count)).ok_or("there is neither a count nor a bucket")?;
        if last.is_none_or(|(bound, _)| bound != f64::INFINITY) {
            self.buckets.push((f64::INFINITY, count));
        }
        let (mut positive, mut below, mut empty) = (Buckets::default(), 0.0, 0);
        for (_, cumulative) in &self.buckets {
            push(&mut positive, cumulative - below, &mut empty);
            below = *cumulative;
        }
        // Not `!=`: nothing equals NaN.
        if count == below {
            let bounds = self.buckets.iter().map(|(bound, _)| *bound).filter(|bound| *bound != f64::INFINITY);
            let custom_values = bounds.collect();
            Ok(Histogram { schema: CUSTOM, count, sum: self.sum, positive, custom_values, ..Histogram::default() })
        } else {
            Err(format!("the count is not that of the last bucket: count={count} bucket={below}"))
        }
    }
}

/// Adds the next bucket, of which `empty` have been left out before.
fn push(buckets: &mut Buckets, count: f64, empty: &mut i32) {
    if count == 0.0 {
        *empty += 1;
        return;
    }
    match buckets.spans.last_mut() {
        Some(span) if *empty == 0 => span.length += 1,
        _ => buckets.spans.push(Span { offset: *empty, length: 1 }),
    }
    *empty = 0;
    buckets.counts.push(count);
}
