//! What is a figure? Something of ours beside something of another's, their ratio, and the goal.

use std::fmt::Write as _;

/// One line of the report.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What is compared.
    pub name: String,
    /// Median of ours.
    pub ours: f64,
    /// What `ours` and `against` are counted in.
    pub unit: &'static str,
    /// Median of the other.
    pub against: f64,
    /// Median of the pairs' ratios.
    pub ratio: f64,
    /// Lowest and highest of the pairs' ratios.
    pub spread: (f64, f64),
    /// What the ratio should be; none where it only informs.
    pub goal: Option<Goal>,
}

/// What a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Goal {
    /// The ratio is at most that.
    AtMost(f64),
    /// The ratio is at least that.
    AtLeast(f64),
}

impl Figure {
    /// From pairs (ours, against), each measured side by side.
    ///
    /// # Panics
    /// Without a pair.
    pub fn from_pairs(
        name: impl Into<String>,
        unit: &'static str,
        pairs: &[(f64, f64)],
        goal: Option<Goal>,
    ) -> Self {
        let ratios: Vec<f64> = pairs.iter().map(|(ours, against)| ours / against).collect();
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ratios.iter().copied().fold(0.0, f64::max);
        Self {
            name: name.into(),
            ours: median(pairs.iter().map(|pair| pair.0)),
            unit,
            against: median(pairs.iter().map(|pair| pair.1)),
            ratio: median(ratios),
            spread: (least, most),
            goal,
        }
    }

    /// Whether the goal is reached; true without one.
    pub fn is_met(&self) -> bool {
        self.goal.is_none_or(|goal| goal.is_met_by(self.ratio))
    }

    /// As one line of JSON.
    pub fn json(&self) -> String {
        let mut text = String::new();
        let name = self.name.replace('\\', "\\\\").replace('"', "\\\"");
        let goal = self.goal.map_or_else(|| "null".to_owned(), |goal| format!("\"{goal}\""));
        write!(
            text,
            "{{\"figure\": \"{name}\", \"ours\": {}, \"against\": {}, \"ratio\": {}, \
             \"goal\": {goal}, \"met\": {}, \"unit\": \"{}\", \"spread\": [{}, {}]}}",
            rounded(self.ours),
            rounded(self.against),
            rounded(self.ratio),
            self.is_met(),
            self.unit,
            rounded(self.spread.0),
            rounded(self.spread.1),
        )
        .expect("memory");
        text
    }
}

impl Goal {
    /// Whether a ratio reaches it.
    pub fn is_met_by(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "<= {}", rounded(*most)),
            Self::AtLeast(least) => write!(f, ">= {}", rounded(*least)),
        }
    }
}

/// The middle one, or the mean of the two in the middle.
///
/// # Panics
/// Of nothing.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { values[middle - 1].midpoint(values[middle]) }
}

/// To four digits: more is noise.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let digits = 3 - value.abs().log10().floor() as i32;
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_of_its_pairs() {
        let pairs = [(2.0, 1.0), (10.0, 4.0), (3.0, 2.0)];
        let figure = Figure::from_pairs("a \"b\"", "ns", &pairs, Some(Goal::AtMost(2.0)));
        assert_eq!((figure.ours, figure.against, figure.ratio), (3.0, 2.0, 2.0));
        assert_eq!(figure.spread, (1.5, 2.5));
        assert!(figure.is_met());
        assert_eq!(
            figure.json(),
            "{\"figure\": \"a \\\"b\\\"\", \"ours\": 3, \"against\": 2, \"ratio\": 2, \
             \"goal\": \"<= 2\", \"met\": true, \"unit\": \"ns\", \"spread\": [1.5, 2.5]}"
        );
    }

    #[test]
    fn a_goal_is_met_at_its_bound_and_not_beyond() {
        assert!(Goal::AtMost(1.12).is_met_by(1.12) && !Goal::AtMost(1.12).is_met_by(1.121));
        assert!(Goal::AtLeast(5.0).is_met_by(5.0) && !Goal::AtLeast(5.0).is_met_by(4.99));
    }

    #[test]
    fn medians_and_rounding() {
        let is = |value: f64, expected: f64| assert!((value - expected).abs() < 1e-9, "{value}");
        is(median([3.0, 1.0, 2.0]), 2.0);
        is(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        is(rounded(1234.56), 1235.0);
        is(rounded(0.123_456), 0.1235);
        is(rounded(0.0), 0.0);
    }
}
