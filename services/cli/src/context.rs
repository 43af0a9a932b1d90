//! The clusters that this user knows: one file each, readable for the user only.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gantry_identity::Bundle;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};

/// A cluster, and who the user is there.
#[derive(Clone, Serialize, Deserialize)]
pub struct Context {
    /// The cluster's name on this machine.
    pub name: String,
    /// The scheduler's address.
    pub address: String,
    /// Whether the cluster runs on this machine, so that its files are this machine's.
    pub local: bool,
    ca: String,
    certificate: String,
    key: String,
}

impl Context {
    /// A context of that certificate.
    pub fn new(name: String, address: String, local: bool, bundle: Bundle) -> Self {
        Self { name, address, local, ca: bundle.ca, certificate: bundle.certificate, key: bundle.key }
    }

    /// The certificate.
    pub fn bundle(&self) -> Bundle {
        Bundle { ca: self.ca.clone(), certificate: self.certificate.clone(), key: self.key.clone() }
    }
}

/// The folder of contexts.
pub struct Contexts {
    folder: PathBuf,
}

impl Contexts {
    /// The user's folder: `GANTRY_CONFIG`, else `~/.config/gantry`.
    pub fn open() -> Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = set("GANTRY_CONFIG")
            .or_else(|| set("XDG_CONFIG_HOME").map(|folder| folder.join("gantry")))
            .or_else(|| set("HOME").map(|home| home.join(".config/gantry")))
            .ok_or_else(|| {
                Failure::error("there is no home folder to keep contexts in")
                    .hint("set GANTRY_CONFIG to a folder")
            })?;
        Ok(Self { folder })
    }

    #[cfg(test)]
    fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("contexts").join(format!("{name}.json"))
    }

    /// The names of all contexts.
    pub fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("contexts")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.file_name().to_string_lossy().strip_suffix(".json").map(str::to_owned))
            .collect();
        names.sort();
        names
    }

    /// The name of the context that is in use.
    pub fn current(&self) -> Option<String> {
        let text = fs::read_to_string(self.folder.join("current")).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    }

    /// Uses a context from now on.
    pub fn select(&self, name: &str) -> Result<()> {
        if !self.names().iter().any(|known| known == name) {
            return Err(self.unknown(name));
        }
        write(&self.folder.join("current"), name.as_bytes())
    }

    /// The context of that name, else the one in use, else the only one.
    pub fn choose(&self, name: Option<&str>) -> Result<Context> {
        let names = self.names();
        let chosen = match (name, self.current()) {
            (Some(name), _) => name.to_owned(),
            (None, Some(current)) if names.contains(&current) => current,
            _ => match names.as_slice() {
                [only] => only.clone(),
                [] => {
                    return Err(Failure::error("no cluster is known here")
                        .hint("start one with `gantry init`, or copy a context file of another machine into this user's folder"));
                }
                _ => {
                    return Err(Failure::error(format!("several clusters are known: {}", names.join(", ")))
                        .hint("choose one with `gantry context use NAME`, or --context NAME"));
                }
            },
        };
        self.load(&chosen)
    }

    fn load(&self, name: &str) -> Result<Context> {
        let path = self.path(name);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.unknown(name)),
            Err(error) => return Err(Failure::error(format!("cannot read {}: {error}", path.display()))),
        };
        serde_json::from_str(&text).map_err(|error| {
            Failure::error(format!("{} is broken: {error}", path.display()))
                .hint("`gantry init` on the cluster's host writes it anew")
        })
    }

    /// Every context that can be read.
    pub fn all(&self) -> Vec<Context> {
        self.names().iter().filter_map(|name| self.load(name).ok()).collect()
    }

    fn unknown(&self, name: &str) -> Failure {
        let names = self.names();
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Failure::bad_input(format!("there is no context {name:?}; known: {known}"))
    }

    /// Writes a context, and uses it.
    pub fn save(&self, context: &Context) -> Result<()> {
        let json = serde_json::to_vec_pretty(context).map_err(|error| Failure::error(error.to_string()))?;
        write(&self.path(&context.name), &json)?;
        self.select(&context.name)
    }

    /// Forgets a context. One that is not there is left alone.
    pub fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.path(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::error(format!("cannot remove the context {name}: {error}"))),
        }
        if self.current().as_deref() == Some(name) {
            // Another may be the only one now.
            let _ = fs::remove_file(self.folder.join("current"));
        }
        Ok(())
    }
}

/// Writes a file that only its owner can read, whole or not at all.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    let failed = |error: io::Error| Failure::error(format!("cannot write {}: {error}", path.display()));
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let new = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)
        .map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn context(name: &str) -> Context {
        let bundle = Bundle { ca: "ca".into(), certificate: "cert".into(), key: "key".into() };
        Context::new(name.into(), "127.0.0.1:7070".into(), true, bundle)
    }

    #[test]
    fn a_context_is_for_its_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let contexts = Contexts::at(folder.path());
        contexts.save(&context("prod")).unwrap();
        let mode = fs::metadata(contexts.path("prod")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(contexts.choose(None).unwrap().bundle().key, "key");
    }

    #[test]
    fn the_one_in_use_is_chosen_and_forgotten_with_its_removal() {
        let folder = tempfile::tempdir().unwrap();
        let contexts = Contexts::at(folder.path());
        assert!(contexts.choose(None).err().unwrap().to_string().contains("no cluster is known"));
        contexts.save(&context("a")).unwrap();
        contexts.save(&context("b")).unwrap();
        assert_eq!(contexts.choose(None).unwrap().name, "b");
        assert_eq!(contexts.choose(Some("a")).unwrap().name, "a");
        assert!(contexts.choose(Some("c")).is_err());
        contexts.remove("b").unwrap();
        assert_eq!(contexts.choose(None).unwrap().name, "a", "the only one that is left");
    }
}
