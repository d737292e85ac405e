//! Does the main job work here, now?
fn main() {}
