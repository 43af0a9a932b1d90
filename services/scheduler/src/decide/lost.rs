//! Which nodes are there, as far as the scheduler says so by itself.
//!
//! That a node is lost, or comes and goes too often to be trusted, is a watchdog's conclusion: it is acted
//! on while what it was based on still holds. What is left here is the safe side of it: a node that is not
//! heard gets nothing new, and one that is heard is not lost.

use std::time::Duration;

use gantry_model::{NodeStatus, Timestamp, Verdict};

/// A node that is silent for this long gets nothing new.
pub const SUSPECT: Duration = Duration::from_secs(3);
/// A node of which nothing is heard for this long may be lost.
pub const LOST: Duration = Duration::from_secs(6);
/// For how long an agent that could not renew its lease may still run an exclusive service.
pub const LEASE: Duration = Duration::from_secs(10);
/// A restart that was announced may take this long: the node is not lost meanwhile.
pub const ANNOUNCED: Duration = Duration::from_mins(1);
/// When no watchdog has spoken for this long, nobody else says that a node can be trusted again.
pub const UNWATCHED: Duration = Duration::from_secs(10);
/// A node that was steady for this long has not come and gone of late.
const STEADY: Duration = Duration::from_mins(10);

/// What holds of a node now, where `status` has what held before. A watchdog that leads spoke last at
/// `watchdog`.
pub fn presence(status: &NodeStatus, watchdog: Option<Timestamp>, now: Timestamp) -> Verdict {
    let is_watched = watchdog.is_some_and(|spoke| now.since(spoke) < UNWATCHED);
    match (status.silent_since, status.verdict) {
        (Some(since), verdict) if now.since(since) >= SUSPECT => verdict.max(Verdict::Suspect),
        (Some(_), verdict) => verdict,
        (None, Verdict::Ready) => Verdict::Ready,
        (None, _) if is_watched => Verdict::Suspect,
        (None, _) => Verdict::Ready,
    }
}

/// Why what a watchdog concluded of a node, when it was silent since `silent_since`, does not hold any more.
pub fn objection(
    status: &NodeStatus,
    concluded: Verdict,
    silent_since: Option<Timestamp>,
    now: Timestamp,
) -> Option<String> {
    let silent = match (status.silent_since, silent_since) {
        (None, Some(_)) => return Some("it was heard again".to_owned()),
        (Some(_), None) => return Some("nothing is heard of it now".to_owned()),
        (Some(is), Some(was)) if is != was => {
            return Some("it was heard meanwhile, and is silent since another time".to_owned());
        }
        (since, _) => since.map(|since| now.since(since)),
    };
    match (concluded, silent) {
        (Verdict::Lost, None) => Some("it is heard".to_owned()),
        (Verdict::Lost, Some(_)) if status.connected => Some("its agent's session is open".to_owned()),
        (Verdict::Lost, Some(_)) if is_announced(status, now) => {
            Some("its agent has announced that it is restarted".to_owned())
        }
        (Verdict::Lost, Some(_)) if status.proxy_heard => Some("its proxy is heard".to_owned()),
        (Verdict::Lost, Some(silent)) if silent < LOST => {
            Some(format!("it is silent for less than {} s", LOST.as_secs()))
        }
        (Verdict::Ready, Some(silent)) if silent >= SUSPECT => Some("nothing is heard of it".to_owned()),
        _ => None,
    }
}

/// Notes that a node is heard again. One that was silent for so long that it got nothing new has come and gone,
/// whether its session has ended meanwhile or not.
pub fn heard_again(status: &mut NodeStatus, now: Timestamp) {
    if status.silent_since.take().is_some() && status.verdict != Verdict::Ready {
        let steady = status.returned_at.is_none_or(|back| now.since(back) >= STEADY);
        status.flaps = if steady { 1 } else { status.flaps.saturating_add(1) };
        status.returned_at = Some(now);
    }
}

/// Notes that a node's agent has opened a session.
pub fn connected(status: &mut NodeStatus, now: Timestamp) {
    heard_again(status, now);
    *status = NodeStatus {
        connected: true,
        since: now,
        // Until it says otherwise, its network is as it was: names depend on that.
        network_error: status.network_error.take(),
        overlay_error: status.overlay_error.take(),
        broken_paths: std::mem::take(&mut status.broken_paths),
        full_disks: std::mem::take(&mut status.full_disks),
        disk_used_percent: status.disk_used_percent,
        certificate_expires_at: status.certificate_expires_at,
        proxy_heard: status.proxy_heard,
        // That is over when it has also said what it runs.
        restarting_since: status.restarting_since,
        flaps: status.flaps,
        returned_at: status.returned_at,
        // It is there: whether it can be trusted is another matter.
        verdict: status.verdict.min(Verdict::Suspect),
        ..NodeStatus::default()
    };
}

/// Notes that a node's agent has ended its session with the word that it is restarted. Said again before that
/// is over, it holds no longer.
pub fn announced(status: &mut NodeStatus, now: Timestamp) {
    if !is_announced(status, now) {
        status.restarting_since = Some(now);
    }
    disconnected(status, now);
}

/// Whether a restart is under way that was announced, and has not taken too long.
fn is_announced(status: &NodeStatus, now: Timestamp) -> bool {
    status.restarting_since.is_some_and(|since| now.since(since) < ANNOUNCED)
}

/// Notes whether an announced restart is over: the node is all there again, or has taken too long.
pub fn settle_restart(status: &mut NodeStatus, now: Timestamp) {
    let is_back = status.connected && status.reported && status.engine_error.is_none();
    if is_back || !is_announced(status, now) {
        status.restarting_since = None;
    }
}

/// Notes that the session of a node's agent has ended.
pub fn disconnected(status: &mut NodeStatus, now: Timestamp) {
    (status.connected, status.reported, status.since) = (false, false, now);
    (status.engine_error, status.refused) = (None, None);
}

#[cfg(test)]
mod tests {
    use Verdict::{Lost, Ready, Suspect};

    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_000_000);

    const fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis.cast_signed())
    }

    fn silent(verdict: Verdict) -> NodeStatus {
        NodeStatus { silent_since: Some(START), verdict, ..NodeStatus::default() }
    }

    fn heard(verdict: Verdict) -> NodeStatus {
        NodeStatus { connected: true, verdict, ..NodeStatus::default() }
    }

    #[test]
    fn a_silent_node_gets_nothing_new_and_is_never_lost_without_a_watchdog() {
        assert_eq!(presence(&silent(Ready), None, at(2_900)), Ready);
        assert_eq!(presence(&silent(Ready), None, at(3_000)), Suspect);
        assert_eq!(presence(&silent(Ready), Some(START), at(600_000)), Suspect);
        assert_eq!(presence(&silent(Lost), None, at(600_000)), Lost, "as a watchdog said before");
    }

    #[test]
    fn a_node_that_is_heard_again_is_trusted_when_the_watchdog_says_so_or_when_there_is_none() {
        for before in [Suspect, Lost] {
            assert_eq!(presence(&heard(before), Some(at(0)), at(9_900)), Suspect);
            assert_eq!(presence(&heard(before), Some(at(0)), at(10_000)), Ready);
            assert_eq!(presence(&heard(before), None, at(0)), Ready);
        }
        assert_eq!(presence(&heard(Ready), Some(at(0)), at(0)), Ready);
    }

    #[test]
    fn what_was_concluded_holds_only_while_what_it_was_based_on_does() {
        let lost = |status: &NodeStatus, since, now| objection(status, Lost, since, now);
        assert_eq!(lost(&silent(Suspect), Some(START), at(6_000)), None);
        let why = |status: &NodeStatus, since, now| lost(status, since, now).unwrap();
        assert!(why(&heard(Suspect), Some(START), at(6_000)).contains("heard again"));
        assert!(why(&silent(Suspect), Some(at(1)), at(6_000)).contains("another time"));
        assert!(why(&silent(Suspect), Some(START), at(5_900)).contains("less than 6 s"));
        assert!(why(&heard(Suspect), None, at(6_000)).contains("it is heard"));
        let there = NodeStatus { proxy_heard: true, ..silent(Suspect) };
        assert!(why(&there, Some(START), at(6_000)).contains("proxy"));
        let there = NodeStatus { connected: true, ..silent(Suspect) };
        assert!(why(&there, Some(START), at(6_000)).contains("session"));

        assert_eq!(objection(&heard(Suspect), Ready, None, at(0)), None);
        assert_eq!(objection(&heard(Ready), Suspect, None, at(0)), None, "it comes and goes");
        assert!(objection(&silent(Suspect), Ready, None, at(3_000)).is_some());
        assert!(objection(&silent(Suspect), Ready, Some(START), at(3_000)).is_some());
    }

    #[test]
    fn an_announced_restart_holds_for_a_minute_or_until_the_node_is_all_there() {
        let mut status = heard(Ready);
        status.reported = true;
        announced(&mut status, START);
        assert!(!status.connected);
        status.silent_since = Some(START);
        let lost = |status: &NodeStatus, now| objection(status, Lost, Some(START), now);
        assert!(lost(&status, at(59_999)).unwrap().contains("announced"));
        assert_eq!(lost(&status, at(60_000)), None, "the host was switched off");

        let mut back = status.clone();
        connected(&mut back, at(20_000));
        settle_restart(&mut back, at(20_000));
        assert_eq!(back.restarting_since, Some(START), "it has not said what it runs");
        (back.reported, back.engine_error) = (true, Some("it does not answer".into()));
        settle_restart(&mut back, at(21_000));
        assert_eq!(back.restarting_since, Some(START), "its engine is not there yet");
        // It ends once more meanwhile: that gives it no more time, unless it was over.
        announced(&mut back, at(22_000));
        assert_eq!(back.restarting_since, Some(START));
        connected(&mut back, at(22_500));
        back.reported = true;
        settle_restart(&mut back, at(23_000));
        assert_eq!(back.restarting_since, None);
        announced(&mut back, at(30_000));
        assert_eq!(back.restarting_since, Some(at(30_000)));

        settle_restart(&mut status, at(60_000));
        assert_eq!(status.restarting_since, None, "nobody reads what is over");
    }

    #[test]
    fn a_node_that_comes_and_goes_is_counted_until_it_was_steady_for_long() {
        let mut status = silent(Suspect);
        for (returned, flaps) in [(10_000, 1), (20_000, 2), (30_000, 3), (640_000, 1)] {
            (status.silent_since, status.verdict) = (Some(START), Suspect);
            connected(&mut status, at(returned));
            assert_eq!((status.flaps, status.returned_at), (flaps, Some(at(returned))));
            assert_eq!(status.silent_since, None);
        }
        status.verdict = Lost;
        connected(&mut status, at(700_000));
        assert_eq!(status.verdict, Suspect, "at once");
    }
}
