//! Sessions of the page for people: who has shown a token once, and comes back with a cookie instead.
//!
//! Called by `http::page`. A cookie holds 256 random bits, the session's *id*. The id of a visit is another, which opens nothing: it ties the
//! form in which a token is shown to the browser that asked for it.
//! Invariants: a session allows what its token allows at that moment, so it ends when the token is taken out, is replaced or expires, and
//! after [`AGE_MAX_US`]; the number of sessions is bounded, and nobody's log-ins end those of other tokens before the whole is full; ids are
//! kept as hashes, compared with all of them in constant time, and never printed; a session opens pages only: the APIs take no cookie, so no
//! other site can make a browser use them.
//! Not here: cookies and forms.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Auth, Denied, Scope, find, found, tokens};

/// How long a session lasts: a working day with some to spare, so that a browser that is left open somewhere is let in no longer.
pub const AGE_MAX_US: i64 = 12 * 3_600 * 1_000_000;
/// Most sessions: as many as tokens may be. To compare with all takes a microsecond, to keep them 100 KB.
const SESSIONS_MAX: usize = 1_000;
/// Most sessions of one token, which a small team may share; who logs in once more ends the oldest of them.
const OF_TOKEN_MAX: usize = 20;

/// Where somebody is logged in.
struct Session {
    /// Of its id.
    hash: [u8; 32],
    /// Of the token that was shown.
    token: [u8; 32],
    begun_us: i64,
}

/// Sessions, the oldest first.
#[derive(Default)]
pub(super) struct Sessions(Vec<Session>);

impl Sessions {
    fn begin(&mut self, session: Session) {
        self.sweep(session.begun_us);
        let of_token = self.0.iter().filter(|other| other.token == session.token).count();
        let leaves = match () {
            () if of_token >= OF_TOKEN_MAX => self.0.iter().position(|other| other.token == session.token),
            () if self.0.len() >= SESSIONS_MAX => Some(0),
            () => None,
        };
        if let Some(at) = leaves {
            self.0.remove(at);
        }
        self.0.push(session);
    }

    fn sweep(&mut self, now_us: i64) {
        self.0.retain(|session| now_us.saturating_sub(session.begun_us) < AGE_MAX_US);
    }

    /// Hash of the token of a session.
    fn token(&mut self, hash: &[u8; 32], now_us: i64) -> Option<[u8; 32]> {
        self.sweep(now_us);
        found(&self.0, |session| &session.hash, hash).map(|session| session.token)
    }

    fn end(&mut self, hash: &[u8; 32]) {
        self.0.retain(|session| !bool::from(session.hash.ct_eq(hash)));
    }

    /// Ends all but those of some tokens.
    pub(super) fn keep(&mut self, is_kept: impl Fn(&[u8; 32]) -> bool) {
        self.0.retain(|session| is_kept(&session.token));
    }
}

/// A new id.
///
/// # Errors
/// If the system gives no random bits.
pub fn new_id() -> anyhow::Result<String> {
    tokens::random_text()
}

/// Could this be an id?
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.len() == 43 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// What a form shows to prove that it was made for the browser that has the cookie with this id: other sites can send forms, but read
/// neither.
#[must_use]
pub fn proof(id: &str) -> String {
    let hash = Sha256::new().chain_update(b"streamgauge form ").chain_update(id).finalize();
    BASE64_URL_SAFE_NO_PAD.encode(hash)
}

/// Does a form show the proof of this id?
#[must_use]
pub fn proves(shown: &str, id: &str) -> bool {
    shown.as_bytes().ct_eq(proof(id).as_bytes()).into()
}

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id).into()
}

impl Auth {
    /// Begins a session of this id, for whoever shows a token that may read.
    ///
    /// # Errors
    /// Why the token is not taken.
    pub fn log_in(&self, secret: &[u8], id: &str) -> Result<Arc<str>, Denied> {
        let tokens = self.tokens();
        let token = find(&tokens, &Sha256::digest(secret).into()).ok_or(Denied::Unknown)?;
        self.allows(token, Scope::Read)?;
        self.sessions.lock().begin(Session { hash: digest(id), token: token.hash, begun_us: self.clock.now_us() });
        Ok(Arc::clone(&token.name))
    }

    /// Ends the session of this id, if there is one.
    pub fn log_out(&self, id: &str) {
        self.sessions.lock().end(&digest(id));
    }

    /// May whoever is in the session of this id do what needs `scope`? Gives the token's name.
    ///
    /// # Errors
    /// `Unknown` if there is no such session, or no longer; else why its token does not allow it.
    pub fn in_session(&self, id: &str, scope: Scope) -> Result<Arc<str>, Denied> {
        let hash = self.sessions.lock().token(&digest(id), self.clock.now_us()).ok_or(Denied::Unknown)?;
        let tokens = self.tokens();
        let token = find(&tokens, &hash).ok_or(Denied::Unknown)?;
        self.allows(token, scope).map(|()| Arc::clone(&token.name))
    }
}

#[cfg(test)]
mod tests;
