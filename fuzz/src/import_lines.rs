//! Can a file of devices harm who imports it? Input: the line of columns, then one of values, which
//! is read as JSON too.

use tidegate_controlplane::control::imports::line::{columns, from_csv, from_json};

pub(crate) fn run(input: &[u8]) {
    let ([names, line], _) = crate::lines_and_rest(input);
    if let Ok(columns) = columns(names) {
        let _ = from_csv(&columns, line);
    }
    let _ = from_json(line);
}
