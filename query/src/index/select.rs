//! Answers from the index: series of a selector, names and values of labels.
//!
//! Called with what [`Index::load`](super::Index::load) made known. A matcher that the empty string fulfils also selects series that
//! lack the label, so what is built for it is the set of those it excludes.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use roaring::RoaringBitmap;

use promql::{Matcher, Selector};

use super::{Days, Known, postings::union};

/// Series among which a matcher is asked of each one's label, because that is less than asking it of every value of the label.
const BY_SERIES: u64 = 4;

/// Of work that nobody stops.
pub(crate) static NEVER: AtomicBool = AtomicBool::new(false);

impl Known {
    /// Series seen on any of the days.
    pub(crate) fn on(&self, days: &Days) -> RoaringBitmap {
        if days.is_empty() {
            return RoaringBitmap::new();
        }
        self.days.range(days.clone()).fold(RoaringBitmap::new(), |all, (_, day)| all | day)
    }

    /// The series of `among` that any of the selectors selects; all of them without selectors.
    pub(crate) fn selected(&self, selectors: &[Selector], among: RoaringBitmap) -> RoaringBitmap {
        if selectors.is_empty() {
            return among;
        }
        self.any(selectors.iter().map(Selector::matchers), among, &NEVER)
    }

    /// The series of `among` of which all matchers of any list are true; some of them if it was stopped.
    pub(crate) fn any<'m>(
        &self,
        lists: impl Iterator<Item = &'m [Matcher]>,
        among: RoaringBitmap,
        stop: &AtomicBool,
    ) -> RoaringBitmap {
        lists.fold(RoaringBitmap::new(), |all, matchers| all | self.matching(matchers, among.clone(), stop))
    }

    /// The series of `among` of which all matchers are true.
    pub(crate) fn matching(&self, matchers: &[Matcher], among: RoaringBitmap, stop: &AtomicBool) -> RoaringBitmap {
        let mut set = among;
        // What leaves fewest comes first, and costs least.
        let mut matchers: Vec<(&Matcher, u64)> = matchers.iter().map(|matcher| (matcher, self.cost(matcher))).collect();
        matchers.sort_by_key(|(_, cost)| *cost);
        for (matcher, _) in matchers {
            if set.is_empty() {
                break;
            }
            self.narrow(matcher, &mut set, stop);
        }
        set
    }

    /// About how many series, or values, are looked at for a matcher.
    fn cost(&self, matcher: &Matcher) -> u64 {
        match self.listed(matcher) {
            Some(pairs) => pairs.iter().map(|pair| self.postings[*pair as usize].len()).sum(),
            None => (1 << 32) + self.pairs.of_name(matcher.label()).len() as u64,
        }
    }

    /// Pairs of the only values a matcher is true of, if it can say them.
    fn listed(&self, matcher: &Matcher) -> Option<Vec<u32>> {
        if matcher.matches("") {
            return None;
        }
        let values = matcher.values()?;
        Some(values.into_iter().filter_map(|value| self.pairs.find(matcher.label(), value)).collect())
    }

    fn narrow(&self, matcher: &Matcher, set: &mut RoaringBitmap, stop: &AtomicBool) {
        // A pattern can take milliseconds for a long value.
        let goes_on = || !stop.load(Relaxed);
        let posting = |pair: &u32| &self.postings[*pair as usize];
        if let Some(pairs) = self.listed(matcher) {
            match pairs.as_slice() {
                [only] => posting(only).narrow(set),
                pairs => *set &= union(pairs.iter().map(posting)),
            }
            return;
        }
        let pairs = self.pairs.of_name(matcher.label());
        if set.len() * BY_SERIES < pairs.len() as u64 {
            let matches = |series: &u32| matcher.matches(self.value(*series, matcher.label()));
            *set = set.iter().take_while(|_| goes_on()).filter(matches).collect();
            return;
        }
        let matches = |pair: &&u32| matcher.matches(self.pairs.value(**pair));
        if matcher.matches("") {
            *set -= union(pairs.iter().take_while(|_| goes_on()).filter(|pair| !matches(pair)).map(posting));
        } else {
            *set &= union(pairs.iter().take_while(|_| goes_on()).filter(matches).map(posting));
        }
    }

    /// Value of a label of a series; empty if it lacks it.
    fn value(&self, series: u32, label: &str) -> &str {
        let of = |pair: &&u32| self.pairs.name(**pair) == label;
        self.pairs_of(series).iter().find(of).map_or("", |pair| self.pairs.value(*pair))
    }

    /// Names of labels that any of the series has, sorted.
    pub(crate) fn label_names(&self, series: &RoaringBitmap) -> Vec<String> {
        let has = |pairs: &[u32]| pairs.iter().any(|pair| self.postings[*pair as usize].meets(series));
        let mut names: Vec<String> =
            self.pairs.names().filter(|(_, pairs)| has(pairs)).map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// Values that a label has in any of the series, sorted.
    pub(crate) fn label_values(&self, label: &str, series: &RoaringBitmap) -> Vec<String> {
        let pairs = self.pairs.of_name(label);
        let mut values: Vec<&str> = if series.len() * BY_SERIES < pairs.len() as u64 {
            series.iter().map(|series| self.value(series, label)).filter(|value| !value.is_empty()).collect()
        } else {
            let has = |pair: &&u32| self.postings[**pair as usize].meets(series);
            pairs.iter().filter(has).map(|pair| self.pairs.value(*pair)).collect()
        };
        values.sort_unstable();
        values.dedup();
        values.into_iter().map(str::to_owned).collect()
    }
}
