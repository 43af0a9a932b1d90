//! What a watchdog reads and concludes, and what becomes of it.

use gantry_api::cluster::v1::event_service_client::EventServiceClient;
use gantry_api::cluster::v1::{Availability, node_service_client::NodeServiceClient};
use gantry_api::cluster::v1::{ListEventsRequest, ListNodesRequest, UpdateNodeRequest};
use gantry_api::feed::v1::verdict::Conclusion;
use gantry_api::feed::v1::{Condition, Presence, Quarantine, RepairKind};
use gantry_identity::Role;
use tonic::Code;

use crate::agent::Agent;
use crate::support::watchdog::{Watchdog, of_node, repair, verdict};
use crate::support::{Scheduler, eventually};

async fn reasons(scheduler: &Scheduler) -> Vec<String> {
    let mut client = EventServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let events = client.list_events(ListEventsRequest::default()).await.unwrap().into_inner().events;
    events.into_iter().map(|event| event.reason).collect()
}

#[tokio::test]
async fn an_unhealthy_replica_is_restarted_in_place_on_a_watchdogs_word() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let _session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(2).await;
    scheduler.converged().await;
    let mut watchdog = Watchdog::start(&scheduler, "w1").await;
    watchdog
        .until("two that are ready", |world| world.cases.values().filter(|case| case.ready).count() == 2)
        .await;
    let id = watchdog.cases.keys().next().unwrap().clone();
    assert!(watchdog.cases[&id].wanted && watchdog.cases[&id].condition() == Condition::Healthy);
    assert!(watchdog.courses["shop/web"].wanted == 2 && !watchdog.courses["shop/web"].changing);
    assert_eq!(watchdog.submit(repair(&id, RepairKind::Restart)).await, "it is ready by now");

    agent.fail(&id, "HTTP 503");
    watchdog.until("the failure", |world| world.cases[&id].condition() == Condition::Unhealthy).await;
    let case = &watchdog.cases[&id];
    assert!(!case.ready && case.message == "HTTP 503" && case.condition_since.is_some());
    assert_eq!(watchdog.submit(repair(&id, RepairKind::Restart)).await, "");
    assert_eq!(watchdog.submit(repair(&id, RepairKind::Restart)).await, "it is being repaired already");
    watchdog.until("its recovery", |world| world.cases[&id].ready && !world.cases[&id].in_repair).await;
    let past = &watchdog.courses["shop/web"].repairs;
    assert!(past.len() == 1 && past[0].replica_id == id && past[0].kind() == RepairKind::Restart);
    let reasons = reasons(&scheduler).await;
    let chain: Vec<_> = reasons
        .iter()
        .filter(|reason| ["Unhealthy", "Restarted", "Healed"].contains(&reason.as_str()))
        .collect();
    assert_eq!(chain, ["Unhealthy", "Restarted", "Healed"]);
    let heard = agent.heard.lock().unwrap();
    let graces = heard.iter().flat_map(|message| &message.upserts).filter_map(|one| one.repair_grace);
    assert!(graces.into_iter().all(|grace| grace.seconds == 3));
}

#[tokio::test]
async fn what_is_killed_when_it_is_restarted_in_place_leaves_one_event_each_time() {
    let scheduler = Scheduler::start().await;
    let agent = Agent::default();
    let session = agent.connect(&scheduler);
    scheduler.node_is_ready().await;
    scheduler.deploy(1).await;
    scheduler.converged().await;
    let id = scheduler.replicas().await.remove(0).id;
    let killed = async || reasons(&scheduler).await.iter().filter(|reason| *reason == "Killed").count();
    for (count, second) in [(1, 100), (2, 110)] {
        agent.kill(&id, second).await;
        eventually("its event", async || (killed().await == count).then_some(())).await;
    }
    // A session that says everything again says nothing new.
    session.abort();
    let _session = agent.connect(&scheduler);
    agent.kill(&id, 120).await;
    eventually("the third event", async || (killed().await == 3).then_some(())).await;
}

#[tokio::test]
async fn one_watchdog_leads_and_only_its_word_counts() {
    let mut scheduler = Scheduler::start().await;
    let mut first = Watchdog::start(&scheduler, "w1").await;
    let mut second = Watchdog::start(&scheduler, "w2").await;
    let (kept, refused) = (first.lead().await, second.lead().await);
    assert!(kept.leads && !refused.leads && refused.leader == "w1");
    assert!(refused.expires_in.unwrap().seconds <= 5);
    let none = second.try_submit(Vec::new()).await.unwrap_err();
    assert_eq!(none.code(), Code::FailedPrecondition, "{none}");
    let many = vec![verdict(repair("r1", RepairKind::Restart)); 1_001];
    assert_eq!(first.try_submit(many).await.unwrap_err().code(), Code::InvalidArgument);
    let answers = first
        .try_submit(vec![
            verdict(repair("r1", RepairKind::Restart)),
            gantry_api::feed::v1::Verdict {
                reason: String::new(),
                ..verdict(repair("r1", RepairKind::Restart))
            },
        ])
        .await
        .unwrap();
    assert!(answers[0] == "it is gone" && answers[1].contains("reason"), "{answers:?}");

    // A scheduler that was started anew knows who led, and lets that one go on.
    drop((first, second));
    scheduler.stop().await;
    scheduler.resume().await;
    assert!(!Watchdog::start(&scheduler, "w2").await.lead().await.leads);
    assert!(Watchdog::start(&scheduler, "w1").await.lead().await.leads);
    let mut late = Watchdog::start(&scheduler, "w2").await;
    assert_eq!(late.try_submit(Vec::new()).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_node_whose_agent_has_announced_its_restart_is_not_lost_meanwhile() {
    let scheduler = Scheduler::start().await;
    let (one, two) = (Agent::default(), Agent::of("n2"));
    let _session = one.connect(&scheduler);
    let session = two.connect(&scheduler);
    scheduler.nodes_are_ready(2).await;
    let mut watchdog = Watchdog::start(&scheduler, "w1").await;
    watchdog.until("both nodes", |world| world.hearings.len() == 2).await;
    assert_eq!(watchdog.hearings["n2"].restarting_since, None);

    two.end();
    session.await.unwrap();
    watchdog.until("silence", |world| world.hearings["n2"].silent_since.is_some()).await;
    let gone = &watchdog.hearings["n2"];
    assert!(!gone.connected && gone.restarting_since.is_some(), "{gone:?}");
    let lost = of_node(gone, Presence::Lost);
    assert!(watchdog.submit(lost).await.contains("announced"));

    let _session = two.connect(&scheduler);
    let is_back = |world: &Watchdog| {
        let node = &world.hearings["n2"];
        node.connected && node.silent_since.is_none() && node.restarting_since.is_none()
    };
    watchdog.until("its return", is_back).await;
}

#[tokio::test]
async fn a_node_is_lost_on_a_watchdogs_word_only_and_never_while_it_is_heard() {
    let scheduler = Scheduler::start().await;
    let (one, two) = (Agent::default(), Agent::of("n2"));
    let _session = one.connect(&scheduler);
    let session = two.connect(&scheduler);
    scheduler.nodes_are_ready(2).await;
    scheduler.deploy(2).await;
    scheduler.converged().await;
    let mut watchdog = Watchdog::start(&scheduler, "w1").await;
    watchdog.until("both nodes", |world| world.hearings.len() == 2).await;
    let heard = of_node(&watchdog.hearings["n2"], Presence::Lost);
    assert_eq!(watchdog.submit(heard).await, "it is heard");

    session.abort();
    watchdog.until("silence", |world| world.hearings["n2"].silent_since.is_some()).await;
    let early = of_node(&watchdog.hearings["n2"], Presence::Lost);
    assert!(watchdog.submit(early).await.contains("less than 6 s"));
    watchdog.until("suspicion", |world| world.hearings["n2"].presence() == Presence::Suspect).await;
    let silent = watchdog.hearings["n2"].silent_since.unwrap();
    watchdog.until("the lost time", |world| world.now.seconds > silent.seconds + 6).await;
    assert_eq!(watchdog.hearings["n2"].presence(), Presence::Suspect, "the scheduler alone loses nobody");
    let lost = of_node(&watchdog.hearings["n2"], Presence::Lost);
    watchdog.lead().await;
    assert_eq!(watchdog.submit(lost.clone()).await, "");
    watchdog.until("the loss", |world| world.hearings["n2"].presence() == Presence::Lost).await;

    let _session = two.connect(&scheduler);
    watchdog.until("its return", |world| world.hearings["n2"].silent_since.is_none()).await;
    assert_eq!(watchdog.hearings["n2"].presence(), Presence::Suspect, "until the watchdog trusts it");
    watchdog.lead().await;
    assert_eq!(watchdog.submit(lost).await, "it was heard again");
    let ready = of_node(&watchdog.hearings["n2"], Presence::Ready);
    assert_eq!(watchdog.submit(ready).await, "");
    scheduler.nodes_are_ready(2).await;
    eventually("both events", || async {
        let reasons = reasons(&scheduler).await;
        ["NodeLost", "NodeBack"].iter().all(|one| reasons.iter().any(|reason| reason == one)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_quarantine_shows_and_a_person_lifts_it() {
    let scheduler = Scheduler::start().await;
    let (one, two) = (Agent::default(), Agent::of("n2"));
    let _sessions = (one.connect(&scheduler), two.connect(&scheduler));
    scheduler.nodes_are_ready(2).await;
    let mut watchdog = Watchdog::start(&scheduler, "w1").await;
    let begin = |node: &str| Conclusion::Quarantine(Quarantine { node_id: node.into(), begins: true });
    assert_eq!(watchdog.submit(begin("n1")).await, "");
    assert!(watchdog.submit(begin("n2")).await.contains("one at a time"));
    watchdog
        .until("the quarantine", |world| {
            world.hearings.get("n1").is_some_and(|node| node.quarantined_since.is_some())
        })
        .await;
    let mut nodes = NodeServiceClient::new(scheduler.channel(Role::Operator, "ada"));
    let shown = nodes.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert!(shown[0].conditions[0].starts_with("in quarantine since"), "{shown:?}");
    let mut request = UpdateNodeRequest { name: "node-n1".into(), ..UpdateNodeRequest::default() };
    request.set_availability(Availability::Active);
    nodes.update_node(request).await.unwrap();
    watchdog.until("its end", |world| world.hearings["n1"].quarantined_since.is_none()).await;
}
