//! Watchdogs over real connections, with a scheduler that only listens.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use std::time::{Duration, Instant};

use gantry_api::feed::v1::verdict::Conclusion;
use gantry_api::feed::v1::{Condition, Presence, RepairKind};
use gantry_api::watchdog::v1::GetStatusRequest;
use gantry_api::watchdog::v1::watchdog_service_client::WatchdogServiceClient;
use gantry_boot::{Credentials, Members, connect, now};
use gantry_identity::{Bundle, Role};
use gantry_model::Timestamp;
use gantry_model::wire::write_time;
use gantry_watchdog::config::Config;
use gantry_watchdog::{Running, start};
use support::{Certificates, Fake, LEASE, PATIENCE, case, course, node};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

fn watchdog(address: &str, certificates: &Certificates, stop: &CancellationToken) -> Running {
    let own = Credentials::of(certificates.of(Role::Watchdog)).unwrap();
    start(&Members::of(vec![address.to_owned()]), &own, stop)
}

#[tokio::test]
async fn what_is_unhealthy_becomes_a_verdict_and_a_refusal_is_no_reason_to_shout() {
    let certificates = Certificates::new();
    let fake = Fake::new(vec![
        node("n1", None),
        course(2),
        case("r1", 1, Condition::Healthy),
        case("r2", 2, Condition::Unhealthy),
    ]);
    "it is ready by now".clone_into(&mut fake.refusal.lock().unwrap());
    let scheduler = fake.serve(&certificates.of(Role::Scheduler), "127.0.0.1:0").await;
    let stop = CancellationToken::new();
    let running = watchdog(&scheduler.address.to_string(), &certificates, &stop);

    let told = fake.until_told(|told| !told.is_empty()).await;
    let (instance, verdict) = &told[0];
    assert_eq!(
        (instance, verdict.revision, verdict.reason.as_str()),
        (&running.seat.instance, 7, "Unhealthy")
    );
    assert_eq!(verdict.message, "shop/web.2 is unhealthy; it is restarted");
    let Some(Conclusion::Repair(repair)) = &verdict.conclusion else { panic!("{verdict:?}") };
    assert_eq!((repair.replica_id.as_str(), repair.kind()), ("r2", RepairKind::Restart));

    // It was refused, so it is said again, but not before two seconds are over.
    let first = Instant::now();
    let again = fake.until_told(|told| told.len() >= 2).await;
    assert_eq!(again[1].1.conclusion, verdict.conclusion);
    assert!(first.elapsed() >= Duration::from_millis(1_500), "after {:?}", first.elapsed());
    stop.cancel();
    scheduler.stop.cancel();
}

#[tokio::test]
async fn of_two_watchdogs_one_acts_and_the_other_takes_over() {
    let certificates = Certificates::new();
    let fake = Fake::new(vec![node("n1", None), course(1), case("r1", 1, Condition::Healthy)]);
    let scheduler = fake.serve(&certificates.of(Role::Scheduler), "127.0.0.1:0").await;
    let address = scheduler.address.to_string();
    let stops = [CancellationToken::new(), CancellationToken::new()];
    let watchdogs = [0, 1].map(|which: usize| watchdog(&address, &certificates, &stops[which]));
    let leads = |which: usize| watchdogs[which].seat.leads();
    until(|| leads(0) || leads(1)).await;
    let (first, second) = if leads(0) { (0, 1) } else { (1, 0) };
    assert!(!leads(second), "only one may act");

    fake.objects.send_replace(vec![node("n1", None), course(1), case("r1", 1, Condition::Unhealthy)]);
    let told = fake.until_told(|told| !told.is_empty()).await;
    assert_eq!(told[0].0, watchdogs[first].seat.instance);

    // The one that acted is gone, and the replica is as it was: nothing shows of the repair.
    stops[first].cancel();
    until(|| !leads(first)).await;
    let other = &watchdogs[second].seat.instance;
    let told = fake.until_told(|told| told.last().is_some_and(|(by, _)| by == other)).await;
    assert!(told.iter().all(|(_, verdict)| matches!(verdict.conclusion, Some(Conclusion::Repair(_)))));
    assert_eq!(fake.leader().as_ref(), Some(other));
    stops[second].cancel();
    scheduler.stop.cancel();
}

#[tokio::test]
async fn one_that_does_not_reach_the_scheduler_stops_acting_by_its_own_clock_and_comes_back() {
    let certificates = Certificates::new();
    let own = certificates.of(Role::Scheduler);
    let fake = Fake::new(vec![node("n1", None), course(1), case("r1", 1, Condition::Healthy)]);
    let scheduler = fake.serve(&own, "127.0.0.1:0").await;
    let address = scheduler.address;
    let stop = CancellationToken::new();
    let running = watchdog(&address.to_string(), &certificates, &stop);
    let mut seat = running.seat.clone();
    until(|| seat.leads() && seat.mirrors.borrow().connected).await;

    scheduler.stop.cancel();
    scheduler.task.await.unwrap();
    let gone = Instant::now();
    until(|| !seat.leads() && !seat.mirrors.borrow().connected).await;
    assert!(gone.elapsed() < LEASE + PATIENCE / 2);
    assert!(seat.look().is_none(), "nothing is judged without a feed");

    // Any order of starts: the watchdog was there before this scheduler. A node was lost meanwhile.
    let silent = Timestamp::from_millis(now().as_millis() - 30_000);
    fake.objects.send_replace(vec![node("n1", Some(silent)), node("n2", None)]);
    let scheduler = fake.serve(&own, &address.to_string()).await;
    let told = fake.until_told(|told| !told.is_empty()).await;
    let Some(Conclusion::Node(verdict)) = &told[0].1.conclusion else { panic!("{told:?}") };
    assert_eq!((verdict.node_id.as_str(), verdict.presence()), ("n1", Presence::Lost));
    stop.cancel();
    scheduler.stop.cancel();
}

#[tokio::test]
async fn the_process_serves_its_status_health_and_metrics() {
    let certificates = Certificates::new();
    let mut changing = course(1);
    if let Some(gantry_api::feed::v1::object::Object::Course(course)) = &mut changing.object {
        (course.changing, course.progressed_at) = (true, Some(write_time(now())));
    }
    let fake = Fake::new(vec![node("n1", None), changing, case("r1", 1, Condition::Unhealthy)]);
    let scheduler = fake.serve(&certificates.of(Role::Scheduler), "127.0.0.1:0").await;
    let folder = tempfile::tempdir().unwrap();
    let identity = folder.path().join("identity");
    std::fs::create_dir(&identity).unwrap();
    save(&certificates.of(Role::Watchdog), &identity);
    let [listen, admin] = free_ports();
    let config = Config {
        scheduler: vec![scheduler.address.to_string()],
        listen,
        admin,
        data: folder.path().to_owned(),
        identity,
    };
    let stop = CancellationToken::new();
    let running = tokio::spawn(gantry_watchdog::run(config, stop.clone()));

    let viewer = certificates.of(Role::Viewer);
    let status = timeout(PATIENCE, async {
        let mut again = interval(Duration::from_millis(50));
        loop {
            again.tick().await;
            if let Ok(channel) = connect(&listen.to_string(), Role::Watchdog, "test", &viewer).await {
                let asked = WatchdogServiceClient::new(channel).get_status(GetStatusRequest {}).await;
                let status = asked.unwrap().into_inner();
                if status.leads && !status.replicas.is_empty() {
                    return status;
                }
            }
        }
    });
    let status = status.await.unwrap();
    assert!(status.connected && status.revision == 7 && status.leader == status.instance);
    assert_eq!(status.verdicts, [] as [&str; 0]);
    let only = &status.replicas[0];
    assert_eq!((only.condition.as_str(), only.next.as_str()), ("unhealthy", "restart"));
    assert_eq!(only.waits_for, "its service is being changed");

    assert_eq!(get(admin, "/readyz").await, "ready\n");
    let numbers = get(admin, "/metrics").await;
    for line in ["gantry_watchdog_leads 1", "gantry_watchdog_repairs_waiting 1"] {
        assert!(numbers.contains(line), "{line} is not in {numbers}");
    }

    // Who is not a member any more is not answered: the scheduler says so with the lead.
    let asks = async || {
        let channel = connect(&listen.to_string(), Role::Watchdog, "test", &viewer).await.map_err(drop)?;
        WatchdogServiceClient::new(channel).get_status(GetStatusRequest {}).await.map(drop).map_err(drop)
    };
    assert_eq!(asks().await, Ok(()));
    fake.denied.lock().unwrap().push("viewer/test".to_owned());
    let refused = timeout(PATIENCE, async {
        let mut again = interval(Duration::from_millis(50));
        while asks().await.is_ok() {
            again.tick().await;
        }
    });
    refused.await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    scheduler.stop.cancel();
}

fn save(bundle: &Bundle, folder: &std::path::Path) {
    let contents = [&bundle.ca, &bundle.certificate, &bundle.key];
    for (name, content) in Bundle::FILES.iter().zip(contents) {
        std::fs::write(folder.join(name), content).unwrap();
    }
}

fn free_ports() -> [std::net::SocketAddr; 2] {
    let both = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    both.map(|listener| listener.local_addr().unwrap())
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

async fn until(right: impl Fn() -> bool) {
    let waiting = async {
        let mut again = interval(Duration::from_millis(10));
        while !right() {
            again.tick().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap();
}
