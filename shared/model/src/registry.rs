//! Which registry an image's name leads to.

/// The registry of names that name none.
pub const DEFAULT_REGISTRY: &str = "docker.io";

/// The registry of an image: what stands before the first slash, if that is a host.
pub fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "index.docker.io" | "registry-1.docker.io" => DEFAULT_REGISTRY,
            host => host,
        },
        _ => DEFAULT_REGISTRY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_is_a_registry() {
        for (image, registry) in [
            ("redis", "docker.io"),
            ("redis:7", "docker.io"),
            ("library/redis", "docker.io"),
            ("index.docker.io/library/redis", "docker.io"),
            ("ghcr.io/team/web:1", "ghcr.io"),
            ("localhost/web", "localhost"),
            ("localhost:5000/web", "localhost:5000"),
            ("registry:5000/team/web@sha256:ab", "registry:5000"),
        ] {
            assert_eq!(registry_of(image), registry, "{image}");
        }
    }
}
