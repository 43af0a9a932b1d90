//! Replicas whose checks pass and whose requests fail, as proxies tell. That is no reason for a repair: what
//! fails may be the requests. It is shown, and people are told.

use crate::world::{Case, Condition};

/// The reason of what people are told.
pub const REASON: &str = "RequestsFail";
/// So many requests of the last seconds say something of a replica, and fewer do not.
const ENOUGH: u64 = 20;

/// What is seen of a replica of whose requests half or more fail, though its checks pass.
pub fn seen(case: &Case) -> Option<String> {
    let (failed, all) = (case.failed_requests, case.requests);
    let passes = case.ready && case.condition == Condition::Healthy;
    (passes && all >= ENOUGH && failed.saturating_mul(2) >= all)
        .then(|| format!("{failed} of the last {all} requests to it failed, and its checks pass"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::sample::World;

    #[test]
    fn half_of_twenty_requests_say_something_while_checks_pass() {
        let mut world = World::new().service("s/web", 1, &["n1"]);
        let mut of = |failed, requests, condition| {
            let case = world.case("s/web", 1);
            (case.failed_requests, case.requests, case.condition) = (failed, requests, condition);
            seen(case).is_some()
        };
        assert!(of(10, 20, Condition::Healthy) && of(500, 500, Condition::Healthy));
        assert!(!of(9, 20, Condition::Healthy) && !of(19, 19, Condition::Healthy));
        assert!(!of(0, 0, Condition::Healthy) && !of(10, 20, Condition::Failing));
    }
}
