//! Where the kernel's files cannot be had, the engine is asked: one stream a container, which it fills about
//! once a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use gantry_api::agent::v1::StreamStatsResponse;
use gantry_model::ReplicaId;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::sampler::{Sample, Target};
use crate::engine::Flow;

/// So many containers are asked about at most: the engine takes a millisecond and more for each.
const MOST: usize = 64;
/// What is older says nothing about now.
const FRESH: Duration = Duration::from_secs(2);

/// What the engine says of some containers.
pub struct EngineStats<F> {
    open: F,
    streams: BTreeMap<ReplicaId, Stream>,
}

struct Stream {
    container: String,
    latest: Arc<Mutex<Option<(Instant, StreamStatsResponse)>>>,
    reading: AbortOnDropHandle<()>,
}

impl<F: Fn(&str) -> Flow<StreamStatsResponse>> EngineStats<F> {
    /// `open` asks the engine about a container, again and again.
    pub fn new(open: F) -> Self {
        Self { open, streams: BTreeMap::new() }
    }

    /// Asks about these, and about nobody else any more. Answers with what has come in the last seconds.
    pub fn follow(&mut self, targets: &[Target]) -> Vec<Sample> {
        let targets = targets.get(..MOST).unwrap_or(targets);
        self.streams.retain(|replica, stream| {
            let wanted = |target: &Target| target.replica == *replica && target.container == stream.container;
            targets.iter().any(wanted) && !stream.reading.is_finished()
        });
        for target in targets {
            if !self.streams.contains_key(&target.replica) {
                self.streams
                    .insert(target.replica.clone(), Stream::read(target, (self.open)(&target.container)));
            }
        }
        self.streams.iter().filter_map(|(replica, stream)| stream.sample(replica)).collect()
    }
}

impl Stream {
    fn read(target: &Target, mut samples: Flow<StreamStatsResponse>) -> Self {
        let latest = Arc::new(Mutex::new(None));
        let written = latest.clone();
        let reading = tokio::spawn(async move {
            while let Some(Ok(sample)) = samples.next().await {
                *written.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), sample));
            }
        });
        Self { container: target.container.clone(), latest, reading: AbortOnDropHandle::new(reading) }
    }

    fn sample(&self, replica: &ReplicaId) -> Option<Sample> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, sample) = latest.as_ref().filter(|(at, _)| at.elapsed() < FRESH)?;
        tracing::trace!(%replica, age = ?at.elapsed(), "the engine has said what it uses");
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        // A cast of a float stops at the bounds.
        let microcores = |cores: f64| (cores * 1e6) as u32;
        Some(Sample {
            replica: replica.clone(),
            cpu_microcores: sample.cpu_cores.map(microcores),
            memory_bytes: sample.memory,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    /// Who was asked about, and where the answers go.
    type Asked = Rc<RefCell<Vec<(String, Said)>>>;
    type Said = mpsc::Sender<Result<StreamStatsResponse, crate::engine::Error>>;

    fn target(number: usize) -> Target {
        Target { replica: ReplicaId::new(format!("r{number}")).unwrap(), container: format!("c{number}") }
    }

    /// What is asked of the engine, and how it answers.
    fn engine() -> (Asked, EngineStats<impl Fn(&str) -> Flow<StreamStatsResponse>>) {
        let asked = Rc::new(RefCell::new(Vec::new()));
        let opened = asked.clone();
        let stats = EngineStats::new(move |id: &str| {
            let (said, samples) = mpsc::channel(4);
            opened.borrow_mut().push((id.to_owned(), said));
            Box::pin(ReceiverStream::new(samples)) as Flow<StreamStatsResponse>
        });
        (asked, stats)
    }

    #[tokio::test(start_paused = true)]
    async fn a_container_is_asked_about_once_and_shown_as_long_as_it_is_said_anew() {
        let (asked, mut stats) = engine();
        assert_eq!(stats.follow(&[target(1)]), []);
        let said = asked.borrow()[0].1.clone();
        let sample = StreamStatsResponse { cpu_cores: Some(0.25), memory: Some(77), ..Default::default() };
        said.send(Ok(sample)).await.unwrap();
        tokio::task::yield_now().await;
        let expected =
            Sample { replica: target(1).replica, cpu_microcores: Some(250_000), memory_bytes: Some(77) };
        assert_eq!(stats.follow(&[target(1)]), [expected]);
        said.send(Ok(StreamStatsResponse::default())).await.unwrap();
        tokio::task::yield_now().await;
        let unknown = Sample { replica: target(1).replica, cpu_microcores: None, memory_bytes: None };
        assert_eq!(stats.follow(&[target(1)]), [unknown], "what the engine does not say is no zero");
        assert_eq!(asked.borrow().len(), 1);
        tokio::time::advance(FRESH).await;
        assert_eq!(stats.follow(&[target(1)]), [], "that was long ago");
    }

    #[tokio::test]
    async fn nobody_is_asked_about_who_is_not_wanted_and_never_too_many() {
        let (asked, mut stats) = engine();
        let many: Vec<Target> = (0..MOST + 5).map(target).collect();
        stats.follow(&many);
        assert_eq!(asked.borrow().len(), MOST);
        stats.follow(&[]);
        let (_, said) = asked.borrow_mut().remove(0);
        said.closed().await;
        assert!(stats.streams.is_empty());
    }

    #[tokio::test]
    async fn another_container_of_a_replica_is_asked_about_anew() {
        let (asked, mut stats) = engine();
        stats.follow(&[target(1)]);
        stats.follow(&[Target { container: "other".into(), ..target(1) }]);
        let names: Vec<_> = asked.borrow().iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(names, ["c1", "other"]);
    }
}
