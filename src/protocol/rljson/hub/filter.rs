//! Which rows a client asks for: `where` (specs: rljson §2), all of whose columns have to be deeply
//! equal; `null` stands for a column that is absent.

use crate::codec::json::{self, Raw};
use crate::codec::rljson::{Hash, hash};

/// Longest filter, in bytes.
pub(super) const FILTER_BYTES_MAX: usize = 16 << 10;
/// Most columns of a filter.
pub(super) const COLUMNS_MAX: usize = 16;
const DEPTH_MAX: usize = 16;

/// What a filter asks for.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    columns: Vec<(Box<str>, Value)>,
}

/// A value as it is compared.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
    /// Objects and arrays, by what they hash to.
    Deep(bool, Option<Hash>),
}

impl Value {
    fn of(value: Raw<'_>) -> Self {
        if let Some(bool) = value.as_bool() {
            return Self::Bool(bool);
        }
        if let Some(number) = value.as_f64() {
            return Self::Number(number);
        }
        if let Some(text) = value.to_string_value() {
            return Self::Text(text.into());
        }
        if value.is_null() {
            return Self::Null;
        }
        let wrapped = format!("{{\"v\":{}}}", value.as_str());
        let parsed = json::parse(&wrapped, json::DEPTH_MAX).ok();
        Self::Deep(value.is_array(), parsed.and_then(|value| hash(value).ok()))
    }
}

impl Filter {
    /// Reads a filter; none if it is no object, or beyond its limits.
    pub(super) fn read(filter: Raw<'_>) -> Option<Self> {
        let text = filter.as_str();
        if !filter.is_object() || text.len() > FILTER_BYTES_MAX {
            return None;
        }
        json::parse(text, DEPTH_MAX).ok()?;
        let mut columns: Vec<(Box<str>, Value)> = Vec::new();
        for (key, value) in filter.fields() {
            let key: Box<str> = key.to_string_value()?.into();
            // Of a column that is repeated the last counts.
            columns.retain(|(own, _)| *own != key);
            columns.push((key, Value::of(value)));
        }
        (columns.len() <= COLUMNS_MAX).then_some(Self { columns })
    }

    /// The hash that a row has to have, if the filter tells any.
    pub(super) fn hash(&self) -> Option<Hash> {
        self.columns.iter().find_map(|(key, value)| match value {
            Value::Text(text) if **key == *"_hash" => Hash::new(text),
            _ => None,
        })
    }

    /// Whether it asks for nothing but a hash.
    pub(super) fn is_hash_only(&self) -> bool {
        self.columns.len() == 1 && self.hash().is_some()
    }

    /// Whether a row is asked for.
    pub(super) fn fits(&self, row: Raw<'_>) -> bool {
        self.columns.iter().all(|(key, wanted)| {
            let found = row.fields().filter(|(own, _)| own.is_string_of(key)).last();
            match found {
                None => *wanted == Value::Null,
                Some((_, value)) => Value::of(value) == *wanted,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(filter: &str, row: &str) -> bool {
        let filter = Filter::read(json::parse(filter, 20).unwrap()).unwrap();
        filter.fits(json::parse(row, 20).unwrap())
    }

    #[test]
    fn all_columns_have_to_be_equal() {
        let row = r#"{"a":1,"b":"x","c":{"d":[1,2],"e":null},"f":null,"g":[{"h":1}]}"#;
        for filter in [
            "{}",
            r#"{"a":1}"#,
            r#"{"a":1.0,"b":"\u0078"}"#,
            r#"{"c":{"e":null,"d":[1,2]}}"#,
            r#"{"c":{"d":[1,2]},"f":null,"z":null}"#,
            r#"{"g":[{"h":1}]}"#,
            r#"{"a":2,"a":1}"#,
        ] {
            assert!(fits(filter, row), "{filter}");
        }
        for filter in [
            r#"{"a":2}"#,
            r#"{"a":"1"}"#,
            r#"{"a":null}"#,
            r#"{"z":1}"#,
            r#"{"a":1,"b":"y"}"#,
            r#"{"c":{"d":[2,1]}}"#,
            r#"{"c":[]}"#,
            r#"{"g":[{"h":2}]}"#,
            r#"{"f":false}"#,
        ] {
            assert!(!fits(filter, row), "{filter}");
        }
    }

    #[test]
    fn filters_have_limits() {
        let read = |text: &str| Filter::read(json::parse(text, 100).unwrap()).is_some();
        assert!(!read("[]") && !read("1"));
        let many: Vec<String> = (0..=COLUMNS_MAX).map(|at| format!("\"{at}\":1")).collect();
        assert!(!read(&format!("{{{}}}", many.join(","))));
        assert!(read(&format!("{{{}}}", many[1..].join(","))));
        assert!(!read(&format!("{{\"a\":\"{}\"}}", "x".repeat(FILTER_BYTES_MAX))));
        assert!(!read(&format!("{{\"a\":{}{}}}", "[".repeat(20), "]".repeat(20))));
    }

    #[test]
    fn a_hash_is_told_from_all_else() {
        let read = |text: &str| Filter::read(json::parse(text, 9).unwrap()).unwrap();
        let hash = "YTfW0T6bdCWWdoaakK6bgN";
        assert!(read(&format!("{{\"_hash\":\"{hash}\"}}")).is_hash_only());
        let both = read(&format!("{{\"_hash\":\"{hash}\",\"id\":\".\"}}"));
        assert!(!both.is_hash_only() && both.hash() == Hash::new(hash));
        assert_eq!(read("{\"_hash\":\"short\"}").hash(), None);
    }
}
