//! Columns that FOCUS has no place for: they are kept under names that begin with `x_`.
//!
//! Built by the mappings from the header and the columns they read themselves; collects the others of each record, by name.

use hashbrown::{HashMap, HashSet};

use crate::{
    record::{Header, Record},
    row::Entries,
};

/// Columns without a place, by name.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    columns: Vec<(String, usize)>,
}

impl Extras {
    /// All columns but those at `taken`.
    pub(crate) fn new(header: &Header, taken: &HashSet<usize>) -> Self {
        let mut times: HashMap<String, usize> = HashMap::new();
        let mut columns = Vec::new();
        for (slot, name) in header.names.iter().enumerate().filter(|(slot, _)| !taken.contains(slot)) {
            let name = extra_name(name);
            let seen = times.entry(name.clone()).or_default();
            *seen += 1;
            columns.push((if *seen == 1 { name } else { format!("{name}_{seen}") }, slot));
        }
        columns.sort();
        Self { columns }
    }

    /// What a record has in them.
    pub(crate) fn collect<'a>(&'a self, record: &Record<'a>, is_null: impl Fn(&str) -> bool) -> Entries<'a> {
        let mut entries = Vec::with_capacity(self.columns.len().min(64));
        for (name, slot) in &self.columns {
            if record.is_empty(*slot) {
                continue;
            }
            let text = record.get(*slot);
            if !is_null(text) {
                entries.push((name.as_str(), text));
            }
        }
        entries
    }
}

/// Puts an entry where its key belongs; an entry with this key stays.
pub(crate) fn insert<'a>(entries: &mut Entries<'a>, key: &'a str, value: &'a str) {
    if let Err(at) = entries.binary_search_by(|entry| entry.0.cmp(key)) {
        entries.insert(at, (key, value));
    }
}

/// Sorts entries by key; of two with one key the first stays.
pub(crate) fn sort(entries: &mut Entries<'_>) {
    entries.sort_by(|a, b| a.0.cmp(b.0));
    entries.dedup_by(|after, before| after.0 == before.0);
}

/// Name of a column that FOCUS does not have: `bill/BillType` is `x_bill_BillType`.
pub(crate) fn extra_name(name: &str) -> String {
    let name: String = name.trim().chars().map(|c| if matches!(c, '/' | ' ' | '.') { '_' } else { c }).collect();
    if name.starts_with("x_") { name } else { format!("x_{name}") }
}
