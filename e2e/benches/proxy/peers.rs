//! The proxies, set up alike: one core, connections to the backend kept, the same headers added, no
//! access log, no health checks.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;

use super::daemon::Daemon;
use super::machine::{CIPHER, LARGE, MEDIUM, Machine, PROXY_CORE, SMALL, nginx_config};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Gantry,
    Nginx,
    Haproxy,
    /// Copies bytes and understands nothing: no proxy can be cheaper by much.
    Relay,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Gantry, Self::Nginx, Self::Haproxy, Self::Relay];

    pub fn name(self) -> &'static str {
        match self {
            Self::Gantry => "gantry",
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Relay => "relay",
        }
    }

    /// The Debian program that it is.
    pub fn program(self) -> Option<&'static str> {
        match self {
            Self::Haproxy => Some("haproxy"),
            Self::Nginx => Some("nginx"),
            Self::Gantry | Self::Relay => None,
        }
    }
}

/// A proxy that runs.
pub struct Peer {
    pub kind: Kind,
    pub daemon: Daemon,
    /// Where it takes plain HTTP.
    pub plain: u16,
    /// Where it takes TLS; the relay does not.
    pub tls: u16,
}

impl Peer {
    /// Starts one, and waits until it listens.
    pub fn start(kind: Kind, machine: &Machine) -> Result<Self, Box<dyn Error>> {
        let (plain, tls) = (machine.port()?, machine.port()?);
        let name = format!("{}-{plain}", kind.name());
        let config = machine.file(&format!("{name}.conf"));
        let path = config.to_string_lossy();
        let folder = machine.file("");
        let start = |text: String, command: &[&str]| {
            fs::write(&config, text)?;
            Daemon::start(&name, PROXY_CORE, &folder, command)
        };
        let daemon = match kind {
            Kind::Gantry => {
                let program = gantry()?;
                let program = program.to_string_lossy();
                start(gantry_config(machine, plain, tls, machine.port()?), &[&program, "--config", &path])
            }
            Kind::Nginx => {
                let http = nginx_http(machine, plain, tls);
                start(nginx_config(&folder, &name, &http), &["nginx", "-c", &path])
            }
            Kind::Haproxy => start(haproxy_config(machine, plain, tls), &["haproxy", "-db", "-f", &path]),
            Kind::Relay => {
                let program = std::env::current_exe()?;
                let (from, to) = (plain.to_string(), machine.backend.to_string());
                start(String::new(), &[&program.to_string_lossy(), "relay", &from, &to])
            }
        }?;
        daemon.wait_for(plain)?;
        if kind != Kind::Relay {
            daemon.wait_for(tls)?;
        }
        Ok(Self { kind, daemon, plain, tls })
    }

    /// Whether the bodies come through whole: a proxy that answers with an error page is fast.
    pub fn answers_rightly(&self) -> Result<(), Box<dyn Error>> {
        for (path, length) in [SMALL, MEDIUM, LARGE] {
            let mut stream = TcpStream::connect(("127.0.0.1", self.plain))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer)?;
            let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_default();
            if !answer.starts_with(b"HTTP/1.1 200") || answer.len() - head - 4 != length {
                let head = String::from_utf8_lossy(&answer[..head]).into_owned();
                return Err(format!("{} answers {path} wrongly:\n{head}", self.kind.name()).into());
            }
        }
        Ok(())
    }
}

fn gantry() -> Result<PathBuf, Box<dyn Error>> {
    let path = std::env::var_os("GANTRY_PROXY_BIN").map(PathBuf::from);
    path.filter(|path| path.is_file()).ok_or_else(|| {
        "GANTRY_PROXY_BIN names no file\n  run `make bench BENCH=proxy`, which builds Gantry's proxy and sets it"
            .into()
    })
}

fn gantry_config(machine: &Machine, plain: u16, tls: u16, admin: u16) -> String {
    let file = |name| machine.file(name).display().to_string();
    format!(
        r#"
admin = "127.0.0.1:{admin}"
workers = 1

[[listen]]
address = "127.0.0.1"
port = {plain}
protocol = "http"
backend = "web"

[[listen]]
address = "127.0.0.1"
port = {tls}
protocol = "http"
tls = true
backend = "web"

[[certificate]]
cert = "{}"
key = "{}"

[backend.web]
endpoints = ["127.0.0.1:{}"]
"#,
        file("cert.pem"),
        file("key.pem"),
        machine.backend
    )
}

fn nginx_http(machine: &Machine, plain: u16, tls: u16) -> String {
    let file = |name| machine.file(name).display().to_string();
    // More than `keepalive 64` from the guides, which would close connections at 512 clients; large
    // bodies never to a file.
    format!(
        r#"
        upstream web {{ server 127.0.0.1:{}; keepalive 600; keepalive_requests 1000000000; keepalive_timeout 600s; }}
        ssl_certificate {}; ssl_certificate_key {};
        ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {CIPHER};
        proxy_max_temp_file_size 0;
        server {{
            listen 127.0.0.1:{plain} backlog=4096;
            listen 127.0.0.1:{tls} ssl http2 backlog=4096;
            location / {{
                proxy_pass http://web;
                proxy_http_version 1.1;
                proxy_set_header Connection "";
                proxy_set_header Host $host;
                proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                proxy_set_header X-Forwarded-Proto $scheme;
                proxy_set_header X-Forwarded-Host $host;
                proxy_set_header X-Request-ID $request_id;
                proxy_set_header Forwarded "for=$remote_addr;host=\"$host\";proto=$scheme";
            }}
        }}"#,
        machine.backend,
        file("cert.pem"),
        file("key.pem")
    )
}

fn haproxy_config(machine: &Machine, plain: u16, tls: u16) -> String {
    let both = machine.file("both.pem").display().to_string();
    // Without `strict-limits` it takes fewer open files than two per connection, which idle ones do not need.
    format!(
        r"
global
    nbthread 1
    maxconn 11000
    no strict-limits
    ssl-default-bind-options ssl-min-ver TLSv1.3
    ssl-default-bind-ciphersuites {CIPHER}
defaults
    mode http
    timeout connect 5s
    timeout client 600s
    timeout server 600s
    option forwardfor
    http-reuse always
frontend web
    bind 127.0.0.1:{plain} backlog 4096
    bind 127.0.0.1:{tls} ssl crt {both} alpn h2,http/1.1 backlog 4096
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
    http-request set-header Forwarded for=%[src];host=%[req.hdr(host)];proto=http
    unique-id-format %{{+X}}o\ %ci:%cp_%fi:%fp_%Ts_%rt:%pid
    unique-id-header X-Request-ID
    default_backend web
backend web
    server web 127.0.0.1:{}
",
        machine.backend
    )
}
