//! The JSON scanner accepts what serde_json accepts, and finds the same values in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use lockstep::codec::json::{JsonErrorKind, Raw, object_fields, parse, write_string};
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_written(text);
    let reference = serde_json::from_str::<&RawValue>(text);
    let fields = object_fields(text, &["a", "id"], 128);
    match (parse(text, 128), reference) {
        (Ok(raw), Ok(reference)) => {
            assert_eq!(raw.as_str(), reference.get());
            assert_eq!(fields.is_ok(), raw.is_object());
            check_value(raw);
            let a = raw.fields().filter(|(key, _)| key.is_string_of("a")).last();
            assert_eq!(fields.ok().and_then(|[a, _]| a), a.map(|(_, value)| value));
        }
        (Err(error), Ok(_)) => assert_eq!(error.kind, JsonErrorKind::TooDeep),
        (Ok(_), Err(error)) => panic!("accepted what serde_json refuses: {error}"),
        (Err(error), Err(_)) => assert!(error.offset <= text.len() && fields.is_err()),
    }
});

/// Whatever text is written as a string reads back the same.
fn check_written(text: &str) {
    let mut json = Vec::new();
    write_string(&mut json, text);
    let json = String::from_utf8(json).expect("JSON is UTF-8");
    assert_eq!(json, serde_json::to_string(text).expect("strings serialise"));
    assert_eq!(parse(&json, 0).ok().and_then(Raw::to_string_value).as_deref(), Some(text));
}

/// Walking a valid value finds valid values, as many as serde_json, and reads them alike.
fn check_value(raw: Raw<'_>) {
    if let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(raw.as_str()) {
        assert!(raw.elements().map(Raw::as_str).eq(elements.iter().map(|element| element.get())));
    }
    if let Ok(string) = serde_json::from_str::<String>(raw.as_str()) {
        assert_eq!(raw.to_string_value().as_deref(), Some(&string[..]));
    }
    if let Ok(number) = serde_json::from_str::<f64>(raw.as_str()) {
        let ours = raw.as_f64().expect("a number");
        assert!((ours - number).abs() <= number.abs() * 1e-15, "{ours} is not {number}");
    }
    let inner = raw.elements().chain(raw.fields().flat_map(|(key, value)| [key, value]));
    inner.for_each(|value| assert_eq!(parse(value.as_str(), 128), Ok(value)));
}
