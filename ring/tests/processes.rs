//! What happens between real processes when one is killed (`SIGKILL`) again and again?
//!
//! Without a role this program is the test; started with one it is the process that gets killed.
//! Every entry carries the life that wrote it and its number in that life, and its other bytes
//! follow from these, so a torn, lost, repeated or misplaced entry shows.
#![allow(clippy::unwrap_used)]

#[cfg(not(loom))]
mod run_dir;
#[cfg(not(loom))]
mod story;

#[cfg(not(loom))]
fn main() {
    let mut arguments = std::env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("role-writer"), Some(run_dir)) => {
            story::writer(run_dir.as_ref(), arguments.next().unwrap().parse().unwrap());
        }
        (Some("role-reader"), Some(run_dir)) => story::reader(run_dir.as_ref()),
        (filter, _) => {
            let filter = filter.filter(|filter| !filter.starts_with('-')).unwrap_or("");
            for (name, run) in story::STORIES {
                if name.contains(filter) {
                    run();
                    println!("test {name} ... ok");
                }
            }
        }
    }
}

#[cfg(loom)]
fn main() {}
