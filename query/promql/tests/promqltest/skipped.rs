//! Evaluations that are known to fail, each with a reason.

use std::collections::BTreeMap;

use super::script::Mode;

/// The list: `file | mode | query | reason`, a line each.
const LIST: &str = include_str!("skipped.txt");

/// What is left of the list.
pub struct Skipped(BTreeMap<(String, String, String), usize>);

impl Skipped {
    pub fn read() -> Self {
        let mut list = BTreeMap::new();
        for line in LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let fields: Vec<&str> = line.split(" | ").collect();
            let [file, mode, query, reason] = fields[..] else { panic!("not file | mode | query | reason: {line}") };
            assert!(!reason.trim().is_empty(), "no reason: {line}");
            list.insert((file.to_owned(), mode.to_owned(), query.to_owned()), 0);
        }
        Self(list)
    }

    /// Is a failure on the list?
    pub fn takes(&mut self, file: &str, query: &str, mode: Mode) -> bool {
        let key = (file.to_owned(), format!("{mode:?}"), query.to_owned());
        self.0.get_mut(&key).map(|uses| *uses += 1).is_some()
    }

    /// Entries that no failure needed.
    pub fn unused(self) -> Vec<(String, String, String)> {
        self.0.into_iter().filter(|(_, uses)| *uses == 0).map(|(key, _)| key).collect()
    }
}
