//! Reads the labels of a series that is not known yet: checks them, sorts them, and gives the series its identity.
//!
//! Called on the slow path alone, which is why the rules are applied here. Hands canonical labels to the series index and to the rows of dataset `series`.
//! Invariants: the identity depends on the label set, not on the order or the message it came in; it never changes
//! between releases, since it is stored.

use std::borrow::Cow;

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use super::{
    decoded::{Decoded, Labels},
    reject::{Reason, Reject},
    relabel::Pair,
    rules::Rules,
};

/// Limits of a label set.
#[derive(Clone, Copy, Debug)]
pub struct LabelLimits {
    /// Labels of one series, its name included.
    pub labels_max: usize,
    /// Bytes of a label name.
    pub name_bytes_max: usize,
    /// Bytes of a label value.
    pub value_bytes_max: usize,
}

/// Canonical labels of a series.
#[derive(Debug)]
pub(crate) struct SeriesLabels<'a> {
    pub(crate) metric: Cow<'a, str>,
    /// Sorted by name, without `__name__`.
    pub(crate) pairs: Vec<Pair<'a>>,
    pub(crate) identity: Identity,
}

/// Who a series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// Column `series_id`: xxh3-64 of the canonical labels.
    pub(crate) series_id: i64,
    /// xxh3-128 of the same, which tells apart what the column cannot.
    pub(crate) canonical: u128,
}

/// Label that holds the metric's name.
const NAME: &str = "__name__";

/// Reads the labels of a series as the rules leave them; `None` if they drop it.
pub(crate) fn of_series<'a>(
    decoded: &'a Decoded,
    body: &'a [u8],
    labels: Labels,
    limits: &LabelLimits,
    rules: &Rules,
) -> Result<Option<SeriesLabels<'a>>, Reject> {
    let raw = sorted(decoded, body, labels, &rules.limits_before(limits))?;
    let Some(mut pairs) = rules.apply(raw, limits)? else { return Ok(None) };
    let missing = Reject::new(Reason::NameMissing, "series has no label __name__");
    let at = pairs.binary_search_by_key(&NAME, |(name, _)| name).map_err(|_| missing)?;
    let (_, metric) = pairs.remove(at);
    let identity = identity(&metric, pairs.iter().map(|(name, value)| (&**name, &**value)));
    Ok(Some(SeriesLabels { metric, pairs, identity }))
}

/// Reads a label set: checked, sorted by name, labels with an empty value left out, which is what an empty value means.
pub(crate) fn sorted<'a>(
    decoded: &'a Decoded,
    body: &'a [u8],
    labels: Labels,
    limits: &LabelLimits,
) -> Result<Vec<(&'a str, &'a str)>, Reject> {
    let mut pairs = Vec::with_capacity(16);
    let mut count = 0;
    decoded.each_label(body, labels, |name, value| {
        count += 1;
        if count > limits.labels_max {
            return Err(Reject::new(Reason::LabelLimit, "series has too many labels"));
        }
        if name.len() > limits.name_bytes_max {
            return Err(Reject::new(Reason::LabelLimit, "label name is too long"));
        }
        if value.len() > limits.value_bytes_max {
            return Err(Reject::new(Reason::LabelLimit, "label value is too long"));
        }
        let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) else {
            return Err(Reject::new(Reason::Labels, "label is not UTF-8"));
        };
        if name.is_empty() {
            return Err(Reject::new(Reason::Labels, "label name is empty"));
        }
        pairs.push((name, value));
        Ok(())
    })?;
    if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
        pairs.sort_unstable();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Reject::new(Reason::Labels, "label name is repeated"));
        }
    }
    pairs.retain(|(_, value)| !value.is_empty());
    Ok(pairs)
}

/// Identity of a series, from its metric and its other labels sorted by name.
pub(crate) fn identity<'a>(metric: &'a str, others: impl Iterator<Item = (&'a str, &'a str)>) -> Identity {
    let mut bytes = Vec::with_capacity(512);
    // 0xff and 0xfe occur in no UTF-8 text, so different label sets never give the same bytes.
    let mut put = |name: &str, value: &str| {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0xff);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0xfe);
    };
    let mut named = false;
    for (name, value) in others {
        if !named && name > NAME {
            put(NAME, metric);
            named = true;
        }
        put(name, value);
    }
    if !named {
        put(NAME, metric);
    }
    Identity { series_id: xxh3_64(&bytes).cast_signed(), canonical: xxh3_128(&bytes) }
}
