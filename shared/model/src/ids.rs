//! Names and ids, each its own type, so that a stack's name cannot stand where a node's is meant.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A name that does not follow the rules; the text says which rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a valid {what}: {rule}")]
pub struct BadName {
    /// What was given.
    pub name: String,
    /// What kind of name it was meant to be.
    pub what: &'static str,
    /// The rule, in words.
    pub rule: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes `name` if it follows the rules.
            pub fn new(name: impl AsRef<str>) -> Result<Self, BadName> {
                let name = name.as_ref();
                let valid: fn(&str) -> bool = $check;
                if valid(name) {
                    Ok(Self(name.into()))
                } else {
                    Err(BadName { name: name.to_owned(), what: $what, rule: $rule })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(name: &str) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadName;
            fn try_from(name: String) -> Result<Self, BadName> {
                Self::new(name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

id!(
    /// A stack's name; Compose calls it the project name.
    StackName,
    "stack name",
    "use lower-case letters, digits, '-' and '_', begin with a letter or digit, at most 40 characters",
    |name| (1..=40).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
);

id!(
    /// A node's id: random, in its certificate, the same for the node's whole life.
    NodeId,
    "node id",
    "use letters, digits, '-', '_' and '.', at most 63 characters",
    |name| (1..=63).contains(&name.len()) && name.chars().all(word)
);

id!(
    /// A replica's id, unique in the cluster for ever.
    ReplicaId,
    "replica id",
    "use lower-case letters and digits, at most 32 characters",
    |name| (1..=32).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
);

id!(
    /// A cluster's id: random, made by `gantry init`, on every container of the cluster.
    ClusterId,
    "cluster id",
    "use lower-case letters and digits, at most 32 characters",
    |name| (1..=32).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
);

impl ReplicaId {
    /// Sorts before every replica id, and is none itself: the start of a range.
    pub(crate) fn smallest() -> Self {
        Self("".into())
    }
}

impl ClusterId {
    /// A number that differs from cluster to cluster.
    pub fn number(&self) -> u32 {
        let digest = Sha256::digest(self.as_str());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.'
}

/// A service's full name, `stack/service`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ServiceId {
    stack: StackName,
    name: Arc<str>,
}

impl ServiceId {
    /// The service `name` of `stack`.
    pub fn new(stack: StackName, name: impl AsRef<str>) -> Result<Self, BadName> {
        let name = name.as_ref();
        let valid = (1..=63).contains(&name.len())
            && name.chars().all(word)
            && name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if valid {
            Ok(Self { stack, name: name.into() })
        } else {
            Err(BadName {
                name: name.to_owned(),
                what: "service name",
                rule: "use letters, digits, '-', '_' and '.', begin with a letter or digit, at most 63 characters",
            })
        }
    }

    /// The stack that it belongs to.
    pub fn stack(&self) -> &StackName {
        &self.stack
    }

    /// Its name inside the stack.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.stack, self.name))
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl FromStr for ServiceId {
    type Err = BadName;
    fn from_str(full: &str) -> Result<Self, BadName> {
        let Some((stack, name)) = full.split_once('/') else {
            return Err(BadName {
                name: full.to_owned(),
                what: "service",
                rule: "give its full name, STACK/SERVICE",
            });
        };
        Self::new(StackName::new(stack)?, name)
    }
}

impl TryFrom<String> for ServiceId {
    type Error = BadName;
    fn try_from(full: String) -> Result<Self, BadName> {
        full.parse()
    }
}

impl From<ServiceId> for String {
    fn from(id: ServiceId) -> String {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_service_name_has_two_parts() {
        let id: ServiceId = "shop/web".parse().unwrap();
        assert_eq!((id.stack().as_str(), id.name()), ("shop", "web"));
        assert_eq!(id.to_string(), "shop/web");
        assert!("web".parse::<ServiceId>().is_err());
        assert!("shop/web/1".parse::<ServiceId>().is_err());
        assert!("shop/".parse::<ServiceId>().is_err());
    }

    #[test]
    fn a_bad_stack_name_says_the_rule() {
        let error = StackName::new("My Shop").unwrap_err();
        assert!(error.to_string().contains("lower-case letters"), "{error}");
        assert!(StackName::new("").is_err());
        assert!(StackName::new("x".repeat(41)).is_err());
        assert!(StackName::new("shop_2-a").is_ok());
    }
}
