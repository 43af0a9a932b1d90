//! A scheduler that is gone is started elsewhere from a backup, and its agents find it there.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use gantry_api::cluster::v1::cluster_service_client::ClusterServiceClient;
use gantry_api::cluster::v1::membership_service_client::MembershipServiceClient;
use gantry_api::cluster::v1::node_service_client::NodeServiceClient;
use gantry_api::cluster::v1::{
    BackupRequest, CreateTokenRequest, GetClusterRequest, ListNodesRequest, ListTokensRequest,
};
use gantry_api::node::v1::member_service_client::MemberServiceClient;
use gantry_api::node::v1::session_service_client::SessionServiceClient;
use gantry_api::node::v1::{GetSelfRequest, Hello, SessionRequest, session_request};
use gantry_boot::{Credentials, Members, dial};
use gantry_identity::{Authority, Role};
use gantry_model::{Backup, Lineage, wire};
use support::{Scheduler, eventually};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

async fn backup(scheduler: &Scheduler) -> Vec<u8> {
    let mut admin = ClusterServiceClient::new(scheduler.channel(Role::Admin, "ada"));
    let mut pieces = admin.backup(BackupRequest {}).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        file.extend(piece.chunk);
    }
    file
}

/// What the scheduler says of its history to the agent of n1, whose record that makes.
async fn lineage(scheduler: &Scheduler) -> Lineage {
    let hello = Hello { node_id: "n1".into(), name: "n1".into(), ..Hello::default() };
    let (messages, stream) = tokio::sync::mpsc::channel(1);
    let message = Some(session_request::Message::Hello(hello));
    messages.send(SessionRequest { message }).await.unwrap();
    let mut client = SessionServiceClient::new(scheduler.channel(Role::Node, "n1"));
    let mut answers = client.session(ReceiverStream::new(stream)).await.unwrap().into_inner();
    wire::read_lineage(answers.message().await.unwrap().unwrap().lineage.unwrap()).unwrap()
}

#[tokio::test]
async fn a_restored_scheduler_is_believed_and_found_and_the_old_one_is_not_believed_any_more() {
    let mut old = Scheduler::start().await;
    let mut admin = MembershipServiceClient::new(old.channel(Role::Admin, "ada"));
    admin.create_token(CreateTokenRequest::default()).await.unwrap();
    lineage(&old).await;
    let file = backup(&old).await;
    // What happens after the backup is lost with the old host.
    admin.create_token(CreateTokenRequest::default()).await.unwrap();
    let seen = lineage(&old).await;
    let name = ClusterServiceClient::new(old.channel(Role::Viewer, "bob"))
        .get_cluster(GetClusterRequest {})
        .await
        .unwrap()
        .into_inner()
        .name;

    // The agent knows the new place because a person has named it.
    let folder = tempfile::tempdir().unwrap();
    let own = Credentials::of(old.bundle(Role::Node, "n1")).unwrap();
    let members = Members::open(folder.path().to_owned(), vec![old.address.to_string()]);
    let mut agent = MemberServiceClient::new(dial(&members, &own));
    agent.get_self(GetSelfRequest {}).await.unwrap();

    old.stop().await;
    let again = Authority::load(old.authority.certificate(), old.authority.key()).unwrap();
    let mut new = Scheduler::prepare(again, &[]);
    std::fs::write(new.path("restore"), &file).unwrap();
    new.resume().await;
    assert!(!new.path("restore").exists(), "the CA's key is not left lying about");

    let restored = lineage(&new).await;
    assert_eq!(restored.epoch, seen.epoch + 1);
    assert_eq!(restored.contains(&seen), Ok(()));
    assert!(seen.contains(&restored).is_err());
    assert!(restored.revision >= Backup::decode(&file).unwrap().revision);

    let mut viewer = NodeServiceClient::new(new.channel(Role::Viewer, "bob"));
    let nodes = viewer.list_nodes(ListNodesRequest {}).await.unwrap().into_inner().nodes;
    assert_eq!(nodes.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["n1"]);
    let mut admin = MembershipServiceClient::new(new.channel(Role::Admin, "ada"));
    let tokens = admin.list_tokens(ListTokensRequest {}).await.unwrap().into_inner().tokens;
    assert!(tokens.len() == 1 && tokens[0].voided, "{tokens:?}");

    std::fs::write(folder.path().join("schedulers"), format!("{}\n", new.address)).unwrap();
    let found = eventually("the agent's way to the new scheduler", async || {
        agent.clone().get_self(GetSelfRequest {}).await.ok()
    })
    .await;
    assert_eq!(found.into_inner().cluster_name, name);

    // Started again, it does not restore again.
    new.stop().await;
    new.resume().await;
    assert_eq!(lineage(&new).await.epoch, restored.epoch);
}

#[tokio::test]
async fn a_backup_of_another_cluster_or_half_of_one_changes_nothing() {
    let scheduler = Scheduler::start().await;
    let file = backup(&scheduler).await;
    let folder = tempfile::tempdir().unwrap();
    let (other, now) = (gantry_model::ClusterId::new("c2").unwrap(), gantry_boot::now());
    let try_it = |bytes: &[u8], cluster| {
        std::fs::write(folder.path().join("restore"), bytes).unwrap();
        gantry_scheduler::restore::put_in_place(folder.path(), cluster, now)
    };
    let error = try_it(&file, &other).unwrap_err();
    assert!(error.to_string().contains("is of cluster c1"), "{error}");
    assert!(try_it(&file[..file.len() / 2], &support::cluster()).is_err());
    assert!(!folder.path().join("state.redb").exists());
    assert!(folder.path().join("restore").exists(), "it can be looked at");
}

#[tokio::test]
async fn only_admins_take_backups() {
    let scheduler = Scheduler::start().await;
    for role in [Role::Operator, Role::Viewer, Role::Node] {
        let mut client = ClusterServiceClient::new(scheduler.channel(role, "n1"));
        assert_eq!(client.backup(BackupRequest {}).await.unwrap_err().code(), Code::PermissionDenied);
    }
}
