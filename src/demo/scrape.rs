//! What the demo's server says of itself, as whatever scrapes it would send it on.
//!
//! Called for each live step; hands series to the sink that has the fleet's. Not here: the format of a line (`ingest::openmetrics`), which takes
//! lines with a time alone, so each gets its own.

use anyhow::Result;
use ingest::{
    openmetrics::{self, Line},
    samples::{Sample, Samples},
};

use crate::import::{Sink, encode::Series};

/// The job that `deploy/rules/slo.yaml` and the dashboard Streamgauge look for.
const JOB: &str = "streamgauge";

/// Hands over what `/metrics` has, all of one time, and that it answered.
///
/// # Errors
/// Those of the sink.
pub(super) fn send(text: &str, (instance, at_ms): (&str, i64), sink: &mut Sink) -> Result<()> {
    each(text, (instance, at_ms), |labels, bits| {
        let mut samples = Samples::default();
        samples.floats.push(Sample { ts_ms: at_ms, bits, start_ms: 0 });
        sink.series(&Series { labels, samples: &samples, exemplars: &[], about: None })
    })
}

/// Labels and value of each series.
fn each(
    text: &str,
    (instance, at_ms): (&str, i64),
    mut take: impl FnMut(&[(&str, &str)], u64) -> Result<()>,
) -> Result<()> {
    let target = [("instance", instance), ("job", JOB)];
    take(&[&[("__name__", "up")], &target[..]].concat(), 1f64.to_bits())?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let line = format!("{line} {}.{:03}", at_ms.div_euclid(1000), at_ms.rem_euclid(1000));
        let Ok(Line::Sample(sample)) = openmetrics::line(line.as_bytes()) else { continue };
        let mut labels: Vec<_> = sample.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        labels.extend(target);
        take(&labels, sample.bits)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_becomes_a_series_of_the_job() {
        let text = "# HELP a_total A.\n# TYPE a_total counter\na_total{code=\"2 \\\"x\\\"\"} 3\nb 1.5e-05\nb{le=\"+Inf\"} +Inf\n";
        let mut taken = Vec::new();
        each(text, ("h:1", 1_795_901_412_007), |labels, bits| {
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            taken.push((labels.join(" "), f64::from_bits(bits)));
            Ok(())
        })
        .unwrap();
        let of = |labels: &str| format!("{labels} instance=h:1 job=streamgauge");
        let expected = [
            (of("__name__=up"), 1.0),
            (of("__name__=a_total code=2 \"x\""), 3.0),
            (of("__name__=b"), 0.000_015),
            (of("__name__=b le=+Inf"), f64::INFINITY),
        ];
        assert_eq!(taken, expected);
    }
}
