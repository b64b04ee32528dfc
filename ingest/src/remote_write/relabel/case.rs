//! Upper and lower case of texts, a character for a character, as Go maps them.
//!
//! Called by the rules that change the case of a label's value. Spec: <https://pkg.go.dev/strings#ToLower>

/// The one character that is the lower case of this one. (Languages write more than one at times; Go's strings do not.)
pub(super) fn lowercase(c: char) -> char {
    // The only character whose full mapping is longer than one.
    if c == '\u{130}' { 'i' } else { c.to_lowercase().next().unwrap_or(c) }
}

/// The one character that is the upper case of this one, itself if there is none.
pub(super) fn uppercase(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(upper), None) => upper,
        _ => {
            // Greek letters with iota below have a capital of one character beside the full mapping of two.
            let by = match c {
                '\u{1f80}'..='\u{1f87}' | '\u{1f90}'..='\u{1f97}' | '\u{1fa0}'..='\u{1fa7}' => 8,
                '\u{1fb3}' | '\u{1fc3}' | '\u{1ff3}' => 9,
                _ => 0,
            };
            char::from_u32(u32::from(c) + by).unwrap_or(c)
        }
    }
}
