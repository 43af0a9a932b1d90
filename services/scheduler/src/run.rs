//! Puts the parts together.

use std::time::Duration;

use gantry_api::cluster::v1::alert_service_server::AlertServiceServer;
use gantry_api::cluster::v1::autoscale_service_server::AutoscaleServiceServer;
use gantry_api::cluster::v1::cluster_service_server::ClusterServiceServer;
use gantry_api::cluster::v1::event_service_server::EventServiceServer;
use gantry_api::cluster::v1::join_service_server::JoinServiceServer;
use gantry_api::cluster::v1::membership_service_server::MembershipServiceServer;
use gantry_api::cluster::v1::node_service_server::NodeServiceServer;
use gantry_api::cluster::v1::placement_service_server::PlacementServiceServer;
use gantry_api::cluster::v1::replica_service_server::ReplicaServiceServer;
use gantry_api::cluster::v1::resource_service_server::ResourceServiceServer;
use gantry_api::cluster::v1::route_service_server::RouteServiceServer;
use gantry_api::cluster::v1::service_service_server::ServiceServiceServer;
use gantry_api::cluster::v1::stack_service_server::StackServiceServer;
use gantry_api::cluster::v1::traffic_service_server::TrafficServiceServer;
use gantry_api::cluster::v1::usage_service_server::UsageServiceServer;
use gantry_api::feed::v1::alert_feed_service_server::AlertFeedServiceServer;
use gantry_api::feed::v1::feed_service_server::FeedServiceServer;
use gantry_api::feed::v1::verdict_service_server::VerdictServiceServer;
use gantry_api::node::v1::member_service_server::MemberServiceServer;
use gantry_api::node::v1::relay_service_server::RelayServiceServer;
use gantry_api::node::v1::routing_service_server::RoutingServiceServer;
use gantry_api::node::v1::session_service_server::SessionServiceServer;
use gantry_boot::admin::Readiness;
use gantry_boot::{Credentials, DenyList, Server, admin, now, random_id};
use gantry_feed::Feed;
use gantry_identity::Bundle;
use gantry_store::Redb;
use tokio_util::sync::CancellationToken;

use crate::alerts::{AlertDesk, AlertFeed, Alerts};
use crate::api::{
    Advices, Autoscaling, Clusters, Events, Nodes, Placements, Replicas, Routes, Services, Stacks,
    TrafficRates,
};
use crate::autoscale::Autoscaler;
use crate::config::Config;
use crate::credentials::Credentials as Logins;
use crate::membership::{Joining, LARGEST, Members, Office, Tokens, keep_denied, keep_own_renewed};
use crate::open::{Founding, OpenError, open};
use crate::session::{Agents, Hearing, Lease, Relays, Routing, Verdicts};
use crate::traffic::Traffic;
use crate::usage::{Usage, measured};
use crate::{apply, metrics};

/// Calls in flight may take this long after the scheduler was asked to end.
const GRACE: Duration = Duration::from_secs(2);

/// Why a scheduler ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its certificate is not there.
    #[error("cannot read the scheduler's certificate; `gantry init` makes it")]
    Identity(#[source] std::io::Error),
    /// Its certificate is not Gantry's.
    #[error("cannot use the scheduler's certificate")]
    Certificate(#[from] gantry_identity::BadCertificate),
    /// Its state cannot be opened.
    #[error("cannot open the state")]
    Open(#[from] OpenError),
    /// The store's file cannot be opened.
    #[error("cannot open the state")]
    Store(#[from] gantry_store::Error),
    /// A backup cannot be put in place.
    #[error("cannot restore the backup")]
    Restore(#[from] crate::restore::Error),
    /// The folder of the state cannot be made.
    #[error("cannot make the folder {path}")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The gRPC server failed.
    #[error(transparent)]
    Server(#[from] gantry_boot::Error),
    /// The admin port cannot be had.
    #[error("cannot serve the admin port")]
    Admin(#[source] std::io::Error),
}

/// Runs a scheduler until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let own = Bundle::load(&config.identity).map_err(Error::Identity)?;
    let identity = own.identity()?;
    tokio::fs::create_dir_all(&config.data)
        .await
        .map_err(|source| Error::Folder { path: config.data.clone(), source })?;
    crate::restore::put_in_place(&config.data, &identity.cluster, now())?;
    let own = Credentials::kept_in(&config.identity, own)?;
    let office = Office::open(
        identity.cluster.clone(),
        &config.data.join("ca"),
        config.advertise,
        config.listen.port(),
        config.redirect_port,
        Duration::from_secs(config.certificate_seconds),
    );
    let store = Redb::open(config.data.join("state.redb"))?;
    let founding = Founding {
        id: identity.cluster,
        name: config.cluster_name,
        pool: config.pool,
        prefix: config.network_prefix,
        mtu: config.mtu,
    };
    let state = open(Box::new(store), founding, random_id(16), now()).await?;
    let relays = Relays::default();
    let traffic = Traffic::default();
    let usage = Usage::default();
    let hearing = Hearing::default();
    let logins = Logins::default();
    let alerts = Alerts::new(state.clone());
    let autoscaler = Autoscaler::new(state.clone(), traffic.clone(), {
        let usage = usage.clone();
        move |snapshot| measured(&usage, snapshot)
    });
    let lease = Lease::new(&state.snapshot(), now());

    let denied = DenyList::default();
    // Before the first connection, not a moment after it.
    denied.set(state.snapshot().denied.keys().cloned().collect());
    let joining = JoinServiceServer::new(Joining::new(state.clone(), office.clone()));
    let server = Server::bind(config.listen, &own)
        .await?
        .deny(denied.clone())
        .open_to_strangers()
        .serve(joining.max_decoding_message_size(LARGEST))
        .serve(MembershipServiceServer::new(Tokens::new(state.clone(), office.clone())))
        .serve(MemberServiceServer::new(Members::new(state.clone(), office.clone())))
        .serve(ClusterServiceServer::new(Clusters::new(state.clone(), office.clone())))
        .serve(NodeServiceServer::new(Nodes::new(state.clone(), office.clone())))
        .serve(ResourceServiceServer::new(Clusters::new(state.clone(), office.clone())))
        .serve(StackServiceServer::new(Stacks::new(state.clone(), relays.clone(), logins.clone())))
        .serve(ServiceServiceServer::new(Services::new(state.clone())))
        .serve(AutoscaleServiceServer::new(Autoscaling::new(state.clone(), autoscaler.clone())))
        .serve(ReplicaServiceServer::new(Replicas::new(state.clone(), relays.clone(), usage.clone())))
        .serve(PlacementServiceServer::new(Placements::new(state.clone())))
        .serve(RouteServiceServer::new(Routes::new(state.clone())))
        .serve(TrafficServiceServer::new(TrafficRates::new(
            state.clone(),
            traffic.clone(),
            autoscaler.clone(),
            usage.clone(),
        )))
        .serve(UsageServiceServer::new(Advices::new(state.clone(), usage.clone(), autoscaler.history())))
        .serve(EventServiceServer::new(Events::new(state.clone())))
        .serve(AlertServiceServer::new(AlertDesk::new(alerts.clone())))
        .serve(AlertFeedServiceServer::new(AlertFeed::new(alerts, lease.clone())))
        .serve(FeedServiceServer::new(Feed::new(state.subscribe()).with_failures({
            let traffic = traffic.clone();
            move || traffic.failures()
        })))
        .serve(VerdictServiceServer::new(Verdicts::new(
            state.clone(),
            hearing.clone(),
            lease.clone(),
            office.clone(),
        )))
        .serve(SessionServiceServer::new(Agents::new(
            state.clone(),
            relays.clone(),
            office.clone(),
            hearing.clone(),
            logins.clone(),
            usage.clone(),
        )))
        .serve(RelayServiceServer::new(relays))
        .serve(RoutingServiceServer::new(Routing::new(
            state.clone(),
            traffic,
            autoscaler.clone(),
            office.clone(),
            hearing.clone(),
        )));
    tracing::info!(address = %server.address()?, revision = state.snapshot().revision, "scheduler ready");

    let readiness = Readiness::waiting_for("nothing");
    readiness.set(Ok(()));
    let deciding = tokio::spawn(apply::run(state.clone(), stop.clone()));
    let scaling = tokio::spawn(autoscaler.clone().run(stop.clone()));
    let judging = tokio::spawn(hearing.run(state.clone(), stop.clone()));
    let denying = tokio::spawn(keep_denied(state.clone(), denied, stop.clone()));
    let renewing = tokio::spawn(keep_own_renewed(own, office, stop.clone()));
    let registry = metrics::registry(state, autoscaler, usage);
    let serving_admin = admin::serve(config.admin, registry, readiness, stop.clone());
    let ended = tokio::select! {
        ended = server.run(stop.clone(), GRACE) => ended.map_err(Error::Server),
        ended = serving_admin => match ended {
            // Told to end: the gRPC server's last calls are not waited for here.
            Ok(()) => Ok(()),
            Err(error) => Err(Error::Admin(error)),
        },
    };
    stop.cancel();
    // A decision that is being stored is stored.
    let _ = tokio::join!(deciding, scaling, judging, denying, renewing);
    ended
}
