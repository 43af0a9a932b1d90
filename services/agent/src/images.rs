//! What an image's name stands for, found out once, at admission.

use std::time::Duration;

use futures_util::StreamExt as _;
use gantry_api::agent::v1::RegistryCredential;
use gantry_api::node::v1::{ImageFound, ImageWanted, PullStep};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::engine::{Engine, Error, FoundImage, Kind};

/// A pull that makes no progress for this long has failed.
const STALLED: Duration = Duration::from_secs(90);

/// The names under which images are kept begin like this; the digest of the config is the tag.
pub const KEPT: &str = "gantry/image";

/// A name that keeps an image from being pruned while a service may still need it.
pub fn kept_name(digest: &str) -> String {
    let hex = digest.rsplit(':').next().unwrap_or(digest);
    format!("{KEPT}:{hex}")
}

/// The digest of the image that is kept under this name.
pub fn kept_digest(name: &str) -> Option<String> {
    let hex = name.strip_prefix(KEPT)?.strip_prefix(':')?;
    Some(format!("sha256:{hex}"))
}

/// Resolves an image, and pulls it first if it is not there and may be. Steps of the pull go to
/// `steps`; a slow reader misses some.
pub async fn resolve(
    engine: &Engine,
    wanted: &ImageWanted,
    steps: &mpsc::Sender<PullStep>,
) -> Result<ImageFound, Error> {
    let name = &wanted.image;
    let mut found = engine.find_image(name).await?;
    let wrong_platform = found.as_ref().is_some_and(|found| !fits(found, &wanted.platform));
    if wanted.never_pull {
        found = found.filter(|_| !wrong_platform);
    } else if wanted.always_pull || wrong_platform || found.is_none() {
        let tell = |step: PullStep| drop(steps.try_send(step));
        if let Err(error) = pull(engine, name, &wanted.platform, wanted.credential.as_ref(), tell).await {
            return Err(explain(name, error));
        }
        found = engine.find_image(name).await?;
    }
    let found =
        found.ok_or_else(|| Error::new(Kind::NotFound, "it is not on this node, and may not be pulled"))?;
    if let Err(error) = engine.tag(&found.id, &kept_name(&found.id)).await {
        tracing::warn!(image = name, %error, "cannot keep the image from being pruned");
    }
    Ok(ImageFound {
        digest: found.id,
        platform: found.platform,
        has_healthcheck: found.has_healthcheck,
        created_at: found.created_at,
    })
}

fn fits(found: &FoundImage, platform: &str) -> bool {
    platform.is_empty() || found.platform == platform || found.platform.starts_with(&format!("{platform}/"))
}

/// Pulls an image from its registry.
pub async fn pull(
    engine: &Engine,
    image: &str,
    platform: &str,
    credential: Option<&RegistryCredential>,
    tell: impl Fn(PullStep),
) -> Result<(), Error> {
    let mut pull = engine.pull(image, platform, credential);
    loop {
        let next = timeout(STALLED, pull.next()).await.map_err(|_| {
            Error::new(Kind::Timeout, format!("the pull made no progress for {} s", STALLED.as_secs()))
        })?;
        let Some(step) = next else { return Ok(()) };
        let step = step?;
        let status =
            if step.layer.is_empty() { step.status } else { format!("{} {}", step.layer, step.status) };
        tell(PullStep { status, current: step.current, total: step.total });
    }
}

/// Says in the error what to do next.
fn explain(name: &str, error: Error) -> Error {
    let advice = match error.kind {
        Kind::NotFound | Kind::Forbidden => {
            format!("is the name right? build it with `docker build -t {name} …`, or log in to its registry")
        }
        Kind::Unavailable | Kind::Timeout => "the registry cannot be reached from this node".to_owned(),
        _ => return error,
    };
    Error::new(
        error.kind,
        format!("it is not on this node, and cannot be pulled: {}; {advice}", error.message),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_kept_under_its_digest() {
        assert_eq!(kept_name("sha256:abc"), "gantry/image:abc");
        assert_eq!(kept_digest("gantry/image:abc").as_deref(), Some("sha256:abc"));
        assert_eq!(kept_digest("gantry/images:abc"), None);
    }

    #[test]
    fn a_variant_of_the_platform_fits() {
        let found = |platform: &str| FoundImage {
            id: String::new(),
            platform: platform.into(),
            has_healthcheck: false,
            created_at: None,
        };
        assert!(fits(&found("linux/arm64/v8"), "linux/arm64"));
        assert!(fits(&found("linux/amd64"), ""));
        assert!(!fits(&found("linux/amd64"), "linux/arm64"));
    }
}
