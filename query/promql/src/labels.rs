//! Labels of series as numbers.
//!
//! A query meets the same names and values again and again: each text is stored once, in [`Symbols`], and labels are pairs of numbers,
//! which are compared and hashed without a look at a text. Made by whoever reads series for a query; new ones are made where a query
//! changes labels.
//!
//! Invariants: labels are in order of their names, each name once; no value is empty, since an empty label is none; numbers are only
//! compared with those of the same `Symbols`.

use std::{cmp::Ordering, sync::Arc};

use hashbrown::HashMap;

use crate::Syntax;

/// The number of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Symbol(u32);

/// Texts by number, numbers by text.
#[derive(Debug, Clone)]
pub struct Symbols {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, Symbol>,
    bytes: usize,
}

/// Labels of one series. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[(Symbol, Symbol)]>);

impl Symbol {
    /// The empty text.
    pub const EMPTY: Self = Self(0);
    /// `__name__`
    pub(crate) const NAME: Self = Self(1);
    /// `__type__`
    pub(crate) const TYPE: Self = Self(2);
    /// `__unit__`
    pub(crate) const UNIT: Self = Self(3);
    /// `le`
    pub(crate) const LE: Self = Self(4);

    /// Is it the name of a label that says what a metric is? Most functions drop those.
    pub(crate) fn is_of_metric(self) -> bool {
        matches!(self, Self::NAME | Self::TYPE | Self::UNIT)
    }
}

impl Default for Symbols {
    fn default() -> Self {
        let mut symbols = Self { texts: Vec::new(), numbers: HashMap::new(), bytes: 0 };
        // In the order of the constants.
        for text in ["", "__name__", "__type__", "__unit__", "le"] {
            symbols.number(text);
        }
        symbols
    }
}

impl Symbols {
    /// The number of a text; a new one if it has none.
    pub fn number(&mut self, text: &str) -> Symbol {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // More than four billion texts do not fit into memory.
        let number = Symbol(u32::try_from(self.texts.len()).unwrap_or(u32::MAX));
        let text: Arc<str> = text.into();
        self.bytes += text.len() + 4 * size_of::<Arc<str>>();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// The number of a text, if it has one.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<Symbol> {
        self.numbers.get(text).copied()
    }

    /// The text of a number.
    #[must_use]
    pub fn text(&self, symbol: Symbol) -> &str {
        &self.texts[symbol.0 as usize]
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Labels {
    /// No labels.
    #[must_use]
    pub fn none() -> Self {
        Self(Arc::new([]))
    }

    /// Labels of pairs in any order, each name once; empty values are left out.
    #[must_use]
    pub fn new(mut pairs: Vec<(Symbol, Symbol)>, symbols: &Symbols) -> Self {
        pairs.retain(|(_, value)| *value != Symbol::EMPTY);
        pairs.sort_by(|(left, _), (right, _)| symbols.text(*left).cmp(symbols.text(*right)));
        Self(pairs.into())
    }

    /// Labels of texts.
    pub fn of<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>, symbols: &mut Symbols) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (symbols.number(name), symbols.number(value))).collect();
        Self::new(pairs, symbols)
    }

    /// The pairs of name and value, in order of the names.
    #[must_use]
    pub fn pairs(&self) -> &[(Symbol, Symbol)] {
        &self.0
    }

    /// The pairs as texts.
    pub fn texts<'a>(&'a self, symbols: &'a Symbols) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().map(|(name, value)| (symbols.text(*name), symbols.text(*value)))
    }

    /// Value of a label; the empty text if it is not there.
    pub(crate) fn get(&self, name: Symbol) -> Symbol {
        self.0.iter().find(|(known, _)| *known == name).map_or(Symbol::EMPTY, |(_, value)| *value)
    }

    /// Those that pass a test of their names.
    #[must_use]
    pub(crate) fn filtered(&self, keeps: impl Fn(Symbol) -> bool) -> Self {
        if self.0.iter().all(|(name, _)| keeps(*name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|(name, _)| keeps(*name)).copied().collect())
    }

    /// Without what says what the metric is.
    #[must_use]
    pub(crate) fn without_metric(&self) -> Self {
        self.filtered(|name| !name.is_of_metric())
    }

    /// With a label set, or taken away if the value is empty.
    #[must_use]
    pub(crate) fn with(&self, name: Symbol, value: Symbol, symbols: &Symbols) -> Self {
        if self.get(name) == value {
            return self.clone();
        }
        let mut pairs: Vec<_> = self.0.iter().filter(|(known, _)| *known != name).copied().collect();
        pairs.push((name, value));
        Self::new(pairs, symbols)
    }

    /// The order in which Prometheus shows series.
    #[must_use]
    pub fn compare(&self, other: &Self, symbols: &Symbols) -> Ordering {
        // Where they differ in numbers they differ in texts.
        let differ = self.0.iter().zip(other.0.iter()).find(|(left, right)| left != right);
        match differ {
            Some(((name, value), (of_name, of_value))) => {
                let left = (symbols.text(*name), symbols.text(*value));
                left.cmp(&(symbols.text(*of_name), symbols.text(*of_value)))
            }
            None => self.0.len().cmp(&other.0.len()),
        }
    }

    /// As Prometheus writes them in messages: `{__name__="up", job="api"}`.
    pub(crate) fn display(&self, symbols: &Symbols) -> String {
        let label = |(name, value): (&str, &str)| {
            let name = crate::printer::label_name(name, Syntax::default());
            format!("{name}={}", crate::literal::quoted(value))
        };
        let labels: Vec<String> = self.texts(symbols).map(label).collect();
        format!("{{{}}}", labels.join(", "))
    }
}
