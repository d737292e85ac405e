//! How do goodput, waiting and memory go with what is offered? The edge below, at and beyond what
//! it sustains, each by turns with the others, and under each attack: docs/overload.svg.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::crowd::Crowd;
use super::floods::Flood;
use super::picture::picture;
use super::{MULTIPLES_NEIGHBOURS, STRETCH, attacked_by, neighbours, tell};
use crate::ratio::figure::{median, rounded};
use crate::ratio::report::{machine, put_between};
use crate::ratio::servers::Edge;

/// What the edge did at one rate.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Times the sustainable rate that were offered.
    pub offered: f64,
    /// Requests a second that were answered.
    pub goodput: f64,
    /// How long half of the answers took, ms.
    pub median_ms: f64,
    /// And all but a hundredth of them.
    pub slowest_ms: f64,
    /// Resident memory of the edge afterwards, MiB.
    pub resident_mib: f64,
}

/// What devices got under an attack.
#[derive(Clone, Debug)]
pub struct Attacked {
    /// By what.
    pub name: String,
    /// Of the answers in peace.
    pub share: f64,
}

/// Measures all of it, and writes picture and table: the picture beside the document, the table
/// between its marks.
pub fn write(document: &Path) -> io::Result<()> {
    let points = points()?;
    let attacked = |flood: &Flood| {
        let figure = attacked_by(*flood, 1)?;
        let name = figure.name.trim_start_matches("attack: ");
        let name = name.split(": devices").next().unwrap_or(name);
        Ok(Attacked { name: name.to_owned(), share: figure.ratio })
    };
    let attacked: Vec<Attacked> = Flood::ALL.iter().map(attacked).collect::<io::Result<_>>()?;
    std::fs::write(document.with_file_name("overload.svg"), picture(&points, &attacked))?;
    let table = format!("{}\n\n{}", machine(), table(&points));
    put_between(document, (BEGIN, END), &table)
}

fn points() -> io::Result<Vec<Point>> {
    let server = Edge::default().start()?;
    let mut crowd = Crowd::new(server.address)?;
    let _neighbours = neighbours(MULTIPLES_NEIGHBOURS)?;
    crowd.offer(f64::INFINITY, STRETCH)?;
    let sustained = crowd.offer(f64::INFINITY, STRETCH)?.goodput();
    let mut seen = MULTIPLES.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (points, multiple) in seen.iter_mut().zip(MULTIPLES) {
            let stretch = crowd.offer(sustained * multiple, STRETCH)?;
            tell(&stretch, sustained);
            points.push(Point {
                offered: stretch.rate() / sustained,
                goodput: stretch.goodput(),
                median_ms: stretch.wait_ms(0.5),
                slowest_ms: stretch.wait_ms(0.99),
                resident_mib: server.process.resident_bytes()? as f64 / f64::from(1 << 20),
            });
        }
    }
    Ok(seen.iter().map(|points| middle(points)).collect())
}

/// The median of each.
fn middle(points: &[Point]) -> Point {
    let of = |value: fn(&Point) -> f64| median(points.iter().map(value));
    Point {
        offered: of(|point| point.offered),
        goodput: of(|point| point.goodput),
        median_ms: of(|point| point.median_ms),
        slowest_ms: of(|point| point.slowest_ms),
        resident_mib: of(|point| point.resident_mib),
    }
}

/// Most that was answered at any rate.
pub(super) fn peak(points: &[Point]) -> f64 {
    points.iter().map(|point| point.goodput).fold(0.0, f64::max)
}

fn table(points: &[Point]) -> String {
    let mut text = "| offered, times the sustainable rate | answered, of the peak | median, ms | \
                    99th hundredth, ms | resident memory, MiB |\n|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for point in points {
        let row = [
            point.offered,
            point.goodput / peak(points),
            point.median_ms,
            point.slowest_ms,
            point.resident_mib,
        ];
        let row: Vec<String> = row.iter().map(|value| rounded(*value).to_string()).collect();
        writeln!(text, "| {} |", row.join(" | ")).expect("memory");
    }
    text
}

/// Of the sustainable rate.
const MULTIPLES: [f64; 5] = [0.5, 1.0, 2.0, 5.0, 10.0];
const ROUNDS: usize = 3;
const BEGIN: &str = "<!-- overload: written by `tidegate-ratio overload` -->";
const END: &str = "<!-- end of overload -->";

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn two_points() -> [Point; 2] {
        let one = Point {
            offered: 1.0,
            goodput: 1_000.0,
            median_ms: 1.0,
            slowest_ms: 4.0,
            resident_mib: 50.0,
        };
        [one, Point { offered: 10.0, goodput: 950.0, slowest_ms: 400.0, ..one }]
    }

    #[test]
    fn a_row_says_how_much_of_the_peak_is_left() {
        let table = table(&two_points());
        assert!(table.contains("| 1 | 1 | 1 | 4 | 50 |"), "{table}");
        assert!(table.contains("| 10 | 0.95 | 1 | 400 | 50 |"), "{table}");
    }

    #[test]
    fn a_point_is_the_median_of_its_rounds() {
        let [one, other] = two_points();
        assert!((middle(&[one, other, one]).slowest_ms - 4.0).abs() < 1e-9);
    }
}
