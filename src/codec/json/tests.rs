use proptest::prelude::*;
use serde_json::value::RawValue;

use super::text::plain_len;
use super::{DEPTH_LIMIT, DEPTH_MAX, JsonErrorKind, Kept, Raw, Token};
use super::{object_fields, parse, write_string};

/// Whether serde_json takes the text for a value it keeps unparsed.
fn serde_accepts(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Texts in the manner of the JSON parsing test suite: accepted by all.
const GOOD: &[&str] = &[
    "[]",
    "{}",
    "\"\"",
    "0",
    "-0",
    "null",
    "true",
    "false",
    " [] ",
    "\t\n\r [1]\t\n\r ",
    "[1,2 , 3]",
    "[[],[[]],{}]",
    "{\"a\":1}",
    "{ \"a\" : { \"b\" : [ ] } }",
    "{\"\":0}",
    "{\"a\":1,\"a\":2}",
    "1e1",
    "1E+1",
    "1.5e-10",
    "-1.0",
    "123456789012345678901234567890",
    "1e999",
    "-1e-999",
    "[-0.0]",
    "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\\udc00\\ud800\"",
    "\"\\u0000\"",
    "\"\u{7f}\"",
    "\"\u{2028}\u{ffff}\"",
    "[\"\\ud800abc\"]",
    "\"\\uABCD\\uabcd\"",
];

/// Refused by all.
const BAD: &[&str] = &[
    "",
    " ",
    "[",
    "]",
    "{",
    "}",
    "[}",
    "{]",
    "[1",
    "[1,",
    "[1,]",
    "[,1]",
    "[1,,2]",
    "[1 2]",
    "[:]",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\":1,}",
    "{,}",
    "{\"a\" 1}",
    "{a:1}",
    "{1:1}",
    "{\"a\":1 \"b\":2}",
    "{\"a\":1,,\"b\":2}",
    "\"",
    "\"\\\"",
    "\"\\",
    "\"\\u",
    "\"\\u12",
    "\"\\u123\"",
    "\"\\u12g4\"",
    "\"\\x41\"",
    "\"\\a\"",
    "\"\\'\"",
    "\"\n\"",
    "\"\t\"",
    "\"\u{0}\"",
    "\"\u{1f}\"",
    "'a'",
    "01",
    "-",
    "-01",
    "+1",
    ".5",
    "1.",
    "1.e1",
    "1e",
    "1e+",
    "0x1",
    "1_000",
    "NaN",
    "Infinity",
    "-Infinity",
    "nul",
    "nulll",
    "True",
    "tru",
    "truee",
    "falsey",
    "[] []",
    "1 2",
    "{}x",
    "[1]]",
    "\u{feff}[]",
    "\u{a0}1",
    "\u{c}1",
    "[1]\u{0}",
    "// x\n1",
    "/**/1",
    "undefined",
    "[\"a\",\n4\n,1,",
    "[\"\":1]",
    "{\"a\":1]",
    "[{]}",
    "\\u0041",
    "-\u{ff11}",
];

#[test]
fn the_accepted_texts_are_those_of_others() {
    for text in GOOD {
        assert!(serde_accepts(text), "{text}");
        assert_eq!(parse(text, DEPTH_MAX).map(Raw::as_str), Ok(text.trim_ascii()));
    }
    for text in BAD {
        assert!(!serde_accepts(text), "{text}");
        assert!(parse(text, DEPTH_MAX).is_err(), "{text}");
    }
}

#[test]
fn errors_point_at_the_wrong_byte() {
    for (text, kind, offset) in [
        ("", JsonErrorKind::UnexpectedEnd, 0),
        ("[1, ", JsonErrorKind::UnexpectedEnd, 4),
        ("\"abc", JsonErrorKind::UnexpectedEnd, 4),
        ("\"\\u00", JsonErrorKind::UnexpectedEnd, 5),
        ("[1}", JsonErrorKind::UnexpectedByte, 2),
        ("{\"a\":tru}", JsonErrorKind::UnexpectedByte, 8),
        ("\"0123456789abcdefg\n\"", JsonErrorKind::ControlInString, 18),
        ("\"\\q\"", JsonErrorKind::InvalidEscape, 2),
        ("\"\\u00x0\"", JsonErrorKind::InvalidEscape, 5),
    ] {
        let error = parse(text, DEPTH_MAX).expect_err(text);
        assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
    }
}

#[test]
fn nesting_ends_where_it_was_asked_to() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let objects = |depth: usize| "{\"a\":".repeat(depth) + "1" + &"}".repeat(depth);
    for depth in [1, 2, 64, 127, 128, 129, 256, 257, DEPTH_LIMIT] {
        assert!(parse(&nested(depth), depth).is_ok());
        assert!(parse(&objects(depth), depth).is_ok());
        assert!(object_fields(&objects(depth), &["a"], depth).is_ok());
        for text in [nested(depth), objects(depth)] {
            let error = parse(&text, depth - 1).expect_err("too deep");
            assert_eq!(error.kind, JsonErrorKind::TooDeep);
        }
        assert!(object_fields(&objects(depth), &["a"], depth - 1).is_err());
    }
    assert!(parse(&nested(DEPTH_LIMIT + 1), usize::MAX).is_err());
    assert!(parse(&"[".repeat(1_000_000), usize::MAX).is_err());
    assert!(parse("1", 0).is_ok());
}

#[test]
fn mixed_nesting_remembers_which_is_which() {
    // Three kinds of step, so that no power of two hides a container behind another.
    let steps: Vec<_> = ["[", "{\"a\":", "[0,"].into_iter().cycle().take(DEPTH_LIMIT).collect();
    let end = |step: &&str| if step.starts_with('[') { ']' } else { '}' };
    let open = steps.concat();
    let ends: Vec<char> = steps.iter().rev().map(end).collect();
    let closed = |ends: &[char]| format!("{open}1{}", ends.iter().collect::<String>());
    assert!(parse(&closed(&ends), DEPTH_LIMIT).is_ok());
    for wrong in 0..DEPTH_LIMIT {
        let mut ends = ends.clone();
        ends[wrong] = if ends[wrong] == ']' { '}' } else { ']' };
        assert!(parse(&closed(&ends), DEPTH_LIMIT).is_err(), "{wrong}");
    }
}

#[test]
fn all_tokens_are_walked_in_order() {
    let text = r#" {"a" : [1,{ },"b:" , [ ]],"\"{":null, "c":{"d":"e"}} "#;
    let tokens: Vec<String> = parse(text, 8)
        .unwrap()
        .tokens()
        .map(|token| match token {
            Token::Object => "{".to_owned(),
            Token::Array => "[".to_owned(),
            Token::End => "end".to_owned(),
            Token::Key(key) => format!("key {}", key.as_str()),
            Token::Scalar(value) => value.as_str().to_owned(),
        })
        .collect();
    let key = r#"key "\"{""#;
    let expected = [
        "{",
        "key \"a\"",
        "[",
        "1",
        "{",
        "end",
        "\"b:\"",
        "[",
        "end",
        "end",
        key,
        "null",
        "key \"c\"",
        "{",
        "key \"d\"",
        "\"e\"",
        "end",
        "end",
    ];
    assert_eq!(tokens, expected);
    for scalar in ["1", "\"a\"", "true"] {
        let raw = parse(scalar, 0).unwrap();
        assert_eq!(raw.tokens().collect::<Vec<_>>(), [Token::Scalar(raw)]);
    }
}

#[test]
fn a_kept_value_is_the_same() {
    let raw = parse(" [1, 2] ", 1).unwrap();
    assert_eq!(Kept::from(raw).as_raw(), raw);
}

#[test]
fn wanted_fields_are_found_in_one_pass() {
    let text = r#" {"id":"x","action" : "SEND","args":[0, 0,"p",{"id":1}],"\u0074ags":{},"x":1} "#;
    let [id, action, args, tags, none] =
        object_fields(text, &["id", "action", "args", "tags", "none"], 8).unwrap();
    assert_eq!(id.and_then(Raw::as_simple_string), Some("x"));
    assert_eq!(action.map(Raw::as_str), Some("\"SEND\""));
    assert_eq!(args.map(Raw::as_str), Some("[0, 0,\"p\",{\"id\":1}]"));
    assert_eq!(tags.map(Raw::as_str), Some("{}"), "keys are compared unescaped");
    assert_eq!(none, None);
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let [a] = object_fields(r#"{"a":1,"b":2,"\u0061":3}"#, &["a"], 1).unwrap();
    assert_eq!(a.map(Raw::as_str), Some("3"));
}

#[test]
fn only_an_object_has_fields() {
    for text in [" null", "[1]", "1", "\"{}\"", "true "] {
        let error = object_fields(text, &["a"], 8).expect_err(text);
        assert_eq!(error.kind, JsonErrorKind::NotAnObject, "{text}");
    }
    for text in ["nul", "[1", "", "{\"a\":1", "{\"a\":1}}", "{\"a\":1,}", "{", "{\"a\":\"\u{1}\"}"]
    {
        let error = object_fields(text, &["a"], 8).expect_err(text);
        assert_ne!(error.kind, JsonErrorKind::NotAnObject, "{text}");
    }
    assert_eq!(object_fields("{ }", &["a"], 8), Ok([None]));
}

#[test]
fn an_array_is_split_behind_its_first_elements() {
    let split = |text| parse(text, 8).unwrap().split_elements::<2>();
    let strs = |text: &'static str| {
        let (first, rest) = split(text).unwrap();
        (first.map(|element| element.map(Raw::as_str)), rest)
    };
    assert_eq!(strs("[ 1 , 2 , \"a,]\" , [3,4] ]"), ([Some("1"), Some("2")], "\"a,]\" , [3,4]"));
    assert_eq!(strs("[1,2]"), ([Some("1"), Some("2")], ""));
    assert_eq!(strs("[ 1 ]"), ([Some("1"), None], ""));
    assert_eq!(strs("[]"), ([None, None], ""));
    assert_eq!(split("{}"), None);
}

#[test]
fn values_are_read() {
    let raw = |text| parse(text, 8).unwrap();
    assert_eq!(raw("-1.5e3").as_f64(), Some(-1500.0));
    assert_eq!(raw("1e999").as_f64(), Some(f64::INFINITY));
    assert_eq!(raw("\"1\"").as_f64(), None);
    assert_eq!(raw("true").as_bool(), Some(true));
    assert_eq!(raw("\"true\"").as_bool(), None);
    assert!(raw("null").is_null() && !raw("\"null\"").is_null());
    assert!(raw("[]").is_array() && raw("{}").is_object() && raw("\"\"").is_string());
    assert_eq!(raw("\"a\\n\"").as_simple_string(), None);
    let escaped = r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00|\ud83d|\ude00\ud83d\u0041""#;
    let value = "\"\\/\u{8}\u{c}\n\r\t\u{e9}\u{1f600}|\u{fffd}|\u{fffd}\u{fffd}A";
    assert_eq!(raw(escaped).to_string_value().as_deref(), Some(value));
    assert!(raw(escaped).is_string_of(value));
    assert!(!raw(escaped).is_string_of("\"\\/"));
    assert_eq!(raw("1").to_string_value(), None);
}

#[test]
fn fields_and_elements_are_walked() {
    let text = r#"{ "a\"" : [ ] , "b":{"c":"}"} ,"d": -1 }"#;
    let fields: Vec<_> = parse(text, 8)
        .unwrap()
        .fields()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(fields, [(r#""a\"""#, "[ ]"), ("\"b\"", r#"{"c":"}"}"#), ("\"d\"", "-1")]);
    assert_eq!(parse("[[1,2],3]", 8).unwrap().fields().count(), 0);
    assert_eq!(parse("{\"a\":1}", 8).unwrap().elements().count(), 0);
}

#[test]
fn strings_are_written_as_browsers_do() {
    for (text, json) in [
        ("", r#""""#),
        ("a/b\u{7f}\u{e9}\u{2028}", "\"a/b\u{7f}\u{e9}\u{2028}\""),
        ("\"\\\u{8}\u{c}\n\r\t", r#""\"\\\b\f\n\r\t""#),
        ("\u{0}\u{b}\u{1f}", r#""\u0000\u000b\u001f""#),
    ] {
        let mut out = Vec::new();
        write_string(&mut out, text);
        assert_eq!(String::from_utf8(out).unwrap(), json);
    }
}

/// Any value, written with some whitespace.
fn json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|v| format!("{v:e}")),
        any::<i64>().prop_map(|value| value.to_string()),
        string(),
    ];
    scalar.prop_recursive(5, 60, 6, |inner| {
        let field = (string(), inner.clone()).prop_map(|(key, value)| format!("{key} : {value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|items| format!("[ {}]", items.join(" ,"))),
            prop::collection::vec(field, 0..6)
                .prop_map(|items| format!("{{{} }}", items.join(","))),
        ]
    })
}

fn string() -> impl Strategy<Value = String> {
    let piece = "[a-z\u{e9}\u{20ac}\u{1f600} ]{0,20}|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}";
    prop::collection::vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Checks that the tokens of a value are those that walking it finds.
fn check_tokens(raw: Raw<'_>) {
    fn walk<'a>(raw: Raw<'a>, out: &mut Vec<Token<'a>>) {
        if raw.is_array() {
            out.push(Token::Array);
            raw.elements().for_each(|element| walk(element, out));
            out.push(Token::End);
        } else if raw.is_object() {
            out.push(Token::Object);
            for (key, value) in raw.fields() {
                out.push(Token::Key(key));
                walk(value, out);
            }
            out.push(Token::End);
        } else {
            out.push(Token::Scalar(raw));
        }
    }
    let mut expected = Vec::new();
    walk(raw, &mut expected);
    assert_eq!(raw.tokens().collect::<Vec<_>>(), expected);
}

/// Checks that walking a value finds what serde_json finds in it.
fn check_walk(raw: Raw<'_>) {
    if raw.is_array() {
        let expected: Vec<&RawValue> = serde_json::from_str(raw.as_str()).unwrap();
        let found: Vec<_> = raw.elements().collect();
        assert_eq!(
            found.iter().map(|element| element.as_str()).collect::<Vec<_>>(),
            expected.iter().map(|element| element.get()).collect::<Vec<_>>()
        );
        found.into_iter().for_each(check_walk);
    }
    for (key, value) in raw.fields() {
        assert!(key.is_string());
        assert_eq!(parse(value.as_str(), DEPTH_MAX), Ok(value));
        check_walk(value);
    }
}

proptest! {
    #[test]
    fn valid_texts_are_walked_as_by_serde_json(text in json()) {
        prop_assert!(serde_accepts(&text));
        let raw = parse(&text, DEPTH_MAX).unwrap();
        prop_assert_eq!(raw.as_str(), &text);
        check_walk(raw);
        check_tokens(raw);
    }

    #[test]
    fn mutated_texts_are_accepted_as_by_serde_json(
        text in json(),
        mutations in prop::collection::vec(
            (any::<prop::sample::Index>(), "[\\[\\]{},:\"\\\\0-9eE.+\\-a-f \n\u{1}\u{e9}]?"),
            1..4,
        ),
    ) {
        let mut text = text;
        for (index, insert) in mutations {
            let at = text.floor_char_boundary(index.index(text.len() + 1));
            let end = text.ceil_char_boundary((at + 1).min(text.len()));
            text.replace_range(at..end, &insert);
        }
        prop_assert_eq!(parse(&text, DEPTH_MAX).is_ok(), serde_accepts(&text), "{}", text);
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands(
        mut bytes in prop::collection::vec(0x20_u8..=0xFF, 0..100),
        specials in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
    ) {
        for (index, byte) in specials {
            let at = index.index(bytes.len() + 1);
            bytes.insert(at, byte);
        }
        let is_special = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
        let first = bytes.iter().position(is_special).unwrap_or(bytes.len());
        prop_assert_eq!(plain_len(&bytes), first);
    }

    #[test]
    fn strings_are_written_and_read_back(text in any::<String>()) {
        let mut out = Vec::new();
        write_string(&mut out, &text);
        let json = String::from_utf8(out).unwrap();
        prop_assert_eq!(&json, &serde_json::to_string(&text).unwrap());
        let raw = parse(&json, 0).unwrap();
        prop_assert_eq!(raw.to_string_value(), Some(text.as_str().into()));
        prop_assert!(raw.is_string_of(&text));
    }

    #[test]
    fn strings_are_unescaped_as_by_serde_json(json in string()) {
        let raw = parse(&json, 0).unwrap();
        // serde_json refuses lone surrogates in strings it has to unescape.
        if let Ok(expected) = serde_json::from_str::<String>(&json) {
            prop_assert_eq!(raw.to_string_value(), Some(expected.into()));
        }
    }

    #[test]
    fn fields_are_those_of_serde_json(
        fields in prop::collection::vec(("[ab]|\\\\u006[1-3]", json()), 0..6),
    ) {
        let body: Vec<_> = fields.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
        let text = format!("{{{}}}", body.join(","));
        let expected: std::collections::BTreeMap<String, &RawValue> =
            serde_json::from_str(&text).unwrap();
        let found = object_fields(&text, &["a", "b", "c"], DEPTH_MAX).unwrap();
        for (key, found) in ["a", "b", "c"].into_iter().zip(found) {
            prop_assert_eq!(found.map(Raw::as_str), expected.get(key).map(|value| value.get()));
        }
    }
}
