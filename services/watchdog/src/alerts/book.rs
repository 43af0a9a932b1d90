//! What the scheduler keeps of alerts, as the watchdog has it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use gantry_api::feed::v1::alert_feed_service_client::AlertFeedServiceClient;
use gantry_api::feed::v1::{ReceiverTest, WatchAlertsRequest, WatchAlertsResponse};
use gantry_boot::Backoff;
use gantry_model::alert::{Alert, AlertConfig, Receiver, Silence};
use gantry_model::{Timestamp, wire};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use super::evaluate::Fingerprint;

const LARGEST: usize = 64 << 20;

/// All that the scheduler keeps of alerts, at one moment.
#[derive(Debug, Clone)]
pub struct Book {
    /// The number of the stream that it came by, which changes when the scheduler does.
    pub stream: u64,
    /// The newest stored change that is included.
    pub revision: u64,
    /// The scheduler's time when it was sent, and when it came.
    clock: (Timestamp, Instant),
    /// The cluster's name.
    pub cluster: String,
    /// The user's rules and receivers.
    pub config: AlertConfig,
    /// The silences.
    pub silences: Vec<Silence>,
    /// Active alerts, and those that ended of late.
    pub alerts: BTreeMap<u64, Alert>,
    /// Test notices that somebody waits for.
    pub tests: Vec<ReceiverTest>,
    /// What was reported to wait, and since when; `None`: nothing was.
    pub waiting: Option<BTreeMap<Fingerprint, Timestamp>>,
}

impl Book {
    /// The scheduler's time now.
    pub fn now(&self) -> Timestamp {
        self.clock.0.after(self.clock.1.elapsed())
    }

    /// What is active.
    pub fn active(&self) -> BTreeSet<Fingerprint> {
        let active = self.alerts.values().filter(|alert| alert.is_active());
        active.map(|alert| Fingerprint { rule: alert.rule.clone(), subject: alert.subject.clone() }).collect()
    }

    /// The active alert of a rule and a subject.
    pub fn find(&self, of: &Fingerprint) -> Option<u64> {
        let mut active = self.alerts.values().filter(|alert| alert.is_active());
        active.find(|alert| alert.rule == of.rule && alert.subject == of.subject).map(|alert| alert.id)
    }

    /// The receiver of a name.
    pub fn receiver(&self, name: &str) -> Option<&Receiver> {
        self.config.receivers.iter().find(|receiver| receiver.name == name)
    }

    fn read(stream: u64, message: WatchAlertsResponse) -> Self {
        // What a newer scheduler knows and this watchdog does not is left out, and said.
        let rules = message.rules.into_iter().filter_map(|rule| {
            wire::read_rule(rule).inspect_err(|error| tracing::warn!(%error, "a rule is left out")).ok()
        });
        let receivers = message.receivers.into_iter().filter_map(|receiver| {
            let read = wire::read_receiver_access(receiver);
            read.inspect_err(|error| tracing::warn!(%error, "a receiver is left out")).ok()
        });
        let grouping = message.grouping.and_then(|grouping| wire::read_grouping(grouping).ok());
        let alerts = message.alerts.into_iter().map(wire::read_alert);
        let waiting = message.waiting.map(|waiting| {
            let each = waiting.findings.into_iter().map(|finding| {
                let since = finding.since.map(wire::read_time).unwrap_or_default();
                (Fingerprint { rule: finding.rule, subject: finding.subject }, since)
            });
            each.collect()
        });
        Self {
            stream,
            revision: message.revision,
            clock: (message.now.map(wire::read_time).unwrap_or_default(), Instant::now()),
            cluster: message.cluster,
            config: AlertConfig {
                rules: rules.collect(),
                receivers: receivers.collect(),
                disabled: message.disabled,
                grouping: grouping.unwrap_or_default(),
            },
            silences: message.silences.into_iter().map(wire::read_silence).collect(),
            alerts: alerts.map(|alert| (alert.id, alert)).collect(),
            tests: message.tests,
            waiting,
        }
    }
}

/// Follows the book on `channel` until `stop`. There is none before the first message, nor while the
/// scheduler is away.
pub fn follow(channel: Channel, stop: CancellationToken) -> watch::Receiver<Option<Arc<Book>>> {
    let (books, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for stream in 1.. {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = books.closed() => return,
                ended = read(channel.clone(), stream, &books, &mut backoff) => ended,
            };
            if let Err(status) = ended {
                tracing::info!(reason = status.message(), "the stream of alerts ended; connecting again");
            }
            books.send_replace(None);
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(backoff.pause()) => {}
            }
        }
    });
    receiver
}

async fn read(
    channel: Channel,
    number: u64,
    books: &watch::Sender<Option<Arc<Book>>>,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let mut client = AlertFeedServiceClient::new(channel).max_decoding_message_size(LARGEST);
    let mut stream = client.watch_alerts(WatchAlertsRequest {}).await?.into_inner();
    while let Some(message) = stream.message().await? {
        backoff.reset();
        books.send_replace(Some(Arc::new(Book::read(number, message))));
    }
    Ok(())
}
