//! Labels of alerts: names and values, sorted, each name once, no value empty.
//!
//! Used by all of this crate. They are an alert's identity: two alerts with the same labels are one.

use std::{cmp::Ordering, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};

/// The label that has an alert's name.
pub const ALERTNAME: &str = "alertname";

/// Labels of an alert, or annotations of it. Cheap to clone.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// The value of a label; what is not there is empty.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.binary_search_by(|(known, _)| (**known).cmp(name)).map_or("", |at| &*self.0[at].1)
    }

    /// Names with values, sorted by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of the texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.len()).sum()
    }

    /// The order of labels in Alertmanager: fewer come first; at the first difference, those that do not have the label.
    #[must_use]
    pub fn in_order(&self, other: &Self) -> Ordering {
        let differs = || self.iter().zip(other.iter()).find(|(a, b)| a != b);
        let first = || differs().map_or(Ordering::Equal, |(a, b)| b.0.cmp(a.0).then_with(|| a.1.cmp(b.1)));
        self.0.len().cmp(&other.0.len()).then_with(first)
    }

    /// These, with others laid over them; an empty value takes a label away.
    #[must_use]
    pub fn with<'a>(&self, over: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all: std::collections::BTreeMap<&str, &str> = self.iter().collect();
        let over: Vec<(&str, &str)> = over.into_iter().collect();
        all.extend(over.iter().copied());
        all.into_iter().collect()
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
        let all: std::collections::BTreeMap<&str, &str> = pairs.into_iter().collect();
        let kept = all.into_iter().filter(|(_, value)| !value.is_empty());
        Self(kept.map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
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
