//! Equality of histograms: `==` of PromQL compares data bit by bit.

use super::{Histogram, Span};

impl Histogram {
    /// Equality as PromQL's `==` and `changes` have it: the same buckets, even if empty, with the same bits. The hint does not
    /// matter, and neither do spans without buckets.
    #[must_use]
    pub(crate) fn equals(&self, other: &Histogram) -> bool {
        let same = |a: f64, b: f64| a.to_bits() == b.to_bits();
        self.has_layout_of(other)
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && same(self.zero_count, other.zero_count)
            && all_match(&self.negative.counts, &other.negative.counts, same)
            && all_match(&self.positive.counts, &other.positive.counts, same)
    }

    fn has_layout_of(&self, other: &Histogram) -> bool {
        self.schema == other.schema
            && (!self.is_custom() || self.custom_values == other.custom_values)
            && self.zero_threshold == other.zero_threshold
            && populated(&self.negative.spans).eq(populated(&other.negative.spans))
            && populated(&self.positive.spans).eq(populated(&other.positive.spans))
    }
}

fn all_match(a: &[f64], b: &[f64], same: impl Fn(f64, f64) -> bool) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(*a, *b))
}

/// The spans that have buckets; those that have none widen the gap before the next.
fn populated(spans: &[Span]) -> impl Iterator<Item = Span> {
    let mut gap = 0_i32;
    spans.iter().filter_map(move |span| {
        gap = gap.wrapping_add(span.offset);
        (span.length > 0).then(|| Span { offset: std::mem::take(&mut gap), length: span.length })
    })
}
