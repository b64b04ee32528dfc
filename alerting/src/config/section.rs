//! The macro that writes the sections of the file: their fields, defaults and reader in one place.
//!
//! Used by the other modules of `config`. A key without a value leaves the default, as in Go; an unknown key is an error at its place.
//! Not here: what the values have to satisfy.

use std::fmt;

use serde::{
    Deserializer,
    de::{self, DeserializeSeed, Visitor},
};

/// Reads a key that has to be one of these.
pub(super) struct Key(pub(super) &'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Key {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Key {
    type Value = &'static str;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        let known = self.0.iter().find(|known| **known == key);
        known.copied().ok_or_else(|| E::unknown_field(key, self.0))
    }
}

/// The key of a field: its name, or what is written beside it.
macro_rules! key {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident $key:literal) => {
        $key
    };
}

/// A section of the file: `field: Type = default`, with its key in parentheses where that is a word of Rust. Fields are those of the
/// grammar of the same name and are described there.
macro_rules! section {
    ($(#[$meta:meta])* pub struct $name:ident { $($field:ident $(($key:literal))?: $type:ty = $default:expr,)* }) => {
        $(#[$meta])*
        #[allow(missing_docs)]
        #[derive(Debug, Clone, serde::Serialize)]
        pub struct $name {
            $($(#[serde(rename = $key)])? pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                const KEYS: &[&str] = &[$($crate::config::section::key!($field $($key)?)),*];
                struct Fields;
                impl<'de> serde::de::Visitor<'de> for Fields {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("keys and values (`key: value`)")
                    }

                    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<$name, A::Error> {
                        let mut read = $name::default();
                        while let Some(key) = map.next_key_seed($crate::config::section::Key(KEYS))? {
                            $(if key == $crate::config::section::key!($field $($key)?) {
                                if let Some(value) = map.next_value::<Option<$type>>()? {
                                    read.$field = value;
                                }
                                continue;
                            })*
                        }
                        Ok(read)
                    }
                }
                deserializer.deserialize_struct(stringify!($name), KEYS, Fields)
            }
        }
    };
}

pub(super) use {key, section};
