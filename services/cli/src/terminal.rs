//! The user's terminal, while a process elsewhere has it.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use gantry_api::agent::v1::TerminalSize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Failure, Result};

/// Whether the user sits at a terminal, with input and output.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Every key goes to the process as it is, until this is dropped.
pub struct Raw;

impl Raw {
    /// Begins.
    pub fn begin() -> Result<Self> {
        crossterm::terminal::enable_raw_mode()
            .map_err(|error| Failure::error(format!("cannot use the terminal: {error}")))?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // If it cannot be undone, nobody can be told in a better way.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// The terminal's size now.
pub fn size() -> Option<TerminalSize> {
    let (width, height) = crossterm::terminal::size().ok()?;
    Some(TerminalSize { width: width.into(), height: height.into() })
}

/// What the user does.
pub enum Input {
    /// Types.
    Bytes(Vec<u8>),
    /// Changes the terminal's size.
    Resize(TerminalSize),
    /// Ends the input.
    End,
}

/// What the user does from now on. `stdin`: also what is typed; `tty`: also changes of size.
pub fn input(stdin: bool, tty: bool) -> mpsc::Receiver<Input> {
    let (sender, receiver) = mpsc::channel(16);
    if stdin {
        let typed = sender.clone();
        // Reading standard input blocks and cannot be cancelled: a thread of its own that ends with the process.
        std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            loop {
                let input = match io::stdin().read(&mut buffer) {
                    Ok(0) | Err(_) => Input::End,
                    Ok(count) => Input::Bytes(buffer[..count].to_vec()),
                };
                let last = matches!(input, Input::End);
                if typed.blocking_send(input).is_err() || last {
                    return;
                }
            }
        });
    }
    if tty && let Ok(mut changes) = signal(SignalKind::window_change()) {
        tokio::spawn(async move {
            while changes.recv().await.is_some() {
                let Some(size) = size() else { continue };
                if sender.send(Input::Resize(size)).await.is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// Writes a process's output where it belongs.
pub fn write(data: &[u8], stderr: bool) -> Result<()> {
    let written = if stderr {
        io::stderr().write_all(data)
    } else {
        let mut out = io::stdout().lock();
        out.write_all(data).and_then(|()| out.flush())
    };
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::error(""),
        _ => Failure::error(format!("cannot write: {error}")),
    })
}
