//! Alerts from the feed to a receiver: the real loop between a scheduler that only keeps, and an HTTP
//! server that only listens.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod desk;

use std::sync::atomic::Ordering;
use std::time::Duration;

use desk::{Kept, PATIENCE, World};
use gantry_api::feed::v1::ReceiverTest;
use gantry_api::feed::v1::notice_outcome::Notice;
use tokio::time::{interval, timeout};

fn one(subject: &str, status: &str) -> (String, Vec<(String, String)>) {
    ("alert".to_owned(), vec![(subject.to_owned(), status.to_owned())])
}

#[tokio::test]
async fn a_receiver_hears_once_that_an_alert_began_and_once_that_it_is_over_also_across_a_restart() {
    let mut world = World::new("200 OK", true).await;
    world.services(&[("shop/web", 0)]);
    assert_eq!(world.notice().await, one("shop/web", "firing"));
    world.kept.told(0, 1).await;
    world.stop().await;
    world.start();
    // Had the first been sent again it would come before this one.
    world.services(&[("shop/web", 0), ("shop/db", 0)]);
    assert_eq!(world.notice().await, one("shop/db", "firing"));
    world.kept.told(1, 1).await;
    world.services(&[("shop/web", 0), ("shop/db", 1)]);
    // Its end is believed after a while only, which goes by here as often as it takes.
    let ends = async {
        let mut again = interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            world.kept.wait(Duration::from_secs(5));
            if let Ok(body) = world.notices.try_recv() {
                return body;
            }
        }
    };
    let body = timeout(PATIENCE, ends).await.unwrap();
    assert_eq!(
        (body["alerts"][0]["subject"].as_str(), body["alerts"][0]["status"].as_str()),
        (Some("shop/db"), Some("resolved"))
    );
    world.kept.told(1, 2).await;
}

#[tokio::test]
async fn a_watchdog_that_does_not_lead_says_nothing_and_one_that_begins_to_lead_catches_up() {
    let mut world = World::new("200 OK", false).await;
    world.services(&[("shop/web", 0)]);
    // Longer than a leader needs.
    let comes = world.kept.first(|kept| (!kept.book.lock().unwrap().alerts.is_empty()).then_some(()));
    assert!(timeout(Duration::from_millis(1_500), comes).await.is_err(), "it does not lead");
    world.leads.send_replace(true);
    assert_eq!(world.notice().await, one("shop/web", "firing"));
}

#[tokio::test]
async fn what_was_on_its_way_when_the_right_to_act_lapsed_is_reported_and_not_sent_again() {
    let mut world = World::new("200 OK", true).await;
    world.answers.send_replace(false);
    world.services(&[("shop/web", 0)]);
    assert_eq!(world.notice().await, one("shop/web", "firing"));
    world.leads.send_replace(false);
    let unled = world.unled.clone();
    // What asks for the traffic does so once within that time; the others are looks.
    world.kept.until("that it sees that", |_| (unled.load(Ordering::Relaxed) >= 3).then_some(())).await;
    world.answers.send_replace(true);
    world.kept.told(0, 1).await;
    world.leads.send_replace(true);
    // Had the first been sent again it would come before this one.
    world.services(&[("shop/web", 0), ("shop/db", 0)]);
    assert_eq!(world.notice().await, one("shop/db", "firing"));
}

#[tokio::test]
async fn what_waits_goes_on_waiting_after_a_restart() {
    let mut world = World::new("200 OK", true).await;
    world.kept.change(|book| book.rules[0].hold = Some(prost_types::Duration { seconds: 600, nanos: 0 }));
    world.services(&[("shop/web", 0)]);
    let waits = |kept: &Kept| {
        let book = kept.book.lock().unwrap();
        book.waiting.as_ref().and_then(|waiting| waiting.findings.first().cloned())
    };
    let since = world.kept.until("that it waits", waits).await.since;
    world.kept.wait(Duration::from_mins(6));
    world.stop().await;
    world.start();
    world.kept.wait(Duration::from_mins(5));
    assert_eq!(world.notice().await, one("shop/web", "firing"));
    world.kept.told(0, 1).await;
    let nothing_waits = |kept: &Kept| waits(kept).is_none().then_some(());
    world.kept.until("that nothing waits any more", nothing_waits).await;
    assert!(since.is_some());
}

#[tokio::test]
async fn a_storm_is_one_digest() {
    let mut world = World::new("200 OK", true).await;
    let names: Vec<String> = (0..30).map(|number| format!("shop/s{number}")).collect();
    let services: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    world.services(&services);
    world.kept.until("all alerts", |kept| (kept.book.lock().unwrap().alerts.len() == 30).then_some(())).await;
    // The window goes by as fast as it takes.
    let digest = async {
        let mut again = interval(Duration::from_millis(20));
        loop {
            again.tick().await;
            world.kept.wait(Duration::from_secs(1));
            if let Ok(body) = world.notices.try_recv() {
                return body;
            }
        }
    };
    let body = timeout(PATIENCE, digest).await.unwrap();
    assert_eq!((body["kind"].as_str(), body["alerts"].as_array().unwrap().len()), (Some("digest"), 30));
    world.kept.told(29, 1).await;
}

#[tokio::test]
async fn a_receiver_that_refuses_is_not_asked_again_and_the_reason_is_kept() {
    let mut world = World::new("404 Not Found", true).await;
    world.services(&[("shop/web", 0)]);
    assert_eq!(world.notice().await, one("shop/web", "firing"));
    world.kept.told(0, 1).await;
    let delivery = world.kept.book.lock().unwrap().alerts[0].deliveries[0].clone();
    assert_eq!((delivery.attempts, delivery.error.as_str()), (1, "answered 404 Not Found"));
    assert!(delivery.lasting, "it would say the same again");
    world.services(&[("shop/web", 0), ("shop/db", 0)]);
    assert_eq!(world.notice().await, one("shop/db", "firing"), "the first is not tried again");
}

#[tokio::test]
async fn a_test_notice_goes_the_same_way_and_its_outcome_comes_back() {
    let mut world = World::new("200 OK", true).await;
    let test = ReceiverTest { id: "t1".into(), receivers: vec!["ops".into(), "gone".into()] };
    world.kept.change(|book| book.tests.push(test));
    assert_eq!(world.notice().await, ("test".to_owned(), Vec::new()));
    let outcome = world.kept.until("the test's outcome", |kept| kept.tests.lock().unwrap().pop()).await;
    assert_eq!(outcome.notice, Some(Notice::Test("t1".into())));
    assert_eq!(outcome.delivery.unwrap().error, "");
}
