use proptest::prelude::*;

use super::*;

const HOLD: Duration = Duration::from_secs(30);

fn of(subject: &str) -> Fingerprint {
    Fingerprint { rule: "rule".into(), subject: subject.into() }
}

fn finding(subject: &str, known: bool) -> Finding {
    Finding {
        of: of(subject),
        known,
        hold: HOLD,
        severity: AlertSeverity::Warning,
        labels: BTreeMap::new(),
        summary: "wrong".into(),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

/// What is said of one subject at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Wrong,
    Fine,
    Unknown,
}

fn findings(said: &[Said]) -> Vec<Finding> {
    let one = |(number, said): (usize, &Said)| match said {
        Said::Wrong => Some(finding(&number.to_string(), true)),
        Said::Unknown => Some(finding(&number.to_string(), false)),
        Said::Fine => None,
    };
    said.iter().enumerate().filter_map(one).collect()
}

/// Evaluates at these times; what began and what ended, with its time.
fn run(memory: &mut AlertMemory, steps: &[(i64, Said)]) -> Vec<(i64, &'static str)> {
    let mut notices = Vec::new();
    for (seconds, said) in steps {
        for change in compare(&findings(&[*said]), memory, at(*seconds)) {
            memory.take(&change);
            match change {
                AlertChange::Began(_) => notices.push((*seconds, "began")),
                AlertChange::Ended(_) => notices.push((*seconds, "ended")),
                _ => {}
            }
        }
    }
    notices
}

#[test]
fn an_alert_begins_when_it_has_held_and_ends_when_it_has_been_gone() {
    use Said::{Fine, Wrong};
    let mut memory = AlertMemory::default();
    let steps =
        [(0, Wrong), (29, Wrong), (30, Wrong), (40, Wrong), (50, Fine), (64, Fine), (65, Fine), (90, Fine)];
    assert_eq!(run(&mut memory, &steps), [(30, "began"), (65, "ended")]);
    assert_eq!(memory, AlertMemory::default());
}

#[test]
fn what_comes_and_goes_is_one_alert_or_none() {
    use Said::{Fine, Wrong};
    let mut memory = AlertMemory::default();
    let blips: Vec<_> = (0..60).map(|n| (n * 10, if n % 2 == 0 { Wrong } else { Fine })).collect();
    assert!(run(&mut memory, &blips).is_empty(), "never long enough");
    memory.believe([of("0")].into());
    assert!(run(&mut memory, &blips).is_empty(), "never gone for long enough");
}

#[test]
fn what_nobody_knows_begins_nothing_and_ends_nothing() {
    use Said::{Fine, Unknown, Wrong};
    let mut memory = AlertMemory::default();
    assert!(run(&mut memory, &[(0, Wrong), (20, Unknown), (40, Wrong), (60, Wrong)]).is_empty());
    memory.believe([of("0")].into());
    let steps =
        [(100, Fine), (110, Unknown), (120, Unknown), (500, Unknown), (501, Fine), (515, Fine), (516, Fine)];
    assert_eq!(run(&mut memory, &steps), [(516, "ended")]);
}

#[test]
fn after_a_restart_what_is_stored_does_not_begin_again() {
    let mut memory = AlertMemory::default();
    memory.believe([of("0")].into());
    let steps: Vec<_> = (0..100).map(|n| (n, Said::Wrong)).collect();
    assert!(run(&mut memory, &steps).is_empty());
    assert_eq!(memory.active().count(), 1);
    memory.believe(BTreeSet::new());
    assert_eq!(
        run(&mut memory, &[(100, Said::Wrong), (130, Said::Wrong)]),
        [(130, "began")],
        "it was not stored"
    );
}

#[test]
fn what_waits_goes_on_after_a_restart_and_after_another_has_judged() {
    use Said::Wrong;
    let mut memory = AlertMemory::default();
    assert!(run(&mut memory, &[(0, Wrong), (20, Wrong)]).is_empty());
    let mut anew = AlertMemory::default();
    anew.resume(Some(memory.waiting()));
    assert_eq!(run(&mut anew, &[(25, Wrong), (30, Wrong)]), [(30, "began")]);
    // Another one said that it had passed, and came again.
    memory.resume(Some(&[(of("0"), at(28))].into()));
    assert!(run(&mut memory, &[(57, Wrong)]).is_empty());
    // The scheduler was away, and has heard nothing since.
    memory.resume(None);
    assert_eq!(run(&mut memory, &[(58, Wrong)]), [(58, "began")]);
}

#[test]
fn no_more_alerts_begin_than_can_be_stored() {
    let said = vec![Said::Wrong; Alert::MOST_ACTIVE + 10];
    let all: Vec<_> =
        findings(&said).into_iter().map(|one| Finding { hold: Duration::ZERO, ..one }).collect();
    let began = compare(&all, &AlertMemory::default(), at(0));
    let count = began.iter().filter(|change| matches!(change, AlertChange::Began(_))).count();
    assert_eq!(count, Alert::MOST_ACTIVE);
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![4 => Just(Said::Wrong), 4 => Just(Said::Fine), 1 => Just(Said::Unknown)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Of each subject: begun at most once until it has ended, begun only after it was wrong for as long as
    /// it must, ended only after it was fine for as long as it must, and nothing else is missed.
    #[test]
    fn every_alert_begins_and_ends_in_turn_and_for_a_reason(
        steps in prop::collection::vec((1_i64..20, prop::collection::vec(said(), 3), prop::bool::weighted(0.05)), 1..60)
    ) {
        let mut memory = AlertMemory::default();
        let mut stored = BTreeSet::new();
        let mut now = 0;
        // Since when each subject is said to be as it is, without a break.
        let mut wrong: Vec<Option<i64>> = vec![None; 3];
        let mut fine: Vec<Option<i64>> = vec![None; 3];
        for (pause, says, restarts) in steps {
            now += pause;
            if restarts {
                memory = AlertMemory::default();
                (wrong, fine) = (vec![None; 3], vec![None; 3]);
            }
            memory.believe(stored.clone());
            for (number, said) in says.iter().enumerate() {
                wrong[number] = if *said == Said::Wrong { wrong[number].or(Some(now)) } else { None };
                fine[number] = if *said == Said::Fine { fine[number].or(Some(now)) } else { None };
            }
            for change in compare(&findings(&says), &memory, at(now)) {
                memory.take(&change);
                match change {
                    AlertChange::Began(finding) => {
                        let number: usize = finding.of.subject.parse().unwrap();
                        prop_assert!(now - wrong[number].unwrap() >= 30, "it has held");
                        prop_assert!(stored.insert(finding.of), "it had ended");
                    }
                    AlertChange::Ended(of) => {
                        let number: usize = of.subject.parse().unwrap();
                        prop_assert!(now - fine[number].unwrap() >= 15, "it has been gone");
                        prop_assert!(stored.remove(&of), "it had begun");
                    }
                    _ => {}
                }
            }
            for number in 0..3 {
                let is_active = stored.contains(&of(&number.to_string()));
                prop_assert!(is_active || wrong[number].is_none_or(|since| now - since < 30), "none is missed");
                prop_assert!(!is_active || fine[number].is_none_or(|since| now - since < 15), "each ends");
            }
        }
        // Once all is well every alert ends.
        for _ in 0..2 {
            now += 15;
            for change in compare(&[], &memory, at(now)) {
                memory.take(&change);
            }
        }
        prop_assert_eq!(memory, AlertMemory::default());
    }
}
