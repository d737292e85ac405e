//! Which lines stand on the terminal? Phases that are over, the one that goes on with its curves,
//! those to come. Drawn by going up and writing over: no alternate screen, so that the last state
//! stays in the scrollback.

use std::fmt::Write as _;
use std::iter;

use super::state::{Current, SECONDS_KEPT, State, latency_ms, rate, summary};
use crate::measurement::{ErrorKind, Interval};
use crate::report::figures::Unit;
use crate::report::number::{count, duration, measured, percent, trim};
use crate::scenario::{Kind, Load, Phase};

/// One line: pieces of text, each in its style.
pub(super) type Line = Vec<(Style, String)>;

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Bold,
    Dim,
    Good,
    Bad,
    Curve,
}

const BAR_COLUMNS: usize = 30;
const CURVE_COLUMNS: usize = 40;
/// Phases to come that are named.
const NEXT_MAX: usize = 4;

pub(super) fn of(state: &State) -> Vec<Line> {
    let scenario = &state.scenario;
    let devices = scenario.fleet.devices;
    let mut lines = vec![vec![
        (Style::Bold, scenario.title.clone()),
        (Style::Dim, format!("  {} · {} devices", scenario.target.server, count(devices.into()))),
    ]];
    for (phase, figures) in scenario.phases.iter().zip(&state.over) {
        let (style, mark) =
            if figures.errors == 0 { (Style::Good, "✓") } else { (Style::Bad, "!") };
        lines.push(vec![
            (style, format!("  {mark} ")),
            (Style::Plain, format!("{}: {}", phase.name, summary(figures))),
        ]);
    }
    let mut next = state.over.len();
    if let Some(current) = &state.current {
        next = current.index + 1;
        phase(&scenario.phases[current.index], current, devices, &mut lines);
    }
    let names: Vec<_> =
        scenario.phases.iter().skip(next).map(|phase| phase.name.as_str()).collect();
    if !names.is_empty() {
        let more = if names.len() > NEXT_MAX { ", …" } else { "" };
        let names = names[..names.len().min(NEXT_MAX)].join(", ");
        lines.push(vec![(Style::Dim, format!("    then {names}{more}"))]);
    }
    lines
}

fn phase(phase: &Phase, current: &Current, devices: u32, lines: &mut Vec<Line>) {
    let (share, how_far) = progress(phase, current, devices);
    let filled = (share * BAR_COLUMNS as f64).round() as usize;
    lines.push(vec![
        (Style::Bold, format!("  ▶ {}  ", phase.name)),
        (Style::Curve, "━".repeat(filled)),
        (Style::Dim, "─".repeat(BAR_COLUMNS - filled)),
        (Style::Plain, format!("  {how_far}")),
    ]);
    let row = |name: &str| (Style::Dim, format!("    {name:<10}"));
    let last = current.last();

    let intended = match phase.load(devices) {
        Load::Open { rate_per_s } => format!(" of {}/s", trim(&measured(rate_per_s))),
        Load::Closed { .. } => String::new(),
    };
    let per_s = last.map_or("–".to_owned(), |last| measured(rate(phase, last)));
    lines.push(vec![
        row("rate"),
        (Style::Curve, curve(current, |interval| Some(rate(phase, interval)))),
        (Style::Bold, format!("  {per_s}/s")),
        (Style::Plain, intended),
    ]);
    let p99 = |interval: &Interval| latency_ms(phase, interval).map(|[_, p99, _]| p99);
    let mut latency = vec![row("p99"), (Style::Curve, curve(current, p99))];
    if let Some([p50, p99, max]) = last.and_then(|last| latency_ms(phase, last)) {
        latency.push((Style::Bold, format!("  {} ms", measured(p99))));
        latency.push((Style::Plain, format!("  p50 {}  max {}", measured(p50), measured(max))));
    }
    lines.push(latency);

    let total = &current.total;
    let done = match Unit::of(phase.kind) {
        Unit::Requests => format!("{} requests", count(total.completed)),
        Unit::Handshakes => format!("{} handshakes", count(total.handshakes())),
    };
    let under_way = count(current.outstanding.into());
    let sessions = count(current.sessions.into());
    let rest = format!("done, {under_way} outstanding, {sessions} sessions");
    lines.push(vec![row("so far"), (Style::Plain, format!("{done} {rest}"))]);
    lines.push(errors(current, row("errors")));
    lines.extend(last.map(|last| cpu(last, row("CPU"))));
}

/// How far a phase got, as a share and in words.
fn progress(phase: &Phase, current: &Current, devices: u32) -> (f64, String) {
    let total = &current.total;
    let elapsed_s = current.elapsed().as_secs_f64();
    let begun = match Unit::of(phase.kind) {
        Unit::Requests => total.requests,
        Unit::Handshakes => total.handshakes_begun,
    };
    let count_of = if phase.kind == Kind::Connect { Some(u64::from(devices)) } else { phase.count };
    let by_count = count_of.map(|all| begun as f64 / all as f64);
    let by_time = phase.duration_s.map(|duration_s| elapsed_s / duration_s);
    let share = by_count.unwrap_or(0.0).max(by_time.unwrap_or(0.0));
    let words = match (phase.duration_s, count_of) {
        _ if share >= 1.0 => "waiting for late answers".to_owned(),
        (Some(duration_s), _) => {
            format!("{} of {}", duration(elapsed_s.floor()), duration(duration_s))
        }
        (None, Some(all)) => format!("{} of {}", count(begun), count(all)),
        (None, None) => duration(elapsed_s.floor()),
    };
    (share.clamp(0.0, 1.0), words)
}

fn errors(current: &Current, row: (Style, String)) -> Line {
    let total = &current.total;
    if total.errors() == 0 {
        return vec![row, (Style::Good, "none".to_owned())];
    }
    let kinds = ErrorKind::ALL.into_iter().filter(|kind| total.error(*kind) > 0);
    let kinds = kinds.map(|kind| format!("{} {}", count(total.error(kind)), kind.title()));
    vec![row, (Style::Bad, kinds.collect::<Vec<_>>().join(", "))]
}

fn cpu(last: &Interval, row: (Style, String)) -> Line {
    let share = |ns: u64| percent(ns as f64 / last.length_ns as f64);
    let mut line = vec![row, (Style::Plain, format!("ours {}", share(last.tally.own_cpu_ns)))];
    if last.tally.server_cpu_ns > 0 {
        let server = share(last.tally.server_cpu_ns);
        line.push((Style::Plain, format!(", server {server}")));
    }
    line.push((Style::Dim, " of a core".to_owned()));
    line
}

/// The last seconds, the highest of them filling a column.
fn curve(current: &Current, value: impl Fn(&Interval) -> Option<f64>) -> String {
    const COLUMNS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    const { assert!(CURVE_COLUMNS <= SECONDS_KEPT) };
    let values: Vec<_> = current.history().map(value).collect();
    let values = &values[values.len().saturating_sub(CURVE_COLUMNS)..];
    let highest = values.iter().flatten().fold(0.0, |high: f64, value| high.max(*value));
    let column = |value: &Option<f64>| match value {
        Some(value) if highest > 0.0 => COLUMNS[(value / highest * 7.0).round() as usize],
        Some(_) => COLUMNS[0],
        None => ' ',
    };
    let blank = CURVE_COLUMNS - values.len();
    iter::repeat_n(' ', blank).chain(values.iter().map(column)).collect()
}

/// What a terminal has to be sent, over `drawn` lines that stand there. A line that would wrap is
/// cut, or going up would miss.
pub(super) fn draw(frame: &[Line], drawn: usize, columns: usize, has_colours: bool) -> String {
    let mut text = String::new();
    if drawn > 0 {
        write!(text, "\x1b[{drawn}A\r").expect("memory");
    }
    for line in frame {
        let mut room = columns.saturating_sub(1);
        for (style, piece) in line {
            let shown: String = piece.chars().take(room).collect();
            room -= shown.chars().count();
            match style.code().filter(|_| has_colours && !shown.is_empty()) {
                Some(code) => write!(text, "\x1b[{code}m{shown}\x1b[0m").expect("memory"),
                None => text.push_str(&shown),
            }
        }
        text.push_str("\x1b[K\n");
    }
    text.push_str("\x1b[J");
    text
}

impl Style {
    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("32"),
            Self::Bad => Some("31"),
            Self::Curve => Some("36"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{second, state};
    use super::*;
    use crate::progress::Progress;

    fn plain(frame: &[Line]) -> Vec<String> {
        frame.iter().map(|line| line.iter().map(|(_, piece)| piece.as_str()).collect()).collect()
    }

    #[test]
    fn a_frame_has_what_is_over_what_goes_on_and_what_comes() {
        let mut state = state(1);
        state.on_progress(Progress::PhaseBegun(0));
        state.on_progress(second(0, 2));
        state.on_progress(second(1, 4));
        state.on_progress(Progress::Gauges { sessions: 100, outstanding: 7 });
        let frame = plain(&of(&state));
        assert!(
            frame[1].starts_with("  ▶ warm  ━") && frame[1].ends_with("waiting for late answers")
        );
        assert!(frame[2].ends_with("▅█  4.00/s"), "{frame:#?}");
        assert!(frame[3].contains("██") && frame[3].contains(" ms  p50 1.0"), "{frame:#?}");
        assert_eq!(frame[4], "    so far    6 requests done, 7 outstanding, 100 sessions");
        assert_eq!(frame[5], "    errors    none");
        assert_eq!(frame.last().map(String::as_str), Some("    then steady"));

        state.on_progress(Progress::PhaseOver(Box::default()));
        state.on_progress(Progress::PhaseBegun(1));
        let frame = plain(&of(&state));
        assert_eq!(frame[1], "  ✓ warm: 0 requests, 0/s, no errors");
        assert!(frame[2].starts_with("  ▶ steady  ──") && frame[2].ends_with("  0 s of 60 s"));
        assert!(frame[3].ends_with("  –/s of 5/s"), "{frame:#?}");
        assert_eq!(frame.len(), 7, "no CPU time yet, and nothing comes after");
    }

    #[test]
    fn a_frame_is_drawn_over_the_one_before_and_never_wraps() {
        let frame = vec![
            vec![(Style::Bold, "abc".to_owned()), (Style::Plain, "defgh".to_owned())],
            vec![(Style::Plain, "x".to_owned())],
        ];
        assert_eq!(draw(&frame, 0, 80, false), "abcdefgh\x1b[K\nx\x1b[K\n\x1b[J");
        assert_eq!(draw(&frame, 2, 6, false), "\x1b[2A\rabcde\x1b[K\nx\x1b[K\n\x1b[J");
        assert!(draw(&frame, 0, 80, true).starts_with("\x1b[1mabc\x1b[0mdefgh"));
        assert!(draw(&frame, 0, 1, true).starts_with("\x1b[K\n"), "no room at all");
    }
}
