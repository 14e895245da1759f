//! Pictures of summaries: ratios as bars, an SVG for each table.

mod draw;
mod scale;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Failure, While};
use crate::summary;

/// What to draw, and where to.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Summaries as `summary --json` writes them, lists of such, or results of single runs and
    /// directories of those.
    pub(crate) paths: Vec<PathBuf>,
    /// The server that results of single runs are compared with.
    pub(crate) against: String,
    /// Directory of the pictures.
    pub(crate) out: PathBuf,
}

/// Draws all pictures and names them.
pub(crate) fn draw(request: &Request) -> Result<(), Failure> {
    let (mut tables, mut runs) = (Vec::new(), Vec::new());
    for path in &request.paths {
        match summarised(path)? {
            Some(json) => tables.extend(tables_of(&json, path)?),
            None => runs.push(path.clone()),
        }
    }
    if !runs.is_empty() {
        let rows = summary::rows_of(&runs, &request.against)?;
        let json = json!({ "against": request.against, "rows": rows });
        tables.extend(tables_of(&json, &runs[0])?);
    }
    fs::create_dir_all(&request.out).while_doing(|| format!("making {}", request.out.display()))?;
    for table in tables {
        let path = request.out.join(format!("{}.svg", table.name));
        fs::write(&path, draw::svg(&table))
            .while_doing(|| format!("writing {}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// What is in a file that is neither a directory nor the result of one run.
fn summarised(path: &Path) -> Result<Option<Value>, Failure> {
    if path.is_dir() {
        return Ok(None);
    }
    let text = fs::read_to_string(path).while_doing(|| format!("reading {}", path.display()))?;
    let json: Value = serde_json::from_str(&text)
        .map_err(|error| Failure::Setup(format!("{}: {error}", path.display())))?;
    Ok(Some(json).filter(|json| json.get("figure").is_none()))
}

fn tables_of(json: &Value, path: &Path) -> Result<Vec<table::Table>, Failure> {
    let name = path.file_stem().map_or_else(|| "results".into(), |stem| stem.to_string_lossy());
    table::tables(json, &name)
        .map_err(|trouble| Failure::Setup(format!("{}: {trouble}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/perf");

    fn read(name: &str) -> String {
        fs::read_to_string(Path::new(PERF).join(name)).unwrap()
    }

    fn results() -> Value {
        serde_json::from_str(&read("results.json")).unwrap()
    }

    #[test]
    fn the_pictures_are_those_of_the_results_and_the_document_shows_them() {
        let document = read("README.md");
        for table in tables_of(&results(), Path::new("results.json")).unwrap() {
            let name = format!("pictures/{}.svg", table.name);
            let drawn = draw::svg(&table);
            assert!(drawn == read(&name), "load pictures perf/results.json --out perf/pictures");
            assert!(document.contains(&format!("]({name})")), "nobody sees {name}");
        }
    }

    /// The figures of each row stand in one line of a table of the document that names the scenario.
    #[test]
    fn the_results_are_those_of_the_tables() {
        let document = read("README.md");
        let numbers = |line: &str| -> Vec<f64> {
            let words = line.split(|char: char| !(char.is_ascii_digit() || ".,".contains(char)));
            words.filter_map(|word| word.replace(',', "").parse().ok()).collect()
        };
        let results = results();
        let rows = results.as_array().unwrap().iter().flat_map(|table| table["rows"].as_array());
        for row in rows.flatten() {
            let scenario = row["scenario"].as_str().unwrap();
            let figures: Vec<f64> = ["median", "min", "max", "ratio"]
                .iter()
                .filter_map(|name| row[*name].as_f64())
                .collect();
            let says = |line: &str| figures.iter().all(|figure| numbers(line).contains(figure));
            let mut blocks = document.split("\n\n").filter(|block| block.contains(scenario));
            let found =
                blocks.any(|block| block.lines().any(|line| line.starts_with('|') && says(line)));
            assert!(found && !figures.is_empty(), "no table says {row}");
        }
    }
}
