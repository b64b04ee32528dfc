//! Sessions from a shown token to their end, whichever way it comes.

use std::sync::atomic::{AtomicI64, Ordering};

use storage::Clock;

use super::*;
use crate::auth::Token;

const HOUR_US: i64 = 3_600 * 1_000_000;

fn token(name: &str, secret: &str, scope: Scope, expires_us: Option<i64>) -> Token {
    let hash = Sha256::digest(secret).into();
    Token { name: name.into(), scopes: vec![scope], expires_us, scram: None, hash }
}

/// Tokens `r` and `s` that read, and `w` that writes, and a clock to be set.
fn auth() -> (Auth, Arc<AtomicI64>) {
    let now_us = Arc::new(AtomicI64::new(0));
    let clock = Arc::clone(&now_us);
    let tokens = vec![
        token("r", "reads", Scope::Read, None),
        token("s", "reads too", Scope::Read, Some(2 * HOUR_US)),
        token("w", "writes", Scope::Write, None),
    ];
    (Auth::new(tokens, false, Clock::new(move || clock.load(Ordering::Relaxed))), now_us)
}

fn is_in(auth: &Auth, id: &str) -> bool {
    auth.in_session(id, Scope::Read).is_ok()
}

#[test]
fn a_session_begins_with_a_token_that_reads_and_ends_when_it_is_ended() {
    let (auth, _) = auth();
    let id = new_id().unwrap();
    assert!(is_id(&id) && id != new_id().unwrap());
    assert!(!is_in(&auth, &id), "nobody has logged in");
    assert_eq!(auth.log_in(b"guessed", &id), Err(Denied::Unknown));
    assert_eq!(auth.log_in(b"writes", &id), Err(Denied::Scope(Scope::Read)));
    assert!(!is_in(&auth, &id), "nobody was let in");
    assert_eq!(auth.log_in(b"reads", &id), Ok("r".into()));
    assert_eq!(auth.in_session(&id, Scope::Read), Ok("r".into()));
    assert_eq!(auth.in_session(&id, Scope::Admin), Err(Denied::Scope(Scope::Admin)));
    assert!(!is_in(&auth, &new_id().unwrap()));
    auth.log_out(&new_id().unwrap());
    assert!(is_in(&auth, &id), "somebody else has left");
    auth.log_out(&id);
    assert_eq!(auth.in_session(&id, Scope::Read), Err(Denied::Unknown));
}

#[test]
fn a_session_ends_with_its_time_its_token_and_its_tokens_time() {
    let (auth, now_us) = auth();
    let [long, short] = [new_id().unwrap(), new_id().unwrap()];
    auth.log_in(b"reads", &long).unwrap();
    auth.log_in(b"reads too", &short).unwrap();
    now_us.store(2 * HOUR_US, Ordering::Relaxed);
    assert_eq!(auth.in_session(&short, Scope::Read), Err(Denied::Expired));
    now_us.store(AGE_MAX_US - 1, Ordering::Relaxed);
    assert!(is_in(&auth, &long));
    now_us.store(AGE_MAX_US, Ordering::Relaxed);
    assert!(!is_in(&auth, &long));

    auth.log_in(b"reads", &long).unwrap();
    auth.set(vec![token("r", "another secret", Scope::Read, None)]);
    assert!(!is_in(&auth, &long), "the token of this name is another one now");
    auth.set(vec![token("r", "reads", Scope::Read, None)]);
    assert!(!is_in(&auth, &long), "a token that comes back opens no session of before");
}

#[test]
fn the_number_of_sessions_is_bounded_and_one_token_does_not_end_those_of_others() {
    let (auth, _) = auth();
    let other = new_id().unwrap();
    auth.log_in(b"reads too", &other).unwrap();
    let ids: Vec<String> = (0..=OF_TOKEN_MAX).map(|_| new_id().unwrap()).collect();
    ids.iter().for_each(|id| drop(auth.log_in(b"reads", id).unwrap()));
    assert!(!is_in(&auth, &ids[0]), "the oldest makes room");
    assert!(ids[1..].iter().all(|id| is_in(&auth, id)) && is_in(&auth, &other));

    let mut sessions = Sessions::default();
    for at in 0..=SESSIONS_MAX {
        let bytes = at.to_le_bytes();
        sessions.begin(Session {
            hash: Sha256::digest(bytes).into(),
            token: Sha256::digest(bytes).into(),
            begun_us: 0,
        });
    }
    assert_eq!(sessions.0.len(), SESSIONS_MAX);
    assert_eq!(sessions.token(&Sha256::digest(0_usize.to_le_bytes()).into(), 0), None, "the oldest is gone");
}

#[test]
fn a_form_proves_the_browser_it_was_made_for_and_tells_nothing_of_its_id() {
    let [mine, theirs] = [new_id().unwrap(), new_id().unwrap()];
    assert!(proves(&proof(&mine), &mine));
    for shown in ["", &mine, &proof(&theirs), &proof(&mine)[1..]] {
        assert!(!proves(shown, &mine), "{shown}");
    }
    for text in ["", "short", "0123456789012345678901234567890123456789 ;a"] {
        assert!(!is_id(text), "{text}");
    }
}
