//! How the parts of a state are stored that have no form of their own in JSON: maps by labels are lists, numbers are texts, as some are NaN
//! or infinite.

pub(super) mod number {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

pub(super) mod instances {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::{Labels, alert::Instance};

    pub fn serialize<S: Serializer>(map: &BTreeMap<Labels, Instance>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<Labels, Instance>, D::Error> {
        Ok(Vec::<(Labels, Instance)>::deserialize(deserializer)?.into_iter().collect())
    }
}
