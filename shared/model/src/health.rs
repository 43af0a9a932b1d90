use serde::{Deserialize, Serialize};

/// What a container's health check last said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Health {
    /// It has no health check.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// The last test passed.
    Healthy,
    /// As many tests in a row failed as its retries allow.
    Unhealthy,
}

impl Health {
    /// Whether a running container of this health may take traffic.
    pub fn permits_traffic(self) -> bool {
        matches!(self, Self::None | Self::Healthy)
    }
}
