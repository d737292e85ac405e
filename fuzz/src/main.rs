//! What does the engine call? The target that `FUZZ_TARGET` names, with bytes that it makes up.
#![no_main]

use std::sync::LazyLock;

use tidegate_fuzz::{TARGETS, Target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    *found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?}: one of the folders in fuzz/seeds"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.run)(input));
