//! Random changes of a good file: nothing panics, and every mistake is told at a place that exists.

use std::fs;

use proptest::prelude::*;

use super::read;
use crate::fuzz::{changed, changes, check};
use crate::plan::Plan;

const WORDS: &[&str] = &[
    "[[listen]]\n",
    "[[route]]\n",
    "[backend.x]\n",
    "[limits]\n",
    "[[certificate]]\n",
    "\n",
    "\"",
    "'",
    "=",
    "[",
    "]",
    "{",
    "}",
    "#",
    ",",
    "\\",
    "\u{e4}",
    "\u{1f600}",
    "true",
    "0",
    "-1",
    "99999999999999999999",
    "1e999",
    "nan",
    "\"\"",
    "tls = true\n",
    "udp = true\n",
    "weight = 0\n",
    "endpoints = []\n",
    "rate = 1e-300\n",
    "burst = 4294967295\n",
    "slow_start = \"500000000000y\"\n",
    "host = \"*\"\n",
    "path = \"\"\n",
    "port = 0\n",
    "max_body = \"9EB\"\n",
];

const GOOD: &str = r#"
admin = "127.0.0.1:7173"
workers = 2
cookie_secret = "ä secret"
[access_log]
path = "access.log"
format = "combined"
[limits]
header_timeout = "5s"
max_headers = 50
[[listen]]
port = 8080
protocol = "http"
backend = "web"
routed = true
trusted_proxies = ["10.0.0.0/8"]
proxy_protocol_from = ["192.0.2.1"]
[[listen]]
address = "127.0.0.1"
port = 53
udp = true
backend = "dns"
[backend.web]
endpoints = ["127.0.0.1:9001", { address = "127.0.0.1:9002", weight = 2 }]
balance = "hash"
hash_on = { header = "x-user" }
connect_timeout = "500ms"
tls = { server_name = "web.internal", insecure = true }
[backend.dns]
groups = [
    { name = "old", weight = 90, endpoints = ["127.0.0.1:53"] },
    { name = "new", weight = 10, endpoints = ["[::1]:53"] },
]
[[route]]
host = "*.example.com"
path = "/api"
backend = "web"
headers = { x-version = "2" }
strip_prefix = true
max_body = "10MiB"
rate = 0.5
burst = 3
allow = ["10.0.0.0/8", "192.0.2.1"]
response_headers = { x-served-by = "gantry" }
request_headers = { cookie = "" }
"#;

#[test]
fn a_broken_file_is_refused_where_it_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    fs::write(&path, GOOD).unwrap();
    assert!(read(&path).is_ok(), "{:?}", read(&path).err());
    check(changes(WORDS), |changes| {
        let bytes = changed(GOOD.as_bytes(), &changes);
        fs::write(&path, &bytes).unwrap();
        match read(&path) {
            // It can be served by, too.
            Ok(settings) => drop(Plan::new(1, settings.spec, std::collections::HashMap::new())),
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                let text = String::from_utf8_lossy(&bytes);
                for mistake in mistakes {
                    let line = text.split('\n').nth(mistake.line.wrapping_sub(1));
                    prop_assert!(line.is_some(), "there is no such line: {mistake}");
                    let length = line.unwrap_or_default().chars().count();
                    prop_assert!((1..=length + 1).contains(&mistake.column), "no such column: {mistake}");
                    prop_assert!(!mistake.message.is_empty() && !mistake.message.contains('\n'), "{mistake}");
                }
            }
        }
        Ok(())
    });
}
