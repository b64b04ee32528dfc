//! How names are escaped in paths; the endpoints themselves are asked of the real binary, in `tests/labels.rs`.

use super::unescaped;

#[test]
fn names_of_any_characters_are_escaped_as_prometheus_does() {
    assert_eq!(unescaped("U__http_2e_requests__total").as_deref(), Some("http.requests_total"));
    assert_eq!(unescaped("U__caf_e9_").as_deref(), Some("café"));
    assert_eq!(unescaped("job"), None);
    assert_eq!(unescaped("U__a_zz_"), None, "no code");
}
