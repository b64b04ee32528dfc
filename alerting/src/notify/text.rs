//! Texts within limits, and texts of strangers made harmless for where they stand.
//!
//! Called by all notifiers. Invariants: nothing is cut inside a character, and a cut is seen.

use serde_json::Value;

use crate::Result;

/// Stands where something was cut off.
const MARK: char = '…';
/// Takes no room and is no part of any markup.
const NOTHING: char = '\u{200b}';

/// At most so many characters.
pub(super) fn truncated(text: &str, chars_max: usize) -> String {
    if text.chars().nth(chars_max).is_none() {
        return text.to_owned();
    }
    text.chars().take(chars_max.saturating_sub(1)).chain((chars_max > 0).then_some(MARK)).collect()
}

/// At most so many bytes.
pub(super) fn truncated_bytes(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let Some(kept_max) = bytes_max.checked_sub(MARK.len_utf8()) else { return String::new() };
    let kept = (0..=kept_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{MARK}", &text[..kept])
}

/// A body that is made of a text and takes at most so many bytes, with as much of the text as fits.
pub(super) fn fitted(text: &str, bytes_max: usize, body: impl Fn(&str) -> Vec<u8>) -> Vec<u8> {
    let mut made = body(text);
    let mut kept_bytes = text.len();
    while made.len() > bytes_max && kept_bytes > 0 {
        // By what is too much, and by a part of the rest: a byte of the text may be six of the body.
        kept_bytes = kept_bytes.saturating_sub((made.len() - bytes_max).div_ceil(6).max(kept_bytes.div_ceil(16)));
        made = body(&truncated_bytes(text, kept_bytes));
    }
    made
}

/// Without line breaks and other characters that are not seen.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || c == '\u{2028}' || c == '\u{2029}' { ' ' } else { c }).collect()
}

/// For Slack's markup, in which `<!channel>` calls everybody and `<https://…|name>` is a link under any name. Names that `link_names`
/// makes mentions of are broken as well. A template that decodes (`urlUnescape`, `base64decode`) or replaces what is escaped here undoes it.
pub(super) fn for_slack(text: &str) -> String {
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    unmentioned(&escaped)
}

/// The same for what stands in a block of code, which it cannot end.
pub(super) fn for_slack_code(text: &str) -> String {
    for_slack(&text.replace('`', "'"))
}

/// For HTML, wherever it stands.
pub(super) fn for_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// For the Markdown of Discord and Teams: calls nobody, and has no links under another name.
pub(super) fn for_markdown(text: &str) -> String {
    unmentioned(&text.replace("<@", &format!("<{NOTHING}@")).replace("](", &format!("]{NOTHING}(")))
}

fn unmentioned(text: &str) -> String {
    let mut text = text.to_owned();
    for name in ["channel", "here", "everyone"] {
        text = text.replace(&format!("@{name}"), &format!("@{NOTHING}{name}"));
    }
    text
}

/// At most so many characters of Slack's markup, not cut inside an entity.
pub(super) fn truncated_slack(text: &str, chars_max: usize) -> String {
    const ENTITY_BYTES_MAX: usize = 5;
    let cut = truncated(text, chars_max);
    let Some(kept) = cut.strip_suffix(MARK).filter(|_| cut != text) else { return cut };
    match kept.rfind('&') {
        Some(at) if kept.len() - at < ENTITY_BYTES_MAX && !kept[at..].contains(';') => format!("{}{MARK}", &kept[..at]),
        _ => cut,
    }
}

/// A value with every text in it rendered, keys too. A text that is JSON then becomes what it says, so that `{{ len .Alerts }}` is a
/// number; Alertmanager reads YAML there and renders what it read once more, which lets a label run as a template.
pub(super) fn rendered(value: &Value, text: &dyn Fn(&str) -> Result<String>) -> Result<Value> {
    Ok(match value {
        Value::String(template) => {
            let text = text(template)?;
            match serde_json::from_str(&text) {
                Ok(Value::String(_)) | Err(_) => Value::String(text),
                Ok(value) => value,
            }
        }
        Value::Array(all) => all.iter().map(|value| rendered(value, text)).collect::<Result<_>>()?,
        Value::Object(all) => {
            let pair = |(name, value): (&String, &Value)| Ok((text(name)?, rendered(value, text)?));
            Value::Object(all.iter().map(pair).collect::<Result<_>>()?)
        }
        other => other.clone(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_cut_is_seen() {
        assert_eq!((truncated("héllo", 5).as_str(), truncated("héllo", 4).as_str()), ("héllo", "hél…"));
        assert_eq!((truncated("abc", 0).as_str(), truncated("abc", 1).as_str()), ("", "…"));
        assert_eq!((truncated_bytes("ééé", 6).as_str(), truncated_bytes("ééé", 5).as_str()), ("ééé", "é…"));
        assert_eq!(truncated_slack("ab&amp;cd", 7), "ab…");
        assert_eq!(truncated_slack("ab&amp;cd", 8), "ab&amp;…");
    }

    #[test]
    fn strangers_call_nobody() {
        assert_eq!(for_slack("<!channel> & <https://evil|x>"), "&lt;!channel&gt; &amp; &lt;https://evil|x&gt;");
        assert_eq!(for_slack("@here a@b.c"), "@\u{200b}here a@b.c");
        assert_eq!(for_markdown("@everyone <@&12> [a](b)"), "@\u{200b}everyone <\u{200b}@&12> [a]\u{200b}(b)");
    }

    proptest! {
        #[test]
        fn every_text_is_within_its_limit(text in any::<String>(), max in 0_usize..60) {
            prop_assert!(truncated(&text, max).chars().count() <= max);
            prop_assert!(truncated_bytes(&text, max).len() <= max);
            prop_assert!(truncated_slack(&for_slack(&text), max).chars().count() <= max);
            let body = |text: &str| serde_json::to_vec(text).unwrap();
            prop_assert!(fitted(&text, max + 2, body).len() <= max + 2);
            prop_assert!(!for_slack(&text).contains(['<', '>']));
        }

        #[test]
        fn what_fits_is_whole(text in any::<String>()) {
            prop_assert_eq!(truncated(&text, text.chars().count()), text.clone());
            prop_assert_eq!(truncated_bytes(&text, text.len()), text.clone());
        }
    }
}
