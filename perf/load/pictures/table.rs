//! What a picture shows: the rows of a summary, each as a ratio to one server's.

use serde_json::Value;

/// One picture.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// Name of its file, without an ending.
    pub(super) name: String,
    pub(super) title: String,
    /// The server whose median is 1.
    pub(super) against: String,
    pub(super) groups: Vec<Group>,
}

/// The servers in one scenario.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) scenario: String,
    pub(super) unit: String,
    pub(super) bars: Vec<Bar>,
}

/// One server's figure.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bar {
    pub(super) server: String,
    /// As measured, in the group's unit, where more than the ratio is known.
    pub(super) median: Option<f64>,
    pub(super) ratio: f64,
    /// Least and most of several runs, as measured.
    pub(super) spread: Option<(f64, f64)>,
}

/// The pictures that a file's JSON describes: what `load summary --json` writes, or a list of the same
/// with a name and a title each. `name` is for what has none.
pub(super) fn tables(json: &Value, name: &str) -> Result<Vec<Table>, String> {
    let one = |json: &Value| {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        let against = text("against").ok_or("no `against`")?;
        let rows = json["rows"].as_array().ok_or("no `rows`")?;
        let name = text("name").unwrap_or_else(|| name.to_owned());
        let title = text("title").unwrap_or_else(|| name.clone());
        Ok(Table { title, groups: groups(rows, &against)?, against, name })
    };
    match json {
        Value::Array(several) => several.iter().map(one).collect(),
        single => Ok(vec![one(single)?]),
    }
}

/// Scenarios in the order of their first rows; servers in the order of theirs.
fn groups(rows: &[Value], against: &str) -> Result<Vec<Group>, String> {
    let mut groups: Vec<Group> = Vec::new();
    for row in rows {
        let text =
            |key: &str| row[key].as_str().ok_or_else(|| format!("a row without `{key}`: {row}"));
        let (scenario, server, unit) = (text("scenario")?, text("server")?, text("unit")?);
        let reference = rows
            .iter()
            .find(|other| other["scenario"] == scenario && other["server"] == against)
            .and_then(|other| positive(&other["median"]));
        let Some(bar) = bar(row, server, reference) else { continue };
        let at = groups.iter().position(|group| group.scenario == scenario);
        let at = at.unwrap_or_else(|| {
            let (scenario, unit) = (scenario.to_owned(), unit.to_owned());
            groups.push(Group { scenario, unit, bars: Vec::new() });
            groups.len() - 1
        });
        groups[at].bars.push(bar);
    }
    Ok(groups)
}

impl Bar {
    /// Where the whiskers end, as ratios.
    pub(super) fn whiskers(&self) -> Option<(f64, f64)> {
        let (least, most) = self.spread?;
        let unit = self.ratio / self.median?;
        Some((least * unit, most * unit))
    }
}

/// `None`: there is nothing to compare with.
fn bar(row: &Value, server: &str, reference: Option<f64>) -> Option<Bar> {
    let median = positive(&row["median"]);
    // A table that was rounded says its ratios itself.
    let of_medians = || Some(median? / reference?);
    let ratio = positive(&row["ratio"]).or_else(of_medians)?;
    let spread = match (positive(&row["min"]), positive(&row["max"])) {
        (Some(least), Some(most)) if least < most => Some((least, most)),
        _ => None,
    };
    Some(Bar { server: server.to_owned(), median, ratio, spread })
}

/// A number that has a place on a logarithmic axis.
fn positive(value: &Value) -> Option<f64> {
    value.as_f64().filter(|value| value.is_finite() && *value > 0.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_are_ratios_of_medians_and_keep_their_order() {
        let row = |scenario: &str, server: &str, values: [f64; 3]| {
            let [min, median, max] = values;
            json!({ "scenario": scenario, "server": server, "unit": "us", "min": min, "median": median, "max": max })
        };
        let rows = [
            row("storm", "ours", [1.0, 2.0, 3.0]),
            row("fanout", "floor", [4.0, 4.0, 4.0]),
            row("storm", "floor", [3.0, 4.0, 5.0]),
            row("fanout", "nothing", [0.0, 0.0, 0.0]),
        ];
        let json = json!({ "against": "floor", "rows": rows });
        let [table] = &tables(&json, "summary").unwrap()[..] else { panic!("one table") };
        assert_eq!((table.name.as_str(), table.title.as_str()), ("summary", "summary"));
        let names: Vec<_> = table.groups.iter().map(|group| group.scenario.as_str()).collect();
        assert_eq!(names, ["storm", "fanout"]);
        let [ours, floor] = &table.groups[0].bars[..] else { panic!("{table:?}") };
        assert_eq!((ours.ratio, ours.median, ours.spread), (0.5, Some(2.0), Some((1.0, 3.0))));
        assert_eq!((ours.whiskers(), floor.whiskers()), (Some((0.25, 0.75)), Some((0.75, 1.25))));
        assert_eq!(floor.ratio, 1.0);
        // What is 0 has no place, and equal runs no whiskers.
        let [alone] = &table.groups[1].bars[..] else { panic!("{table:?}") };
        assert_eq!((alone.ratio, alone.spread), (1.0, None));
    }

    #[test]
    fn a_ratio_alone_will_do_and_without_anything_to_compare_with_there_is_no_bar() {
        let rows = json!([
            { "scenario": "relay", "server": "ws", "unit": "us", "ratio": 2.0 },
            { "scenario": "relay", "server": "other", "unit": "us", "median": 3.0 },
        ]);
        let found =
            tables(&json!([{ "name": "a", "title": "A", "against": "x", "rows": rows }]), "");
        let bars = &found.unwrap()[0].groups[0].bars;
        assert_eq!(bars.len(), 1);
        assert_eq!((bars[0].ratio, bars[0].median), (2.0, None));
    }

    #[test]
    fn what_is_no_summary_is_refused() {
        for json in [json!({}), json!({ "against": "x" }), json!({ "against": "x", "rows": [{}] })]
        {
            assert!(tables(&json, "x").is_err(), "{json}");
        }
    }
}
