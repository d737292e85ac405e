//! How does a run look to people? One page that needs nothing beside itself: no script, no font and
//! no picture from elsewhere, light or dark as the reader's system is.

mod percentiles;
mod plot;
mod plots;
mod scale;

use std::fmt::Write as _;

use time::OffsetDateTime;
use time::macros::format_description;

use self::plot::Plot;
use super::figures::{Percentiles, Unit};
use super::number::{bytes, count, duration, measured, percent, trim};
use super::{Outcome, Run, text};
use crate::scenario::Load;
use crate::thresholds::Verdict;

const STYLE: &str = include_str!("style.css");

pub(super) fn of(run: &Run) -> String {
    let outcomes: Vec<_> = run.outcomes().collect();
    let mut page = String::with_capacity(1 << 18);
    let title = escape(&run.scenario.title);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>{title}</title><style>{STYLE}</style></head><body><main>"
    )
    .expect("memory");
    header(run, &mut page);
    overview(run, &outcomes, &mut page);
    for (index, outcome) in outcomes.iter().enumerate() {
        phase(run, outcome, index, &mut page);
    }
    footer(run, &mut page);
    page.push_str("</main></body></html>\n");
    page
}

fn header(run: &Run, page: &mut String) {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let began = OffsetDateTime::from(run.began).format(format).expect("a year of four digits");
    let has_limits = run.outcomes().any(|outcome| !outcome.verdicts.is_empty());
    let class = match (run.is_passed(), has_limits) {
        (true, false) => "badge",
        (true, true) => "badge passed",
        (false, _) => "badge failed",
    };
    let wall_s: f64 = run.measurements.iter().map(|m| m.wall_ns as f64 / 1e9).sum();
    write!(
        page,
        "<header><h1>{}</h1><p class=\"{class}\">{}</p><p class=\"about\">{} · {} devices · \
         {began} · {}</p></header>",
        escape(&run.scenario.title),
        escape(&text::conclusion(run)),
        escape(&run.scenario.target.server),
        count(run.scenario.fleet.devices.into()),
        duration(wall_s)
    )
    .expect("memory");
}

/// A row for each phase.
fn overview(run: &Run, outcomes: &[Outcome], page: &mut String) {
    if outcomes.len() < 2 {
        return;
    }
    page.push_str(
        "<section class=\"card wide\"><h2>Phases</h2><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">phase</th><th scope=\"col\">what was done</th>\
         <th scope=\"col\" class=\"number\">completed</th>\
         <th scope=\"col\" class=\"number\">per second</th>\
         <th scope=\"col\" class=\"number\">errors</th><th scope=\"col\" class=\"number\">p50, ms</th>\
         <th scope=\"col\" class=\"number\">p99, ms</th><th scope=\"col\" class=\"number\">max, ms</th>\
         <th scope=\"col\" class=\"number\">server CPU, µs each</th><th scope=\"col\">limits</th>\
         </tr></thead><tbody>",
    );
    for (index, outcome) in outcomes.iter().enumerate() {
        let figures = &outcome.figures;
        let latency = |of: fn(&Percentiles) -> f64| {
            figures.latency_ms.as_ref().map_or("–".to_owned(), |latency| measured(of(latency)))
        };
        let limits = match (outcome.verdicts.is_empty(), outcome.is_passed()) {
            (true, _) => "–",
            (false, true) => "<span class=\"passed\">reached</span>",
            (false, false) => "<span class=\"failed\">missed</span>",
        };
        write!(
            page,
            "<tr><th scope=\"row\"><a href=\"#phase-{index}\">{}</a></th><td>{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td>{limits}</td></tr>",
            escape(&outcome.phase.name),
            escape(&text::intent(outcome.phase, run.scenario.fleet.devices)),
            count(figures.completed),
            measured(figures.rate_per_s),
            count(figures.errors),
            latency(|latency| latency.p50),
            latency(|latency| latency.p99),
            latency(|latency| latency.max),
            figures.server_cpu_us.map_or("–".to_owned(), measured),
        )
        .expect("memory");
    }
    page.push_str("</tbody></table></div></section>");
    let about = "Of the phases with requests, beside each other.";
    page.push_str("<div class=\"cards\">");
    card("Latency by percentile", about, percentiles::of_run(outcomes), page);
    page.push_str("</div>");
}

fn phase(run: &Run, outcome: &Outcome, index: usize, page: &mut String) {
    let Outcome { phase, measurement, figures, verdicts } = outcome;
    let devices = run.scenario.fleet.devices;
    write!(
        page,
        "<section class=\"phase\" id=\"phase-{index}\"><h2>{}</h2><p class=\"about\">{}</p>",
        escape(&phase.name),
        escape(&text::intent(phase, devices))
    )
    .expect("memory");
    if figures.is_bottleneck() {
        let warning = escape(&text::bottleneck(figures));
        write!(page, "<p class=\"warning\" role=\"note\"><b>Warning:</b> {warning}.</p>")
            .expect("memory");
    }
    tiles(outcome, page);
    let stretches = plots::stretches(measurement);
    let load = phase.load(devices);
    let thresholds = run.scenario.thresholds_of(phase);
    let since = match (figures.unit, load) {
        (Unit::Requests, Load::Open { .. }) => {
            "From the instant at which each request was due, and from the one at which it was sent: \
             where the two part, requests had to wait for their turn."
        }
        (Unit::Requests, Load::Closed { .. }) => {
            "From sending to the response. In a closed loop a slow response delays the next request: \
             the server's slow moments are sampled less often than its quick ones."
        }
        (Unit::Handshakes, _) => "From the first ClientHello to the Finished.",
    };
    let each_s = stretches.first().map_or(1.0, |stretch| stretch.length_s);
    let each = format!("Percentiles of every {}.", duration(each_s));
    page.push_str("<div class=\"cards\">");
    card("Latency by percentile", since, percentiles::of_phase(outcome, &thresholds), page);
    card("Latency over time", &each, plots::latency(outcome, &stretches), page);
    card("Rate over time", "", Some(plots::rate(outcome, &stretches, load)), page);
    card(
        "CPU over time",
        "User and system time of all threads.",
        plots::cpu(outcome, &stretches),
        page,
    );
    let errors = plots::errors(outcome, &stretches);
    write!(page, "<figure class=\"card\"><h3>Errors by kind</h3>{errors}</figure>")
        .expect("memory");
    limits(verdicts, page);
    page.push_str("</div>");
    numbers(outcome, page);
    page.push_str("</section>");
}

/// The few figures that one looks at first.
fn tiles(outcome: &Outcome, page: &mut String) {
    let figures = &outcome.figures;
    let each = format!("µs per {}", figures.unit.singular());
    let ms = |of: fn(&Percentiles) -> f64| {
        figures.latency_ms.as_ref().map_or("–".to_owned(), |latency| measured(of(latency)))
    };
    page.push_str("<dl class=\"tiles\">");
    let rate = measured(figures.rate_per_s);
    let tiles = [
        ("rate", rate, format!("{}/s", figures.unit.name()), ""),
        ("median", ms(|latency| latency.p50), "ms".to_owned(), ""),
        ("99th percentile", ms(|latency| latency.p99), "ms".to_owned(), ""),
        ("longest", ms(|latency| latency.max), "ms".to_owned(), ""),
        (
            "errors",
            count(figures.errors),
            percent(figures.error_ratio),
            if figures.errors > 0 { " bad" } else { "" },
        ),
        ("server CPU", figures.server_cpu_us.map_or("–".to_owned(), measured), each.clone(), ""),
        ("our CPU", figures.own_cpu_us.map_or("–".to_owned(), measured), each, ""),
    ];
    for (name, value, unit, class) in tiles {
        write!(
            page,
            "<div class=\"tile{class}\"><dt>{name}</dt><dd>{value}<small>{unit}</small></dd></div>"
        )
        .expect("memory");
    }
    page.push_str("</dl>");
}

fn card(title: &str, about: &str, plot: Option<Plot>, page: &mut String) {
    let Some(plot) = plot else { return };
    let about = if about.is_empty() { String::new() } else { format!("<p>{about}</p>") };
    write!(page, "<figure class=\"card\"><h3>{title}</h3>{about}{}</figure>", plot.to_svg())
        .expect("memory");
}

fn limits(verdicts: &[Verdict], page: &mut String) {
    if verdicts.is_empty() {
        return;
    }
    let mut rows = String::new();
    for verdict in verdicts {
        let (class, word) =
            if verdict.is_reached() { ("passed", "reached") } else { ("failed", "missed") };
        write!(
            rows,
            "<tr><th scope=\"row\"><code>{}</code></th><td class=\"number\">{} {}</td>\
             <td class=\"number\">{}</td><td><span class=\"{class}\">{word}</span></td></tr>",
            verdict.name,
            if verdict.is_minimum { "≥" } else { "≤" },
            trim(&measured(verdict.limit)),
            verdict.actual.map_or("not measured".to_owned(), measured),
        )
        .expect("memory");
    }
    write!(
        page,
        "<figure class=\"card\"><h3>Limits</h3><table><thead><tr><th scope=\"col\">limit</th>\
         <th scope=\"col\" class=\"number\">asked</th><th scope=\"col\" class=\"number\">measured</th>\
         <th scope=\"col\"></th></tr></thead><tbody>{rows}</tbody></table></figure>"
    )
    .expect("memory");
}

/// Everything as numbers, folded away.
fn numbers(outcome: &Outcome, page: &mut String) {
    let Outcome { measurement, figures, .. } = outcome;
    let total = &figures.total;
    page.push_str("<details><summary>All numbers of this phase</summary><div class=\"cards\">");
    let codes = text::responses(measurement).map(|(code, number)| (code, count(number)));
    table("Responses", codes, page);
    let counters = [
        ("requests sent", count(total.requests)),
        ("requests completed", count(total.completed)),
        ("handshakes begun", count(total.handshakes_begun)),
        ("full handshakes", count(total.handshakes_full)),
        ("resumed handshakes", count(total.handshakes_resumed)),
        ("retransmissions", count(total.retransmissions)),
        ("downlinks answered", count(total.downlinks)),
        ("moves", count(total.rebinds)),
        ("datagrams out", format!("{} ({})", count(total.datagrams_out), bytes(total.bytes_out))),
        ("datagrams in", format!("{} ({})", count(total.datagrams_in), bytes(total.bytes_in))),
        ("busiest thread of ours", percent(figures.own_cpu_ratio)),
        ("threads of ours", count(measurement.threads.into())),
    ];
    table("Counters", counters.map(|(name, value)| (name.to_owned(), value)).into_iter(), page);
    for (title, histogram) in [
        ("Latency since due, ms", &measurement.latency_ns),
        ("Latency since sent, ms", &measurement.since_sent_ns),
        ("Handshakes, ms", &measurement.handshake_ns),
    ] {
        let values = Percentiles::of(histogram).map(|percentiles| percentiles.values());
        let values = values.into_iter().flatten().map(measured);
        let names = Percentiles::NAMES.into_iter().map(str::to_owned);
        table(title, names.zip(values), page);
    }
    page.push_str("</div></details>");
}

fn table(title: &str, rows: impl Iterator<Item = (String, String)>, page: &mut String) {
    let mut body = String::new();
    for (name, value) in rows {
        let name = escape(&name);
        write!(body, "<tr><th scope=\"row\">{name}</th><td class=\"number\">{value}</td></tr>")
            .expect("memory");
    }
    if !body.is_empty() {
        write!(
            page,
            "<figure class=\"card\"><h3>{title}</h3><table><tbody>{body}</tbody></table></figure>"
        )
        .expect("memory");
    }
}

fn footer(run: &Run, page: &mut String) {
    let machine = &run.machine;
    write!(
        page,
        "<footer><details><summary>The scenario, defaults filled in</summary><pre>{}</pre></details>\
         <p>tidegate-loadgen {} on {} · {} cores · Linux {}</p></footer>",
        escape(&run.scenario.to_toml()),
        machine.version,
        escape(&machine.processor),
        machine.cores,
        escape(&machine.kernel)
    )
    .expect("memory");
}

/// What comes from a file or a machine ends no element and no attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
