//! Images without a registry.

use std::io::Write as _;

use gantry_e2e::{HostCluster, gantry};

use crate::world::{PORT, page, settles};

/// Larger than what a link takes at once, so that it can be interrupted.
const SIZE: usize = 60 << 20;

/// A stack whose image is built from something that no host has seen before.
fn built(cluster: &HostCluster, stack: &str, seed: u64) -> String {
    let file = cluster.file(
        stack,
        &format!(
            "services: {{web: {{build: ., ports: ['{PORT}:8080'], deploy: {{replicas: 3, placement: {{max_replicas_per_node: 1}}}}}}}}"
        ),
    );
    let folder = std::path::Path::new(&file).parent().unwrap();
    let probe = gantry().with_file_name("gantry-probe");
    std::fs::copy(&probe, folder.join("probe"))
        .unwrap_or_else(|error| panic!("{}: {error}", probe.display()));
    let dockerfile = "FROM scratch\nCOPY probe blob /\nENTRYPOINT [\"/probe\"]\nCMD [\"serve\"]\n";
    std::fs::write(folder.join("Dockerfile"), dockerfile).unwrap();
    // What nobody can compress, and what is another one for each seed.
    let mut blob = std::io::BufWriter::new(std::fs::File::create(folder.join("blob")).unwrap());
    let mut state = seed;
    for _ in 0..SIZE / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        blob.write_all(&state.to_le_bytes()).unwrap();
    }
    file
}

/// The image that every replica runs, which must be one.
fn image(cluster: &HostCluster, stack: &str) -> String {
    let mut images: Vec<_> = (1..=3)
        .map(|number| {
            let name = cluster.containers(number).into_iter().find(|name| name.starts_with(stack)).unwrap();
            cluster.host(number).docker(["inspect", "-f", "{{.Image}}", &name])
        })
        .collect();
    images.dedup();
    assert_eq!(images.len(), 1, "{images:?}");
    images.remove(0)
}

pub fn an_image_reaches_the_others(cluster: &HostCluster) {
    let file = built(cluster, "one", 0x5eed);
    let said = cluster.ok(["up", "-p", "one", "-f", &file]);
    settles(cluster, "one", 3);
    assert_eq!(cluster.places("one/web"), ["h1", "h2", "h3"]);
    let first = image(cluster, "one");
    assert!((1..=3).all(|number| page(cluster.host(number), "/").is_some()), "{said}");
    cluster.ok(["down", "one"]);

    // Interrupted in the middle: the scheduler killed, and the link to a host that is being fed cut.
    for number in 2..=3 {
        cluster.host(number).slow(100_000);
    }
    let file = built(cluster, "two", 0x0bad_5eed);
    cluster.ok(["up", "-p", "two", "--detach", "-f", &file]);
    cluster.kill(1, "scheduler");
    cluster.host(2).cut();
    gantry_e2e::after(std::time::Duration::from_secs(1));
    cluster.hosts().mend();
    settles(cluster, "two", 3);
    assert_ne!(image(cluster, "two"), first);
}
