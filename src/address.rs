//! An address of a server, and who asks there.
//!
//! Called by the commands that ask servers. Invariant: credentials are in `basic` alone; what is shown, noted or told of an
//! address is its base. So a text that is no address is refused without being repeated: it may hold a password.

use anyhow::{Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ureq::http::Uri;

/// An address, split.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(crate) struct Address {
    /// Scheme, host and path, without a slash at the end.
    pub(crate) base: String,
    /// The value of an `Authorization` header.
    pub(crate) basic: Option<String>,
}

impl Address {
    /// Reads `https://user:password@host:port/path`; user and password may be written with `%40`.
    ///
    /// # Errors
    /// If it is something else. `which` says which address that was.
    pub(crate) fn parse(text: &str, which: &str) -> Result<Self> {
        let Some((scheme, rest)) = scheme(text).and_then(|scheme| Some((scheme, text.split_once("://")?.1))) else {
            bail!("{which} is no address of a server: it begins with http:// or https://");
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
        // What follows is part of a password that has these characters, or nothing a path can be appended to.
        ensure!(
            !path.contains(['?', '#', '@']),
            "{which} has ?, # or @ after the host: in a password, write %2F for /, %3F for ?, %23 for # and %40 for @"
        );
        let base = format!("{scheme}://{host}{}", path.trim_end_matches('/'));
        let authority = base.parse::<Uri>().ok().and_then(|uri| uri.into_parts().authority);
        // A port that is none is a password that was cut at a slash.
        let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| !port.ends_with(']'));
        let good = authority.is_some_and(|authority| !authority.host().is_empty())
            && port.is_none_or(|port| port.parse::<u16>().is_ok());
        ensure!(good, "{which} is no address of a server: write {scheme}://host:port, %2F for / in a password");
        let basic = user.map(|user| format!("Basic {}", STANDARD.encode(percent_decoded(user))));
        Ok(Self { base, basic })
    }
}

/// Is this meant to be an address?
pub(crate) fn is_meant(text: &str) -> bool {
    let starts = |scheme: &str| text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    text.contains("://") || starts("http:") || starts("https:")
}

fn scheme(text: &str) -> Option<&'static str> {
    let (scheme, _) = text.split_once("://")?;
    ["http", "https"].into_iter().find(|known| scheme.eq_ignore_ascii_case(known))
}

/// `%41` is `A`.
fn percent_decoded(text: &str) -> Vec<u8> {
    let (bytes, mut plain, mut at) = (text.as_bytes(), Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).filter(|_| byte == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        plain.push(code.unwrap_or(byte));
        at += if code.is_some() { 3 } else { 1 };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<String>) {
        let address = Address::parse(text, "the source").unwrap();
        let basic = address.basic.map(|basic| {
            let plain = STANDARD.decode(basic.strip_prefix("Basic ").unwrap()).unwrap();
            String::from_utf8(plain).unwrap()
        });
        (address.base, basic)
    }

    #[test]
    fn an_address_is_split_into_base_and_who_asks() {
        for (text, base, user) in [
            ("http://host:9090", "http://host:9090", None),
            ("HTTPS://host/prom/", "https://host/prom", None),
            ("Http://me:a%40b%2f:c@host:9090/", "http://host:9090", Some("me:a@b/:c")),
            ("http://me:a@b@[::1]:80/x", "http://[::1]:80/x", Some("me:a@b")),
            ("http://[::1]", "http://[::1]", None),
            ("http://me:%zz%@host", "http://host", Some("me:%zz%")),
        ] {
            assert_eq!(parsed(text), (base.to_owned(), user.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        for text in [
            "me:secret@host:9090",
            "ftp://me:secret@host",
            "http:/me:secret@host",
            "http://me:secret/x@host",
            "http://me:12/secret@host",
            "http://me:secret?x@host",
            "http://me:secret#x@host",
            "http://me:secret@",
            "http://me:secret@host:port",
            "http://me:secret@host:",
            "http://me:secret@ho st",
            "http://host/?token=secret",
            "",
        ] {
            let error = format!("{:#}", Address::parse(text, "--to").unwrap_err());
            assert!(error.starts_with("--to ") && !error.contains("secret"), "{text}: {error}");
        }
    }
}
