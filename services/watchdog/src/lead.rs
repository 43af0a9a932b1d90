//! The right to act: of several watchdogs one has it, for a short time that it has prolonged.

use std::time::{Duration, Instant};

use gantry_api::feed::v1::LeadRequest;
use gantry_api::feed::v1::verdict_service_client::VerdictServiceClient;
use gantry_api::node::v1::Membership;
use gantry_boot::Members;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

const EVERY: Duration = Duration::from_secs(1);
/// An answer that takes longer is worth little.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who has the right to act.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lead {
    /// This watchdog has it until then, by this machine's clock that only goes forward.
    until: Option<Instant>,
    /// The instance that has it, as far as is known.
    pub leader: String,
}

impl Lead {
    /// This watchdog asked at `asked`, and has the right for `lasts`. The scheduler counts from when it
    /// heard that, so this ends no later than the right itself.
    pub fn held(instance: &str, asked: Instant, lasts: Duration) -> Self {
        Self { until: asked.checked_add(lasts), leader: instance.to_owned() }
    }

    /// Somebody else has it.
    pub fn of(leader: &str) -> Self {
        Self { until: None, leader: leader.to_owned() }
    }

    /// Whether this watchdog may act at `at`.
    pub fn holds(&self, at: Instant) -> bool {
        self.until.is_some_and(|until| at < until)
    }
}

/// Asks for the right to act every second, until `stop`.
///
/// With the answer comes what `members` learns: where the scheduler is, and whose certificates are refused.
pub async fn keep(
    instance: String,
    channel: Channel,
    members: Members,
    lead: watch::Sender<Lead>,
    stop: CancellationToken,
) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = String::new();
    let mut led = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = ask(&instance, channel.clone()) => answer,
        };
        match answer {
            Ok((new, membership)) => {
                lead.send_replace(new);
                last.clear();
                if let Some(news) = membership
                    && let Err(error) = members.learn(news).await
                {
                    tracing::warn!(%error, "cannot keep what was said of the other members");
                }
            }
            // Who knows whether it was heard: what was held before ends in its time.
            Err(problem) => {
                if problem != last {
                    tracing::warn!(problem, "cannot ask for the right to act; trying again");
                }
                last = problem;
            }
        }
        let leads = lead.borrow().holds(Instant::now());
        if leads != led {
            tracing::info!(leads, leader = lead.borrow().leader, "the right to act has changed");
        }
        led = leads;
    }
}

async fn ask(instance: &str, channel: Channel) -> Result<(Lead, Option<Membership>), String> {
    let asked = Instant::now();
    let request = LeadRequest { instance: instance.to_owned() };
    let answer = timeout(PATIENCE, VerdictServiceClient::new(channel).lead(request))
        .await
        .map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|status| status.message().to_owned())?
        .into_inner();
    if !answer.leads {
        return Ok((Lead::of(&answer.leader), answer.membership));
    }
    let lasts = answer.expires_in.and_then(|lasts| Duration::try_from(lasts).ok()).unwrap_or_default();
    Ok((Lead::held(instance, asked, lasts), answer.membership))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_ends_by_itself_counted_from_the_question() {
        let asked = Instant::now();
        let lead = Lead::held("a", asked, Duration::from_secs(3));
        assert!(lead.holds(asked + Duration::from_millis(2_999)));
        assert!(!lead.holds(asked + Duration::from_secs(3)));
        assert!(!Lead::of("b").holds(asked) && !Lead::default().holds(asked));
    }
}
