//! Tokens from their text to a verdict on a request.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

use super::*;

const NOON_US: i64 = 1_800_000_000_000_000;

fn file(text: &str) -> Result<Vec<Token>, String> {
    let variables = |name: &str| (name == "SECRET").then(|| "x".repeat(40));
    parse_file(Path::new("tokens.yaml"), text, &variables).map_err(|error| error.to_string())
}

fn bearer(token: &str) -> HeaderMap {
    HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse().unwrap())])
}

fn basic(name: &str, token: &str) -> HeaderMap {
    let pair = BASE64_STANDARD.encode(format!("{name}:{token}"));
    HeaderMap::from_iter([(AUTHORIZATION, format!("basic {pair}").parse().unwrap())])
}

#[test]
fn a_generated_token_is_let_in_by_its_printed_hash_until_it_expires() {
    let (token, hash, _) = new_token().unwrap();
    assert!(token.starts_with("sg_") && token.len() == 46, "{token}");
    let at = |now_us| {
        let tokens =
            file(&format!("[{{name: p, scopes: [write], expires: '2027-01-15T08:00:00Z', sha256: {hash}}}]")).unwrap();
        Auth::new(tokens, false, Clock::new(move || now_us))
    };
    assert_eq!(at(NOON_US - 1).check(&bearer(&token), Some(Scope::Write)), Ok(Some("p".into())));
    assert_eq!(at(NOON_US - 1).check(&basic("p", &token), Some(Scope::Write)), Ok(Some("p".into())));
    assert_eq!(at(NOON_US - 1).check(&basic("q", &token), Some(Scope::Write)), Err(Denied::Unknown));
    assert_eq!(at(NOON_US - 1).check(&bearer(&token), Some(Scope::Read)), Err(Denied::Scope(Scope::Read)));
    assert_eq!(at(NOON_US).check(&bearer(&token), Some(Scope::Write)), Err(Denied::Expired));
    assert_eq!(at(NOON_US).check(&bearer("sg_other"), Some(Scope::Write)), Err(Denied::Unknown));
    assert_eq!(at(NOON_US).check(&HeaderMap::new(), Some(Scope::Write)), Err(Denied::Unknown));
    assert_eq!(at(NOON_US).check(&HeaderMap::new(), None), Ok(None));
}

#[test]
fn basic_credentials_are_read_with_and_without_padding() {
    for name in ["a", "ab", "abc"] {
        let pair = BASE64_STANDARD_NO_PAD.encode(format!("{name}:sg_secret"));
        let bare = HeaderMap::from_iter([(AUTHORIZATION, format!("Basic {pair}").parse().unwrap())]);
        assert_eq!(Auth::secret(&bare).as_deref(), Some("sg_secret"), "{name}");
        assert_eq!(Auth::secret(&basic(name, "sg_secret")).as_deref(), Some("sg_secret"), "{name}");
    }
    assert_eq!(Auth::secret(&HeaderMap::new()), None);
}

#[test]
fn two_authorization_headers_are_as_good_as_none() {
    let token = "x".repeat(40);
    let auth =
        Auth::new(file("[{name: p, scopes: [read], token: '${SECRET}'}]").unwrap(), false, Clock::new(|| NOON_US));
    let mut headers = bearer(&token);
    assert_eq!(auth.check(&headers, Some(Scope::Read)), Ok(Some("p".into())));
    headers.append(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    assert_eq!(auth.check(&headers, Some(Scope::Read)), Err(Denied::Unknown));
}

#[test]
fn an_emptied_token_file_closes_the_server_instead_of_opening_it() {
    let auth = Auth::new(file("").unwrap(), false, Clock::new(|| NOON_US));
    assert_eq!(auth.check(&HeaderMap::new(), Some(Scope::Read)), Err(Denied::Unknown));
}

#[test]
fn every_path_needs_a_scope_but_the_probes() {
    let expected = [
        ("/-/healthy", None),
        ("/-/ready", None),
        ("/api/v1/pagerduty/webhook", None),
        ("/login", None),
        ("/logout", None),
        ("/page.css", None),
        ("/page.js", None),
        ("/graph", Some(Scope::Read)),
        ("/sql", Some(Scope::Read)),
        ("/login/", Some(Scope::Read)),
        ("/api/v1/pagerduty", Some(Scope::Read)),
        ("/api/v1/write", Some(Scope::Write)),
        ("/api/v1/admin/flush", Some(Scope::Admin)),
        ("/api/v1/sql", Some(Scope::Read)),
        ("/api/v1/sql/team_costs", Some(Scope::Read)),
        ("/metrics", Some(Scope::Read)),
        ("/", Some(Scope::Read)),
        ("/-/healthy/", Some(Scope::Read)),
        ("/nobody/thought/of/this", Some(Scope::Read)),
    ];
    for (path, scope) in expected {
        assert_eq!(Scope::of(&Method::GET, path), scope, "{path}");
        assert_eq!(Scope::of(&Method::POST, path), scope, "{path}");
    }
    assert_eq!(Scope::of(&Method::DELETE, "/api/v1/status/queries/7"), Some(Scope::Admin));
    assert_eq!(Scope::of(&Method::DELETE, "/api/v2/silence/7"), Some(Scope::Admin));
    for (path, get, post) in [
        ("/api/v2/alerts", Scope::Read, Scope::Write),
        ("/api/v2/silences", Scope::Read, Scope::Admin),
        ("/-/reload", Scope::Admin, Scope::Admin),
    ] {
        assert_eq!(Scope::of(&Method::GET, path), Some(get), "{path}");
        assert_eq!(Scope::of(&Method::POST, path), Some(post), "{path}");
    }
    for prefix in RULER {
        let path = format!("{prefix}/team");
        assert_eq!(Scope::of(&Method::GET, &path), Some(Scope::Read), "{path}");
        assert_eq!(Scope::of(&Method::POST, &path), Some(Scope::Admin), "{path}");
        assert_eq!(Scope::of(&Method::POST, &format!("{prefix}/")), Some(Scope::Admin), "{prefix}/");
    }
}

#[test]
fn bad_tokens_are_refused_with_their_place_and_without_their_text() {
    let hash = "0".repeat(64);
    let bad = [
        ("- {name: p, scopes: [write], token: sg_plaintext}", "tokens.yaml:1:37: a token is not written here"),
        ("- {name: p, scopes: [write], token: '${NOPE}'}", "environment variable `NOPE` is not set"),
        ("- {name: p, scopes: [write], sha256: abc}", "tokens.yaml:1:38: sha256 takes 64 hexadecimal digits"),
        ("- {name: p, scopes: [write]}", "either `sha256: <hash>`"),
        ("- {name: p, scopes: [], sha256: HASH}", "without scopes"),
        ("- {name: p, scopes: [root], sha256: HASH}", "tokens.yaml:1:22: `root` is not known here"),
        ("- {name: 'a b', scopes: [read], sha256: HASH}", "a token's name"),
        ("- {name: p, scopes: [read], sha256: HASH, expires: tomorrow}", "`tomorrow` is no time"),
        ("- {name: p, scopes: [read], sha256: HASH}\n- {name: p, scopes: [read], token: '${SECRET}'}", "is taken"),
        ("- {name: p, scopes: [read], sha256: HASH, scope: read}", "did you mean `scopes`"),
        ("- {scopes: [read], sha256: HASH}", "key `name` is missing"),
    ];
    for (text, expected) in bad {
        let error = file(&text.replace("HASH", &hash)).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("plaintext"), "{error}");
    }
}

#[test]
fn a_token_prints_without_its_hash() {
    let tokens = file("[{name: p, scopes: [read], token: '${SECRET}'}]").unwrap();
    let printed = format!("{tokens:?}");
    assert!(printed.contains("\"p\"") && !printed.contains("hash"), "{printed}");
}
