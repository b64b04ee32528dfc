//! Keys by which a second connection ends what a first one is doing.
//!
//! Invariants: a key is of 64 bits, half of them secret and random; a request with a wrong one does nothing and tells nothing; a
//! request meets the statement that runs, not the next one.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

/// The keys of all connections.
#[derive(Default)]
pub(crate) struct Keys {
    open: Arc<Mutex<HashMap<u32, Entry>>>,
    next: AtomicU32,
}

struct Entry {
    secret: u32,
    running: Option<CancellationToken>,
}

/// The key of one connection, for as long as it is open.
pub(crate) struct Key {
    open: Arc<Mutex<HashMap<u32, Entry>>>,
    pub id: u32,
    pub secret: u32,
}

impl Keys {
    pub fn make(&self, secret: u32) -> Key {
        let mut open = self.open.lock();
        let id = loop {
            // Drivers read it as a signed number, and zero is nobody.
            let id = self.next.fetch_add(1, Ordering::Relaxed) & 0x7fff_ffff;
            if id != 0 && !open.contains_key(&id) {
                break id;
            }
        };
        open.insert(id, Entry { secret, running: None });
        Key { open: Arc::clone(&self.open), id, secret }
    }

    /// Ends what the connection of a key is doing; false if there is none.
    pub fn cancel(&self, id: u32, secret: u32) -> bool {
        let open = self.open.lock();
        let Some(entry) = open.get(&id) else { return false };
        if !bool::from(entry.secret.ct_eq(&secret)) {
            return false;
        }
        entry.running.iter().for_each(CancellationToken::cancel);
        true
    }
}

impl Key {
    /// A statement begins; gives what tells that it was canceled.
    pub fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        if let Some(entry) = self.open.lock().get_mut(&self.id) {
            entry.running = Some(token.clone());
        }
        token
    }

    /// It has ended: a request that comes late meets nothing.
    pub fn end(&self) {
        if let Some(entry) = self.open.lock().get_mut(&self.id) {
            entry.running = None;
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.open.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_key_ends_what_runs() {
        let keys = Keys::default();
        let key = keys.make(7);
        let running = key.begin();
        assert!(!keys.cancel(key.id, 8));
        assert!(!running.is_cancelled());
        assert!(keys.cancel(key.id, 7));
        assert!(running.is_cancelled());
        key.end();
        let next = key.begin();
        assert!(!next.is_cancelled(), "a request meets one statement");
        let id = key.id;
        drop(key);
        assert!(!keys.cancel(id, 7));
    }
}
