//! Finds the mandatory tags of a row of costs by rules.
//!
//! Called by loads with each batch that they sum up, and by queries that ask for a tag of rows. A rule has names that a tag may go by, in the order in which they count; what is not
//! tagged may get a default by its account, service or another tag. Names are alike if they differ in case, `_` and `-` alone. Invariant:
//! the version of rules changes if and only if they do.

use std::{borrow::Cow, fmt, ops::Range, sync::Arc};

use arrow::{
    array::{
        Array, AsArray, DictionaryArray, MapArray, RecordBatch, StringArray, StringDictionaryBuilder, StringViewArray,
        StringViewBuilder, TimestampMicrosecondArray,
    },
    datatypes::{Int32Type, TimestampMicrosecondType},
};
use hashbrown::HashMap;
use parking_lot::RwLock;
use schemas::{MANDATORY_TAGS, SUMMARY_COLUMNS};
use xxhash_rust::xxh3::xxh3_64;

use crate::{Error, ErrorKind, Result};

/// How one mandatory tag is found.
#[derive(Debug, Clone, Default)]
pub struct TagRule {
    /// Names that it goes by, in the order in which they count. Its own comes first if it is not among them.
    pub aliases: Vec<Alias>,
    /// Values that are written in another way, and what is meant; compared without case.
    pub values: Vec<(String, String)>,
    /// What it is where it is not tagged, in the order in which they count.
    pub defaults: Vec<Fallback>,
}

/// A name of a tag.
#[derive(Debug, Clone, Default)]
pub struct Alias {
    /// The name, as the provider delivers it.
    pub key: String,
    /// From when on charges are tagged so, microseconds, inclusive.
    pub from_us: Option<i64>,
    /// Until when, exclusive.
    pub until_us: Option<i64>,
}

/// A value for rows without one; all that is given must be so.
#[derive(Debug, Clone, Default)]
pub struct Fallback {
    /// SubAccountId.
    pub account: Option<String>,
    /// ServiceName.
    pub service: Option<String>,
    /// Another tag and its value.
    pub label: Option<(String, String)>,
    /// The tag's value then.
    pub value: String,
}

/// Rules of all mandatory tags.
#[derive(Debug)]
pub struct Tags {
    rules: [TagRule; MANDATORY_TAGS],
    version: i64,
}

/// The rules in force, which may be changed while they are used. Clones are the same ones.
#[derive(Clone, Default)]
pub struct TagRules(Arc<RwLock<Arc<Tags>>>);

/// Which rules a delivered name is an alias of, and as which one of each.
type Uses = Vec<(usize, usize)>;

/// Of each tag, the alias that counts most, and its value.
type Best<'a> = [Option<(usize, &'a str)>; MANDATORY_TAGS];

impl Tags {
    /// Rules in the order of the mandatory tags among [`SUMMARY_COLUMNS`].
    #[must_use]
    pub fn new(mut rules: [TagRule; MANDATORY_TAGS]) -> Self {
        for (rule, name) in rules.iter_mut().zip(names()) {
            // As it is, as AWS has it in CUR, and as it has it in CUR 2.0.
            let own = [(*name).to_owned(), format!("user:{name}"), format!("user_{name}")];
            for (at, key) in own.into_iter().enumerate() {
                if !rule.aliases.iter().any(|alias| normal(&alias.key) == normal(&key)) {
                    let at = at.min(rule.aliases.len());
                    rule.aliases.insert(at, Alias { key, ..Alias::default() });
                }
            }
        }
        // Never negative, so that it reads well.
        let version = i64::try_from(xxh3_64(format!("{rules:?}").as_bytes()) >> 1).unwrap_or(0);
        Self { rules, version }
    }

    /// Changes when rules do.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Mandatory tags of rows of `costs`, each a column.
    ///
    /// # Errors
    /// `Internal` if the rows are of another dataset.
    pub fn of_rows(&self, rows: &RecordBatch) -> Result<Vec<DictionaryArray<Int32Type>>> {
        let lacks = || Error::new(ErrorKind::Internal, "rows of costs lack a column of tags");
        let maps = rows.column_by_name("Tags").and_then(|column| column.as_map_opt()).ok_or_else(lacks)?;
        let starts = rows.column_by_name("ChargePeriodStart").ok_or_else(lacks)?;
        let starts = starts.as_primitive::<TimestampMicrosecondType>().values();
        let (keys, values) = (maps.keys().as_string::<i32>(), maps.values().as_string::<i32>());
        let accounts = Texts::of(rows, "SubAccountId").ok_or_else(lacks)?;
        let services = Texts::of(rows, "ServiceName").ok_or_else(lacks)?;
        let mut uses = HashMap::new();
        let mut found: [StringDictionaryBuilder<Int32Type>; MANDATORY_TAGS] = Default::default();
        for row in 0..rows.num_rows() {
            let tags = Row { keys, values, entries: entries(maps, row) };
            let best = self.best(&tags, starts[row], &mut uses);
            for (tag, out) in found.iter_mut().enumerate() {
                out.append_option(self.value(tag, &best, [accounts.text(row), services.text(row)], &tags));
            }
        }
        Ok(found.iter_mut().map(StringDictionaryBuilder::finish).collect())
    }

    /// One mandatory tag, by its place among [`names`], of rows of these accounts and services with these tags, charged from these times on.
    #[must_use]
    pub fn of_tag(
        &self,
        tag: usize,
        maps: &MapArray,
        [accounts, services]: [&StringViewArray; 2],
        starts: &TimestampMicrosecondArray,
    ) -> StringViewArray {
        let mut found = StringViewBuilder::with_capacity(maps.len());
        let (Some(keys), Some(values)) = (maps.keys().as_string_opt::<i32>(), maps.values().as_string_opt::<i32>())
        else {
            (0..maps.len()).for_each(|_| found.append_null());
            return found.finish();
        };
        let mut uses = HashMap::new();
        for row in 0..maps.len() {
            let tags = Row { keys, values, entries: entries(maps, row) };
            let best = self.best(&tags, starts.value(row), &mut uses);
            let place = [accounts, services].map(|texts| texts.is_valid(row).then(|| texts.value(row)));
            found.append_option(self.value(tag, &best, place, &tags));
        }
        found.finish()
    }

    fn best<'a>(&self, tags: &Row<'a>, at_us: i64, uses: &mut HashMap<&'a str, Uses>) -> Best<'a> {
        let mut best: Best<'a> = [None; MANDATORY_TAGS];
        for (key, value) in tags.pairs().filter(|(_, value)| !value.is_empty()) {
            for (tag, alias) in uses.entry(key).or_insert_with(|| self.uses(key)).iter() {
                if best[*tag].is_none_or(|(other, _)| *alias < other)
                    && self.rules[*tag].aliases[*alias].is_valid(at_us)
                {
                    best[*tag] = Some((*alias, value));
                }
            }
        }
        best
    }

    fn value<'a>(
        &'a self,
        tag: usize,
        best: &Best<'a>,
        [account, service]: [Option<&str>; 2],
        tags: &Row<'_>,
    ) -> Option<&'a str> {
        match best[tag] {
            Some((_, value)) => Some(self.rules[tag].meaning(value)),
            None => self.rules[tag].fallback(account, service, tags),
        }
    }

    fn uses(&self, key: &str) -> Uses {
        let key = normal(key);
        let of_rule = |(tag, rule): (usize, &TagRule)| {
            let alike = rule.aliases.iter().enumerate().filter(|(_, alias)| normal(&alias.key) == key);
            alike.map(|(alias, _)| (tag, alias)).collect::<Uses>()
        };
        self.rules.iter().enumerate().flat_map(of_rule).collect()
    }
}

impl Default for Tags {
    fn default() -> Self {
        Self::new(Default::default())
    }
}

impl TagRules {
    /// These rules, until others are set.
    #[must_use]
    pub fn new(tags: Tags) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(tags))))
    }

    /// The rules as they are now.
    #[must_use]
    pub fn now(&self) -> Arc<Tags> {
        Arc::clone(&self.0.read())
    }

    /// Puts others in their place, for all who ask from now on.
    pub fn set(&self, tags: Tags) {
        *self.0.write() = Arc::new(tags);
    }
}

impl fmt::Debug for TagRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TagRules").field("version", &self.now().version).finish()
    }
}

impl Alias {
    fn is_valid(&self, at_us: i64) -> bool {
        self.from_us.is_none_or(|from| from <= at_us) && self.until_us.is_none_or(|until| at_us < until)
    }
}

impl TagRule {
    fn meaning<'a>(&'a self, value: &'a str) -> &'a str {
        let other = self.values.iter().find(|(written, _)| written.eq_ignore_ascii_case(value));
        other.map_or(value, |(_, meant)| meant)
    }

    fn fallback(&self, account: Option<&str>, service: Option<&str>, tags: &Row<'_>) -> Option<&str> {
        let is_so = |fallback: &&Fallback| {
            fallback.account.as_deref().is_none_or(|wanted| account == Some(wanted))
                && fallback.service.as_deref().is_none_or(|wanted| service == Some(wanted))
                && fallback.label.as_ref().is_none_or(|(key, value)| {
                    tags.pairs().any(|(other, found)| normal(other) == normal(key) && found == value)
                })
        };
        self.defaults.iter().find(is_so).map(|fallback| fallback.value.as_str())
    }
}

/// Names of the mandatory tags.
#[must_use]
pub fn names() -> &'static [&'static str] {
    &SUMMARY_COLUMNS[SUMMARY_COLUMNS.len() - MANDATORY_TAGS..]
}

/// A name without what makes no difference.
fn normal(key: &str) -> Cow<'_, str> {
    if key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b':') {
        return Cow::Borrowed(key);
    }
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect::<String>().into()
}

/// Tags of one row.
struct Row<'a> {
    keys: &'a StringArray,
    values: &'a StringArray,
    entries: Range<usize>,
}

impl<'a> Row<'a> {
    fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let (keys, values) = (self.keys, self.values);
        self.entries.clone().map(move |entry| (keys.value(entry), values.value(entry)))
    }
}

fn entries(maps: &MapArray, row: usize) -> Range<usize> {
    let offset = |at: usize| maps.value_offsets().get(at).and_then(|at| usize::try_from(*at).ok()).unwrap_or(0);
    if maps.is_null(row) { 0..0 } else { offset(row)..offset(row + 1) }
}

/// A column of text.
struct Texts<'a> {
    column: &'a DictionaryArray<Int32Type>,
    values: &'a StringArray,
}

impl<'a> Texts<'a> {
    fn of(rows: &'a RecordBatch, name: &str) -> Option<Self> {
        let column = rows.column_by_name(name)?.as_dictionary_opt::<Int32Type>()?;
        Some(Self { column, values: column.values().as_string_opt::<i32>()? })
    }

    fn text(&self, row: usize) -> Option<&'a str> {
        Some(self.values.value(self.column.key(row)?))
    }
}

#[cfg(test)]
mod tests;
