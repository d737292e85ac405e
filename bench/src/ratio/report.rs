//! How are figures shown? As a table and a plot in `docs/performance.md`, with the machine, its
//! kernel and the commit they are of.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::figure::{Figure, rounded};

/// Puts the figures of `lines`, one line of JSON each, between the marks of a document, and a plot
/// beside it. Of a figure that is there twice the last one counts.
pub fn write(lines: &str, document: &Path) -> io::Result<()> {
    let figures = parse(lines)?;
    let plot = document.with_extension("svg");
    let plot_name = plot.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let table = format!(
        "{}\n\n![ratios against their goals]({plot_name})\n\n{}",
        machine(),
        table(&figures)
    );
    put_between(document, (BEGIN, END), &table)?;
    fs::write(plot, plot_of(&figures))
}

/// Replaces what stands between two marks of a document.
pub fn put_between(document: &Path, (begin, end): (&str, &str), part: &str) -> io::Result<()> {
    let text = fs::read_to_string(document)?;
    let (Some(from), Some(to)) = (text.find(begin), text.find(end)) else {
        return Err(io::Error::other(format!("{} has no marks", document.display())));
    };
    fs::write(document, format!("{}{begin}\n{part}{}", &text[..from], &text[to..]))
}

/// What stands in one line.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    unit: String,
    ours: f64,
    against: f64,
    ratio: f64,
    spread: (f64, f64),
    goal: Option<(bool, f64)>,
    is_met: bool,
}

fn parse(lines: &str) -> io::Result<Vec<Line>> {
    let mut figures: Vec<Line> = Vec::new();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        let value: Value = serde_json::from_str(line)?;
        let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_f64().unwrap_or_default();
        let goal = text("goal");
        let goal = goal
            .split_once(' ')
            .and_then(|(sign, bound)| Some((sign == "<=", bound.parse::<f64>().ok()?)));
        let figure = Line {
            name: text("figure"),
            unit: text("unit"),
            ours: number(&value["ours"]),
            against: number(&value["against"]),
            ratio: number(&value["ratio"]),
            spread: (number(&value["spread"][0]), number(&value["spread"][1])),
            goal,
            is_met: value["met"].as_bool().unwrap_or_default(),
        };
        match figures.iter_mut().find(|one| one.name == figure.name) {
            Some(earlier) => *earlier = figure,
            None => figures.push(figure),
        }
    }
    Ok(figures)
}

/// A table of figures that have no goals.
pub fn table_of(figures: &[Figure]) -> String {
    let mut text = "| figure | ours | against | | ratio | of the pairs |\n\
                    |---|---:|---:|---|---:|---|\n"
        .to_owned();
    for one in figures {
        let numbers = [one.ours, one.against, one.ratio, one.spread.0, one.spread.1];
        let [ours, against, ratio, least, most] = numbers.map(rounded);
        let (name, unit) = (&one.name, one.unit);
        writeln!(text, "| {name} | {ours} | {against} | {unit} | {ratio} | {least} to {most} |")
            .expect("memory");
    }
    text
}

fn table(figures: &[Line]) -> String {
    let mut text = "| figure | ours | against | | ratio | of the pairs | goal | |\n\
                    |---|---:|---:|---|---:|---|---|---|\n"
        .to_owned();
    for one in figures {
        let goal = one.goal.map_or_else(String::new, |(is_most, bound)| {
            format!("{} {bound}", if is_most { "≤" } else { "≥" })
        });
        let met = match (one.goal, one.is_met) {
            (None, _) => "",
            (_, true) => "met",
            (_, false) => "**missed**",
        };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} to {} | {goal} | {met} |",
            one.name, one.ours, one.against, one.unit, one.ratio, one.spread.0, one.spread.1
        )
        .expect("memory");
    }
    text
}

/// Where these figures are from.
pub fn machine() -> String {
    let first = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.lines().next()?.to_owned())
    };
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, model)| model);
    // Not those that this process may use.
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    let wide = if info.contains(" vaes ") { ", VAES" } else { "" };
    format!(
        "{} · {model}{wide}, {cores} cores · Linux {} · {} · commit {}",
        first("date", &["-u", "+%Y-%m-%d"]).unwrap_or_default(),
        first("uname", &["-r"]).unwrap_or_default(),
        first("rustc", &["--version"]).unwrap_or_default(),
        first("git", &["describe", "--always", "--dirty"]).unwrap_or_default(),
    )
}

/// A bar for each figure that has a goal: how much of what the goal allows it takes, on a scale of
/// powers of two, the goal in the middle.
fn plot_of(figures: &[Line]) -> String {
    let bars: Vec<(&Line, f64)> = figures
        .iter()
        .filter_map(|one| {
            let (is_most, bound) = one.goal?;
            Some((one, if is_most { one.ratio / bound } else { bound / one.ratio }))
        })
        .collect();
    let height = TOP + bars.len() as f64 * STEP + 30.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n{STYLE}\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"ink\" x=\"10\" y=\"20\">share of what the goal allows: left of the line is \
         better than the goal</text>\n"
    );
    let x_of = |share: f64| MIDDLE + share.log2().clamp(-4.0, 2.0) * OCTAVE;
    for (index, (one, share)) in bars.iter().enumerate() {
        let y = TOP + index as f64 * STEP;
        let class = if one.is_met { "met" } else { "missed" };
        let (from, to) = (x_of(1.0 / 16.0), x_of(*share));
        let escaped = one.name.replace('&', "&amp;").replace('<', "&lt;");
        writeln!(
            svg,
            "<text class=\"ink\" x=\"10\" y=\"{:.0}\">{escaped}</text>\n\
             <rect class=\"{class}\" x=\"{from:.1}\" y=\"{:.0}\" width=\"{:.1}\" height=\"12\" \
             rx=\"2\"/>\n<text class=\"ink\" x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            y,
            y + 5.0,
            (to - from).max(1.0),
            to + 5.0,
            y + 15.0,
            rounded(*share)
        )
        .expect("memory");
    }
    for power in -4..=2 {
        let share = 2_f64.powi(power);
        let class = if power == 0 { "goal" } else { "grid" };
        let x = x_of(share);
        writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{:.0}\"/>\n\
             <text class=\"ink\" x=\"{x:.1}\" y=\"{:.0}\" text-anchor=\"middle\">{share}</text>",
            TOP - 12.0,
            height - 24.0,
            height - 8.0
        )
        .expect("memory");
    }
    svg.push_str("</svg>\n");
    svg
}

const BEGIN: &str = "<!-- figures: begin, written by make bench -->";
const END: &str = "<!-- figures: end -->";
const WIDTH: f64 = 900.0;
const TOP: f64 = 46.0;
const STEP: f64 = 38.0;
const OCTAVE: f64 = 125.0;
/// Where the goal stands.
const MIDDLE: f64 = 30.0 + 4.0 * OCTAVE;
/// Colours of every picture, by day and by night.
pub const STYLE: &str = "<style>.ground{fill:#fff}.ink{fill:#222}.met{fill:#2a7d4f}.missed{fill:#b5482f}\
.grid{stroke:#8884}.goal{stroke:#222;stroke-width:2}\
@media(prefers-color-scheme:dark){.ground{fill:#15181c}.ink{fill:#ddd}.met{fill:#4caf7d}\
.missed{fill:#e07a5f}.goal{stroke:#ddd}}</style>\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::figure::Goal;

    fn lines() -> String {
        let one = Figure::from_pairs("a < b", "ns", &[(2.0, 1.0)], Some(Goal::AtMost(1.5)));
        let again = Figure::from_pairs("a < b", "ns", &[(1.0, 1.0)], Some(Goal::AtMost(1.5)));
        let other = Figure::from_pairs("c", "M/s", &[(1.0, 2.0)], Some(Goal::AtLeast(1.0)));
        let third = Figure::from_pairs("d", "ns", &[(1.0, 2.0)], None);
        [one, again, other, third].map(|figure| figure.json()).join("\n")
    }

    #[test]
    fn the_last_line_of_a_figure_counts() {
        let figures = parse(&lines()).expect("JSON");
        assert_eq!(figures.len(), 3);
        assert!(figures[0].is_met && !figures[1].is_met);
        assert_eq!(figures[1].goal, Some((false, 1.0)));
        let table = table(&figures);
        assert!(table.contains("| a < b | 1 | 1 | ns | 1 | 1 to 1 | ≤ 1.5 | met |"), "{table}");
        assert!(table.contains("| c | 1 | 2 | M/s | 0.5 | 0.5 to 0.5 | ≥ 1 | **missed** |"));
        assert!(table.contains("| d | 1 | 2 | ns | 0.5 | 0.5 to 0.5 |  |  |"));
    }

    #[test]
    fn what_has_no_goal_has_no_bar() {
        let plot = plot_of(&parse(&lines()).expect("JSON"));
        assert_eq!(plot.matches("class=\"met\"").count(), 1);
        assert_eq!(plot.matches("class=\"missed\"").count(), 1);
        assert!(plot.contains("a &lt; b") && !plot.contains(">d<"));
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let directory =
            std::env::temp_dir().join(format!("tidegate-report-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let document = directory.join("performance.md");
        fs::write(&document, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).expect("a file");
        write(&lines(), &document).expect("marks are there");
        let text = fs::read_to_string(&document).expect("a file");
        assert!(
            text.starts_with(&format!("before\n{BEGIN}\n")) && text.contains("performance.svg")
        );
        assert!(text.ends_with(&format!("{END}\nafter\n")) && !text.contains("old"));
        assert!(document.with_extension("svg").exists());
        fs::write(&document, "no marks").expect("a file");
        assert!(write(&lines(), &document).is_err());
        fs::remove_dir_all(directory).expect("it is there");
    }
}
