//! Looks at values that are JSON: is it an object, flat, with each key once; or a list of such under `Elements`, with the keys FOCUS names?
//!
//! Called for columns of tags and details. Rows mostly have what another row had, so what was found of a text is kept for a while.

use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher;

use serde_json::value::RawValue;

use super::{
    lists::Keys,
    values::{is_number, is_placeholder},
};
use crate::json::{self, Object};

/// Texts of one column that are known, each in the place that its hash names.
const KNOWN_TEXTS: usize = 256;
/// Bytes of a text that is kept; longer ones are looked at again.
const KNOWN_BYTES_MAX: usize = 4 << 10;
/// Members among which a key is looked for one by one.
const FEW: usize = 16;

/// Texts that were looked at, and what was found.
#[derive(Debug)]
pub(super) struct Known {
    hasher: DefaultHashBuilder,
    texts: Vec<(String, bool)>,
}

impl Known {
    pub(super) fn new() -> Self {
        Self { hasher: DefaultHashBuilder::default(), texts: vec![(String::new(), false); KNOWN_TEXTS] }
    }

    /// What is known of a text, or found now.
    pub(super) fn recall(&mut self, text: &str, look: impl FnOnce(&str) -> bool) -> bool {
        let places = self.texts.len().max(1) as u64;
        let place = usize::try_from(self.hasher.hash_one(text) % places).unwrap_or_default();
        let Some(known) = self.texts.get_mut(place).filter(|_| text.len() <= KNOWN_BYTES_MAX) else {
            return look(text);
        };
        if known.0 != text {
            known.1 = look(text);
            known.0.clear();
            known.0.push_str(text);
        }
        known.1
    }
}

/// Is it a flat object with each key once?
pub(super) fn is_flat(text: &str) -> bool {
    json::object(text).is_some_and(|object| is_flat_object(&object))
}

fn is_flat_object(Object(members): &Object<'_>) -> bool {
    let are_plain = members.iter().all(|(_, value)| !value.get().starts_with(['{', '[']));
    let are_once = if members.len() <= FEW {
        members.iter().enumerate().all(|(at, (key, _))| members.iter().take(at).all(|(before, _)| before != key))
    } else {
        let mut keys: Vec<_> = members.iter().map(|(key, _)| key).collect();
        keys.sort_unstable();
        keys.windows(2).all(|pair| pair[0] != pair[1])
    };
    are_plain && are_once
}

/// Is it an object with a list of flat objects under `Elements`, each with the keys it needs and no others but custom ones?
pub(super) fn has_elements(text: &str, keys: &Keys) -> bool {
    let Some(Object(members)) = json::object(text) else { return false };
    let elements = members.iter().find(|(key, _)| key == "Elements").and_then(|(_, list)| json::array(list.get()));
    elements.is_some_and(|elements| elements.into_iter().all(|element| is_element(element, keys)))
}

fn is_element(element: &RawValue, keys: &Keys) -> bool {
    let Some(object) = json::object(element.get()).filter(is_flat_object) else { return false };
    // Published texts write both `…ID` and `…Id`.
    let value =
        |name: &str| object.0.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.get());
    let is_given = |name: &&str| value(name).is_some_and(|value| value != "null");
    let is_known = |key: &str| keys.needed.iter().chain(keys.others).any(|known| known.eq_ignore_ascii_case(key));
    let is_number = |name: &&str| value(name).is_none_or(|value| value == "null" || is_number(value));
    keys.needed
        .iter()
        .all(|name| is_given(name) && !value(name).is_some_and(|text| is_placeholder(text.trim_matches('"'))))
        && object.0.iter().all(|(key, _)| key.starts_with("x_") || is_known(key))
        && keys.numbers.iter().all(is_number)
        && (keys.one_of.is_empty() || keys.one_of.iter().any(is_given))
        && keys.with.is_none_or(|(one, other)| !is_given(&one) || is_given(&other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::lists::{CONTRACT_KEYS, METHOD_KEYS};

    #[test]
    fn pairs_are_flat_and_their_keys_unique() {
        for good in ["{}", r#"{"a":"1","b":true,"c":null,"d":1.5}"#, r#" {"a" : "{x}"} "#] {
            assert!(is_flat(good), "{good}");
        }
        for bad in ["", "a=b", "[]", r#"{"a":{"b":1}}"#, r#"{"a":[]}"#, r#"{"a":1,"a":2}"#, r#"{"a":1} x"#, r#""a":1"#]
        {
            assert!(!is_flat(bad), "{bad}");
        }
        let many: Vec<_> = (0..40).map(|n| format!(r#""k{n}":1"#)).collect();
        assert!(is_flat(&format!("{{{}}}", many.join(","))) && !is_flat(&format!("{{{},\"k7\":2}}", many.join(","))));
    }

    #[test]
    fn elements_have_the_keys_that_focus_names() {
        let method = |text: &str| has_elements(text, &METHOD_KEYS);
        assert!(method(r#"{"Elements":[{"AllocatedRatio":0.5,"UsageQuantity":2,"UsageUnit":"Hours","x_Pod":"a"}]}"#));
        assert!(method(r#"{"Elements":[]}"#));
        for bad in [
            r#"{"AllocatedRatio":0.5}"#,
            r#"{"Elements":{"AllocatedRatio":1}}"#,
            r#"{"Elements":[{"UsageQuantity":2,"UsageUnit":"Hours"}]}"#,
            r#"{"Elements":[{"AllocatedRatio":"half"}]}"#,
            r#"{"Elements":[{"AllocatedRatio":0.5,"UsageQuantity":2}]}"#,
            r#"{"Elements":[{"AllocatedRatio":0.5,"Pod":"a"}]}"#,
        ] {
            assert!(!method(bad), "{bad}");
        }
        let contract = |text: &str| has_elements(text, &CONTRACT_KEYS);
        assert!(contract(
            r#"{"Elements":[{"ContractId":"c","ContractCommitmentID":"d","ContractCommitmentAppliedCost":5}]}"#
        ));
        assert!(!contract(r#"{"Elements":[{"ContractId":"c","ContractCommitmentID":"d"}]}"#));
        assert!(!contract(r#"{"Elements":[{"ContractCommitmentID":"d","ContractCommitmentAppliedCost":5}]}"#));
    }

    #[test]
    fn what_is_known_is_not_looked_at_again() {
        let (mut known, mut looks) = (Known::new(), 0);
        for text in ["{}", "{}", "x", "{}", ""] {
            let found = known.recall(text, |text| {
                looks += 1;
                is_flat(text)
            });
            assert_eq!(found, text == "{}");
        }
        assert!((2..=4).contains(&looks), "{looks}");
    }
}
