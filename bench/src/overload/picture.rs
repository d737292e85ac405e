//! How do the curves look? Goodput, waiting and memory over the offered load, and a bar for each
//! attack, as one SVG that follows the reader's light or dark.

use std::fmt::Write as _;

use super::curve::{Attacked, Point, peak};
use crate::ratio::figure::rounded;
use crate::ratio::report::STYLE;

/// All of it.
pub(super) fn picture(points: &[Point], attacked: &[Attacked]) -> String {
    let peak = peak(points);
    let waits = points.iter().map(|point| point.slowest_ms).fold(1.0, f64::max);
    let memory = points.iter().map(|point| point.resident_mib).fold(1.0, f64::max);
    let panels = [
        Panel {
            title: "answered, of the peak; the line: 0.9 of it".to_owned(),
            top: 1.1,
            goal: Some(0.9),
            curves: vec![("met", of(points, |point| point.goodput / peak))],
        },
        Panel {
            title: "wait for an answer, ms: median below, 99th hundredth above".to_owned(),
            top: waits * 1.15,
            goal: None,
            curves: vec![
                ("met", of(points, |point| point.median_ms)),
                ("missed", of(points, |point| point.slowest_ms)),
            ],
        },
        Panel {
            title: "resident memory of the edge, MiB".to_owned(),
            top: memory * 1.3,
            goal: None,
            curves: vec![("met", of(points, |point| point.resident_mib))],
        },
    ];
    let bars_top = panels.len() as f64 * PANEL + 20.0;
    let height = bars_top + 30.0 + attacked.len() as f64 * BAR;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\">\n{STYLE}{LINES}\
         <rect class=\"ground\" width=\"{WIDTH}\" height=\"{height}\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        panel.draw(index as f64 * PANEL, &mut svg);
    }
    bars(attacked, bars_top, &mut svg);
    svg.push_str("</svg>\n");
    svg
}

/// Curves over the offered load.
struct Panel {
    title: String,
    /// The value at its upper edge; the lower one is zero.
    top: f64,
    goal: Option<f64>,
    /// How each is coloured; offered load and value.
    curves: Vec<(&'static str, Vec<(f64, f64)>)>,
}

impl Panel {
    fn draw(&self, above: f64, svg: &mut String) {
        let y_of = |value: f64| above + PANEL - 30.0 - value / self.top * (PANEL - 65.0);
        writeln!(
            svg,
            "<text class=\"ink\" x=\"10\" y=\"{:.0}\">{}</text>",
            above + 22.0,
            self.title
        )
        .expect("memory");
        for multiple in GRID {
            let (x, base) = (x_of(multiple), y_of(0.0));
            writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{base:.1}\"/>\n\
                 <text class=\"ink\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{multiple}×</text>",
                above + 30.0,
                base + 16.0
            )
            .expect("memory");
        }
        for level in self.goal.into_iter().chain([0.0]) {
            let (y, class) = (y_of(level), if level > 0.0 { "goal" } else { "grid" });
            let (from, to) = (x_of(GRID[0]), x_of(GRID[GRID.len() - 1]));
            writeln!(svg, "<line class=\"{class}\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>")
                .expect("memory");
        }
        for (class, points) in &self.curves {
            let corner = |(offered, value): &(f64, f64)| (x_of(*offered), y_of(*value));
            let path: Vec<String> =
                points.iter().map(corner).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
            writeln!(svg, "<polyline class=\"line-{class}\" points=\"{}\"/>", path.join(" "))
                .expect("memory");
            for point in points {
                let (x, y) = corner(point);
                writeln!(
                    svg,
                    "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>\n\
                     <text class=\"ink\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                    y - 8.0,
                    rounded(point.1)
                )
                .expect("memory");
            }
        }
    }
}

fn bars(attacked: &[Attacked], above: f64, svg: &mut String) {
    writeln!(
        svg,
        "<text class=\"ink\" x=\"10\" y=\"{above:.0}\">answered of what is in peace, to devices that \
         offer half of the sustainable rate, while others send</text>"
    )
    .expect("memory");
    for (index, one) in attacked.iter().enumerate() {
        let y = above + 20.0 + index as f64 * BAR;
        let name = one.name.replace('&', "&amp;").replace('<', "&lt;");
        let class = if one.share >= 0.9 { "met" } else { "missed" };
        let length = one.share.clamp(0.0, 1.05) * (WIDTH - 120.0);
        writeln!(
            svg,
            "<text class=\"ink\" x=\"10\" y=\"{y:.0}\">{name}</text>\n\
             <rect class=\"{class}\" x=\"10\" y=\"{:.0}\" width=\"{length:.1}\" height=\"10\" rx=\"2\"/>\n\
             <text class=\"ink\" x=\"{:.1}\" y=\"{:.0}\">{}</text>",
            y + 5.0,
            length + 16.0,
            y + 14.0,
            rounded(one.share)
        )
        .expect("memory");
    }
}

fn of(points: &[Point], value: impl Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.offered, value(point))).collect()
}

/// Offered loads lie on a scale of powers of two.
fn x_of(multiple: f64) -> f64 {
    let (first, last) = (GRID[0].log2(), GRID[GRID.len() - 1].log2());
    40.0 + (multiple.log2() - first) / (last - first) * (WIDTH - 80.0)
}

/// Marked below each panel.
const GRID: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];
const WIDTH: f64 = 900.0;
/// Height of a panel, and of a bar with its name.
const PANEL: f64 = 220.0;
const BAR: f64 = 34.0;
const LINES: &str = "<style>.line-met,.line-missed{fill:none;stroke-width:2;stroke:#2a7d4f}\
.line-missed{stroke:#b5482f}</style>\n";

#[cfg(test)]
mod tests {
    use super::super::curve::tests::two_points;
    use super::*;

    #[test]
    fn more_is_further_right_and_better_is_higher() {
        assert!(x_of(1.0) < x_of(2.0) && (x_of(10.0) - (WIDTH - 40.0)).abs() < 1e-9);
        let attacked = [
            Attacked { name: "a < b".to_owned(), share: 0.95 },
            Attacked { name: "c".to_owned(), share: 0.5 },
        ];
        let svg = picture(&two_points(), &attacked);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert!(svg.contains("a &lt; b") && svg.contains("0.95") && svg.contains("400"));
        assert_eq!(svg.matches("<rect class=\"met\"").count(), 1);
        assert_eq!(svg.matches("<rect class=\"missed\"").count(), 1);
    }
}
