//! Histograms in the series notation of Prometheus' tests, by which these tests show them.

use super::*;
use crate::number::short;

impl Histogram {
    /// The histogram in the notation of PromQL tests: `{{schema:1 count:3 sum:4.5 buckets:[1 2]}}`.
    ///
    /// That notation knows one run of buckets a side, so gaps are written out. It is for tests, where they are short.
    pub(super) fn test_expression(&self) -> String {
        let mut whole = self.clone();
        whole.compact(usize::MAX);
        let mut fields = Vec::new();
        if whole.schema != 0 {
            fields.push(format!("schema:{}", whole.schema));
        }
        let numbers = [
            ("count", whole.count),
            ("sum", whole.sum),
            ("z_bucket", whole.zero_count),
            ("z_bucket_w", whole.zero_threshold),
        ];
        fields.extend(
            numbers
                .iter()
                .filter(|(_, number)| *number != 0.0)
                .map(|(key, number)| format!("{key}:{}", short(*number))),
        );
        if whole.is_custom() {
            fields.push(format!("custom_values:{}", list(&whole.custom_values)));
        }
        let hint = match whole.hint {
            ResetHint::Unknown => None,
            ResetHint::Reset => Some("reset"),
            ResetHint::NoReset => Some("not_reset"),
            ResetHint::Gauge => Some("gauge"),
        };
        fields.extend(hint.map(|hint| format!("counter_reset_hint:{hint}")));
        fields.extend(side_fields("offset", "buckets", &whole.positive));
        fields.extend(side_fields("n_offset", "n_buckets", &whole.negative));
        format!("{{{{{}}}}}", fields.join(" "))
    }
}

fn side_fields(offset_key: &str, key: &str, side: &Buckets) -> impl Iterator<Item = String> {
    let offset = side.spans.first().map_or(0, |span| span.offset);
    let offset = (offset != 0).then(|| format!("{offset_key}:{offset}"));
    let counts = (!side.counts.is_empty()).then(|| format!("{key}:{}", list(&side.counts)));
    offset.into_iter().chain(counts)
}

fn list(numbers: &[f64]) -> String {
    format!("[{}]", numbers.iter().map(|number| short(*number)).collect::<Vec<_>>().join(" "))
}
