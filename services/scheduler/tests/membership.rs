//! Nodes that join, renew their certificates and are removed, against a real scheduler.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use std::time::{Duration, SystemTime};

use gantry_agent::join::{Error as NotJoined, Invitation, Joined, Wish, join};
use gantry_api::cluster::v1::membership_service_client::MembershipServiceClient;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::{
    Availability, CreateTokenRequest, ListNodesRequest, ListTokensRequest, Node, RemoveNodeRequest,
    UpdateNodeRequest, WatchNodeRequest,
};
use gantry_api::feed::v1::LeadRequest;
use gantry_api::feed::v1::verdict_service_client::VerdictServiceClient;
use gantry_api::node::v1::member_service_client::MemberServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{
    GetSelfRequest, Hello, LeaveRequest, SessionRequest, SessionResponse, StatusReport, session_request,
    session_response,
};
use gantry_boot::{ConnectError, Credentials, Members, dial, keep_renewed};
use gantry_identity::{Authority, Bundle, Fingerprint, Role, Token};
use gantry_model::{HostFacts, Interface, RouteFact};
use support::{PATIENCE, Scheduler, cluster, eventually};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Streaming};

fn host() -> HostFacts {
    HostFacts {
        hostname: "worker".into(),
        interfaces: vec![Interface {
            name: "eth0".into(),
            mtu: 1500,
            addresses: vec!["192.0.2.7".parse().unwrap()],
        }],
        routes: vec![RouteFact { range: "0.0.0.0/0".parse().unwrap(), interface: "eth0".into() }],
    }
}

async fn token(scheduler: &Scheduler, request: CreateTokenRequest) -> Token {
    let mut admin = MembershipServiceClient::new(scheduler.channel(Role::Admin, "ada"));
    admin.create_token(request).await.unwrap().into_inner().token.parse().unwrap()
}

fn invitation(scheduler: &Scheduler, token: &Token) -> Invitation {
    format!("{token}@{}", scheduler.address).parse().unwrap()
}

async fn join_as(scheduler: &Scheduler, token: &Token, name: &str) -> Result<Joined, NotJoined> {
    let wish = Wish { name: Some(name.into()), ..Wish::default() };
    join(&invitation(scheduler, token), wish, &host()).await
}

async fn nodes(scheduler: &Scheduler) -> Vec<Node> {
    let mut viewer = NodeServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    viewer.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes
}

#[track_caller]
fn refusal(joined: Result<Joined, NotJoined>) -> tonic::Status {
    match joined.unwrap_err() {
        NotJoined::Refused(status) => status,
        other => panic!("{other}"),
    }
}

/// A session as an agent of the node holds it.
struct Session {
    _messages: mpsc::Sender<SessionRequest>,
    answers: Streaming<SessionResponse>,
}

async fn session(channel: Channel, node: &str, name: &str) -> Result<Session, tonic::Status> {
    let (messages, stream) = mpsc::channel(16);
    let hello = Hello { node_id: node.into(), name: name.into(), agent_port: 7071, ..Hello::default() };
    let report = StatusReport { full: true, ..StatusReport::default() };
    for message in [session_request::Message::Hello(hello), session_request::Message::Status(report)] {
        messages.send(SessionRequest { message: Some(message) }).await.unwrap();
    }
    let answers = SessionServiceClient::new(channel).session(ReceiverStream::new(stream)).await?.into_inner();
    Ok(Session { _messages: messages, answers })
}

impl Session {
    /// Waits for a message of the members that is as wanted.
    async fn hears(&mut self, wanted: impl Fn(&gantry_api::node::v1::Membership) -> bool) {
        let wait = async {
            loop {
                let message = self.answers.message().await.unwrap().unwrap().message;
                if let Some(session_response::Message::Membership(members)) = message
                    && wanted(&members)
                {
                    return;
                }
            }
        };
        timeout(PATIENCE, wait).await.unwrap();
    }

    async fn ends(mut self) {
        let wait = async { while let Ok(Some(_)) = self.answers.message().await {} };
        timeout(PATIENCE, wait).await.unwrap();
    }
}

#[tokio::test]
async fn a_host_joins_with_a_token_and_its_certificates_are_good_for_a_session() {
    let scheduler = Scheduler::start().await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    let joined = join_as(&scheduler, &token, "n2").await.unwrap();
    let id = joined.answer.node_id.clone();
    assert_eq!(joined.agent.identity().unwrap().uri(), format!("gantry://c1/node/{id}"));
    assert_eq!(joined.proxy.identity().unwrap().uri(), format!("gantry://c1/proxy/{id}"));
    assert_eq!(joined.answer.scheduler_addresses[0], scheduler.address.to_string());
    let node = nodes(&scheduler).await.remove(0);
    assert_eq!((node.name.as_str(), node.ready, node.addresses[0].as_str()), ("n2", false, "192.0.2.7"));

    let mut session = session(scheduler.channel_of(&joined.agent), &id, "n2").await.unwrap();
    let port = scheduler.address.port();
    let place = format!("192.0.2.7:{port}");
    session.hears(|members| members.denied.is_empty() && members.scheduler_addresses.len() <= 2).await;
    let mut own = MemberServiceClient::new(scheduler.channel_of(&joined.agent));
    eventually("a ready node", async || {
        own.clone().get_self(GetSelfRequest {}).await.ok().filter(|answer| answer.get_ref().ready)
    })
    .await;
    assert_eq!(own.get_self(GetSelfRequest {}).await.unwrap().into_inner().name, "n2");
    assert!(joined.answer.scheduler_addresses.contains(&place), "a scheduler may be restored there");
}

#[tokio::test]
async fn every_token_that_is_no_good_is_refused_with_its_reason() {
    let scheduler = Scheduler::start().await;
    let once = token(&scheduler, CreateTokenRequest { uses: 1, ..Default::default() }).await;
    join_as(&scheduler, &once, "n1").await.unwrap();
    let status = refusal(join_as(&scheduler, &once, "n2").await);
    assert!(status.message().contains("used up: 1 joined with it"), "{status}");

    let second = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let short = token(&scheduler, CreateTokenRequest { expires: second, ..Default::default() }).await;
    eventually("its end", async || {
        // One that never came is replaced, as long as the token is good.
        let refused = join_as(&scheduler, &short, "n1").await.err()?;
        refused.to_string().contains("expired at").then_some(())
    })
    .await;

    let early = token(&scheduler, CreateTokenRequest::default()).await;
    let late = token(&scheduler, CreateTokenRequest { rotate: true, ..Default::default() }).await;
    let status = refusal(join_as(&scheduler, &early, "n2").await);
    assert!(status.message().contains("rotated"), "{status}");
    join_as(&scheduler, &late, "n2").await.unwrap();

    let own = Fingerprint::of_pem(scheduler.authority.certificate()).unwrap();
    let status = refusal(join_as(&scheduler, &Token::create(own), "n3").await);
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("no such join token"), "{status}");
    let mut admin = MembershipServiceClient::new(scheduler.channel(Role::Admin, "ada"));
    let tokens = admin.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert_eq!(tokens.len(), 4);
    assert_eq!(tokens.iter().filter(|token| token.voided).count(), 3);
}

#[tokio::test]
async fn a_token_of_another_cluster_is_not_even_shown_to_this_one() {
    let scheduler = Scheduler::start().await;
    let other = Authority::create(&cluster(), SystemTime::now()).unwrap();
    let foreign = Token::create(Fingerprint::of_pem(other.certificate()).unwrap());
    let refused = join_as(&scheduler, &foreign, "n2").await.unwrap_err();
    let NotJoined::Connect(ConnectError::OtherCluster { theirs, ours, .. }) = &refused else {
        panic!("{refused}")
    };
    assert_eq!(*ours, foreign.fingerprint.to_string());
    assert_eq!(*theirs, Fingerprint::of_pem(scheduler.authority.certificate()).unwrap().to_string());
    assert!(nodes(&scheduler).await.is_empty());
}

#[tokio::test]
async fn a_second_node_of_a_name_and_a_host_whose_packets_are_too_small_are_refused() {
    let scheduler = Scheduler::start().await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    let first = join_as(&scheduler, &token, "n1").await.unwrap();
    let _session = session(scheduler.channel_of(&first.agent), &first.answer.node_id, "n1").await.unwrap();
    let status = refusal(join_as(&scheduler, &token, "n1").await);
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");

    let mut small = host();
    small.interfaces[0].mtu = 1400;
    let status = refusal(join(&invitation(&scheduler, &token), Wish::default(), &small).await);
    assert!(status.message().contains("eth0") && status.message().contains("1400"), "{status}");
    let mut busy = host();
    busy.routes.push(RouteFact { range: "10.200.0.0/16".parse().unwrap(), interface: "wg0".into() });
    let status = refusal(join(&invitation(&scheduler, &token), Wish::default(), &busy).await);
    assert!(status.message().contains("10.200.0.0/16 through wg0"), "{status}");
}

#[tokio::test]
async fn a_removed_node_is_cut_off_and_its_certificate_is_refused_also_after_a_restart() {
    let mut scheduler = Scheduler::start().await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    let (gone, stays) =
        (join_as(&scheduler, &token, "n1").await.unwrap(), join_as(&scheduler, &token, "n2").await.unwrap());
    let id = gone.answer.node_id.clone();
    let live = session(scheduler.channel_of(&gone.agent), &id, "n1").await.unwrap();
    let mut other = session(scheduler.channel_of(&stays.agent), &stays.answer.node_id, "n2").await.unwrap();

    let mut admin = NodeServiceClient::new(scheduler.channel(Role::Admin, "ada"));
    let mut remove = async |force| admin.remove_node(RemoveNodeRequest { name: "n1".into(), force }).await;
    let status = remove(false).await.unwrap_err();
    assert!(status.message().contains("is connected"), "{status}");
    remove(true).await.unwrap();
    live.ends().await;
    let holder = format!("node/{id}");
    other.hears(|members| members.denied == [holder.clone()]).await;
    drop(other);
    let lead = LeadRequest { instance: "w1".into() };
    let mut watchdog = VerdictServiceClient::new(scheduler.channel(Role::Watchdog, "w1"));
    let told = watchdog.lead(lead).await.unwrap().into_inner().membership.unwrap();
    assert_eq!(told.denied.as_slice(), std::slice::from_ref(&holder), "watchdogs hear it too");
    for again in 0..2 {
        let refused = session(scheduler.channel_of(&gone.agent), &id, "n1").await.err().unwrap();
        assert!(
            matches!(refused.code(), Code::Unauthenticated | Code::Unknown | Code::Unavailable),
            "{refused}"
        );
        let mut proxy = MemberServiceClient::new(scheduler.channel_of(&gone.proxy));
        assert!(proxy.renew(gantry_api::node::v1::RenewRequest::default()).await.is_err());
        if again == 0 {
            scheduler.stop().await;
            scheduler.resume().await;
        }
    }
    let names: Vec<_> = nodes(&scheduler).await.into_iter().map(|node| node.name).collect();
    assert_eq!(names, ["n2"]);
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_used_without_a_restart() {
    let scheduler = Scheduler::start_with(&["--certificate-seconds=4"]).await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    let joined = join_as(&scheduler, &token, "n1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    joined.agent.save(folder.path()).unwrap();
    let own = Credentials::kept_in(folder.path(), joined.agent.clone()).unwrap();
    let members = Members::of(vec!["127.0.0.1:1".into(), scheduler.address.to_string()]);
    let stop = CancellationToken::new();
    let renewing = tokio::spawn(keep_renewed(own.clone(), dial(&members, &own), stop.clone()));

    let until = |bundle: &Bundle| bundle.validity().unwrap().until;
    let first = until(&joined.agent);
    eventually("the third certificate", async || {
        (until(&own.bundle()) > first + Duration::from_secs(4)).then_some(())
    })
    .await;
    assert!(SystemTime::now() > first, "the first one is over");
    let kept = Bundle::load(folder.path()).unwrap();
    assert_ne!(kept.key, joined.agent.key);
    assert_eq!(kept.identity().unwrap(), joined.agent.identity().unwrap());
    let mut client = MemberServiceClient::new(dial(&members, &own));
    client.get_self(GetSelfRequest {}).await.unwrap();
    stop.cancel();
    renewing.await.unwrap();
}

#[tokio::test]
async fn what_a_node_may_do_and_its_labels_are_changed_and_watched() {
    let scheduler = Scheduler::start().await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    join_as(&scheduler, &token, "n1").await.unwrap();
    let mut viewer = NodeServiceClient::new(scheduler.channel(Role::Viewer, "bob"));
    let mut seen = viewer.watch_node(WatchNodeRequest { name: "n1".into() }).await.unwrap().into_inner();
    let mut next = async || seen.message().await.unwrap().and_then(|message| message.node);
    assert_eq!(next().await.unwrap().availability(), Availability::Active);

    let mut operator = NodeServiceClient::new(scheduler.channel(Role::Operator, "eve"));
    let request = UpdateNodeRequest {
        name: "n1".into(),
        availability: Availability::Drain.into(),
        label_add: [("disk".to_owned(), "ssd".to_owned())].into(),
        label_rm: vec!["nothing".into()],
    };
    operator.update_node(request.clone()).await.unwrap();
    let mut node = next().await.unwrap();
    // What was seen of it meanwhile is told, too.
    while node.availability() == Availability::Active {
        node = next().await.unwrap();
    }
    assert_eq!((node.availability(), node.labels["disk"].as_str()), (Availability::Drain, "ssd"));
    let bad = UpdateNodeRequest { label_add: [("a b".to_owned(), String::new())].into(), ..request };
    assert_eq!(operator.update_node(bad).await.unwrap_err().code(), Code::InvalidArgument);

    let mut admin = NodeServiceClient::new(scheduler.channel(Role::Admin, "ada"));
    admin.remove_node(RemoveNodeRequest { name: "n1".into(), force: false }).await.unwrap();
    while next().await.is_some() {}
    // The watch ends with the node.
}

#[tokio::test]
async fn a_node_leaves_on_its_own_word() {
    let scheduler = Scheduler::start().await;
    let token = token(&scheduler, CreateTokenRequest::default()).await;
    let joined = join_as(&scheduler, &token, "n1").await.unwrap();
    let id = joined.answer.node_id.clone();
    let live = session(scheduler.channel_of(&joined.agent), &id, "n1").await.unwrap();
    let mut own = MemberServiceClient::new(scheduler.channel_of(&joined.agent));
    let mut steps = own.leave(LeaveRequest::default()).await.unwrap().into_inner();
    let mut done = false;
    while let Ok(Some(step)) = steps.message().await {
        done |= step.done;
    }
    assert!(done);
    live.ends().await;
    assert!(nodes(&scheduler).await.is_empty());
    // The name is free again.
    join_as(&scheduler, &token, "n1").await.unwrap();
}
