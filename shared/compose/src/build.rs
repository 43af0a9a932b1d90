//! `build:` of a service: done by whoever deploys, before the stack is applied.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::keys;
use crate::project::Context;
use crate::section::Section;
use crate::tree::Value;

/// How a service's image is built.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Build {
    /// The folder that is sent to the builder.
    pub context: PathBuf,
    /// The Dockerfile, relative to the folder or absolute; `None` is `Dockerfile`.
    pub dockerfile: Option<String>,
    /// The text of the Dockerfile, where it stands in the Compose file.
    pub dockerfile_inline: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The stage; `None` is the last.
    pub target: Option<String>,
    /// Builds without the cache.
    pub no_cache: bool,
    /// Asks for newer base images.
    pub pull: bool,
    /// Labels for the image.
    pub labels: BTreeMap<String, String>,
    /// The network of `RUN` steps.
    pub network: Option<String>,
    /// Further names for the image.
    pub tags: Vec<String>,
}

/// Reads `build:`; `None` if there is none.
pub fn read(section: &Section<'_>, context: &Context<'_>) -> Option<Build> {
    let node = section.get("build")?;
    let log = section.log;
    if let Value::Scalar { text, .. } = &node.value {
        return checked(section, context, Build { context: context.path(text), ..Build::default() });
    }
    let build = section.section("build")?;
    let mut args = BTreeMap::new();
    if let Some(node) = build.get("args") {
        match &node.value {
            Value::Map(entries) => {
                for (name, value) in entries {
                    match &value.value {
                        Value::Scalar { text, .. } => drop(args.insert(name.name.to_string(), text.clone())),
                        Value::Null => args.extend(
                            context.variables.get_key_value(&*name.name).map(|(n, v)| (n.clone(), v.clone())),
                        ),
                        _ => log.error(
                            value.at,
                            format!("args.{} must be a text, and this is {}", name.name, value.kind()),
                        ),
                    }
                }
            }
            _ => args = build.pairs("args"),
        }
    }
    let read = Build {
        context: context.path(&build.text("context").unwrap_or_else(|| ".".to_owned())),
        dockerfile: build.text("dockerfile"),
        dockerfile_inline: build.text("dockerfile_inline"),
        args,
        target: build.text("target"),
        no_cache: build.flag("no_cache").unwrap_or(false),
        pull: build.flag("pull").unwrap_or(false),
        labels: build.pairs("labels"),
        network: build.text("network"),
        tags: build.texts("tags"),
    };
    build.finish(keys::BUILD);
    checked(section, context, read)
}

fn checked(section: &Section<'_>, context: &Context<'_>, build: Build) -> Option<Build> {
    if context.check_builds && !build.context.is_dir() {
        section.log.error(
            section.value_at("build"),
            format!("the folder {} does not exist", build.context.display()),
        );
        return None;
    }
    let dockerfile = build.context.join(build.dockerfile.as_deref().unwrap_or("Dockerfile"));
    if context.check_builds && build.dockerfile_inline.is_none() && !dockerfile.is_file() {
        section.log.error(section.value_at("build"), format!("there is no {}", dockerfile.display()));
        return None;
    }
    Some(build)
}
