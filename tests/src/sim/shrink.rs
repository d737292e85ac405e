//! How little is needed for it to fail? Devices are left out first, then faults, then actions, as
//! long as the same thing does not hold.

use super::plan::Plan;
use super::{Outcome, run};

/// The smallest plan found that fails like `plan`, after at most `runs_max` runs; `None`: it does
/// not fail.
pub fn shrink(plan: &Plan, runs_max: usize) -> Option<(Plan, Outcome)> {
    let outcome = run(plan, false);
    let kind = kind(outcome.violation.as_deref()?);
    let mut shrinking = Shrinking { plan: plan.clone(), kind, runs_left: runs_max };
    for part in [Part::Devices, Part::Faults, Part::Actions] {
        shrinking.shrinks(part);
    }
    let outcome = run(&shrinking.plan, true);
    Some((shrinking.plan, outcome))
}

struct Shrinking {
    plan: Plan,
    kind: String,
    runs_left: usize,
}

#[derive(Clone, Copy)]
enum Part {
    Devices,
    Faults,
    Actions,
}

impl Shrinking {
    /// Leaves out halves, quarters, … and single ones.
    fn shrinks(&mut self, part: Part) {
        let mut size = length(&self.plan, part).div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < length(&self.plan, part) {
                let smaller = without(&self.plan, part, at, size);
                if self.fails(&smaller) {
                    self.plan = smaller;
                } else {
                    at += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    fn fails(&mut self, plan: &Plan) -> bool {
        if self.runs_left == 0 {
            return false;
        }
        self.runs_left -= 1;
        run(plan, false).violation.is_some_and(|violation| kind(&violation) == self.kind)
    }
}

/// What did not hold, without the numbers in it.
fn kind(violation: &str) -> String {
    let text = violation.split_once(" s: ").map_or(violation, |(_, text)| text);
    text.split_whitespace().filter(|word| word.chars().all(char::is_alphabetic)).collect()
}

fn length(plan: &Plan, part: Part) -> usize {
    match part {
        Part::Devices => plan.devices.len(),
        Part::Faults => plan.faults.len(),
        Part::Actions => plan.actions.len(),
    }
}

fn without(plan: &Plan, part: Part, at: usize, count: usize) -> Plan {
    fn leave_out<T>(from: &mut Vec<T>, at: usize, count: usize) {
        let end = (at + count).min(from.len());
        from.drain(at..end);
    }
    let mut plan = plan.clone();
    match part {
        Part::Devices => leave_out(&mut plan.devices, at, count),
        Part::Faults => leave_out(&mut plan.faults, at, count),
        Part::Actions => leave_out(&mut plan.actions, at, count),
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_the_same_whoever_it_was() {
        assert_eq!(kind("at 7.001 s: u3.7 became two events"), "becametwoevents");
        assert_eq!(kind("at 8 s: u1.2 became two events"), "becametwoevents");
        assert_ne!(kind("at 8 s: u1.2 was published twice"), "becametwoevents");
    }

    #[test]
    fn a_part_is_left_out_and_the_rest_stays() {
        use crate::sim::plan::Climate;
        let plan = Plan::new(1, Climate::Foul);
        let fewer = without(&plan, Part::Devices, 1, 1);
        assert_eq!(fewer.devices.len() + 1, plan.devices.len());
        assert_eq!(fewer.devices[0].number, plan.devices[0].number);
        assert_eq!(fewer.devices[1].number, plan.devices[2].number);
        let none = without(&plan, Part::Actions, 0, usize::MAX / 2);
        assert_eq!((none.actions.len(), none.faults.len()), (0, plan.faults.len()));
    }
}
