//! Keeps what is borrowed until it is worn: tokens and credentials, by what they are configured with.
//!
//! Two threads that find nothing borrow twice, which costs a request and holds up nobody.

use alerting::notify::borrowed::Borrowed;
use parking_lot::Mutex;

/// Kept at most; a configuration has a few, and those of older ones go first.
const KEPT_MAX: usize = 64;

/// What is borrowed, by what it was borrowed with.
pub struct Kept<K, T>(Mutex<Vec<(K, Borrowed<T>)>>);

impl<K, T> Default for Kept<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: PartialEq + Clone, T: Clone> Kept<K, T> {
    /// What is kept and good still.
    pub fn get(&self, key: &K, now_ms: i64) -> Option<T> {
        let kept = self.0.lock();
        let (_, borrowed) = kept.iter().find(|(known, borrowed)| known == key && !borrowed.is_worn(now_ms))?;
        Some(borrowed.what.clone())
    }

    /// Keeps what was borrowed, in the place of what was kept.
    pub fn put(&self, key: &K, borrowed: Borrowed<T>) -> T {
        let what = borrowed.what.clone();
        let mut kept = self.0.lock();
        kept.retain(|(known, _)| known != key);
        if kept.len() == KEPT_MAX {
            kept.remove(0);
        }
        kept.push((key.clone(), borrowed));
        what
    }
}
