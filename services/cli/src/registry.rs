//! The credentials for registries that `docker login` has put down, for the images of a stack.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use gantry_api::agent::v1::RegistryCredential;
use gantry_model::{DEFAULT_REGISTRY, StackSpec, registry_of};
use serde::Deserialize;

/// Docker's name for its own registry.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What matters of Docker's config file.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Auth>,
    creds_store: String,
    cred_helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    /// User and password, in base64.
    #[serde(rename = "auth")]
    pair: String,
    username: String,
    password: String,
    identitytoken: String,
}

/// What a credential helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The credentials for the registries of the stack's images, as far as there are any. A config that cannot
/// be read, or a helper that fails, is a warning: the image may be there already, or be free to all.
pub fn credentials(stack: &StackSpec) -> Vec<RegistryCredential> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from).or_else(|| {
        #[allow(deprecated)] // What was wrong with it on other systems is right since Rust 1.85.
        std::env::home_dir().map(|home| home.join(".docker"))
    });
    let registries: BTreeSet<&str> =
        stack.services.values().map(|service| registry_of(&service.container.image)).collect();
    match folder {
        Some(folder) => find(&folder, &registries, |warning| eprintln!("warning: {warning}")),
        None => Vec::new(),
    }
}

fn find(folder: &Path, registries: &BTreeSet<&str>, mut warn: impl FnMut(String)) -> Vec<RegistryCredential> {
    let path = folder.join("config.json");
    let Ok(bytes) = std::fs::read(&path) else { return Vec::new() };
    let config: Config = match serde_json::from_slice(&bytes) {
        Ok(config) => config,
        Err(error) => {
            warn(format!("cannot read {}, so no registry is logged in to: {error}", path.display()));
            return Vec::new();
        }
    };
    let mut found = Vec::new();
    for registry in registries {
        match of_registry(&config, registry) {
            Ok(credential) => found.extend(credential),
            Err(problem) => warn(format!("the credentials for {registry} cannot be had: {problem}")),
        }
    }
    found
}

fn of_registry(config: &Config, registry: &str) -> Result<Option<RegistryCredential>, String> {
    let key = if registry == DEFAULT_REGISTRY { DOCKER_HUB } else { registry };
    let helper = config.cred_helpers.get(key).or_else(|| config.cred_helpers.get(registry));
    if let Some(helper) = helper.or(Some(&config.creds_store)).filter(|helper| !helper.is_empty())
        && let Some(answer) = ask(helper, key)?
    {
        return Ok(Some(of_answer(registry, answer)));
    }
    let entry = config.auths.iter().find(|(name, _)| plain(name) == plain(key));
    entry.map_or(Ok(None), |(_, auth)| of_auth(registry, auth))
}

/// A registry's name as people have written it there, without what does not matter.
fn plain(name: &str) -> &str {
    let host = name.trim_start_matches("https://").trim_start_matches("http://");
    host.split('/').next().unwrap_or(host)
}

fn of_answer(registry: &str, answer: Answer) -> RegistryCredential {
    let mut credential =
        RegistryCredential { registry: registry.to_owned(), ..RegistryCredential::default() };
    if answer.username == "<token>" {
        credential.identity_token = answer.secret;
    } else {
        (credential.username, credential.password) = (answer.username, answer.secret);
    }
    credential
}

fn of_auth(registry: &str, auth: &Auth) -> Result<Option<RegistryCredential>, String> {
    let (mut username, mut password) = (auth.username.clone(), auth.password.clone());
    if !auth.pair.is_empty() {
        let words = BASE64_STANDARD.decode(auth.pair.trim()).ok();
        let words = words.and_then(|words| String::from_utf8(words).ok());
        let pair = words.as_deref().and_then(|words| words.split_once(':'));
        let (user, secret) =
            pair.ok_or("what Docker's config has for it makes no sense; `docker login` again")?;
        (username, password) = (user.to_owned(), secret.trim_end_matches('\0').to_owned());
    }
    if username.is_empty() && auth.identitytoken.is_empty() {
        return Ok(None);
    }
    let identity_token = auth.identitytoken.clone();
    Ok(Some(RegistryCredential { registry: registry.to_owned(), username, password, identity_token }))
}

/// Asks a credential helper, as Docker does. `None`: it has none for this registry.
fn ask(helper: &str, registry: &str) -> Result<Option<Answer>, String> {
    ask_program(&format!("docker-credential-{helper}"), registry)
}

fn ask_program(program: &str, registry: &str) -> Result<Option<Answer>, String> {
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // One that does not read its input has answered already.
        let _ = input.write_all(registry.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stdout);
        if words.contains("credentials not found") {
            return Ok(None);
        }
        return Err(format!("{program} failed: {}", words.trim()));
    }
    serde_json::from_slice(&output.stdout).map(Some).map_err(|_| format!("{program} answered with nonsense"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// What is found for registries with that config, and the warnings.
    fn found(config: &str, registries: &[&str]) -> (Vec<RegistryCredential>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config).unwrap();
        let mut warnings = Vec::new();
        let found =
            find(folder.path(), &registries.iter().copied().collect(), |warning| warnings.push(warning));
        (found, warnings)
    }

    fn credential(registry: &str, username: &str, password: &str) -> RegistryCredential {
        RegistryCredential {
            registry: registry.into(),
            username: username.into(),
            password: password.into(),
            ..RegistryCredential::default()
        }
    }

    #[test]
    fn only_the_credentials_of_the_stacks_registries_are_taken() {
        // "ada:hunter2"
        let config = r#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "YWRhOmh1bnRlcjI="},
            "https://ghcr.io": {"username": "bob", "password": "x"},
            "other.example.com": {"auth": "YWRhOmh1bnRlcjI="}
        }}"#;
        let (found, warnings) = found(config, &["docker.io", "ghcr.io", "localhost:5000"]);
        assert_eq!(found, [credential("docker.io", "ada", "hunter2"), credential("ghcr.io", "bob", "x")]);
        assert_eq!(warnings, [""; 0]);
    }

    #[test]
    fn a_helper_is_asked_and_one_that_fails_is_a_warning() {
        let config = r#"{"credHelpers": {"ghcr.io": "gantry-no-such-helper"}}"#;
        let (found, warnings) = found(config, &["ghcr.io", "docker.io"]);
        assert_eq!(found, []);
        assert!(warnings.len() == 1 && warnings[0].contains("gantry-no-such-helper"), "{warnings:?}");
    }

    #[test]
    fn a_helpers_answer_is_a_user_or_a_token() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("docker-credential-gantry-test");
        let script = "#!/bin/sh\nread -r registry\n[ \"$registry\" = none ] && { echo 'credentials not found in native keychain'; exit 1; }\n\
                      echo '{\"ServerURL\":\"'$registry'\",\"Username\":\"<token>\",\"Secret\":\"t\"}'\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let program = program.display().to_string();
        let answer = ask_program(&program, "ghcr.io\n").unwrap().unwrap();
        let credential = of_answer("ghcr.io", answer);
        assert_eq!((credential.identity_token.as_str(), credential.username.as_str()), ("t", ""));
        assert!(ask_program(&program, "none\n").unwrap().is_none());
    }

    #[test]
    fn a_broken_config_is_a_warning_that_shows_nothing_of_it() {
        let (nothing, warnings) = found(r#"{"auths": {"ghcr.io": {"auth": "%%%hunter2"}}}"#, &["ghcr.io"]);
        assert_eq!(nothing, []);
        assert!(warnings[0].contains("docker login") && !warnings[0].contains("hunter2"), "{warnings:?}");
        let (_, warnings) = found("{", &["ghcr.io"]);
        assert_eq!(warnings.len(), 1);
    }
}
