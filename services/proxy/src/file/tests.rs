//! What the reader says of files.

use std::fs;
use std::time::Duration;

use super::read;
use crate::spec;

fn mistakes(text: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    fs::write(&path, text).unwrap();
    match read(&path) {
        Ok(_) => Vec::new(),
        Err(mistakes) => {
            let prefix = format!("{}:", path.display());
            mistakes.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
        }
    }
}

const GOOD: &str = r#"
admin = "127.0.0.1:7173"
[limits]
header_timeout = "5s"
[[listen]]
port = 8080
protocol = "http"
backend = "web"
routed = true
[backend.web]
endpoints = ["127.0.0.1:9001", { address = "127.0.0.1:9002", weight = 2 }]
balance = "round_robin"
hash_on = { header = "x-user" }
connect_timeout = "500ms"
[[route]]
host = "shop.example.com"
path = "/api"
backend = "web"
strip_prefix = true
max_body = "10MiB"
rate = 5
allow = ["10.0.0.0/8", "192.0.2.1"]
response_headers = { x-served-by = "gantry" }
"#;

#[test]
fn a_good_file_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    fs::write(&path, GOOD).unwrap();
    let settings = read(&path).unwrap();
    let backend = &settings.spec.backends["web"];
    assert_eq!(backend.policy.balance, spec::Balance::RoundRobin);
    assert_eq!(backend.policy.connect_timeout, Duration::from_millis(500));
    assert_eq!(backend.groups[0].endpoints[1].weight, 2);
    let filters = &settings.spec.routes[0].filters;
    assert_eq!((filters.max_body, filters.rate, filters.allow.len()), (10 << 20, 5.0, 2));
    assert_eq!(settings.limits.header_timeout, Duration::from_secs(5));
}

#[test]
fn all_mistakes_are_told_at_once_where_they_are() {
    let text = GOOD
        .replace("protocol = \"http\"", "protocl = \"http\"")
        .replace("balance =", "balanc =")
        .replace("strip_prefix", "stripprefix");
    assert_eq!(
        mistakes(&text),
        [
            "7:1: listen has no key protocl; did you mean protocol?",
            "12:1: backend web has no key balanc; did you mean balance?",
            "19:1: route has no key stripprefix; did you mean strip_prefix?",
        ]
    );
}

#[test]
fn a_value_that_makes_no_sense_is_told_with_what_is_expected() {
    let with = |from: &str, to: &str| mistakes(&GOOD.replace(from, to)).join("; ");
    assert_eq!(
        with("backend = \"web\"\nrouted", "backend = \"wep\"\nrouted"),
        "8:11: there is no backend wep; did you mean web?"
    );
    assert!(with("\"127.0.0.1:9001\"", "\"nine\"").contains("11:14: \"nine\" is not an address with a port"));
    assert!(with("\"500ms\"", "\"soon\"").contains("\"soon\" is not a duration"));
    assert!(with("round_robin", "fair").contains("unknown variant `fair`"));
    assert!(with("port = 8080", "port = 80800").starts_with("6:8:"));
    assert!(with("\"/api\"", "\"api\"").contains("does not begin with /"));
    assert!(with("shop.example.com", "shop:80").contains("is not a host"));
    assert!(with("10.0.0.0/8", "10.0.0.0/80").contains("invalid"));
    assert!(with("10MiB", "big").contains("\"big\" is not a size"));
    let field = "[[route]]\nrequest_headers = { Transfer-Encoding = \"gzip\" }";
    assert!(with("[[route]]", field).contains("the proxy itself decides about transfer-encoding"));
    assert!(with("protocol = \"http\"", "tls = true").contains("tls needs a [[certificate]]"));
    assert!(with("admin", "admin = ").starts_with("2:"));
    assert_eq!(mistakes(""), ["1:1: it listens nowhere: add a [[listen]]"]);
}
