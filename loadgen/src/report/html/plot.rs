//! How does a plot look? Lines over an axis as one SVG element: no script, no font, no picture from
//! elsewhere; colours are the page's. Where the pointer is, a rule and the values appear.

use std::fmt::Write as _;

use super::escape;
use super::scale::Scale;

/// Lines over a common axis.
#[derive(Debug)]
pub(super) struct Plot {
    /// For those who don't see it.
    pub(super) description: String,
    pub(super) x: Scale,
    pub(super) y: Scale,
    /// What the vertical axis is: `ms`.
    pub(super) unit: &'static str,
    pub(super) lines: Vec<Line>,
    pub(super) marks: Vec<Mark>,
    /// What appears where the pointer is: a place on the horizontal axis, and what to say there.
    pub(super) readings: Vec<(f64, String)>,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// Written at its end.
    pub(super) name: String,
    /// Its class in the style sheet, which gives the colour.
    pub(super) class: &'static str,
    /// Whether the room below is filled.
    pub(super) is_area: bool,
    /// `None`: nothing was measured there, and the line has a gap.
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A limit: a short bar across the line that must stay below it, or above.
#[derive(Debug)]
pub(super) struct Mark {
    /// Where it stands; `None`: all along the axis.
    pub(super) at: Option<f64>,
    pub(super) value: f64,
    pub(super) name: String,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 288.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 74.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 28.0;
/// What stands below the axis is at least that far apart.
const TICK_WIDTH: f64 = 36.0;
/// Names at the lines' ends stand at least that far apart.
const NAME_HEIGHT: f64 = 15.0;

impl Plot {
    /// As an SVG element.
    pub(super) fn to_svg(&self) -> String {
        let mut svg = String::new();
        let description = escape(&self.description);
        write!(
            svg,
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{description}\">"
        )
        .expect("memory");
        self.axes(&mut svg);
        for line in &self.lines {
            self.line(line, &mut svg);
        }
        for mark in &self.marks {
            self.mark(mark, &mut svg);
        }
        self.names(&mut svg);
        self.readings(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    fn axes(&self, svg: &mut String) {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        svg.push_str("<g class=\"axis\">");
        for tick in self.y.ticks() {
            let y = self.y(tick.value);
            let (x, below, label) = (LEFT - 8.0, y + 4.0, tick.label);
            write!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}\"/>\
                 <text x=\"{x}\" y=\"{below:.1}\" class=\"y\">{label}</text>"
            )
            .expect("memory");
        }
        write!(svg, "<text x=\"{LEFT}\" y=\"14\">{}</text>", self.unit).expect("memory");
        let mut free = 0.0;
        for tick in self.x.ticks() {
            if self.x(tick.value) < free {
                continue; // where nines stand close together
            }
            free = self.x(tick.value) + TICK_WIDTH;
            let (x, y, label) = (self.x(tick.value), bottom + 19.0, tick.label);
            let end = bottom + 5.0;
            write!(
                svg,
                "<path d=\"M{x:.1} {bottom}V{end}\"/>\
                 <text x=\"{x:.1}\" y=\"{y}\" class=\"x\">{label}</text>"
            )
            .expect("memory");
        }
        svg.push_str("</g>");
    }

    fn line(&self, line: &Line, svg: &mut String) {
        let mut path = String::new();
        let mut area = String::new();
        let mut last: Option<f64> = None;
        let floor = HEIGHT - BOTTOM;
        for &(x, value) in &line.points {
            let Some(value) = value else {
                close(&mut area, last.take(), floor);
                continue;
            };
            let (x, y) = (self.x(x), self.y(value));
            let command = if last.is_some() { 'L' } else { 'M' };
            write!(path, "{command}{x:.1} {y:.1}").expect("memory");
            if command == 'M' {
                path.push_str("h0"); // a dot where a point stands alone
                write!(area, "M{x:.1} {floor}").expect("memory");
            }
            write!(area, "L{x:.1} {y:.1}").expect("memory");
            last = Some(x);
        }
        close(&mut area, last, floor);
        let class = line.class;
        if line.is_area {
            write!(svg, "<path class=\"area {class}\" d=\"{area}\"/>").expect("memory");
        }
        write!(svg, "<path class=\"line {class}\" d=\"{path}\"/>").expect("memory");
    }

    fn mark(&self, mark: &Mark, svg: &mut String) {
        let (y, name) = (self.y(mark.value), escape(&mark.name));
        let (from, to) = match mark.at {
            Some(at) => (self.x(at) - 14.0, self.x(at) + 14.0),
            None => (LEFT, WIDTH - RIGHT),
        };
        let (x, above) = (f64::midpoint(from, to), y - 6.0);
        write!(
            svg,
            "<g class=\"mark\"><path d=\"M{from:.1} {y:.1}H{to:.1}\"/>\
             <text x=\"{x:.1}\" y=\"{above:.1}\">{name}</text></g>"
        )
        .expect("memory");
    }

    /// At the lines' ends, moved apart where they would cover each other.
    fn names(&self, svg: &mut String) {
        let mut names: Vec<(f64, &Line)> = Vec::new();
        for line in self.lines.iter().filter(|line| !line.name.is_empty()) {
            let last = line.points.iter().rev().find_map(|(_, value)| *value);
            names.extend(last.map(|value| (self.y(value), line)));
        }
        names.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        let mut free = TOP;
        let room = HEIGHT - BOTTOM - NAME_HEIGHT * names.len() as f64;
        for (index, (y, line)) in names.into_iter().enumerate() {
            let at = y.max(free).min(room.max(TOP) + NAME_HEIGHT * (index + 1) as f64);
            free = at + NAME_HEIGHT;
            let (x, y, class) = (WIDTH - RIGHT + 8.0, at + 4.0, line.class);
            let name = escape(&line.name);
            write!(svg, "<text class=\"name {class}\" x=\"{x}\" y=\"{y:.1}\">{name}</text>")
                .expect("memory");
        }
    }

    /// Invisible until the pointer is there.
    fn readings(&self, svg: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let height = bottom - TOP;
        for (index, (at, text)) in self.readings.iter().enumerate() {
            let x = self.x(*at);
            let halfway = |other: Option<&(f64, String)>| {
                other.map(|(other, _)| f64::midpoint(self.x(*other), x))
            };
            let from = halfway(index.checked_sub(1).map(|index| &self.readings[index]));
            let from = from.unwrap_or(LEFT);
            let to = halfway(self.readings.get(index + 1)).unwrap_or(right);
            let (width, text) = ((to - from).max(0.0), escape(text));
            write!(
                svg,
                "<g class=\"at\"><rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" \
                 height=\"{height}\"/><path d=\"M{x:.1} {TOP}V{bottom}\"/>\
                 <text x=\"{WIDTH}\" y=\"14\">{text}</text></g>"
            )
            .expect("memory");
        }
    }
}

fn close(area: &mut String, last: Option<f64>, floor: f64) {
    if let Some(x) = last {
        write!(area, "L{x:.1} {floor}Z").expect("memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, Option<f64>)>) -> String {
        let line = Line { name: "a<b".to_owned(), class: "one", is_area: true, points };
        let (x, y) = (Scale::time(10.0), Scale::linear(10.0));
        let marks = vec![Mark { at: Some(5.0), value: 5.0, name: "limit".to_owned() }];
        let readings = vec![(0.0, "at 0".to_owned()), (10.0, "at 10".to_owned())];
        let description = "how \"it\" went".to_owned();
        Plot { description, x, y, unit: "ms", lines: vec![line], marks, readings }.to_svg()
    }

    #[test]
    fn a_line_goes_from_axis_to_axis() {
        let svg = plot(vec![(0.0, Some(0.0)), (10.0, Some(10.0))]);
        assert!(svg.contains("d=\"M54.0 260.0h0L566.0 34.0\""), "{svg}");
        assert!(svg.contains("d=\"M54.0 260L54.0 260.0L566.0 34.0L566.0 260Z\""), "{svg}");
    }

    #[test]
    fn a_line_has_a_gap_where_nothing_was_measured() {
        let svg = plot(vec![(0.0, Some(1.0)), (5.0, None), (10.0, Some(1.0))]);
        let path = svg.split("class=\"line one\"").nth(1).unwrap_or_default();
        assert_eq!(path.split("/>").next().unwrap_or_default().matches('M').count(), 2, "{svg}");
    }

    #[test]
    fn text_cannot_end_its_place() {
        let svg = plot(Vec::new());
        assert!(svg.contains("how &quot;it&quot; went") && !svg.contains("a<b"), "{svg}");
    }

    #[test]
    fn readings_share_the_plot_without_a_gap() {
        let svg = plot(Vec::new());
        assert!(svg.contains("x=\"54.0\" y=\"34\" width=\"256.0\""), "{svg}");
        assert!(svg.contains("x=\"310.0\" y=\"34\" width=\"256.0\""), "{svg}");
    }
}
