//! SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side: the password is shown without being sent.
//!
//! Called by `opening`, and by the binary, which makes a [`Verifier`] of a token where it knows it and reads one where it does not.
//! A verifier is written as PostgreSQL writes it: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`.
//!
//! Invariants: proofs are compared in constant time; a user who is not there meets the same messages as one who is. Passwords are
//! taken as they are: tokens are ASCII, of which the preparation of strings (RFC 4013) changes nothing. No channel binding.

use std::{fmt, num::NonZeroU32, str::FromStr};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;

/// Name of the mechanism.
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
/// As PostgreSQL has it. Tokens are random, so more would only cost time.
const ITERATIONS: NonZeroU32 = match NonZeroU32::new(4_096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};
/// Most that a written verifier may ask of clients.
const ITERATIONS_MAX: u32 = 1_000_000;

/// What the server knows of a password. It does not tell the password, but is kept like one: it is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored: [u8; 32],
    server: [u8; 32],
}

/// A text that is no verifier.
#[derive(Debug, thiserror::Error)]
#[error(
    "no verifier: write SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>, as `streamgauge token` prints it"
)]
pub struct NoVerifier;

impl Verifier {
    /// Of a password, with a salt.
    #[must_use]
    pub fn new(password: &[u8], salt: &[u8]) -> Self {
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client = hmac::sign(&key, b"Client Key");
        let stored = whole(digest::digest(&digest::SHA256, client.as_ref()).as_ref());
        let server = whole(hmac::sign(&key, b"Server Key").as_ref());
        Self { iterations: ITERATIONS, salt: salt.to_vec(), stored, server }
    }

    /// One that no password fits, with the salt that `user` would always have.
    pub(crate) fn of_nobody(user: &str, secret: &[u8]) -> Self {
        let salt = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), user.as_bytes());
        Self { iterations: ITERATIONS, salt: salt.as_ref()[..16].to_vec(), stored: [0; 32], server: [0; 32] }
    }

    /// As it is written; it opens no door, but tells who guesses whether the guess is right.
    #[must_use]
    pub fn written(&self) -> String {
        let [salt, stored, server] =
            [&self.salt[..], &self.stored, &self.server].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

impl FromStr for Verifier {
    type Err = NoVerifier;

    fn from_str(text: &str) -> Result<Self, NoVerifier> {
        let read = || {
            let rest = text.strip_prefix(MECHANISM)?.strip_prefix('$')?;
            let (first, keys) = rest.split_once('$')?;
            let (iterations, salt) = first.split_once(':')?;
            let (stored, server) = keys.split_once(':')?;
            let decode = |text: &str| BASE64_STANDARD.decode(text).ok();
            let iterations = iterations.parse().ok().filter(|count: &NonZeroU32| count.get() <= ITERATIONS_MAX)?;
            let [stored, server] = [decode(stored)?.try_into().ok()?, decode(server)?.try_into().ok()?];
            Some(Self { iterations, salt: decode(salt)?, stored, server })
        };
        read().ok_or(NoVerifier)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").finish_non_exhaustive()
    }
}

/// An exchange after the client's first message.
pub(crate) struct Exchange {
    verifier: Verifier,
    /// Flags of the client, which it repeats.
    header: String,
    nonce: String,
    /// What both sides sign, so far.
    signed: String,
}

impl Exchange {
    /// Reads the client's first message; gives what is answered. None if the message is not one.
    pub fn begin(verifier: Verifier, first: &[u8], nonce: u128) -> Option<(Self, String)> {
        let first = std::str::from_utf8(first).ok()?;
        let mut parts = first.splitn(3, ',');
        let (flag, user) = (parts.next()?, parts.next()?);
        let bare = parts.next()?;
        if !matches!(flag, "n" | "y") || bare.starts_with("m=") {
            return None;
        }
        let theirs = bare.split(',').nth(1)?.strip_prefix("r=")?;
        let nonce = format!("{theirs}{}", BASE64_STANDARD.encode(nonce.to_be_bytes()));
        let salt = BASE64_STANDARD.encode(&verifier.salt);
        let answer = format!("r={nonce},s={salt},i={}", verifier.iterations);
        let (header, signed) = (format!("{flag},{user},"), format!("{bare},{answer}"));
        Some((Self { verifier, header, nonce, signed }, answer))
    }

    /// Reads the client's last message; gives what is answered if its proof is right.
    pub fn end(self, last: &[u8]) -> Option<String> {
        let last = std::str::from_utf8(last).ok()?;
        let (without, proof) = last.rsplit_once(",p=")?;
        let mut fields = without.split(',');
        let header = BASE64_STANDARD.decode(fields.next()?.strip_prefix("c=")?).ok()?;
        let nonce = fields.next()?.strip_prefix("r=")?;
        if header != self.header.as_bytes() || nonce != self.nonce {
            return None;
        }
        let signed = format!("{},{without}", self.signed);
        let proof: [u8; 32] = BASE64_STANDARD.decode(proof).ok()?.try_into().ok()?;
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.stored), signed.as_bytes());
        let client: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(proof, sign)| proof ^ sign).collect();
        let stored = digest::digest(&digest::SHA256, &client);
        if !bool::from(stored.as_ref().ct_eq(&self.verifier.stored)) {
            return None;
        }
        let server = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.verifier.server), signed.as_bytes());
        Some(format!("v={}", BASE64_STANDARD.encode(server.as_ref())))
    }
}

fn whole(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(bytes);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The exchange of RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_standard_is_understood() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::new(b"pencil", &salt);
        let (mut exchange, _) =
            Exchange::begin(verifier, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", 0).expect("a first message");
        // The server's half of the nonce is random; here it is that of the standard.
        exchange.nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned();
        let answer = format!("r={},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096", exchange.nonce);
        exchange.signed = format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{answer}");
        let last = format!("c=biws,r={},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", exchange.nonce);
        let end = exchange.end(last.as_bytes());
        assert_eq!(end.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    }

    #[test]
    fn a_verifier_is_read_as_it_is_written_and_never_printed() {
        let verifier = Verifier::new(b"sg_secret", b"0123456789abcdef");
        assert_eq!(verifier.written().parse::<Verifier>().unwrap(), verifier);
        assert_eq!(format!("{verifier:?}"), "Verifier { .. }");
        assert!("SCRAM-SHA-256$0:AA==$AA==:AA==".parse::<Verifier>().is_err());
    }

    #[test]
    fn a_wrong_proof_and_a_user_who_is_not_there_end_alike() {
        let nobody = Verifier::of_nobody("eve", b"secret");
        assert_eq!(nobody, Verifier::of_nobody("eve", b"secret"), "the salt does not change");
        for verifier in [nobody, Verifier::new(b"right", b"salt")] {
            let (exchange, _) = Exchange::begin(verifier, b"n,,n=,r=abc", 1).unwrap();
            let last = format!("c=biws,r={},p={}", exchange.nonce, BASE64_STANDARD.encode([7; 32]));
            assert_eq!(exchange.end(last.as_bytes()), None);
        }
    }
}
