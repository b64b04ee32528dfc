//! Tokens: made, read from settings and files, kept as hashes.
//!
//! Called by `config` (settings), `app` (the tokens file, at start and on change) and the `token` command.

use std::{collections::HashSet, fmt, path::Path, sync::Arc};

use anyhow::{Result, anyhow, bail};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::DateTime;
use pg::scram::{NoVerifier, Verifier};
use serde_saphyr::Spanned;
use sha2::{Digest, Sha256};

use super::Scope;
use crate::config::{Refused, Variables, raw};

/// Starts every token, so that scanners for leaked secrets can find it.
const PREFIX: &str = "sg_";
/// Shortest token taken from the environment: 128 bits as hexadecimal digits. A fast hash protects only what cannot be guessed.
const TOKEN_BYTES_MIN: usize = 32;
/// Most tokens kept: each request is compared with all of them, a microsecond for this many.
const TOKENS_MAX: usize = 1000;

/// A token that is let in.
#[derive(Clone)]
pub struct Token {
    /// Its name: user name in basic authentication, and what logs show.
    pub name: Arc<str>,
    /// What it allows.
    pub scopes: Vec<Scope>,
    /// When it ends, microseconds since the epoch.
    pub expires_us: Option<i64>,
    /// How it is shown without being sent, where that is known.
    pub scram: Option<Verifier>,
    /// SHA-256 of the token.
    pub(super) hash: [u8; 32],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("name", &self.name).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// Makes a token of 256 random bits: its text, the SHA-256 by which the server knows it, in hexadecimal, and what SCRAM needs of it.
///
/// # Errors
/// If the system gives no random bits.
pub fn new_token() -> Result<(String, String, String)> {
    let token = format!("{PREFIX}{}", random_text()?);
    let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
    let scram = verifier(token.as_bytes(), &hash).written();
    Ok((token, hash.iter().map(|byte| format!("{byte:02x}")).collect(), scram))
}

/// Does a text hold what looks like a token of ours?
#[must_use]
pub fn holds_token(text: &str) -> bool {
    let is_token = |rest: &str| {
        let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        rest.bytes().take_while(is_of_token).count() >= TOKEN_BYTES_MIN
    };
    text.split(PREFIX).skip(1).any(is_token)
}

/// 256 random bits as 43 characters that may stand in a URL or a cookie.
///
/// # Errors
/// If the system gives no random bits.
pub(super) fn random_text() -> Result<String> {
    let mut bits = [0_u8; 32];
    let random = rustls::crypto::ring::default_provider().secure_random;
    random.fill(&mut bits).map_err(|_| anyhow!("the system gives no random bits"))?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bits))
}

/// Reads a tokens file.
///
/// # Errors
/// What is wrong in it, with its place.
pub fn parse_file(file: &Path, text: &str, variables: Variables<'_>) -> Result<Vec<Token>, Refused> {
    let origin = file.display().to_string();
    let written: Vec<raw::Token> = raw::parse(&origin, text)?;
    tokens(&origin, written, variables)
}

/// Validates tokens and replaces them by their hashes.
///
/// # Errors
/// What is wrong, with its place.
pub(crate) fn tokens(origin: &str, written: Vec<raw::Token>, variables: Variables<'_>) -> Result<Vec<Token>, Refused> {
    if written.len() > TOKENS_MAX {
        return Err(Refused::whole(origin, format!("{} tokens are too many: at most {TOKENS_MAX}", written.len())));
    }
    let (mut names, mut hashes) = (HashSet::new(), HashSet::new());
    let mut tokens = Vec::with_capacity(written.len());
    for entry in written {
        let name = entry.name.clone();
        let token = token(origin, entry, variables)?;
        if !names.insert(Arc::clone(&token.name)) || !hashes.insert(token.hash) {
            return Err(Refused::at(origin, &name, format!("name or secret of token `{}` is taken", token.name)));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Tokens of the settings and of the file together.
///
/// # Errors
/// If a name or a secret is in both.
pub fn joined(own: &[Token], mut more: Vec<Token>) -> Result<Vec<Token>> {
    let twice = more.iter().find(|token| own.iter().any(|other| other.name == token.name || other.hash == token.hash));
    if let Some(token) = twice {
        bail!("name or secret of token `{}` is taken by a token of the settings", token.name);
    }
    more.extend_from_slice(own);
    Ok(more)
}

fn token(origin: &str, written: raw::Token, variables: Variables<'_>) -> Result<Token, Refused> {
    let raw::Token { name, scopes, expires, sha256, token, scram } = written;
    let good = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(good) {
        return Err(Refused::at(origin, &name, "a token's name has 1 to 100 of the characters a-z A-Z 0-9 - _ . @"));
    }
    if scopes.value.is_empty() {
        return Err(Refused::at(origin, &scopes, "a token without scopes allows nothing: list write, read or admin"));
    }
    let (hash, scram) = match (sha256, token, scram) {
        (Some(sha256), None, scram) => {
            let hash = unhex(&sha256.value).ok_or_else(|| {
                Refused::at(origin, &sha256, "sha256 takes 64 hexadecimal digits, as `streamgauge token` prints them")
            })?;
            let read = |scram: Spanned<String>| {
                scram.value.parse().map_err(|error: NoVerifier| Refused::at(origin, &scram, error.to_string()))
            };
            (hash, scram.map(read).transpose()?)
        }
        (None, Some(token), None) => {
            let secret = secret(origin, &token, variables)?;
            let hash = Sha256::digest(secret.as_bytes()).into();
            (hash, Some(verifier(secret.as_bytes(), &hash)))
        }
        _ => {
            let reason = "a token has either `sha256: <hash>` (`streamgauge token` makes one; `scram:` goes with it) or `token: ${VARIABLE}`";
            return Err(Refused::at(origin, &name, reason));
        }
    };
    let expires_us = expires.map(|expires| instant(origin, &expires)).transpose()?;
    Ok(Token { name: name.value.into(), scopes: scopes.value, expires_us, scram, hash })
}

/// What SCRAM needs of a token. The salt need not be random where the password is: it is made of the token's hash.
fn verifier(token: &[u8], hash: &[u8; 32]) -> Verifier {
    let salt = Sha256::new().chain_update(b"streamgauge scram").chain_update(hash).finalize();
    Verifier::new(token, &salt[..16])
}

/// The value of the variable that `written` names.
fn secret(origin: &str, written: &Spanned<String>, variables: Variables<'_>) -> Result<String, Refused> {
    let variable = written.value.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    let Some(variable) = variable.filter(|name| !name.is_empty()) else {
        let reason = "a token is not written here: name a variable, `token: ${VARIABLE}`, or give its `sha256:`";
        return Err(Refused::at(origin, written, reason));
    };
    let value = variables(variable)
        .ok_or_else(|| Refused::at(origin, written, format!("environment variable `{variable}` is not set")))?;
    if value.len() < TOKEN_BYTES_MIN {
        let reason = format!(
            "the token in `{variable}` is shorter than {TOKEN_BYTES_MIN} bytes: `streamgauge token` makes good ones"
        );
        return Err(Refused::at(origin, written, reason));
    }
    Ok(value)
}

fn instant(origin: &str, written: &Spanned<String>) -> Result<i64, Refused> {
    DateTime::parse_from_rfc3339(&written.value).map(|instant| instant.timestamp_micros()).map_err(|_| {
        let reason = format!("`{}` is no time: write it as RFC 3339, like `2027-01-31T00:00:00Z`", written.value);
        Refused::at(origin, written, reason)
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(digits[0])? << 4 | digit(digits[1])?;
    }
    Some(hash)
}
