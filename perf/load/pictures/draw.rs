//! A table as SVG: a bar for each scenario and server, from the line at 1 to its ratio.
//!
//! Colours and background are fixed, so that a picture looks the same on light and dark pages.

use std::fmt::Write;

use super::scale::Scale;
use super::table::{Bar, Group, Table};

const WIDTH: f64 = 860.0;
/// Where the axis begins and ends; names are left of it, figures right.
const LEFT: f64 = 210.0;
const RIGHT: f64 = 600.0;
const TOP: f64 = 74.0;
const BAR: f64 = 19.0;
const HEADING: f64 = 25.0;
const MARGIN: f64 = 16.0;
/// Space that a letter of the small font takes, at most.
const LETTER: f64 = 6.6;

const PAPER: &str = "#ffffff";
const INK: &str = "#1f2328";
const PALE: &str = "#59636e";
const GRID: &str = "#e3e6ea";
const OURS: &str = "#0969da";
/// Of the other servers, in the order of their first bars.
const COLOURS: [&str; 6] = ["#bf8700", "#8250df", "#1a7f37", "#cf222e", "#57606a", "#0e7c86"];

/// The picture.
pub(super) fn svg(table: &Table) -> String {
    let bars = || table.groups.iter().flat_map(|group| &group.bars);
    let ratios = bars().flat_map(|bar| {
        let (least, most) = bar.whiskers().unwrap_or((bar.ratio, bar.ratio));
        [bar.ratio, least, most]
    });
    let scale = Scale::around(ratios, LEFT, RIGHT);
    let height = table.groups.iter().map(group_height).sum::<f64>() + TOP + MARGIN;
    let mut servers: Vec<&str> = Vec::new();
    for bar in bars().filter(|bar| !is_ours(&bar.server)) {
        if !servers.contains(&bar.server.as_str()) {
            servers.push(&bar.server);
        }
    }
    let mut out = Picture { out: String::new() };
    out.open(height, table);
    out.axis(scale, height);
    let mut y = TOP;
    for group in &table.groups {
        out.heading(group, y);
        y += HEADING;
        for bar in &group.bars {
            let at = servers.iter().position(|server| *server == bar.server);
            let colour = at.map_or(OURS, |at| COLOURS[at % COLOURS.len()]);
            out.bar(bar, scale, y, colour);
            y += BAR;
        }
    }
    out.out.push_str("</svg>\n");
    out.out
}

fn group_height(group: &Group) -> f64 {
    HEADING + BAR * group.bars.len() as f64
}

fn is_ours(server: &str) -> bool {
    server.starts_with("lockstep")
}

struct Picture {
    out: String,
}

// Writing to a string cannot fail.
impl Picture {
    fn open(&mut self, height: f64, table: &Table) {
        let title = escaped(&table.title);
        let _ = writeln!(
            self.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
             font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\">\n\
             <title>{title}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"6\" fill=\"{PAPER}\"/>"
        );
        self.text(
            MARGIN,
            26.0,
            INK,
            "start",
            "font-size=\"15\" font-weight=\"bold\"",
            &table.title,
        );
        let legend = format!(
            "cost as a ratio to that of {} (1), logarithmic: less is better; whiskers: least and most of several runs",
            table.against
        );
        self.text(MARGIN, 44.0, PALE, "start", "", &legend);
    }

    fn axis(&mut self, scale: Scale, height: f64) {
        for mark in scale.marks() {
            let (x, is_one) = (scale.at(mark), mark == 1.0);
            let (colour, thick) = if is_one { (INK, 1.5) } else { (GRID, 1.0) };
            self.line(x, TOP - 6.0, x, height - MARGIN + 6.0, colour, thick);
            self.text(
                x,
                TOP - 10.0,
                if is_one { INK } else { PALE },
                "middle",
                "font-size=\"11\"",
                &format!("{mark} ×"),
            );
        }
    }

    fn heading(&mut self, group: &Group, y: f64) {
        let text = format!("{}, {}", group.scenario, group.unit);
        // The lines of the axis do not run through it.
        let width = text.chars().count() as f64 * LETTER + 8.0;
        if MARGIN + width > LEFT {
            let _ = writeln!(
                self.out,
                "<rect x=\"{MARGIN}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"16\" fill=\"{PAPER}\"/>",
                y + 5.0
            );
        }
        self.text(MARGIN, y + 18.0, INK, "start", "font-weight=\"bold\"", &text);
    }

    fn bar(&mut self, bar: &Bar, scale: Scale, y: f64, colour: &str) {
        let (one, end, middle) = (scale.at(1.0), scale.at(bar.ratio), y + BAR / 2.0);
        self.text(LEFT - 10.0, middle + 4.0, INK, "end", "", &bar.server);
        let (x, width) = (one.min(end), (end - one).abs().max(2.0));
        let x = if width > 2.0 { x } else { one - 1.0 };
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{colour}\"/>",
            y + 3.0,
            BAR - 6.0
        );
        if let Some((least, most)) = bar.whiskers() {
            let (least, most) = (scale.at(least), scale.at(most));
            self.line(least, middle, most, middle, INK, 1.2);
            for x in [least, most] {
                self.line(x, middle - 3.5, x, middle + 3.5, INK, 1.2);
            }
        }
        let ratio = format!("{} ×", short(bar.ratio));
        self.text(RIGHT + 66.0, middle + 4.0, INK, "end", "font-weight=\"bold\"", &ratio);
        if let Some(median) = bar.median {
            let spread = bar.spread;
            let spread = spread.map(|(a, b)| format!(" ({}–{})", figure(a), figure(b)));
            let text = format!("{}{}", figure(median), spread.unwrap_or_default());
            self.text(RIGHT + 80.0, middle + 4.0, PALE, "start", "", &text);
        }
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, colour: &str, thick: f64) {
        let _ = writeln!(
            self.out,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\" \
             stroke-width=\"{thick}\"/>"
        );
    }

    fn text(&mut self, x: f64, y: f64, colour: &str, anchor: &str, more: &str, text: &str) {
        let space = if more.is_empty() { "" } else { " " };
        let text = escaped(text);
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" text-anchor=\"{anchor}\"{space}{more}>{text}</text>"
        );
    }
}

/// A ratio in two or three digits.
fn short(ratio: f64) -> String {
    match ratio {
        1.0 => "1".to_owned(),
        ratio if ratio >= 9.95 => format!("{ratio:.0}"),
        ratio if ratio >= 1.995 => format!("{ratio:.1}"),
        ratio => format!("{ratio:.2}"),
    }
}

/// A figure in three digits, or as it is where it is large, in thousands.
fn figure(value: f64) -> String {
    let digits = match value {
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        value if value >= 0.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    match text.len() {
        length @ 4.. if digits == 0 => format!("{},{}", &text[..length - 3], &text[length - 3..]),
        _ => text,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let bar = |server: &str, ratio: f64, spread| Bar {
            server: server.to_owned(),
            median: Some(ratio * 4.0),
            ratio,
            spread,
        };
        let bars = vec![bar("lockstep", 0.5, Some((1.6, 2.4))), bar("<floor> & more", 1.0, None)];
        let group = Group { scenario: "fanout".to_owned(), unit: "µs".to_owned(), bars };
        Table {
            name: "n".to_owned(),
            title: "A & B".to_owned(),
            against: "baseline".to_owned(),
            groups: vec![group],
        }
    }

    #[test]
    fn everything_is_named_and_escaped() {
        let svg = svg(&table());
        for part in [
            "A &amp; B",
            ">fanout, µs<",
            "&lt;floor&gt; &amp; more",
            ">0.50 ×<",
            ">2.00 (1.60–2.40)<",
        ] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
        assert!(!svg.contains("<floor>") && !svg.contains("NaN"));
    }

    #[test]
    fn a_bar_ends_at_the_line_and_whiskers_lie_around_its_other_end() {
        let svg = svg(&table());
        let scale = Scale::around([0.5, 0.4, 0.6, 1.0].into_iter(), LEFT, RIGHT);
        let (one, end) = (scale.at(1.0), scale.at(0.5));
        let bar = format!("x=\"{end:.1}\" y=\"102.0\" width=\"{:.1}\"", one - end);
        assert!(svg.contains(&bar), "{bar} is not in {svg}");
        assert!(svg.contains(&format!(
            "x1=\"{:.1}\" y1=\"108.5\" x2=\"{:.1}\"",
            scale.at(0.4),
            scale.at(0.6)
        )));
    }

    #[test]
    fn numbers_are_short() {
        let ratios = [0.07, 0.855, 1.0, 1.1, 1.84, 2.0, 2.18, 8.3, 15.2, 58.0].map(short);
        assert_eq!(ratios, ["0.07", "0.85", "1", "1.10", "1.84", "2.0", "2.2", "8.3", "15", "58"]);
        let figures = [0.31, 6.34, 30.0, 536.0, 29_789.0].map(figure);
        assert_eq!(figures, ["0.310", "6.34", "30.0", "536", "29,789"]);
    }
}
