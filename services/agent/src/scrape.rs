//! Numbers of the users' own, such as the length of a queue: read from replicas that tell them in Prometheus'
//! text format, every second.
//!
//! [`plan`] says who is asked for what, [`text`] finds the values in an answer: both pure. [`Scraping`] asks.
//! Nothing of it outlives a restart of the agent: the scheduler says it again, and nobody else wants the values.

mod plan;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gantry_api::node::v1::MetricReading;
use gantry_model::ReplicaId;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::managed::{Fleet, Runtime};
use crate::probes;
use plan::{Place, Wanted};

/// How often replicas are asked; one that takes longer to answer is asked again when it has.
const EVERY: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// So many are asked at a time.
const ASKING: usize = 16;
/// The largest answer in bytes.
const LARGEST: usize = 1 << 20;
/// So many readings wait to be told at most: one of each scrape of each replica.
const MOST: usize = 4_096;

/// Asks replicas for numbers; clones share what came of it.
#[derive(Debug, Clone, Default)]
pub struct Scraping {
    /// By replica and scrape: the newest value that was not told yet, or why there is none.
    readings: Arc<Mutex<Readings>>,
}

type Readings = BTreeMap<(ReplicaId, String), Result<f64, String>>;

impl Scraping {
    /// What was read since this was asked for last.
    pub fn take(&self) -> Vec<MetricReading> {
        let readings = std::mem::take(&mut *self.lock());
        let write = |((replica, scrape_id), value): ((ReplicaId, String), Result<f64, String>)| {
            let (value, error) = value.map_or_else(|error| (0.0, error), |value| (value, String::new()));
            MetricReading { replica_id: replica.to_string(), scrape_id, value, error }
        };
        readings.into_iter().map(write).collect()
    }

    /// Asks the replicas of `fleet` for what the scheduler wants to know, until `stop`.
    pub async fn run<R: Runtime>(&self, fleet: Fleet<R>, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let places = Arc::new(Semaphore::new(ASKING));
        // Who is being asked; these end with this function.
        let (mut asking, mut asked) = (JoinSet::new(), BTreeSet::new());
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = asking.join_next() => {
                    if let Ok(place) = ended {
                        asked.remove(&place);
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            for place in fleet.scraped(plan::plan).await {
                let key = (place.replica.clone(), place.port, place.path.clone());
                if asked.insert(key.clone()) {
                    let (scraping, places) = (self.clone(), places.clone());
                    asking.spawn(async move {
                        let _place = places.acquire().await;
                        scraping.ask(place).await;
                        key
                    });
                }
            }
        }
    }

    /// Asks one replica, and notes what came of it.
    async fn ask(&self, place: Place) {
        let Place { replica, address, port, path, wanted } = place;
        let answer = match timeout(PATIENCE, probes::read(address, port, &path, LARGEST)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        let mut readings = self.lock();
        for Wanted { id, selector } in wanted {
            let value = match &answer {
                Ok(body) => text::sum(body, &selector).ok_or_else(|| format!("its answer has no {selector}")),
                Err(problem) => Err(problem.clone()),
            };
            let value = value.map_err(|problem| format!("GET :{port}{}: {problem}", bare(&path)));
            if readings.len() < MOST {
                readings.insert((replica.clone(), id), value);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Readings> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Without the query, which may hold what is not for everybody.
fn bare(path: &str) -> &str {
    path.split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use gantry_model::Selector;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A place on this machine that answers once.
    async fn place(answer: String) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let _ = client.read(&mut [0; 4096]).await;
            let _ = client.write_all(answer.as_bytes()).await;
            // Held open: an answer is over when it says so.
            let _ = client.read(&mut [0; 4096]).await;
        });
        let wanted = |name: &str| Wanted { id: name.to_owned(), selector: Selector::parse(name).unwrap() };
        Place {
            replica: ReplicaId::new("r1").unwrap(),
            address: address.ip(),
            port: address.port(),
            path: "/metrics?token=secret".into(),
            wanted: vec![wanted("jobs"), wanted("absent")],
        }
    }

    async fn readings(answer: String) -> BTreeMap<String, (f64, String)> {
        let scraping = Scraping::default();
        scraping.ask(place(answer).await).await;
        let readings = scraping.take();
        assert!(scraping.take().is_empty(), "nothing is told twice");
        readings.into_iter().map(|reading| (reading.scrape_id, (reading.value, reading.error))).collect()
    }

    fn http(head: &str, body: &str) -> String {
        format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    }

    #[tokio::test]
    async fn a_value_is_read_and_one_that_is_not_there_is_said_so() {
        let read =
            readings(http("200 OK", "# TYPE jobs gauge\njobs{queue=\"a\"} 4\njobs{queue=\"b\"} 1.5\n")).await;
        assert_eq!(read["jobs"], (5.5, String::new()));
        assert!(read["absent"].1.ends_with("/metrics: its answer has no absent"), "{read:?}");
        assert!(!read["absent"].1.contains("secret"), "{read:?}");
    }

    #[tokio::test]
    async fn an_answer_of_another_kind_gives_no_value() {
        let read = readings(http("404 Not Found", "jobs 4\n")).await;
        assert!(read["jobs"].1.contains("answered 404"), "{read:?}");
        let read = readings(http("200 OK", &"# filler\n".repeat(LARGEST / 9 + 1))).await;
        assert!(read["jobs"].1.contains("more than 1048576 bytes"), "{read:?}");
        let read = readings("nonsense\r\n\r\n".into()).await;
        assert!(read["jobs"].1.contains("is not HTTP/1"), "{read:?}");
    }

    #[tokio::test]
    async fn who_does_not_answer_is_given_up() {
        let read = readings("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\njobs".into()).await;
        assert!(read["jobs"].1.contains("no answer within 2 s"), "{read:?}");
    }
}
