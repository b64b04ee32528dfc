//! Looks at a header: which columns of FOCUS it has, in which version, and whether their names and types are right.
//!
//! Called when a checker is made, and at the end of a file, since lines of JSON may have members that none before had.

use super::{
    CUSTOM_LAST, CUSTOM_NAME, NAME_KNOWN, NAME_ONCE, NAME_SPELLED, Version,
    columns::{COLUMNS, Column, Facts, Kind},
    rule,
};
use crate::record::{Header, Wire, key};

/// Characters of a name that databases bear.
const NAME_CHARS_MAX: usize = 50;

/// The column of FOCUS that a name is one of in any spelling, if it is one.
pub(super) fn column_of(name: &str) -> Option<&'static Facts> {
    let key = key(name);
    COLUMNS.iter().find(|facts| facts.name.len() == key.len() && facts.name.eq_ignore_ascii_case(&key))
}

/// The columns of FOCUS that a header has, as a set.
pub(super) fn present(header: &Header) -> u128 {
    header.names.iter().filter_map(|name| column_of(name)).fold(0, |set, facts| set | facts.column.bit())
}

/// The version that has all of the columns: the first that has the youngest of them, and not those that were dropped since.
pub(super) fn told(present: u128) -> Version {
    let first = |facts: &&Facts| Version::ALL.into_iter().find(|version| facts.level(*version) != b'-');
    let there: Vec<_> = COLUMNS.iter().filter(|facts| present & facts.column.bit() != 0).collect();
    let youngest = there.iter().filter_map(first).max().unwrap_or(Version::V1_0);
    let is_old = |column: Column| present & column.bit() != 0;
    // What 1.3 named anew, 1.4 dropped.
    let names_services = present & Column::ServiceProviderName.bit() != 0;
    let is_1_4 = names_services && !is_old(Column::ProviderName) && !is_old(Column::PublisherName);
    if is_1_4 { youngest.max(Version::V1_4) } else { youngest }
}

/// What a header violates: places of rules, and the names they are about.
pub(super) fn violations(header: &Header, version: Version) -> Vec<(usize, Vec<String>)> {
    let mut found = presence(present(header), version);
    let named = |rule: &'static str, is_bad: &dyn Fn(usize, &str) -> bool| {
        let names = header.names.iter().enumerate().filter(|(at, name)| is_bad(*at, name));
        (self::rule(rule), names.map(|(_, name)| name.clone()).collect::<Vec<_>>())
    };
    let is_custom = |name: &str| name.starts_with("x_");
    let ours = |name: &str| column_of(name).filter(|facts| facts.level(version) != b'-');
    let last = header.names.iter().rposition(|name| ours(name).is_some()).unwrap_or_default();
    found.extend([
        named(NAME_SPELLED, &|_, name| ours(name).is_some_and(|facts| facts.name != name)),
        named(NAME_KNOWN, &|_, name| ours(name).is_none() && !is_custom(name)),
        named(NAME_ONCE, &|at, name| header.names.iter().take(at).any(|before| before == name)),
        named(CUSTOM_NAME, &|_, name| is_custom(name) && !is_pascal(name)),
        named(CUSTOM_LAST, &|at, name| ours(name).is_none() && at < last),
    ]);
    for (slot, name) in header.names.iter().enumerate() {
        let Some(facts) = ours(name) else { continue };
        let wire = header.wire(slot);
        if wire & !allowed(facts.kind) != 0 {
            found.push((rule(facts.ids.typed), vec![format!("{name} is {}", Wire::names(wire))]));
        }
    }
    found.retain(|(_, names)| !names.is_empty());
    found
}

/// Conditional columns that are not there, without which nobody can tell whether they have to be, and what for.
pub(super) fn unjudged(present: u128, version: Version) -> Vec<(&'static str, &'static str)> {
    let absent = COLUMNS.iter().filter(|facts| present & facts.column.bit() == 0 && facts.level(version) == b'C');
    absent.filter(|facts| !is_asked(facts, present, version)).map(|facts| (facts.name, facts.feature.about())).collect()
}

fn presence(present: u128, version: Version) -> Vec<(usize, Vec<String>)> {
    let absent = COLUMNS.iter().filter(|facts| present & facts.column.bit() == 0 && is_asked(facts, present, version));
    absent.map(|facts| (rule(facts.ids.present), vec!["no such column".to_owned()])).collect()
}

/// Is a column one that the file should have?
fn is_asked(facts: &Facts, present: u128, version: Version) -> bool {
    match facts.level(version) {
        b'M' | b'R' => true,
        b'C' => facts.feature.shown_by().iter().any(|column| present & column.bit() != 0),
        _ => false,
    }
}

/// Is it `x_`, then Pascal case without anything but letters and digits, and not too long?
fn is_pascal(name: &str) -> bool {
    let rest = name.strip_prefix("x_").unwrap_or(name);
    rest.starts_with(|c: char| c.is_ascii_uppercase())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && name.len() <= NAME_CHARS_MAX
}

/// How values of a kind may be written where files have types.
fn allowed(kind: Kind) -> u8 {
    match kind {
        Kind::Number | Kind::Price => Wire::NUMBER,
        Kind::Time => Wire::TEXT | Wire::TIME,
        // Parquet has maps and lists of its own for what is JSON elsewhere.
        Kind::Pairs | Kind::Elements(_) => Wire::TEXT | Wire::OTHER,
        _ => Wire::TEXT,
    }
}
