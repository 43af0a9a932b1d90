//! Looks for keys that do not exist, all of them at once.

use toml::de::{DeTable, DeValue};

use super::keys;
use super::mistake::{Mistakes, nearest};

/// Tells every key of `file` that does not exist.
pub fn check(file: &DeTable<'_>, mistakes: &mut Mistakes<'_>) {
    known(file, keys::FILE, "the file", mistakes);
    inside(file, "access_log", mistakes, &mut |table, mistakes| {
        known(table, keys::ACCESS_LOG, "access_log", mistakes);
    });
    inside(file, "limits", mistakes, &mut |table, mistakes| known(table, keys::LIMITS, "limits", mistakes));
    inside(file, "listen", mistakes, &mut |table, mistakes| known(table, keys::LISTEN, "listen", mistakes));
    inside(file, "route", mistakes, &mut |table, mistakes| known(table, keys::ROUTE, "route", mistakes));
    inside(file, "certificate", mistakes, &mut |table, mistakes| {
        known(table, keys::CERTIFICATE, "certificate", mistakes);
    });
    let Some(DeValue::Table(backends)) = file.get("backend").map(toml::Spanned::get_ref) else { return };
    for (name, backend) in backends {
        let DeValue::Table(backend) = backend.get_ref() else { continue };
        known(backend, keys::BACKEND, &format!("backend {}", name.get_ref()), mistakes);
        inside(backend, "tls", mistakes, &mut |table, mistakes| {
            known(table, keys::UPSTREAM_TLS, "tls", mistakes);
        });
        let endpoint = &mut |table: &DeTable<'_>, mistakes: &mut Mistakes<'_>| {
            known(table, keys::ENDPOINT, "an endpoint", mistakes);
        };
        inside(backend, "endpoints", mistakes, endpoint);
        inside(backend, "groups", mistakes, &mut |table, mistakes| {
            known(table, keys::GROUP, "a group", mistakes);
            inside(table, "endpoints", mistakes, &mut |table, mistakes| {
                known(table, keys::ENDPOINT, "an endpoint", mistakes);
            });
        });
    }
}

fn known(table: &DeTable<'_>, names: &[&str], what: &str, mistakes: &mut Mistakes<'_>) {
    for key in table.keys() {
        let name = key.get_ref().as_ref();
        if names.contains(&name) {
            continue;
        }
        let hint = nearest(name, names).map(|meant| format!("; did you mean {meant}?"));
        mistakes.add(&key.span(), format!("{what} has no key {name}{}", hint.unwrap_or_default()));
    }
}

/// The table at a key, or each table of the list there.
fn inside(
    table: &DeTable<'_>,
    key: &str,
    mistakes: &mut Mistakes<'_>,
    look: &mut dyn FnMut(&DeTable<'_>, &mut Mistakes<'_>),
) {
    match table.get(key).map(toml::Spanned::get_ref) {
        Some(DeValue::Table(table)) => look(table, mistakes),
        Some(DeValue::Array(list)) => {
            for item in list {
                if let DeValue::Table(table) = item.get_ref() {
                    look(table, mistakes);
                }
            }
        }
        _ => {}
    }
}
