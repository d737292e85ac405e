//! How are devices and messages named? By random ids that no node has to ask for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// A new random id (UUID version 4): no node has to ask another one.
            /// *Why it never begins with a NUL:* [`crate::store::account::Account::prefix`].
            pub fn random() -> Self {
                loop {
                    let id = Uuid::new_v4().into_bytes();
                    if id[0] != 0 {
                        return Self(id);
                    }
                }
            }

            /// The same from a source of one's own.
            pub fn drawn(random: &mut impl rand::Rng) -> Self {
                Self(uuid::Builder::from_random_bytes(random.random()).into_uuid().into_bytes())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }
        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                Uuid::try_parse(text).map(|uuid| Self(uuid.into_bytes()))
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = uuid::Error;
            fn try_from(text: String) -> Result<Self, uuid::Error> {
                text.parse()
            }
        }
    };
}

uuid_id! {
    /// A wireless device, the same bytes as [`tidegate_ring::contract::DeviceId`].
    DeviceId
}
uuid_id! {
    /// A message towards a device, the same bytes as [`tidegate_ring::contract::MessageId`].
    MessageId
}
uuid_id! {
    /// An application profile.
    ProfileId
}
uuid_id! {
    /// An import task.
    ImportId
}
uuid_id! {
    /// A payload that was uploaded beforehand.
    UploadId
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key that does would be taken for one of another account.
    #[test]
    fn no_random_id_begins_with_a_nul() {
        assert!((0..10_000).all(|_| UploadId::random().0[0] != 0));
    }
}
