//! Who may ask for what? Accounts, their users, keys, policies and quotas, and how an account ends.

pub mod admin;
pub mod caller;
pub mod directory;
pub mod erase;
pub mod policy;
pub mod quota;
pub mod record;
pub mod socket;
pub mod throttle;
