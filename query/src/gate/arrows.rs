//! `->` and `->>` with a key in quotes.
//!
//! Called by the gate with a text's tokens. `Tags->>'Team'` is written as `Tags['Team']`, which gives the value of a map or NULL, is
//! planned everywhere, and prunes what it pruned. The parser would read the arrow after the comparison in `Tags->>'Team' = 'x'`; a
//! subscript binds as one expects.

use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

/// Writes arrows as subscripts.
pub(super) fn subscripts(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let is_space = |token: &TokenWithSpan| matches!(token.token, Token::Whitespace(_));
    let is_key = |token: &TokenWithSpan| matches!(token.token, Token::SingleQuotedString(_));
    let mut out = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        if !matches!(token.token, Token::Arrow | Token::LongArrow) {
            out.push(token);
            continue;
        }
        let mut spaces = Vec::new();
        while let Some(space) = rest.next_if(is_space) {
            spaces.push(space);
        }
        let Some(key) = rest.next_if(is_key) else {
            out.push(token);
            out.append(&mut spaces);
            continue;
        };
        let bracket = |bracket| TokenWithSpan { token: bracket, span: key.span };
        // What stands between a value and its subscript may not be a space.
        while out.last().is_some_and(is_space) {
            out.pop();
        }
        let (open, close) = (bracket(Token::LBracket), bracket(Token::RBracket));
        out.extend([open, key, close]);
    }
    out
}
