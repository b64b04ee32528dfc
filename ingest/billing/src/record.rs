//! A header and a record of texts: what every container is turned into before a provider's mapping reads it.
//!
//! Built by `csv`, `jsonl` and `nested`; read by the mappings. Columns are found by a key under which the spellings of a name in the wild
//! are one: `lineItem/UnblendedCost`, `line_item_unblended_cost`, `Kategorie der Verbrauchseinheit (MeterCategory)`.
//!
//! Invariants: fields are UTF-8; a record has as many as the header. Not here: what is null for which provider.

use hashbrown::HashMap;

/// Columns of a file: a file with more has values for names. Reports with every tag of a large customer have some hundred.
pub(crate) const COLUMNS_MAX: usize = 4_096;

/// Marks the place of a field that had to be rewritten, which is in `Record::side`.
const SIDE: u32 = 1 << 31;

/// Names of columns.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub names: Vec<String>,
    /// Columns whose numbers were binary floats before they were text.
    pub floats: Vec<usize>,
    /// How values of each column were written, where the container says it: bits of [`Wire`].
    wires: Vec<u8>,
    by_key: HashMap<String, usize>,
    by_name: HashMap<String, usize>,
}

impl Header {
    pub(crate) fn new(names: Vec<String>) -> Self {
        let mut header = Self::default();
        for name in names {
            header.push(name);
        }
        header
    }

    /// Adds a column, and tells its place.
    pub(crate) fn push(&mut self, name: String) -> usize {
        let slot = self.names.len();
        // The first of two columns of one name is the one that counts; the other is kept among those without a place.
        self.by_key.entry(key(&name)).or_insert(slot);
        self.by_name.entry(name.clone()).or_insert(slot);
        self.names.push(name);
        slot
    }

    /// Notes how a value of a column is written.
    pub(crate) fn saw(&mut self, slot: usize, wire: u8) {
        if self.wires.len() <= slot {
            self.wires.resize(slot + 1, 0);
        }
        if let Some(seen) = self.wires.get_mut(slot) {
            *seen |= wire;
        }
    }

    /// How values of a column were written so far; nothing if the container has no types.
    pub(crate) fn wire(&self, slot: usize) -> u8 {
        self.wires.get(slot).copied().unwrap_or_default()
    }

    /// The column of a key, as [`key`] makes them.
    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    /// The column of a name as it is.
    pub(crate) fn find_exact(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// The first of some keys that there is.
    pub(crate) fn find_any(&self, keys: &[&str]) -> Option<usize> {
        keys.iter().find_map(|key| self.find(key))
    }

    pub(crate) fn name(&self, slot: usize) -> &str {
        self.names.get(slot).map_or("", String::as_str)
    }

    /// The column of the first of some keys that there is, with its name.
    pub(crate) fn column(&self, keys: &[&str]) -> Column {
        let slot = self.find_any(keys);
        Column { slot, name: slot.map_or("", |slot| self.name(slot)).to_owned() }
    }
}

/// How a value is written in a container that has types.
pub(crate) struct Wire;

impl Wire {
    pub(crate) const TEXT: u8 = 1;
    pub(crate) const NUMBER: u8 = 1 << 1;
    pub(crate) const TIME: u8 = 1 << 2;
    /// Booleans, lists, maps.
    pub(crate) const OTHER: u8 = 1 << 3;

    /// What bits mean, in words.
    pub(crate) fn names(wire: u8) -> String {
        let names =
            [(Self::TEXT, "text"), (Self::NUMBER, "number"), (Self::TIME, "time"), (Self::OTHER, "of another type")];
        names.iter().filter(|(bit, _)| wire & bit != 0).map(|(_, name)| *name).collect::<Vec<_>>().join(" and ")
    }
}

/// A column that the file may not have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub slot: Option<usize>,
    pub name: String,
}

impl Column {
    pub(crate) fn of<'a>(&self, record: &Record<'a>) -> &'a str {
        record.of(self.slot)
    }
}

/// A name without what its spellings differ in: case, separators, and the translation in front of a name in brackets.
pub(crate) fn key(name: &str) -> String {
    let name = name.trim_end();
    let inner = name.strip_suffix(')').and_then(|name| name.rsplit_once('(')).map_or(name, |(_, inner)| inner);
    inner.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase()).collect()
}

/// Are two texts the same? Said here for the short ones that bills consist of, without a call; and without comparing nothing with nothing,
/// which was measured to take a C library longer than all else a row needs (most likely its masked loads, of the address that an empty
/// string does not have).
pub(crate) fn is_same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let words = |bytes: &[u8]| {
        let (first, last) = (bytes.first_chunk::<8>()?, bytes.last_chunk::<8>()?);
        Some((u64::from_le_bytes(*first), u64::from_le_bytes(*last)))
    };
    match a.len() {
        0 => true,
        1..8 => a.iter().zip(b).all(|(a, b)| a == b),
        8..=16 => words(a) == words(b),
        _ => a == b,
    }
}

/// Where a field is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// In the text of the record.
    pub(crate) fn raw(start: usize, end: usize) -> Self {
        Self { start: place(start), end: place(end) }
    }

    /// In the text of the record, of places that are known to fit.
    pub(crate) fn at(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// In the text beside it.
    pub(crate) fn side(start: usize, end: usize) -> Self {
        Self { start: place(start) | SIDE, end: place(end) }
    }
}

/// Records are bounded far below this.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(SIDE - 1)
}

/// What is next in a file.
pub(crate) enum Next {
    /// A record, and the line it begins in.
    Record { line: u64 },
    /// What cannot be one, and why.
    Broken { line: u64, reason: String },
    /// Nothing more.
    End,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    /// The record as the file has it.
    pub raw: &'a str,
    /// Fields that are not so in the file, such as quoted ones with quotes in them.
    pub side: &'a str,
    pub spans: &'a [Span],
}

impl<'a> Record<'a> {
    /// A field; empty if there is none.
    pub(crate) fn get(&self, slot: usize) -> &'a str {
        let Some(span) = self.spans.get(slot) else { return "" };
        let (text, start) =
            if span.start & SIDE == 0 { (self.raw, span.start) } else { (self.side, span.start & !SIDE) };
        text.get(start as usize..span.end as usize).unwrap_or_default()
    }

    /// The bytes of a field, which take less than its text to find.
    pub(crate) fn bytes(&self, slot: usize) -> &'a [u8] {
        let Some(span) = self.spans.get(slot) else { return b"" };
        let (text, start) =
            if span.start & SIDE == 0 { (self.raw, span.start) } else { (self.side, span.start & !SIDE) };
        text.as_bytes().get(start as usize..span.end as usize).unwrap_or_default()
    }

    /// Is a field empty? Most are, and this is cheaper than to look.
    pub(crate) fn is_empty(&self, slot: usize) -> bool {
        self.spans.get(slot).is_none_or(|span| span.start & !SIDE == span.end)
    }

    /// Is an empty field one with a text of no characters, and not without one? A quoted one in CSV, `""` where there are types.
    pub(crate) fn is_empty_text(&self, slot: usize) -> bool {
        let Some(span) = self.spans.get(slot) else { return false };
        let before = span.start.checked_sub(1).and_then(|before| self.raw.as_bytes().get(before as usize));
        span.start & SIDE != 0 || before == Some(&b'"')
    }

    /// Of an empty field that is a text: is it one of CSV?
    pub(crate) fn is_quoted(&self, slot: usize) -> bool {
        self.spans.get(slot).is_some_and(|span| span.start & SIDE == 0)
    }

    /// A field of a column that the file may not have.
    pub(crate) fn of(&self, slot: Option<usize>) -> &'a str {
        slot.map_or("", |slot| self.get(slot))
    }
}

#[cfg(test)]
mod tests {
    use super::{is_same, key};

    #[test]
    fn texts_are_the_same_whatever_their_length() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..text.len() {
            let (a, mut b) = (&text[..length], text[..length].to_vec());
            assert!(is_same(a, &b));
            assert!(!is_same(a, &text[..=length]));
            for at in 0..length {
                b[at] ^= 1;
                assert!(!is_same(a, &b), "{at} of {length}");
                b[at] ^= 1;
            }
        }
    }

    #[test]
    fn spellings_of_a_name_have_one_key() {
        assert_eq!(key("lineItem/UnblendedCost"), key("line_item_unblended_cost"));
        assert_eq!(key("savingsPlan/SavingsPlanARN"), key("savings_plan_savings_plan_a_r_n"));
        assert_eq!(key("Kategorie der Verbrauchseinheit (MeterCategory)"), key("meterCategory"));
        assert_eq!(key("service.description"), "servicedescription");
    }
}
