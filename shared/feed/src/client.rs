use std::sync::Arc;
use std::time::{Duration, Instant};

use gantry_api::feed::v1::WatchRequest;
use gantry_api::feed::v1::feed_service_client::FeedServiceClient;
use gantry_boot::Backoff;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::mirror::Mirror;

/// Follows the feed on `channel` until `stop`. The mirror is empty, with revision 0, before the
/// first message; while the scheduler is away it stays as it was.
pub fn follow(channel: Channel, stop: CancellationToken) -> watch::Receiver<Arc<Mirror>> {
    let (mirrors, receiver) = watch::channel(Arc::new(Mirror::default()));
    tokio::spawn(async move {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        loop {
            let ended = tokio::select! {
                () = stop.cancelled() => return,
                () = mirrors.closed() => return,
                ended = read(channel.clone(), &mirrors, &mut backoff) => ended,
            };
            mirrors.send_if_modified(|mirror| {
                mirror.connected && {
                    Arc::make_mut(mirror).connected = false;
                    true
                }
            });
            if let Err(status) = ended {
                tracing::info!(reason = status.message(), "the feed ended; connecting again");
            }
            sleep(backoff.pause()).await;
        }
    });
    receiver
}

async fn read(
    channel: Channel,
    mirrors: &watch::Sender<Arc<Mirror>>,
    backoff: &mut Backoff,
) -> Result<(), Status> {
    let mut client = FeedServiceClient::new(channel).max_decoding_message_size(64 << 20);
    let mut stream = client.watch(WatchRequest {}).await?.into_inner();
    while let Some(response) = stream.message().await? {
        backoff.reset();
        let heard = Some(Instant::now());
        mirrors.send_modify(|mirror| {
            let mirror = Arc::make_mut(mirror);
            mirror.take(response);
            (mirror.heard, mirror.connected) = (heard, true);
        });
    }
    Ok(())
}
