//! Section 6: text is UTF-8, and what cannot become UTF-8 any more fails the connection at once.
//!
//! The octets of 6.5 and later are those of Markus Kuhn's decoder stress test, as far as the suite
//! takes them.

use super::case::{Case, case, fragments, last, open, ping, pong, text};

/// κόσμε, with the accent in one character of three octets.
const GREEK: &[u8] = b"\xCE\xBA\xE1\xBD\xB9\xCF\x83\xCE\xBC\xCE\xB5";
/// Its prefixes that end with a character, in octets.
const GREEK_ENDS: [usize; 5] = [2, 5, 7, 9, 11];
/// Octets of a short frame before its payload.
const HEADER: usize = 6;

pub fn section_6() -> Vec<Case> {
    [fragmented(), hopeless(), fail_fast(), decoder_stress()].concat()
}

/// 6.1 and 6.2: valid, however it is cut.
fn fragmented() -> Vec<Case> {
    let latin = text("Hello-µ@ßöäüàá-UTF-8!!");
    let greek = text(GREEK);
    vec![
        case("6.1.1").echoed(text("")),
        case("6.1.2")
            .sends([open(text("")), open(last("")), last("")])
            .receives([text("")])
            .closes(),
        case("6.1.3")
            .sends([open(text("")), open(last("middle")), last("")])
            .receives([text("middle")])
            .closes(),
        case("6.2.1").echoed(latin.clone()),
        case("6.2.2")
            .sends([open(text("Hello-µ@ßöä")), last("üàá-UTF-8!!")])
            .receives([latin.clone()])
            .closes(),
        case("6.2.3").sends(fragments(&latin, 1)).receives([latin]).closes(),
        case("6.2.4").sends(fragments(&greek, 1)).receives([greek]).closes(),
    ]
}

/// 6.3: a surrogate amid a message.
fn hopeless() -> Vec<Case> {
    let message = text([GREEK, b"\xED\xA0\x80", b"edited"].concat());
    vec![
        case("6.3.1").sends([message.clone()]).refused(1007),
        case("6.3.2").sends(fragments(&message, 1)).refused(1007),
    ]
}

/// 6.4: the message never ends, and yet it is refused as soon as its twelfth octet is followed by
/// one that no character has there. The suite would let a server wait for the end.
fn fail_fast() -> Vec<Case> {
    let beyond_unicode = b"\xF4\x90\x80\x80";
    let (before, wrong) = (&[GREEK, b"\xF4"].concat()[..], b"\x90");
    let frame = text([GREEK, beyond_unicode, b"edited"].concat()).encode();
    let octets = |from: usize, to: usize| &frame[HEADER + from..HEADER + to];
    vec![
        case("6.4.1")
            .sends([open(text(GREEK))])
            .left_alone()
            .sends([open(last(beyond_unicode))])
            .refused(1007),
        case("6.4.2")
            .sends([open(text(before))])
            .left_alone()
            .sends([open(last(wrong))])
            .refused(1007),
        case("6.4.3")
            .sends_octets(&frame[..HEADER + 11])
            .left_alone()
            .sends_octets(octets(11, 15))
            .refused(1007),
        case("6.4.4")
            .sends_octets(&frame[..HEADER + 12])
            .left_alone()
            .sends_octets(octets(12, 13))
            .refused(1007),
    ]
}

/// 6.5 to 6.23, each message in one frame.
fn decoder_stress() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, row) in stress_rows() {
        let message = text(row.octets);
        cases.push(match row.valid {
            true => case(id).echoed(message),
            false => case(id).sends([message]).refused(1007),
        });
    }
    cases
}

/// What 6.4 asks, of every invalid text of 6.5 to 6.23: all that precedes the wrong octet is taken,
/// the octet itself refused, between frames and amid a frame.
pub fn section_6_4_for_all() -> Vec<Case> {
    let mut cases = Vec::new();
    for (id, row) in stress_rows() {
        let Some(wrong) = first_wrong(&row.octets) else { continue };
        let (before, octet) = (&row.octets[..wrong], row.octets[wrong]);
        cases.push(
            case(format!("{id} between frames"))
                .sends([open(text(before)), ping("")])
                .receives([pong("")])
                .sends([open(last([octet]))])
                .refused(1007),
        );
        let frame = text([&row.octets, &b"edited"[..]].concat()).encode();
        cases.push(
            case(format!("{id} amid a frame"))
                .octet_by_octet()
                .sends_octets(&frame[..=HEADER + wrong])
                .refused(1007),
        );
    }
    assert!(cases.len() > 100, "the tables have more wrong octets than {}", cases.len() / 2);
    cases
}

/// Index of the octet after which nothing makes it UTF-8; `None` if it is, or may still become it.
fn first_wrong(octets: &[u8]) -> Option<usize> {
    let is_hopeless = |octets| std::str::from_utf8(octets).is_err_and(|e| e.error_len().is_some());
    (0..octets.len()).find(|&index| is_hopeless(&octets[..=index]))
}

#[derive(Clone)]
struct Row {
    valid: bool,
    octets: Vec<u8>,
}

fn valid(rows: &[&[u8]]) -> Vec<Row> {
    rows.iter().map(|octets| Row { valid: true, octets: octets.to_vec() }).collect()
}

fn invalid(rows: &[&[u8]]) -> Vec<Row> {
    rows.iter().map(|octets| Row { valid: false, octets: octets.to_vec() }).collect()
}

/// All rows with their numbers.
fn stress_rows() -> impl Iterator<Item = (String, Row)> {
    stress_tables().into_iter().flat_map(|(table, rows)| {
        let numbers = (1..).map(move |number| format!("6.{table}.{number}"));
        numbers.zip(rows)
    })
}

fn stress_tables() -> Vec<(u32, Vec<Row>)> {
    let missing_last: [&[u8]; 10] = [
        b"\xC0",
        b"\xE0\x80",
        b"\xF0\x80\x80",
        b"\xF8\x80\x80\x80",
        b"\xFC\x80\x80\x80\x80",
        b"\xDF",
        b"\xEF\xBF",
        b"\xF7\xBF\xBF",
        b"\xFB\xBF\xBF\xBF",
        b"\xFD\xBF\xBF\xBF\xBF",
    ];
    vec![
        // Valid text.
        (
            5,
            valid(&[
                b"hello\x24world",
                b"hello\xC2\xA2world",
                b"hello\xE2\x82\xACworld",
                b"hello\xF0\xA4\xAD\xA2world",
                GREEK,
            ]),
        ),
        // All prefixes of valid text.
        (6, prefixes()),
        // The first of each length.
        (7, valid(&[b"\x00", b"\xC2\x80", b"\xE0\xA0\x80", b"\xF0\x90\x80\x80"])),
        (8, invalid(&[b"\xF8\x88\x80\x80\x80", b"\xFC\x84\x80\x80\x80\x80"])),
        // The last of each length.
        (9, valid(&[b"\x7F", b"\xDF\xBF", b"\xEF\xBF\xBF", b"\xF4\x8F\xBF\xBF"])),
        (10, invalid(&[b"\xF7\xBF\xBF\xBF", b"\xFB\xBF\xBF\xBF\xBF", b"\xFD\xBF\xBF\xBF\xBF\xBF"])),
        // Other boundaries: around the surrogates, the replacement character, the last character.
        (
            11,
            [
                valid(&[b"\xED\x9F\xBF", b"\xEE\x80\x80", b"\xEF\xBF\xBD", b"\xF4\x8F\xBF\xBF"]),
                invalid(&[b"\xF4\x90\x80\x80"]),
            ]
            .concat(),
        ),
        // Continuation octets that continue nothing.
        (
            12,
            invalid(&[
                b"\x80",
                b"\xBF",
                b"\x80\xBF",
                b"\x80\xBF\x80",
                b"\x80\xBF\x80\xBF",
                b"\x80\xBF\x80\xBF\x80",
                b"\x80\xBF\x80\xBF\x80\xBF",
                &(0x80..=0xBF).collect::<Vec<u8>>(),
            ]),
        ),
        // First octets, each followed by a space.
        (
            13,
            [0xC0..=0xDF, 0xE0..=0xEF, 0xF0..=0xF7, 0xF8..=0xFB, 0xFC..=0xFD]
                .map(|firsts| firsts.flat_map(|first| [first, b' ']).collect())
                .map(|octets| Row { valid: false, octets })
                .to_vec(),
        ),
        // The last octet is missing.
        (14, invalid(&missing_last)),
        (15, invalid(&[&missing_last.concat()])),
        // Octets that never occur.
        (16, invalid(&[b"\xFE", b"\xFF", b"\xFE\xFE\xFF\xFF"])),
        // Overlong: the slash, the largest of each length, NUL.
        (
            17,
            invalid(&[
                b"\xC0\xAF",
                b"\xE0\x80\xAF",
                b"\xF0\x80\x80\xAF",
                b"\xF8\x80\x80\x80\xAF",
                b"\xFC\x80\x80\x80\x80\xAF",
            ]),
        ),
        (
            18,
            invalid(&[
                b"\xC1\xBF",
                b"\xE0\x9F\xBF",
                b"\xF0\x8F\xBF\xBF",
                b"\xF8\x87\xBF\xBF\xBF",
                b"\xFC\x83\xBF\xBF\xBF\xBF",
            ]),
        ),
        (
            19,
            invalid(&[
                b"\xC0\x80",
                b"\xE0\x80\x80",
                b"\xF0\x80\x80\x80",
                b"\xF8\x80\x80\x80\x80",
                b"\xFC\x80\x80\x80\x80\x80",
            ]),
        ),
        // Surrogates, single and in pairs.
        (
            20,
            invalid(&[
                b"\xED\xA0\x80",
                b"\xED\xAD\xBF",
                b"\xED\xAE\x80",
                b"\xED\xAF\xBF",
                b"\xED\xB0\x80",
                b"\xED\xBE\x80",
                b"\xED\xBF\xBF",
            ]),
        ),
        (
            21,
            invalid(&[
                b"\xED\xA0\x80\xED\xB0\x80",
                b"\xED\xA0\x80\xED\xBF\xBF",
                b"\xED\xAD\xBF\xED\xB0\x80",
                b"\xED\xAD\xBF\xED\xBF\xBF",
                b"\xED\xAE\x80\xED\xB0\x80",
                b"\xED\xAE\x80\xED\xBF\xBF",
                b"\xED\xAF\xBF\xED\xB0\x80",
                b"\xED\xAF\xBF\xED\xBF\xBF",
            ]),
        ),
        // Code points that are no characters are valid nevertheless: the last two of each plane.
        (22, code_points((0..=16).flat_map(|plane| [plane << 16 | 0xFFFE, plane << 16 | 0xFFFF]))),
        // Unicode's specials.
        (23, code_points(0xFFF9..=0xFFFF)),
    ]
}

fn prefixes() -> Vec<Row> {
    let row = |end| Row { valid: GREEK_ENDS.contains(&end), octets: GREEK[..end].to_vec() };
    (1..=GREEK.len()).map(row).collect()
}

fn code_points(points: impl Iterator<Item = u32>) -> Vec<Row> {
    points
        .map(|point| char::from_u32(point).expect("no surrogate").to_string().into_bytes())
        .map(|octets| Row { valid: true, octets })
        .collect()
}
