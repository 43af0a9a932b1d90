//! Flags of `docker run` that have a Compose form: read by the same code.

use gantry_model::{Container, Mount, MountSource, Port, RestartPolicy};

use crate::{mounts, ports, section, service, units};

/// What was given on the command line.
#[derive(Debug, Clone, Copy)]
pub struct ContainerFlags<'a> {
    /// The image.
    pub image: &'a str,
    /// `-p`, each `[IP:]HOST:CONTAINER[/PROTOCOL]`.
    pub ports: &'a [String],
    /// `-v`, each `SOURCE:TARGET[:ro]`.
    pub volumes: &'a [String],
    /// `--restart`.
    pub restart: &'a str,
    /// `-m`.
    pub memory: Option<&'a str>,
    /// `--cpus`.
    pub cpus: Option<&'a str>,
    /// `--entrypoint`.
    pub entrypoint: Option<&'a str>,
}

/// What it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct FlaggedContainer {
    /// The container.
    pub container: Container,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// Reads flags. The error says what is wrong with which.
pub fn parse_container_flags(flags: &ContainerFlags<'_>) -> Result<FlaggedContainer, String> {
    let mut published = Vec::new();
    for text in flags.ports {
        published.extend(ports::short(text)?);
    }
    let restart = service::restart_policy(flags.restart).ok_or_else(|| {
        format!(
            "there is no restart policy {:?}: use no, always, unless-stopped, on-failure or on-failure:3",
            flags.restart
        )
    })?;
    let mut container = Container {
        image: flags.image.to_owned(),
        restart: Some(restart).filter(|policy| *policy != RestartPolicy::No),
        mounts: flags.volumes.iter().map(|text| mount(text)).collect::<Result<_, _>>()?,
        entrypoint: flags
            .entrypoint
            .map(|line| section::split_words(line).ok_or("a quote is never closed"))
            .transpose()?,
        ..Container::default()
    };
    if let Some(text) = flags.memory {
        let size = units::bytes(text).and_then(|size| i64::try_from(size).ok());
        container.resources.memory = Some(size.ok_or_else(|| format!("{text:?} is no size such as 64M"))?);
    }
    if let Some(text) = flags.cpus {
        container.resources.nano_cpus = Some(
            units::nano_cpus(text).ok_or_else(|| format!("{text:?} is no number of cores such as 0.5"))?,
        );
    }
    Ok(FlaggedContainer { container, ports: published })
}

fn mount(text: &str) -> Result<Mount, String> {
    let parts = mounts::parts(text)?;
    let source = match parts.source {
        None => MountSource::Volume { name: None, no_copy: parts.no_copy },
        Some(path) if path.starts_with('/') => {
            MountSource::Bind { path: path.to_owned(), propagation: parts.propagation }
        }
        Some(path) if path.starts_with(['.', '~']) => {
            return Err(format!("{path:?} is a path of this machine: give an absolute path on the node"));
        }
        Some(name) => MountSource::Volume { name: Some(name.to_owned()), no_copy: parts.no_copy },
    };
    Ok(Mount { target: parts.target.to_owned(), source, read_only: parts.read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags<'a>(ports: &'a [String], volumes: &'a [String], restart: &'a str) -> ContainerFlags<'a> {
        ContainerFlags {
            image: "redis",
            ports,
            volumes,
            restart,
            memory: Some("64M"),
            cpus: None,
            entrypoint: None,
        }
    }

    #[test]
    fn flags_are_read_as_in_a_file() {
        let read = parse_container_flags(&flags(
            &["8080:80".into()],
            &["data:/d".into(), "/etc:/e:ro".into()],
            "on-failure:3",
        ))
        .unwrap();
        assert_eq!(read.ports[0].to_string(), "8080->80/tcp");
        assert_eq!(read.container.mounts.len(), 2);
        assert_eq!(read.container.restart, Some(RestartPolicy::OnFailure { max_retries: Some(3) }));
        assert_eq!(read.container.resources.memory, Some(64 << 20));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(
            parse_container_flags(&flags(&["x".into()], &[], "no")).unwrap_err().contains("\"x\" is no port")
        );
        assert!(
            parse_container_flags(&flags(&[], &["./here:/d".into()], "no"))
                .unwrap_err()
                .contains("absolute path")
        );
        assert!(
            parse_container_flags(&flags(&[], &[], "sometimes")).unwrap_err().contains("no restart policy")
        );
    }
}
