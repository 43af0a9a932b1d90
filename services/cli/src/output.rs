//! What is shown: tables that line up for people, JSON and YAML for programs.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::{Cell, Color, Table, presets};
use serde::Serialize;

use crate::args::{List, Shape};
use crate::failure::{Failure, Result};

/// Something that can be a line of a table.
pub trait Row: Serialize {
    /// The heads of the columns.
    const HEAD: &'static [&'static str];

    /// The cells.
    fn cells(&self) -> Vec<String>;

    /// What `-q` shows of it.
    fn name(&self) -> String;
}

/// Shows a list.
pub fn list<R: Row>(rows: &[R], list: &List) -> Result<()> {
    if list.quiet {
        let names: String = rows.iter().map(|row| row.name() + "\n").collect();
        return print(&names);
    }
    match list.format {
        Shape::Table => table(rows),
        shape => value(&rows, shape),
    }
}

/// Shows one thing that is no table: as JSON or YAML, or `text` for people.
pub fn one<T: Serialize>(thing: &T, shape: Shape, text: impl FnOnce() -> String) -> Result<()> {
    match shape {
        Shape::Table => print(&text()),
        shape => value(thing, shape),
    }
}

fn value<T: Serialize>(thing: &T, shape: Shape) -> Result<()> {
    let text = match shape {
        Shape::Yaml => yaml(thing)?,
        Shape::Json | Shape::Table => json(thing)? + "\n",
    };
    print(&text)
}

/// As JSON over several lines.
pub fn json<T: Serialize>(thing: &T) -> Result<String> {
    serde_json::to_string_pretty(thing).map_err(|error| Failure::error(format!("cannot write JSON: {error}")))
}

/// As YAML.
pub fn yaml<T: Serialize>(thing: &T) -> Result<String> {
    serde_saphyr::to_string(thing).map_err(|error| Failure::error(format!("cannot write YAML: {error}")))
}

fn table<R: Row>(rows: &[R]) -> Result<()> {
    print(&render_table(rows, colours()))
}

/// A table as text.
pub fn render_table<R: Row>(rows: &[R], colours: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(R::HEAD);
    for row in rows {
        table.add_row(row.cells().into_iter().map(|text| cell(text, colours)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    if !colours {
        table.force_no_tty();
    }
    let text: String = table.lines().map(|line| line.trim_end().to_owned() + "\n").collect();
    text
}

/// The words of states have colours, wherever they stand.
fn cell(text: String, colours: bool) -> Cell {
    let first = text.split(' ').next().unwrap_or_default();
    let colour = match first {
        _ if !colours => None,
        "crash" | "being" => Some(Color::Red),
        // A state that has to be explained is not well.
        "running" if text.contains(" (") => Some(Color::Red),
        "running" | "healthy" | "completed" | "ready" => Some(Color::Green),
        "failed" | "unhealthy" | "exited" | "restarting" | "unknown" | "down" => Some(Color::Red),
        "pending" | "preparing" | "starting" | "checking" | "draining" | "stopping" | "paused" => {
            Some(Color::Yellow)
        }
        _ => None,
    };
    match colour {
        Some(colour) => Cell::new(text).fg(colour),
        None => Cell::new(text),
    }
}

/// Whether standard output takes colours.
pub fn colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && io::stdout().is_terminal()
}

/// Writes to standard output. A reader that has gone (`| head`) ends the command quietly.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Failure::error("")),
        Err(error) => Err(Failure::error(format!("cannot write: {error}"))),
    }
}

/// Bytes as Docker shows them: `12.5MiB`.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    #[allow(clippy::cast_precision_loss)] // For people.
    let mut size = count as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count}B") } else { format!("{size:.1}{}", UNITS[unit]) }
}

/// The start of an id, as Docker shows it.
pub fn short(id: &str) -> String {
    id.trim_start_matches("sha256:").chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Fruit {
        name: &'static str,
        state: &'static str,
    }

    impl Row for Fruit {
        const HEAD: &'static [&'static str] = &["NAME", "STATE"];
        fn cells(&self) -> Vec<String> {
            vec![self.name.into(), self.state.into()]
        }
        fn name(&self) -> String {
            self.name.into()
        }
    }

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let rows = [Fruit { name: "fig", state: "running" }, Fruit { name: "pineapple", state: "" }];
        assert_eq!(render_table(&rows, false), "NAME        STATE\nfig         running\npineapple\n");
    }

    #[test]
    fn an_empty_list_shows_its_head() {
        assert_eq!(render_table::<Fruit>(&[], false), "NAME   STATE\n");
    }

    #[test]
    fn sizes_are_shown_in_their_unit() {
        assert_eq!([bytes(5), bytes(1536), bytes(64 << 20)], ["5B", "1.5KiB", "64.0MiB"]);
    }
}
