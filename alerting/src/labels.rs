//! Labels of alerts: names and values, sorted, each name once, no value empty.
//!
//! Used by all of this crate. They are an alert's identity: two alerts with the same labels are one.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};

/// The label that has an alert's name.
pub const ALERTNAME: &str = "alertname";

/// Labels of an alert, or annotations of it. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Labels(Arc<Packed>);

/// All texts in one: of a hundred thousand alerts, a text each would be twenty times as many pieces of memory.
#[derive(Default, PartialEq, Eq, Hash)]
struct Packed {
    text: Box<str>,
    /// Where each name and each value ends.
    ends: Box<[u32]>,
}

impl Packed {
    fn part(&self, at: usize) -> &str {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[begin as usize..self.ends[at] as usize]
    }

    /// Names and values from one of them on.
    fn parts(&self, from: usize) -> impl Iterator<Item = &str> {
        (from..self.ends.len()).map(|at| self.part(at))
    }
}

impl Labels {
    /// The value of a label; what is not there is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    /// Names with values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        (0..self.0.ends.len() / 2).map(move |at| (self.0.part(2 * at), self.0.part(2 * at + 1)))
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.ends.is_empty()
    }

    /// Bytes of the texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.text.len()
    }

    /// The order of labels in Alertmanager: fewer come first; at the first difference, those that do not have the label.
    #[must_use]
    pub fn in_order(&self, other: &Self) -> Ordering {
        let differs = || self.iter().zip(other.iter()).find(|(a, b)| a != b);
        let first = || differs().map_or(Ordering::Equal, |(a, b)| b.0.cmp(a.0).then_with(|| a.1.cmp(b.1)));
        self.iter().len().cmp(&other.iter().len()).then_with(first)
    }

    /// These, with others laid over them; an empty value takes a label away.
    #[must_use]
    pub fn with<'a>(&'a self, over: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.iter().chain(over).collect()
    }

    /// A number that is the same for the same labels, in every process: FNV-1a of 64 bits over names and values, as Prometheus and
    /// Alertmanager compute an alert's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        const SEPARATOR: u8 = 255;
        let mut hash: u64 = 14_695_981_039_346_656_037;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(1_099_511_628_211);
        for (name, value) in self.iter() {
            name.bytes().for_each(&mut add);
            add(SEPARATOR);
            value.bytes().for_each(&mut add);
            add(SEPARATOR);
        }
        hash
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    /// Of a name that comes twice the last value stays.
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let mut all: Vec<(&str, &str)> = pairs.into_iter().collect();
        // Stable: of one name the last one stays last.
        all.sort_by_key(|(name, _)| *name);
        let of_name = all.chunk_by(|one, other| one.0 == other.0).filter_map(<[_]>::last);
        let kept: Vec<(&str, &str)> = of_name.filter(|(_, value)| !value.is_empty()).copied().collect();
        let mut text = String::with_capacity(kept.iter().map(|(name, value)| name.len() + value.len()).sum());
        let mut ends = Vec::with_capacity(2 * kept.len());
        for part in kept.iter().flat_map(|(name, value)| [name, value]) {
            text.push_str(part);
            // Bodies and queries are bounded far below.
            ends.push(u32::try_from(text.len()).unwrap_or(u32::MAX));
        }
        Self(Arc::new(Packed { text: text.into(), ends: ends.into() }))
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// By the first name or value that differs. What both begin with is passed over as bytes: series of a metric differ late.
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, other) = (&*self.0, &*other.0);
        let common = one.text.bytes().zip(other.text.bytes()).take_while(|(a, b)| a == b).count();
        let ends = one.ends.iter().zip(&other.ends);
        let same = ends.take_while(|(a, b)| a == b && **a as usize <= common).count();
        one.parts(same).cmp(other.parts(same))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.iter().len()))?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_in_the_order_of_alertmanager() {
        let labels =
            |text: &str| -> Labels { text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect() };
        let sorted = ["", "b=1", "a=1", "a=2", "a=1 c=1", "a=1 b=1", "a=1 b=2", "a=2 b=1"].map(labels);
        for (nth, pair) in sorted.windows(2).enumerate() {
            assert_eq!(pair[0].in_order(&pair[1]), Ordering::Less, "{nth}: {pair:?}");
            assert_eq!(pair[1].in_order(&pair[0]), Ordering::Greater, "{nth}: {pair:?}");
            assert_eq!(pair[0].in_order(&pair[0]), Ordering::Equal, "{nth}: {pair:?}");
        }
    }

    #[test]
    fn labels_are_sorted_and_what_is_empty_is_not_there() {
        let labels: Labels = [("b", "2"), ("a", "0"), ("c", ""), ("a", "1")].into_iter().collect();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((labels.get("a"), labels.get("c"), labels.get("z")), ("1", "", ""));
        let over = labels.with([("b", ""), ("d", "4")]);
        assert_eq!(serde_json::to_string(&over).unwrap(), r#"{"a":"1","d":"4"}"#);
        assert_eq!(serde_json::from_str::<Labels>(r#"{"d":"4","a":"1","x":""}"#).unwrap(), over);
    }

    #[test]
    fn fingerprints_are_those_of_alertmanager() {
        // Of an alert that a running Alertmanager was given.
        let labels: Labels = [("alertname", "x"), ("severity", "critical")].into_iter().collect();
        assert_eq!(format!("{:016x}", labels.fingerprint()), "2531c3c2583840d8");
        assert_eq!(format!("{:016x}", Labels::default().fingerprint()), "cbf29ce484222325");
    }
}
