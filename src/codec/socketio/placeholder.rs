//! What stands in a payload for its attachments: `{"_placeholder":true,"num":0}`.

use crate::codec::json::{DEPTH_LIMIT, Raw, Token};

/// The key that tells a placeholder, if its value is `true`.
const MARK: &str = "_placeholder";
/// The key of the attachment's number, from zero.
const NUMBER: &str = "num";

/// The attachment that `value` stands for, if it is a placeholder for one of them.
pub fn attachment_of<'a>(value: Raw<'_>, attachments: &'a [Vec<u8>]) -> Option<&'a [u8]> {
    if !value.is_object() {
        return None;
    }
    let (mut is_placeholder, mut number) = (false, None);
    // As everywhere, the last value of a key counts.
    for (key, value) in value.fields() {
        if key.is_string_of(MARK) {
            is_placeholder = value.as_bool() == Some(true);
        } else if key.is_string_of(NUMBER) {
            number = index(value);
        }
    }
    let attachment = attachments.get(number.filter(|_| is_placeholder)?)?;
    Some(attachment)
}

/// The index that a number is.
fn index(value: Raw<'_>) -> Option<usize> {
    let number = value.as_f64().filter(|number| number.fract() == 0.0)?;
    (0.0..=f64::from(u8::MAX)).contains(&number).then_some(number as usize)
}

/// What is known of an object that is walked.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    is_placeholder: bool,
    /// The number is that of an attachment.
    is_numbered: bool,
    /// A placeholder in it names no attachment.
    is_wrong: bool,
}

/// Whether every placeholder in `payload` names one of so many attachments.
///
/// One pass, and no allocation: the payload may be as long and deep as a message can be.
pub(super) fn all_name(payload: Raw<'_>, attachments: u8) -> bool {
    // Nothing in between is checked, so that most payloads cost a search only. An escape could hide
    // the mark.
    let text = payload.as_str();
    if !text.contains(MARK) && !text.contains('\\') {
        return true;
    }
    let mut levels = [Level::default(); DEPTH_LIMIT + 1];
    let mut depth = 0_usize;
    let mut key: Option<Raw<'_>> = None;
    for token in payload.tokens() {
        let name = if let Token::Key(_) = token { None } else { key.take() };
        if let Some(name) = name {
            set(&mut levels[depth], name, token, attachments);
        }
        match token {
            Token::Key(name) => key = Some(name),
            Token::Scalar(_) => {}
            Token::Object | Token::Array => {
                // What was parsed is not nested deeper.
                depth = (depth + 1).min(DEPTH_LIMIT);
                levels[depth] = Level::default();
            }
            Token::End => {
                let Level { is_placeholder, is_numbered, is_wrong } = levels[depth];
                // What else a placeholder has is not looked at by anybody.
                let is_wrong = if is_placeholder { !is_numbered } else { is_wrong };
                depth = depth.saturating_sub(1);
                levels[depth].is_wrong |= is_wrong;
            }
        }
    }
    !levels[0].is_wrong
}

/// Takes note of a field of an object; `value` is its first token.
fn set(level: &mut Level, key: Raw<'_>, value: Token<'_>, attachments: u8) {
    let scalar = if let Token::Scalar(scalar) = value { Some(scalar) } else { None };
    if key.is_string_of(MARK) {
        level.is_placeholder = scalar.and_then(Raw::as_bool) == Some(true);
    } else if key.is_string_of(NUMBER) {
        let number = scalar.and_then(index);
        level.is_numbered = number.is_some_and(|number| number < usize::from(attachments));
    }
}
