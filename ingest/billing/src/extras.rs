//! Columns that FOCUS has no place for: they are kept under names that begin with `x_`.
//!
//! Built by the mappings from the header and the columns they read themselves; collects the others of each record, by name.
//!
//! What another column of the record says word for word is left out, as [`Repeats`] of the provider's mapping list it: a column that is
//! not there says what the one it repeats says, or nothing. Most of a bill's columns are such, and they were most of its bytes.

use hashbrown::{HashMap, HashSet};

use crate::{
    record::{Header, Record, is_same},
    row::Entries,
};

/// Keys of columns that mostly say what another one does, and of that one.
pub(crate) type Repeats = [(&'static str, &'static str)];

/// Columns without a place, by name, with what the last record had in them.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    columns: Vec<Extra>,
    /// Counts the records that had something else in them than the one before.
    version: u64,
}

#[derive(Debug)]
struct Extra {
    name: String,
    slot: usize,
    /// Place of the column it repeats.
    repeats: Option<usize>,
    /// What the last record has in it; empty if that is nothing, or what another column says.
    text: String,
}

impl Extras {
    /// All columns but those at `taken`.
    pub(crate) fn new(header: &Header, taken: &HashSet<usize>, repeats: &Repeats) -> Self {
        let repeated = |slot: usize| {
            let of = repeats.iter().filter(|(repeat, _)| header.find(repeat) == Some(slot));
            of.filter_map(|(_, of)| header.find(of)).find(|of| *of != slot)
        };
        let mut times: HashMap<String, usize> = HashMap::new();
        let mut columns = Vec::new();
        for (slot, name) in header.names.iter().enumerate().filter(|(slot, _)| !taken.contains(slot)) {
            let name = extra_name(name);
            let seen = times.entry(name.clone()).or_default();
            *seen += 1;
            let name = if *seen == 1 { name } else { format!("{name}_{seen}") };
            columns.push(Extra { name, slot, repeats: repeated(slot), text: String::new() });
        }
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        // An empty record was never read.
        Self { columns, version: 1 }
    }

    /// Reads what a record has in them: mostly what the one before had, which costs a comparison.
    pub(crate) fn read(&mut self, record: &Record<'_>, is_null: impl Fn(&str) -> bool) {
        let mut is_other = false;
        for Extra { slot, repeats, text, .. } in &mut self.columns {
            if record.is_empty(*slot) && text.is_empty() {
                continue;
            }
            let bytes = record.bytes(*slot);
            let is_left_out = !bytes.is_empty() && repeats.is_some_and(|other| is_same(record.bytes(other), bytes));
            if !is_left_out && is_same(text.as_bytes(), bytes) {
                continue;
            }
            let now = if is_left_out || is_null(record.get(*slot)) { "" } else { record.get(*slot) };
            if !is_same(text.as_bytes(), now.as_bytes()) {
                is_other = true;
                text.clear();
                text.push_str(now);
            }
        }
        self.version += u64::from(is_other);
    }

    /// What the last record has in them, by name.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.columns.iter().map(|column| (column.name.as_str(), column.text.as_str()));
        entries.filter(|(_, text)| !text.is_empty())
    }

    /// A number that is the same of records that have the same in them.
    pub(crate) fn version(&self) -> u64 {
        self.version
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
