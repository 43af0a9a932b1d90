//! A proxy without a cluster: TLS by name, certificates that change, a file that changes, one proxy that
//! relieves another, and a cluster's proxy that is replaced.

#![allow(clippy::unwrap_used, clippy::expect_used)] // A test that cannot be set up has failed.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;

use gantry_e2e::{Cluster, Load, Run, eventually, get};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, Stream};

fn binary() -> std::path::PathBuf {
    let gantry = std::env::var_os("GANTRY_BIN").expect("run these tests with `make e2e`");
    Path::new(&gantry).with_file_name("gantry-proxy")
}

/// A process that ends with the test.
struct Process(Child);

impl Process {
    fn proxy(folder: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(binary());
        Self(command.args(["--config", "proxy.toml"]).args(args).current_dir(folder).spawn().unwrap())
    }

    fn backend(port: u16) -> Self {
        let probe = binary().with_file_name("gantry-probe");
        let process = Self(Command::new(probe).args(["serve", &port.to_string()]).spawn().unwrap());
        eventually("the backend listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        process
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn page(port: u16) -> Option<u16> {
    get(&format!("http://127.0.0.1:{port}/"), None).ok().map(|page| page.status)
}

/// Makes a certificate and key for a name, and answers with the certificate.
fn certificate(folder: &Path, name: &str) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

/// Asks over TLS for `name`, trusting `certificate` only.
fn secured(port: u16, name: &str, certificate: &CertificateDer<'static>) -> Result<String, String> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots).with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), server).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())?;
    let mut stream = Stream::new(&mut client, &mut socket);
    let request =
        format!("GET /header/x-forwarded-proto HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| error.to_string())?;
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    Ok(answer)
}

#[test]
fn each_name_has_its_certificate_and_a_new_one_is_taken_while_serving() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _backend = Process::backend(18_121);
    let one = certificate(folder, "one.example");
    let two = certificate(folder, "two.example");
    let file = r#"
[[listen]]
port = 18120
tls = true
backend = "web"
[[listen]]
port = 18122
routed = true
[backend.web]
endpoints = ["127.0.0.1:18121"]
[[route]]
backend = "web"
redirect_https = true
[[certificate]]
cert = "one.example.pem"
key = "one.example.key"
[[certificate]]
cert = "two.example.pem"
key = "two.example.key"
"#;
    std::fs::write(folder.join("proxy.toml"), file).unwrap();
    let _proxy = Process::proxy(folder, &[]);
    let fine = |name: &str, certificate: &CertificateDer<'static>| {
        secured(18_120, name, certificate).ok().filter(|answer| answer.ends_with("\r\n\r\nhttps"))
    };
    eventually("one.example is served", || fine("one.example", &one));
    assert!(fine("two.example", &two).is_some());
    assert!(secured(18_120, "two.example", &one).is_err(), "the other's certificate is not given");

    // Connections go on all the time while a certificate is replaced.
    let mut asked = 0;
    let new = certificate(folder, "two.example");
    eventually("the new certificate is served", || {
        asked += 1;
        assert!(fine("one.example", &one).is_some(), "the other name is served all the time");
        assert!(fine("two.example", &two).is_some() || fine("two.example", &new).is_some());
        fine("two.example", &new)
    });
    assert!(asked > 0 && fine("two.example", &two).is_none());

    // Plain HTTP is sent to https.
    let answer = get("http://127.0.0.1:18122/a?b", None).unwrap();
    assert_eq!((answer.status, answer.location.as_deref()), (308, Some("https://127.0.0.1/a?b")));
}

#[test]
fn a_changed_file_is_served_and_a_wrong_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _backend = Process::backend(18_124);
    let file =
        "[[listen]]\nport = 18123\nbackend = \"web\"\n[backend.web]\nendpoints = [\"127.0.0.1:18124\"]\n";
    std::fs::write(folder.join("proxy.toml"), file).unwrap();
    let _proxy = Process::proxy(folder, &[]);
    eventually("it serves", || page(18_123).filter(|status| *status == 200));

    std::fs::write(folder.join("proxy.toml"), file.replace("port", "prot")).unwrap();
    let check =
        Run::of(Command::new(binary()).args(["--check", "--config", "proxy.toml"]).current_dir(folder));
    assert!(check.fails_with(1).contains("proxy.toml:2:1: listen has no key prot; did you mean port?"));
    std::fs::write(
        folder.join("proxy.toml"),
        format!("{file}\n[[listen]]\nport = 18125\nbackend = \"web\"\n"),
    )
    .unwrap();
    eventually("the new port is served", || page(18_125).filter(|status| *status == 200));
    assert_eq!(page(18_123), Some(200));
}

#[test]
fn a_successor_takes_over_under_load_without_a_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let _backend = Process::backend(18_127);
    let file =
        "[[listen]]\nport = 18126\nbackend = \"web\"\n[backend.web]\nendpoints = [\"127.0.0.1:18127\"]\n";
    std::fs::write(folder.join("proxy.toml"), file).unwrap();
    let mut proxy = Process::proxy(folder, &["--handover", "handover.sock"]);
    eventually("it serves", || page(18_126).filter(|status| *status == 200));
    let load = Load { sometimes: Some((500, "/slow/1000".into())), ..Load::on(18_126) }.start();
    for _ in 0..3 {
        load.pass(2_000);
        let next = Process::proxy(folder, &["--handover", "handover.sock"]);
        let mut old = std::mem::replace(&mut proxy, next);
        let ended = eventually("the old one ends by itself", || old.0.try_wait().unwrap());
        assert!(ended.success(), "{ended}");
        load.pass(2_000);
    }
    load.stop().none_failed(12_000);
}

#[test]
fn a_clusters_proxy_is_replaced_under_load_without_a_failed_request() {
    let cluster = Cluster::start();
    let file = cluster.file(
        "shop",
        "services: {web: {image: gantry-e2e/probe, ports: ['18128:8080'], deploy: {replicas: 2}}}",
    );
    cluster.ok(["up", "-f", &file]);
    let id = || cluster.docker(["inspect", "-f", "{{.Id}}", &cluster.container("proxy")]);
    let before = id();
    let load = Load { sometimes: Some((500, "/slow/1000".into())), ..Load::on(18_128) }.start();
    load.pass(2_000);
    // Another setting: the container has to be made anew.
    cluster.init_with(&[("GANTRY_LOG", "info,gantry_proxy=debug")]);
    assert_ne!(id(), before);
    load.pass(2_000);
    cluster.ok(["scale", "shop/web=3"]);
    load.pass(2_000);
    load.stop().none_failed(6_000);
    let names = cluster.docker(["ps", "-a", "--format", "{{.Names}}"]);
    assert!(!names.contains("relieved"), "{names}");
}
