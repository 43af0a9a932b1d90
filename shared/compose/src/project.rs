//! The whole file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use gantry_model::{ServiceId, StackName, StackSpec, VolumeSpec};

use crate::build::Build;
use crate::diagnostic::{At, Diagnostic, Level, Problems, Source};
use crate::interpolate::{Problem, Variables, interpolate};
use crate::section::{Log, Section};
use crate::tree::{self, Node, Value};
use crate::{dotenv, keys, networks, service};

/// The names under which a Compose file is looked for, in this order.
const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml"];
/// A larger file is hardly a Compose file.
const MAX_FILE: u64 = 4 << 20;

/// How a file is to be read.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The stack's name; `None` takes the file's, else the folder's.
    pub name: Option<String>,
    /// The user's own variables.
    pub environment: Variables,
    /// Files of further variables instead of the project's `.env`.
    pub env_files: Vec<PathBuf>,
    /// Profiles that are wanted.
    pub profiles: Vec<String>,
    /// Whether binds are of this machine, so that it can be seen whether their source exists.
    pub check_binds: bool,
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Project {
    /// What it asks for.
    pub stack: StackSpec,
    /// How images are built, by service.
    pub builds: BTreeMap<String, Build>,
    /// The file with everything put in, for `gantry config`.
    pub resolved: Node,
    /// What is worth knowing about it.
    pub remarks: Problems,
}

/// What sections need to know of the rest of the file.
pub(crate) struct Context<'a> {
    /// The stack's name.
    pub name: &'a str,
    /// The folder of the file.
    pub folder: &'a Path,
    /// The user's variables.
    pub variables: &'a Variables,
    /// The services of the file.
    pub services: BTreeSet<&'a str>,
    /// Its networks.
    pub networks: BTreeSet<&'a str>,
    /// Its volumes.
    pub volumes: BTreeSet<&'a str>,
    /// Whether binds are of this machine.
    pub check_binds: bool,
    /// Whether build folders are to be there.
    pub check_builds: bool,
}

impl Context<'_> {
    /// A path of the file as an absolute one.
    pub fn path(&self, text: &str) -> PathBuf {
        let path = match (text.strip_prefix("~/"), self.variables.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => self.folder.join(text),
        };
        // `a/./b` and `a/../b` are the same to people.
        let mut clean = PathBuf::new();
        for part in path.components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir => drop(clean.pop()),
                part => clean.push(part),
            }
        }
        clean
    }
}

/// The Compose file of a folder, or of the nearest folder above that has one.
pub fn find_file(folder: &Path) -> Option<PathBuf> {
    folder
        .ancestors()
        .find_map(|folder| NAMES.iter().map(|name| folder.join(name)).find(|path| path.is_file()))
}

/// Reads a Compose file.
pub fn load(file: &Path, options: &Options) -> Result<Project, Problems> {
    let source = |text: &str| Source { name: file.display().to_string(), text: text.into() };
    let failed = |message: String| {
        let diagnostic = Diagnostic { level: Level::Error, message, at: None, help: None };
        Problems::new(source(""), vec![diagnostic])
    };
    let text = read(file).map_err(|error| failed(format!("cannot read {}: {error}", file.display())))?;
    let absolute = std::path::absolute(file).map_err(|error| failed(error.to_string()))?;
    let folder = absolute.parent().unwrap_or(Path::new("/"));
    let variables = variables(folder, options).map_err(failed)?;

    let log = Log::default();
    let project = tree::parse(&text)
        .map_err(|problem| log.push(problem))
        .ok()
        .and_then(|root| assemble(root, folder, &variables, options, &log));
    let failed = log.has_errors();
    let remarks = Problems::new(source(&text), log.take());
    match project {
        Some((stack, builds, resolved)) if !failed => Ok(Project { stack, builds, resolved, remarks }),
        _ => Err(remarks),
    }
}

fn read(file: &Path) -> io::Result<String> {
    if fs::metadata(file)?.len() > MAX_FILE {
        return Err(io::Error::other("it is larger than 4 MiB"));
    }
    fs::read_to_string(file)
}

/// The user's variables, over those of `.env`.
fn variables(folder: &Path, options: &Options) -> Result<Variables, String> {
    let default = [folder.join(".env")];
    let explicit = !options.env_files.is_empty();
    let files = if explicit { options.env_files.as_slice() } else { &default };
    let mut variables = Variables::new();
    for file in files {
        match fs::read_to_string(file) {
            Ok(text) => {
                let found = dotenv::parse(&text, &options.environment)
                    .map_err(|problem| format!("{}: {problem}", file.display()))?;
                variables.extend(found);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !explicit => {}
            Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
        }
    }
    variables.extend(options.environment.clone());
    Ok(variables)
}

type Assembled = (StackSpec, BTreeMap<String, Build>, Node);

fn assemble(
    mut root: Node,
    folder: &Path,
    variables: &Variables,
    options: &Options,
    log: &Log,
) -> Option<Assembled> {
    let mut missing = BTreeSet::new();
    interpolate(&mut root, variables, &mut missing, &mut |node, Problem(what)| log.error(node.at, what));
    for name in missing {
        log.general(Level::Warning, format!("the variable {name} is not set, and is empty"));
    }
    if root.value == Value::Null {
        log.general(Level::Error, "the file is empty: it needs services");
        return None;
    }
    let top = Section::open(log, "a Compose file", &root)?;
    if top.get("version").is_some() {
        log.note(top.key_at("version"), "version says nothing any more, and can be deleted");
    }
    let name = stack_name(&top, folder, variables, options)?;
    let services = top.section("services");
    if services.as_ref().is_none_or(|services| services.entries().is_empty()) {
        log.error(top.at, "the file has no services");
    }
    let networks = top.get("networks").map(|node| networks::of_file(log, node)).unwrap_or_default();
    let volumes = top.get("volumes").map(|node| volumes_of_file(log, node)).unwrap_or_default();
    top.finish(keys::TOP);

    let enabled = enabled(services.as_ref(), variables, options);
    let context = Context {
        name: name.as_str(),
        folder,
        variables,
        services: enabled.iter().map(|(key, _)| &*key.name).collect(),
        networks: networks.keys().map(String::as_str).collect(),
        volumes: volumes.keys().map(String::as_str).collect(),
        check_binds: options.check_binds,
        check_builds: true,
    };
    let mut services = BTreeMap::new();
    let mut builds = BTreeMap::new();
    let mut published: Vec<(gantry_model::Port, At, String)> = Vec::new();
    let mut routed: Vec<(gantry_model::Route, At, String)> = Vec::new();
    for (key, node) in enabled {
        if let Err(bad) = ServiceId::new(name.clone(), &*key.name) {
            log.error(key.at, bad.to_string());
            continue;
        }
        let Some(section) = Section::open(log, format!("service {}", key.name), node) else { continue };
        let service = service::read(&key.name, section, &context);
        for (port, at) in service.spec.ports.iter().zip(&service.ports_at) {
            published.push((port.clone(), *at, key.name.to_string()));
        }
        for (route, at) in service.spec.routes.iter().zip(&service.routes_at) {
            routed.push((route.clone(), *at, key.name.to_string()));
        }
        builds.extend(service.build.map(|build| (key.name.to_string(), build)));
        services.insert(key.name.to_string(), service.spec);
    }
    check_ports(log, &published);
    check_routes(log, &routed);
    check_cycles(log, &root, &services);
    Some((StackSpec { name, services, networks, volumes }, builds, root))
}

fn stack_name(
    top: &Section<'_>,
    folder: &Path,
    variables: &Variables,
    options: &Options,
) -> Option<StackName> {
    let own = top.text("name");
    let given = options
        .name
        .clone()
        .or_else(|| variables.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty()).cloned());
    let (name, at) = match (given, own) {
        (Some(name), _) => (name, None),
        (None, Some(name)) => (name, Some(top.key_at("name"))),
        (None, None) => (normal(&folder.file_name().unwrap_or_default().to_string_lossy()), None),
    };
    match (StackName::new(&name), at) {
        (Ok(name), _) => Some(name),
        (Err(bad), Some(at)) => {
            top.log.error(at, bad.to_string());
            None
        }
        (Err(bad), None) => {
            top.log.general(Level::Error, format!("{bad}; give one with -p NAME"));
            None
        }
    }
}

/// A folder's name as Compose makes a project name of it.
fn normal(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept: String = lower
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}

/// The services without a profile, and those of a wanted one.
fn enabled<'a>(
    services: Option<&Section<'a>>,
    variables: &Variables,
    options: &Options,
) -> Vec<&'a (tree::Key, Node)> {
    let asked = variables.get("COMPOSE_PROFILES").map(String::as_str).unwrap_or_default();
    let wanted: BTreeSet<&str> = options
        .profiles
        .iter()
        .map(String::as_str)
        .chain(asked.split(','))
        .filter(|name| !name.is_empty())
        .collect();
    let is_enabled = |node: &Node| match node.get("profiles").map(|profiles| &profiles.value) {
        Some(Value::List(profiles)) if !profiles.is_empty() => {
            profiles.iter().any(|profile| match &profile.value {
                Value::Scalar { text, .. } => wanted.contains(text.as_str()) || wanted.contains("*"),
                _ => false,
            })
        }
        _ => true,
    };
    services
        .map(|services| services.entries().iter().filter(|(_, node)| is_enabled(node)).collect())
        .unwrap_or_default()
}

fn volumes_of_file(log: &Log, node: &Node) -> BTreeMap<String, VolumeSpec> {
    let mut volumes = BTreeMap::new();
    let Some(section) = Section::open(log, "volumes", node) else { return volumes };
    for (key, value) in section.entries() {
        let Some(volume) = Section::open(log, format!("volume {}", key.name), value) else { continue };
        let external = match volume.get("external").map(|node| &node.value) {
            None => false,
            Some(Value::Scalar { .. }) => volume.flag("external").unwrap_or(false),
            // The old form: `external: {name: x}`.
            Some(_) => true,
        };
        let old_name =
            volume.get("external").and_then(|node| node.get("name")).and_then(|node| match &node.value {
                Value::Scalar { text, .. } => Some(text.clone()),
                _ => None,
            });
        let name = volume.text("name").or(old_name).or_else(|| external.then(|| key.name.to_string()));
        let spec = VolumeSpec {
            name,
            external,
            driver: volume.text("driver"),
            options: volume.pairs("driver_opts"),
            labels: volume.pairs("labels"),
        };
        if external && (spec.driver.is_some() || !spec.options.is_empty()) {
            log.error(
                volume.key_at("external"),
                "an external volume exists already: it takes no driver and no options",
            );
        }
        volume.finish(keys::VOLUME);
        volumes.insert(key.name.to_string(), spec);
    }
    volumes
}

fn check_ports(log: &Log, published: &[(gantry_model::Port, At, String)]) {
    for (at, (port, place, service)) in published.iter().enumerate() {
        let taken = published[..at].iter().find(|(other, ..)| port.collides(other));
        if let Some((_, _, other)) = taken {
            let number = port.published.unwrap_or_default();
            let whom = if other == service {
                "this service publishes it already".to_owned()
            } else {
                format!("the service {other} publishes it already")
            };
            log.error(*place, format!("port {number}/{} of the node is taken: {whom}", port.protocol));
        }
    }
}

/// Two services cannot have one route. Two of one service are seen by whoever reads it.
fn check_routes(log: &Log, routed: &[(gantry_model::Route, At, String)]) {
    for (at, (route, place, service)) in routed.iter().enumerate() {
        let taken = routed[..at].iter().find(|(other, _, of)| of != service && route.is_same_as(other));
        if let Some((_, _, other)) = taken {
            log.error(*place, format!("the route {route} is taken: the service {other} has it already"));
        }
    }
}

/// Dependencies must not go in a circle.
fn check_cycles(log: &Log, root: &Node, services: &BTreeMap<String, gantry_model::ServiceSpec>) {
    fn circle<'a>(
        services: &'a BTreeMap<String, gantry_model::ServiceSpec>,
        name: &'a str,
        path: &mut Vec<&'a str>,
        done: &mut BTreeSet<&'a str>,
    ) -> Option<Vec<&'a str>> {
        if let Some(start) = path.iter().position(|seen| *seen == name) {
            return Some([&path[start..], &[name]].concat());
        }
        if !done.insert(name) {
            return None;
        }
        path.push(name);
        let needs = services.get(name)?.depends_on.keys();
        let found = needs.into_iter().find_map(|next| circle(services, next, path, done));
        path.pop();
        found
    }
    let mut done = BTreeSet::new();
    for name in services.keys() {
        let mut path = Vec::new();
        if let Some(found) = circle(services, name, &mut path, &mut done) {
            let at = root
                .get("services")
                .and_then(|all| all.get(found[0]))
                .and_then(|service| service.get("depends_on"));
            let at = at.map_or(root.at, |node| node.at);
            log.error(at, format!("depends_on goes in a circle: {}", found.join(" → ")));
            return;
        }
    }
}
