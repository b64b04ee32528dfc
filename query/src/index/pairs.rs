//! Pairs of a label's name and value, each stored once and known by a number.
//!
//! Called by the index. Texts stand one after another in one buffer: a vector of strings would take an allocation and sixteen
//! bytes more for each of a million values.

use std::hash::BuildHasher;

use datafusion::common::{DataFusionError, Result};
use hashbrown::{DefaultHashBuilder, HashTable};

/// Pairs by number, numbers by pair.
#[derive(Default)]
pub(super) struct Pairs {
    /// All values.
    text: String,
    pairs: Vec<Pair>,
    names: Vec<Name>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

struct Pair {
    /// Which of `names`.
    name: u32,
    /// Where its value begins in `text`; it ends where that of the next begins.
    start: u32,
}

/// A label's name.
struct Name {
    text: Box<str>,
    /// Pairs of this name.
    pairs: Vec<u32>,
}

impl Pairs {
    /// The number of a pair; the next one if it is new.
    ///
    /// # Errors
    /// `ResourcesExhausted` beyond 4 GiB of values.
    pub(super) fn number(&mut self, name: &str, value: &str) -> Result<u32> {
        if let Some(number) = self.find(name, value) {
            return Ok(number);
        }
        let too_much = |_| DataFusionError::ResourcesExhausted("more than 4 GiB of labels".to_owned());
        let start = u32::try_from(self.text.len()).map_err(too_much)?;
        u32::try_from(self.text.len() + value.len()).map_err(too_much)?;
        let number = u32::try_from(self.pairs.len()).map_err(too_much)?;
        let of = match self.names.iter().position(|known| *known.text == *name) {
            Some(at) => at,
            None => {
                self.names.push(Name { text: name.into(), pairs: Vec::new() });
                self.names.len() - 1
            }
        };
        self.names[of].pairs.push(number);
        self.text.push_str(value);
        self.pairs.push(Pair { name: u32::try_from(of).map_err(too_much)?, start });
        let hash = self.hasher.hash_one((name, value));
        let Self { numbers, text, pairs, names, hasher } = self;
        numbers.insert_unique(hash, number, |of| {
            hasher.hash_one((&*names[pairs[*of as usize].name as usize].text, value_of(text, pairs, *of)))
        });
        Ok(number)
    }

    /// The number of a pair that is known.
    pub(super) fn find(&self, name: &str, value: &str) -> Option<u32> {
        let same = |number: &u32| self.value(*number) == value && self.name(*number) == name;
        self.numbers.find(self.hasher.hash_one((name, value)), same).copied()
    }

    pub(super) fn name(&self, pair: u32) -> &str {
        &self.names[self.pairs[pair as usize].name as usize].text
    }

    pub(super) fn value(&self, pair: u32) -> &str {
        value_of(&self.text, &self.pairs, pair)
    }

    /// All names, each with its pairs.
    pub(super) fn names(&self) -> impl Iterator<Item = (&str, &[u32])> {
        self.names.iter().map(|name| (&*name.text, &*name.pairs))
    }

    /// The pairs of a name; none if there is no such label.
    pub(super) fn of_name(&self, name: &str) -> &[u32] {
        self.names.iter().find(|known| *known.text == *name).map_or(&[], |name| &name.pairs)
    }

    /// About how many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        2 * (self.text.len() + self.pairs.len() * (size_of::<Pair>() + 4 + 8)) + self.names.len() * 64
    }
}

fn value_of<'a>(text: &'a str, pairs: &[Pair], pair: u32) -> &'a str {
    let at = pair as usize;
    let end = pairs.get(at + 1).map_or(text.len(), |next| next.start as usize);
    &text[pairs[at].start as usize..end]
}
