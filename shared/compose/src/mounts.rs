//! `volumes:` and `tmpfs:` of a service, in all forms.

use gantry_model::{Mount, MountSource};

use crate::keys;
use crate::project::Context;
use crate::section::{Log, Section};
use crate::tree::{Node, Value};
use crate::units;

/// What is mounted into a service's containers.
pub fn read(section: &Section<'_>, context: &Context<'_>) -> Vec<Mount> {
    let mut mounts: Vec<(Mount, crate::diagnostic::At)> = Vec::new();
    if let Some(node) = section.get("volumes") {
        match &node.value {
            Value::List(items) => {
                for item in items {
                    let found = match &item.value {
                        Value::Scalar { text, .. } => short(section.log, item, text, context),
                        Value::Map(_) => long(section.log, item, context),
                        _ => {
                            section.log.error(
                                item.at,
                                format!("a volume must be a text or a map, and this is {}", item.kind()),
                            );
                            None
                        }
                    };
                    mounts.extend(found.map(|mount| (mount, item.at)));
                }
            }
            _ => section.log.error(node.at, format!("volumes must be a list, and this is {}", node.kind())),
        }
    }
    for line in section.text_or_texts("tmpfs") {
        match tmpfs(&line) {
            Ok(mount) => mounts.push((mount, section.key_at("tmpfs"))),
            Err(problem) => section.log.error(section.value_at("tmpfs"), problem),
        }
    }
    for (at, (mount, place)) in mounts.iter().enumerate() {
        if mounts[..at].iter().any(|(earlier, _)| earlier.target == mount.target) {
            section.log.error(*place, format!("two things are mounted at {}", mount.target));
        }
    }
    mounts.into_iter().map(|(mount, _)| mount).collect()
}

/// The parts of the short form.
pub struct Parts<'a> {
    /// A path, or the name of a volume; `None` is an anonymous volume.
    pub source: Option<&'a str>,
    /// The path in the container.
    pub target: &'a str,
    /// Refuses writes.
    pub read_only: bool,
    /// Does not copy the image's content into a new volume.
    pub no_copy: bool,
    /// Docker's mount propagation.
    pub propagation: Option<String>,
    /// An option that says something about `SELinux`.
    pub relabel: Option<&'a str>,
}

/// `[SOURCE:]TARGET[:OPTIONS]`.
pub fn parts(text: &str) -> Result<Parts<'_>, String> {
    let split: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match split.as_slice() {
        [target] => (None, *target, ""),
        [source, target] => (Some(*source), *target, ""),
        [source, target, options] => (Some(*source), *target, *options),
        _ => return Err(format!("{text:?} is no volume: write SOURCE:TARGET or SOURCE:TARGET:ro")),
    };
    if !target.starts_with('/') {
        return Err(format!("{target:?} is no path in the container: begin it with /"));
    }
    let mut parts =
        Parts { source, target, read_only: false, no_copy: false, propagation: None, relabel: None };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => parts.read_only = true,
            "nocopy" => parts.no_copy = true,
            "rprivate" | "private" | "rshared" | "shared" | "rslave" | "slave" => {
                parts.propagation = Some(option.to_owned());
            }
            // They are the default, or say nothing on Linux.
            "rw" | "cached" | "delegated" | "consistent" => {}
            "z" | "Z" => parts.relabel = Some(option),
            other => return Err(format!("there is no mount option {other:?}")),
        }
    }
    Ok(parts)
}

fn short(log: &Log, node: &Node, text: &str, context: &Context<'_>) -> Option<Mount> {
    let parts = match parts(text) {
        Ok(parts) => parts,
        Err(problem) => {
            log.error(node.at, problem);
            return None;
        }
    };
    if let Some(option) = parts.relabel {
        log.warning(
            node.at,
            format!("the option {option} (SELinux labels) is not honoured yet, and is left out"),
        );
    }
    let source = match parts.source {
        None => MountSource::Volume { name: None, no_copy: parts.no_copy },
        Some(path) if path.starts_with(['/', '.', '~']) => bind(log, node, path, parts.propagation, context)?,
        Some(name) => volume(log, node, name, parts.no_copy, context)?,
    };
    Some(Mount { target: parts.target.to_owned(), source, read_only: parts.read_only })
}

fn long(log: &Log, node: &Node, context: &Context<'_>) -> Option<Mount> {
    let section = Section::open(log, "a volume", node)?;
    let kind = section.text("type");
    let source = section.text("source");
    let target = section.text("target");
    let read_only = section.flag("read_only").unwrap_or(false);
    let _ = section.text("consistency");
    let mut no_copy = false;
    let mut propagation = None;
    let (mut size, mut mode) = (None, None);
    if let Some(options) = section.section("volume") {
        no_copy = options.flag("nocopy").unwrap_or(false);
        options.finish(&["nocopy", "subpath", "labels"]);
    }
    if let Some(options) = section.section("bind") {
        propagation = options.text("propagation");
        if options.flag("create_host_path") == Some(true) {
            log.note(
                options.key_at("create_host_path"),
                "a missing source is an error here, and is never created",
            );
        }
        options.finish(&["propagation", "create_host_path", "selinux", "recursive"]);
    }
    if let Some(options) = section.section("tmpfs") {
        size = options.bytes("size");
        mode =
            options.text("mode").and_then(|mode| u32::from_str_radix(mode.trim_start_matches("0o"), 8).ok());
        options.finish(&["size", "mode"]);
    }
    let at = section.at;
    section.finish(keys::MOUNT);
    let Some(target) = target.filter(|target| target.starts_with('/')) else {
        log.error(at, "a volume needs a target, a path in the container that begins with /");
        return None;
    };
    let source = match (kind.as_deref(), source) {
        (Some("volume"), None) => MountSource::Volume { name: None, no_copy },
        (Some("volume"), Some(name)) => volume(log, node, &name, no_copy, context)?,
        (Some("bind"), Some(path)) => bind(log, node, &path, propagation, context)?,
        (Some("bind"), None) => {
            log.error(at, "a bind needs a source, a path on the node");
            return None;
        }
        (Some("tmpfs"), _) => MountSource::Tmpfs { size, mode },
        (Some(other), _) => {
            log.error(at, format!("there is no type of volume {other:?}: use volume, bind or tmpfs"));
            return None;
        }
        (None, _) => {
            log.error(at, "a volume needs a type: volume, bind or tmpfs");
            return None;
        }
    };
    Some(Mount { target, source, read_only })
}

fn volume(log: &Log, node: &Node, name: &str, no_copy: bool, context: &Context<'_>) -> Option<MountSource> {
    if !context.volumes.contains(name) {
        log.error_with(
            node.at,
            format!("the volume {name} is not declared"),
            format!("add it at the end of the file:\nvolumes:\n  {name}:\nor write ./{name} for a folder of the project"),
        );
        return None;
    }
    Some(MountSource::Volume { name: Some(name.to_owned()), no_copy })
}

/// A path of the node. What does not exist is an error, and is never made.
fn bind(
    log: &Log,
    node: &Node,
    path: &str,
    propagation: Option<String>,
    context: &Context<'_>,
) -> Option<MountSource> {
    let full = context.path(path);
    if context.check_binds && !full.exists() {
        log.error_with(
            node.at,
            format!("{} does not exist", full.display()),
            "create it first, or use a named volume",
        );
        return None;
    }
    Some(MountSource::Bind { path: full.to_string_lossy().into_owned(), propagation })
}

/// `/path[:size=64m,mode=1777]`.
fn tmpfs(line: &str) -> Result<Mount, String> {
    let (target, options) = line.split_once(':').unwrap_or((line, ""));
    if !target.starts_with('/') {
        return Err(format!("{target:?} is no path in the container: begin it with /"));
    }
    let (mut size, mut mode) = (None, None);
    let mut read_only = false;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", text)) => {
                let parsed = units::bytes(text).and_then(|size| i64::try_from(size).ok());
                size = Some(parsed.ok_or_else(|| format!("{text:?} is no size such as 64m"))?);
            }
            Some(("mode", text)) => {
                mode = Some(
                    u32::from_str_radix(text, 8).map_err(|_| format!("{text:?} is no mode such as 1777"))?,
                );
            }
            None if option == "ro" => read_only = true,
            // Docker's own defaults.
            None if matches!(option, "rw" | "noexec" | "nosuid" | "nodev") => {}
            _ => return Err(format!("there is no tmpfs option {option:?}: use size and mode")),
        }
    }
    Ok(Mount { target: target.to_owned(), source: MountSource::Tmpfs { size, mode }, read_only })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_takes_a_size_and_a_mode() {
        let mount = tmpfs("/run:size=64m,mode=1777,noexec").unwrap();
        assert_eq!(mount.source, MountSource::Tmpfs { size: Some(64 << 20), mode: Some(0o1777) });
        assert!(tmpfs("run").is_err());
        assert!(tmpfs("/run:size=big").is_err());
        assert!(tmpfs("/run:colour=red").is_err());
    }
}
