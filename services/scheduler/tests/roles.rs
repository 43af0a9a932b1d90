//! Walks every RPC of every service over the role table, against real servers: without a certificate, with
//! one of another CA, an expired one, one of another cluster, a revoked one, and with one of each role.

#![allow(clippy::unwrap_used)] // A test that cannot be set up has failed.

mod support;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::{Buf as _, BufMut as _, Bytes};
use clap::Parser as _;
use gantry_agent::engine::Engine;
use gantry_agent::public::{Containers, HostInfo, Images, Resources};
use gantry_api::agent::v1::container_service_server::ContainerServiceServer;
use gantry_api::agent::v1::host_service_server::HostServiceServer;
use gantry_api::agent::v1::image_service_server::ImageServiceServer;
use gantry_api::agent::v1::network_service_server::NetworkServiceServer;
use gantry_api::agent::v1::volume_service_server::VolumeServiceServer;
use gantry_boot::{Credentials, DenyList, Server};
use gantry_identity::{Authority, Bundle, Grant, Identity, Role, is_open, may_call, server_name};
use gantry_model::ClusterId;
use http::uri::PathAndQuery;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use support::{PATIENCE, Scheduler, cluster, free_port};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity as Shown};
use tonic::{Code, Request, Status};

/// Messages as they are on the wire: the walk knows no types.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Every RPC as `/package.Service/Method`, also those of health and reflection.
fn every_rpc() -> Vec<String> {
    let mut rpcs = Vec::new();
    for bytes in [gantry_api::DESCRIPTORS, tonic_health::pb::FILE_DESCRIPTOR_SET] {
        for file in &FileDescriptorSet::decode(bytes).unwrap().file {
            for service in &file.service {
                for method in &service.method {
                    rpcs.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
                }
            }
        }
    }
    rpcs.push("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo".to_owned());
    rpcs.push("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned());
    rpcs.push("/gantry.cluster.v1.StackService/Explode".to_owned());
    rpcs
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
enum Answer {
    /// The call reached its service, which may not have liked it.
    LetThrough,
    /// The role may not.
    Denied,
    /// The caller is nobody.
    Unknown,
    /// There was no connection in the first place.
    NoConnection,
}

/// Calls with one empty message.
async fn call(channel: &Channel, called: &str) -> Answer {
    let mut client = tonic::client::Grpc::new(channel.clone());
    let path: PathAndQuery = called.parse().unwrap();
    let calling = async {
        if client.ready().await.is_err() {
            return Err(Status::unavailable("no connection"));
        }
        let requests = Request::new(tokio_stream::iter([Bytes::new()]));
        client.streaming(requests, path, Raw).await.map(drop)
    };
    // Every call is answered, or begins to be.
    match timeout(PATIENCE, calling).await.unwrap() {
        Ok(()) => Answer::LetThrough,
        Err(status) if status.source().is_some() || status.message() == "no connection" => {
            Answer::NoConnection
        }
        Err(status) => match status.code() {
            // A service may have reasons of its own, such as a report for another node.
            Code::PermissionDenied if status.message().contains(called) => Answer::Denied,
            Code::Unauthenticated => Answer::Unknown,
            _ => Answer::LetThrough,
        },
    }
}

/// A server, and how it is dialled.
struct Target {
    address: String,
    name: String,
    ca: String,
}

impl Target {
    fn channel(&self, own: Option<&Bundle>) -> Channel {
        let tls =
            ClientTlsConfig::new().domain_name(&self.name).ca_certificate(Certificate::from_pem(&self.ca));
        let tls = match own {
            Some(own) => tls.identity(Shown::from_pem(&own.certificate, &own.key)),
            None => tls,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address)).unwrap();
        endpoint.tls_config(tls).unwrap().connect_lazy()
    }
}

fn issue(authority: &Authority, cluster: ClusterId, role: Role, name: &str, ago: Duration) -> Bundle {
    let identity = Identity { cluster, role, name: name.into() };
    let grant = Grant {
        identity,
        hosts: Vec::new(),
        from: SystemTime::now() - ago,
        lifetime: Duration::from_hours(1),
    };
    authority.issue(&grant).unwrap()
}

/// An agent's server, whose engine does not run: its socket is in `folder`, and nobody listens.
async fn agent(authority: &Authority, denied: DenyList, folder: &Path, stop: CancellationToken) -> Target {
    let own = Credentials::of(issue(authority, cluster(), Role::Node, "n1", Duration::ZERO)).unwrap();
    let socket = folder.join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let engine = Engine::at(socket.to_str().unwrap()).unwrap();
    let server = Server::bind("127.0.0.1:0".parse().unwrap(), &own)
        .await
        .unwrap()
        .deny(denied)
        .serve(ContainerServiceServer::new(Containers::new(engine.clone())))
        .serve(ImageServiceServer::new(Images::new(engine.clone())))
        .serve(VolumeServiceServer::new(Resources::new(engine.clone())))
        .serve(NetworkServiceServer::new(Resources::new(engine.clone())))
        .serve(HostServiceServer::new(HostInfo::new(engine)));
    let address = server.address().unwrap().to_string();
    tokio::spawn(server.run(stop, Duration::ZERO));
    Target { address, name: server_name(Role::Node, "n1"), ca: authority.certificate().to_owned() }
}

/// A proxy as it runs, with nobody to give it tables.
async fn proxy(authority: &Authority, folder: &Path, stop: CancellationToken) -> Target {
    let own = issue(authority, cluster(), Role::Proxy, "n1", Duration::ZERO);
    let identity = folder.join("identity");
    own.save(&identity).unwrap();
    let address = free_port().to_string();
    let (admin, nobody) = (free_port().to_string(), free_port().to_string());
    let redirect = free_port().port().to_string();
    let data = folder.join("proxy");
    let words = ["gantry-proxy", "--listen", &address, "--admin", &admin, "--scheduler", &nobody];
    let words = words.into_iter().chain(["--redirect-port", &redirect, "--cores", "1", "--data"]);
    let words = words.chain([data.to_str().unwrap(), "--identity", identity.to_str().unwrap()]);
    tokio::spawn(gantry_proxy::run(gantry_proxy::config::Config::parse_from(words), stop));
    let listens = async {
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, listens).await.unwrap();
    Target { address, name: server_name(Role::Proxy, "n1"), ca: authority.certificate().to_owned() }
}

/// Every RPC with these certificates, none of which may be let through but what is open.
async fn nobody_gets_in(target: &Target, strangers: &BTreeMap<&str, Option<Bundle>>, takes_strangers: bool) {
    for (who, own) in strangers {
        let channel = target.channel(own.as_ref());
        for path in every_rpc() {
            let open = takes_strangers && own.is_none() && is_open(&path);
            let answer = call(&channel, &path).await;
            if open {
                assert_eq!(answer, Answer::LetThrough, "{who} at {path}");
            } else {
                let refused = matches!(answer, Answer::Unknown | Answer::NoConnection);
                assert!(refused, "{who} at {path}: {answer:?}");
            }
        }
    }
}

/// What an operator could make himself the host's root with: denied to him, whatever the table says.
const NOT_FOR_OPERATORS: [&str; 3] = [
    "/gantry.cluster.v1.AlertService/SetAlertConfig",
    "/gantry.cluster.v1.ResourceService/CreateVolume",
    "/gantry.agent.v1.ContainerService/Exec",
];

async fn each_role_gets_as_far_as_the_table_says(target: &Target, authority: &Authority) {
    let (mut through, mut denied) = (0, 0);
    for role in Role::ALL {
        let channel = target.channel(Some(&issue(authority, cluster(), role, "n7", Duration::ZERO)));
        for path in every_rpc() {
            let expected = if may_call(role, &path) { Answer::LetThrough } else { Answer::Denied };
            let answer = call(&channel, &path).await;
            assert_eq!(answer, expected, "{role} at {path}");
            let forbidden = role == Role::Operator && NOT_FOR_OPERATORS.contains(&path.as_str());
            assert!(answer == Answer::Denied || !forbidden, "{role} at {path}");
            match expected {
                Answer::LetThrough => through += 1,
                _ => denied += 1,
            }
        }
    }
    assert!(through > 100 && denied > 100, "{through} let through, {denied} denied");
}

#[tokio::test]
async fn every_rpc_is_answered_as_the_table_says_and_to_nobody_else() {
    let scheduler = Scheduler::start().await;
    let authority = &scheduler.authority;
    let stop = CancellationToken::new();
    let folder = tempfile::tempdir().unwrap();
    let denied = DenyList::default();
    denied.set(["node/gone".to_owned()].into());
    let proxy = proxy(authority, folder.path(), stop.clone()).await;
    let agent = agent(authority, denied, folder.path(), stop.clone()).await;
    let scheduler_target = Target {
        address: scheduler.address.to_string(),
        name: server_name(Role::Scheduler, ""),
        ca: authority.certificate().to_owned(),
    };

    let foreign = Authority::create(&cluster(), SystemTime::now()).unwrap();
    let elsewhere = ClusterId::new("c2").unwrap();
    let hours = Duration::from_hours;
    let strangers = BTreeMap::from([
        ("nobody", None),
        ("one of another CA", Some(issue(&foreign, cluster(), Role::Admin, "ada", hours(0)))),
        ("one whose certificate is over", Some(issue(authority, cluster(), Role::Admin, "ada", hours(2)))),
        ("one of another cluster", Some(issue(authority, elsewhere, Role::Admin, "ada", hours(0)))),
    ]);
    nobody_gets_in(&scheduler_target, &strangers, true).await;
    nobody_gets_in(&agent, &strangers, false).await;
    nobody_gets_in(&proxy, &strangers, false).await;
    let gone = issue(authority, cluster(), Role::Node, "gone", hours(0));
    nobody_gets_in(&agent, &BTreeMap::from([("one that was removed", Some(gone))]), false).await;

    each_role_gets_as_far_as_the_table_says(&scheduler_target, authority).await;
    each_role_gets_as_far_as_the_table_says(&agent, authority).await;
    each_role_gets_as_far_as_the_table_says(&proxy, authority).await;
    stop.cancel();
}
