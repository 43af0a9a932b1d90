//! A watchdog that leads, and judges nothing but whether nodes are there.

use std::collections::BTreeMap;

use gantry_api::feed::v1::feed_service_client::FeedServiceClient;
use gantry_api::feed::v1::object::Object as Content;
use gantry_api::feed::v1::verdict::Conclusion;
use gantry_api::feed::v1::verdict_service_client::VerdictServiceClient;
use gantry_api::feed::v1::watch_response::Message;
use gantry_api::feed::v1::{
    Case, Course, Hearing, LeadRequest, LeadResponse, NodeVerdict, Object, Presence, Repair, RepairKind,
    SubmitRequest, Verdict, WatchRequest,
};
use gantry_identity::Role;
use prost_types::Timestamp;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::{PATIENCE, Scheduler};

/// A node of which nothing is heard for this long is lost.
const LOST: i64 = 6;

pub struct Watchdog {
    instance: String,
    verdicts: VerdictServiceClient<Channel>,
    feed: Streaming<gantry_api::feed::v1::WatchResponse>,
    pub cases: BTreeMap<String, Case>,
    pub hearings: BTreeMap<String, Hearing>,
    pub courses: BTreeMap<String, Course>,
    pub now: Timestamp,
}

impl Watchdog {
    /// Reads the feed, and asks to lead.
    pub async fn start(scheduler: &Scheduler, instance: &str) -> Self {
        let channel = scheduler.channel(Role::Watchdog, "w1");
        let feed = FeedServiceClient::new(channel.clone()).watch(WatchRequest {}).await.unwrap().into_inner();
        let mut watchdog = Self {
            instance: instance.into(),
            verdicts: VerdictServiceClient::new(channel),
            feed,
            cases: BTreeMap::new(),
            hearings: BTreeMap::new(),
            courses: BTreeMap::new(),
            now: Timestamp::default(),
        };
        watchdog.lead().await;
        watchdog
    }

    pub async fn lead(&mut self) -> LeadResponse {
        let request = LeadRequest { instance: self.instance.clone() };
        self.verdicts.lead(request).await.unwrap().into_inner()
    }

    pub async fn try_submit(&mut self, verdicts: Vec<Verdict>) -> Result<Vec<String>, Status> {
        let request = SubmitRequest { instance: self.instance.clone(), verdicts };
        Ok(self.verdicts.submit(request).await?.into_inner().refusals)
    }

    /// Hands one conclusion over, and answers with why it is refused; empty if it is not.
    pub async fn submit(&mut self, conclusion: Conclusion) -> String {
        self.try_submit(vec![verdict(conclusion)]).await.unwrap().remove(0)
    }

    /// Reads the feed until it shows what is wanted.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let wait = async {
            while !wanted(self) {
                self.next().await;
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} did not come"));
    }

    async fn next(&mut self) -> bool {
        let Ok(Some(response)) = self.feed.message().await else { return false };
        self.now = response.now.unwrap();
        match response.message {
            Some(Message::State(state)) => state.objects.into_iter().for_each(|object| self.take(object)),
            Some(Message::Delta(delta)) => {
                delta.upserts.into_iter().for_each(|object| self.take(object));
                for key in delta.removals {
                    self.cases.remove(&key.id);
                }
            }
            None => {}
        }
        true
    }

    fn take(&mut self, object: Object) {
        let id = object.key.unwrap().id;
        match object.object {
            Some(Content::Case(case)) => drop(self.cases.insert(id, case)),
            Some(Content::Hearing(hearing)) => drop(self.hearings.insert(id, hearing)),
            Some(Content::Course(course)) => drop(self.courses.insert(id, course)),
            _ => {}
        }
    }

    /// Judges nodes until the feed ends.
    pub fn judge(mut self) -> JoinHandle<()> {
        tokio::spawn(async move {
            while self.next().await {
                let request = LeadRequest { instance: self.instance.clone() };
                if self.verdicts.lead(request).await.is_err() {
                    return;
                }
                let verdicts: Vec<Verdict> =
                    self.hearings.values().filter_map(|hearing| self.judged(hearing)).collect();
                if !verdicts.is_empty() {
                    let _ = self.try_submit(verdicts).await;
                }
            }
        })
    }

    fn judged(&self, hearing: &Hearing) -> Option<Verdict> {
        let presence = match hearing.silent_since {
            None => Presence::Ready,
            Some(since) => {
                let gone = self.now.seconds - since.seconds > LOST;
                if !gone || hearing.connected || hearing.proxy_heard {
                    return None;
                }
                Presence::Lost
            }
        };
        (hearing.presence() != presence).then(|| verdict(of_node(hearing, presence)))
    }
}

/// What is concluded of a node, as it was heard then.
pub fn of_node(hearing: &Hearing, presence: Presence) -> Conclusion {
    Conclusion::Node(NodeVerdict {
        node_id: hearing.node_id.clone(),
        presence: presence.into(),
        silent_since: hearing.silent_since,
        held: false,
    })
}

pub fn repair(replica_id: &str, kind: RepairKind) -> Conclusion {
    Conclusion::Repair(Repair { replica_id: replica_id.into(), kind: kind.into() })
}

pub fn verdict(conclusion: Conclusion) -> Verdict {
    Verdict {
        revision: 1,
        reason: "Unhealthy".into(),
        message: "it was seen to be so".into(),
        conclusion: Some(conclusion),
    }
}
