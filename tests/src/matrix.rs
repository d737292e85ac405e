//! How is an interoperability table made and written down? Rows are programs, columns are suites,
//! and each cell says for four ways of connecting that it works or why the other side can't.

use std::fmt::Write;

use crate::suite::{Credential, Suite};

/// One of the four things tried in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// With a Connection ID in both directions (RFC 9146).
    pub cid: bool,
    /// An abbreviated handshake with the session of a full one before (RFC 5246 section 7.3).
    pub resumed: bool,
}

impl Way {
    /// In the order of the marks in a cell.
    pub const ALL: [Self; 4] = [
        Self { cid: false, resumed: false },
        Self { cid: false, resumed: true },
        Self { cid: true, resumed: false },
        Self { cid: true, resumed: true },
    ];
}

/// What was tried.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Which table.
    pub credential: Credential,
    /// Which column.
    pub suite: &'static Suite,
    /// Which mark.
    pub way: Way,
}

/// Why there was no answer to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The foreign program can't: its own reason.
    Lacks(String),
    /// It could and it did not work: what it said.
    Failed(String),
}

/// What came of an attempt.
pub type Outcome = Result<(), Refusal>;

/// The outcomes of one role.
#[derive(Debug, Default)]
pub struct Matrix {
    cells: Vec<(String, Attempt, Outcome)>,
    reasons: Vec<String>,
}

impl Matrix {
    /// Takes over the rows of another one.
    pub fn append(&mut self, other: Self) {
        for (program, attempt, outcome) in other.cells {
            self.add(&program, attempt, outcome);
        }
    }

    /// Tries everything with one program.
    pub fn row(program: &str, mut attempt: impl FnMut(&Attempt) -> Outcome) -> Self {
        let mut row = Self::default();
        for credential in Credential::ALL {
            for suite in credential.suites() {
                for way in Way::ALL {
                    let what = Attempt { credential, suite, way };
                    let outcome = attempt(&what);
                    // Seen only when the test fails.
                    println!("{program}, {} {way:?}: {outcome:?}", suite.name);
                    row.add(program, what, outcome);
                }
            }
        }
        row
    }

    /// Notes one outcome.
    pub fn add(&mut self, program: &str, attempt: Attempt, outcome: Outcome) {
        if let Err(Refusal::Lacks(reason)) = &outcome
            && !self.reasons.contains(reason)
        {
            self.reasons.push(reason.clone());
        }
        self.cells.push((program.to_owned(), attempt, outcome));
    }

    /// What worked: how many.
    pub fn successes(&self) -> usize {
        self.cells.iter().filter(|(_, _, outcome)| outcome.is_ok()).count()
    }

    /// What should have worked.
    pub fn failures(&self) -> Vec<String> {
        let failure = |(program, attempt, outcome): &(String, Attempt, Outcome)| match outcome {
            Err(Refusal::Failed(said)) => Some(format!(
                "{program}, {} {}, {:?}:\n{said}",
                attempt.credential.title(),
                attempt.suite.name,
                attempt.way
            )),
            _ => None,
        };
        self.cells.iter().filter_map(failure).collect()
    }

    /// The tables and the reasons under them.
    pub fn to_markdown(&self) -> String {
        let mut text = String::new();
        for credential in Credential::ALL {
            self.write_table(&mut text, credential);
        }
        for (index, reason) in self.reasons.iter().enumerate() {
            writeln!(text, "- {}: {reason}", mark(index)).expect("a String");
        }
        text
    }

    fn write_table(&self, text: &mut String, credential: Credential) {
        let suites = credential.suites();
        let columns: Vec<_> = suites.iter().map(Suite::column).collect();
        writeln!(text, "| {} | {} |", credential.title(), columns.join(" | ")).expect("a String");
        writeln!(text, "|---|{}", "---|".repeat(suites.len())).expect("a String");
        for program in self.programs() {
            let cells: Vec<_> =
                suites.iter().map(|suite| self.cell(program, credential, suite)).collect();
            writeln!(text, "| {program} | {} |", cells.join(" | ")).expect("a String");
        }
        text.push('\n');
    }

    fn programs(&self) -> Vec<&str> {
        let mut programs: Vec<&str> = Vec::new();
        for (program, _, _) in &self.cells {
            if !programs.contains(&program.as_str()) {
                programs.push(program);
            }
        }
        programs
    }

    /// Four marks, or one when they are all the same lack.
    fn cell(&self, program: &str, credential: Credential, suite: &Suite) -> String {
        let mut marks = Way::ALL.map(|way| {
            let is_it = |(name, attempt, _): &&(String, Attempt, Outcome)| {
                name == program
                    && attempt.credential == credential
                    && attempt.suite == suite
                    && attempt.way == way
            };
            match self.cells.iter().find(is_it).map(|(_, _, outcome)| outcome) {
                Some(Ok(())) => "✓".to_owned(),
                Some(Err(Refusal::Lacks(reason))) => {
                    mark(self.reasons.iter().position(|r| r == reason).expect("noted by add"))
                }
                Some(Err(Refusal::Failed(_))) => "FAILS".to_owned(),
                None => "?".to_owned(),
            }
        });
        if marks[0] != "✓" && marks.iter().all(|mark| *mark == marks[0]) {
            return std::mem::take(&mut marks[0]);
        }
        marks.join(" ")
    }
}

/// Letters name reasons: a, b, … z, aa, ….
fn mark(index: usize) -> String {
    let letter = |n: usize| char::from(b'a' + n as u8);
    if index < 26 {
        letter(index).to_string()
    } else {
        format!("{}{}", letter(index / 26 - 1), letter(index % 26))
    }
}
