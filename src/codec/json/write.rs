//! Writing JSON strings.

use super::text::plain_len;

/// Appends `text` as a JSON string, exactly as a browser's `JSON.stringify` writes it.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (plain, tail) = rest.split_at(plain_len(rest));
        out.extend_from_slice(plain);
        let Some((special, tail)) = tail.split_first() else { break };
        write_escape(out, *special);
        rest = tail;
    }
    out.push(b'"');
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    let letter = match byte {
        0x08 => b'b',
        0x0C => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        b'"' | b'\\' => byte,
        _ => return write_unit(out, byte),
    };
    out.extend_from_slice(&[b'\\', letter]);
}

fn write_unit(out: &mut Vec<u8>, byte: u8) {
    let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit & 0xF)];
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
}
