use std::fmt;
use std::str::FromStr;

/// What a certificate's holder is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A person who may do everything.
    Admin,
    /// A person who deploys, but may not become root on a node by it.
    Operator,
    /// A person who reads.
    Viewer,
    /// An agent.
    Node,
    /// A proxy.
    Proxy,
    /// A watchdog.
    Watchdog,
    /// The scheduler itself. It calls nobody.
    Scheduler,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 7] =
        [Self::Admin, Self::Operator, Self::Viewer, Self::Node, Self::Proxy, Self::Watchdog, Self::Scheduler];

    /// The role's word, as it stands in certificates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Node => "node",
            Self::Proxy => "proxy",
            Self::Watchdog => "watchdog",
            Self::Scheduler => "scheduler",
        }
    }

    /// Whether its holder is a server that others dial.
    pub fn serves(self) -> bool {
        matches!(self, Self::Node | Self::Proxy | Self::Watchdog | Self::Scheduler)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(word: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == word)
            .ok_or_else(|| format!("there is no role {word:?}"))
    }
}
