//! Every file that the guide shows can be served by.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::tls::Authority;

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/replace-nginx.md");
    fs::read_to_string(path).unwrap()
}

/// Its examples, with the lines at which they begin.
fn examples(guide: &str) -> Vec<(usize, String)> {
    let mut examples = Vec::new();
    let mut lines = guide.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if line == "```toml" {
            let text = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```");
            examples.push((at + 2, text.fold(String::new(), |text, line| text + line + "\n")));
        }
    }
    examples
}

/// An example shows what it is about: what it leads to and does not show is added, so that it is whole.
fn complete(example: &str) -> String {
    let table: toml::Table = example.parse().unwrap_or_else(|error| panic!("{error} in\n{example}"));
    let list = |key: &str| table.get(key).and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let mut text = example.to_owned();
    if list("listen").is_empty() {
        text += "[[listen]]\nport = 80\nprotocol = \"http\"\nrouted = true\n";
    }
    let known = table.get("backend").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    let named: BTreeSet<String> = list("listen")
        .iter()
        .chain(&list("route"))
        .filter_map(|one| Some(one.get("backend")?.as_str()?.to_owned()))
        .filter(|name| !known.contains_key(name))
        .collect();
    for name in named {
        text += &format!("[backend.{name}]\nendpoints = [\"127.0.0.1:9001\"]\n");
    }
    text
}

/// A folder with every file that the guide names.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::write(folder.path().join("ca.pem"), &authority.pem).unwrap();
    for (certificate, key) in [("cert.pem", "key.pem"), ("client.pem", "client.key")] {
        let identity = authority.sign(&["shop.example.com"]);
        fs::write(folder.path().join(certificate), identity.cert).unwrap();
        fs::write(folder.path().join(key), identity.key).unwrap();
    }
    let user = format!("ada:{}\n", bcrypt::hash("secret", 4).unwrap());
    fs::write(folder.path().join("htpasswd"), user).unwrap();
    folder
}

fn check(path: &PathBuf) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry-proxy"));
    let output = command.arg("--check").arg("--config").arg(path).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn every_example_of_the_guide_is_a_good_file() {
    let guide = guide();
    let examples = examples(&guide);
    assert!(examples.len() >= 10, "{}", examples.len());
    let folder = folder();
    let path = folder.path().join("proxy.toml");
    for (line, example) in examples {
        fs::write(&path, complete(&example)).unwrap();
        let (fine, said) = check(&path);
        assert!(fine && said.contains("is fine"), "the example at line {line}: {said}\n{example}");
    }
}

#[test]
fn every_key_that_the_guide_names_exists() {
    let guide = guide();
    let folder = folder();
    let path = folder.path().join("proxy.toml");
    let mut checked = 0;
    // In tables: `key = value`, for a backend, a route, limits, a listener or the file.
    for row in guide.lines().filter(|line| line.starts_with('|')) {
        // The first column is nginx's.
        let own = row.splitn(3, '|').last().unwrap_or_default();
        let code = own.split('`').skip(1).step_by(2);
        for assignment in code.filter(|code| code.contains(" = ") && !code.contains(';')) {
            let assignment = assignment.trim_start_matches("[limits] ").trim_start_matches("[backend.NAME] ");
            let fits = |before: &str, route: &str, backend: &str| {
                let text = format!(
                    "{before}\n[[listen]]\nport = 80\nbackend = \"web\"\n[[route]]\nbackend = \
                     \"web\"\n{route}\n[backend.web]\nendpoints = [\"127.0.0.1:1\"]\n{backend}\n"
                );
                fs::write(&path, text).unwrap();
                check(&path).0
            };
            let fine = fits(assignment, "", "")
                || fits(&format!("[limits]\n{assignment}"), "", "")
                || fits("", assignment, "")
                || fits("", "", assignment)
                || row.contains("tls = true")
                || row.contains("protocol = \"tcp\"");
            assert!(fine, "{assignment} is no key of anything: {row}");
            checked += 1;
        }
    }
    assert!(checked > 20, "{checked}");
}
