//! What is wrong with a file, or worth knowing, and where.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level as SnippetLevel, Renderer, Snippet};

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name, as the user gave it.
    pub name: String,
    /// Its text.
    pub text: Arc<str>,
}

/// A place in the file: byte offsets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct At {
    /// Where it starts.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Not as the user may think.
    Warning,
    /// The file cannot be used.
    Error,
}

/// One thing about the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub message: String,
    /// Where it is, if it is in the file.
    pub at: Option<At>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Everything about one file.
#[derive(Debug, Clone)]
pub struct Problems {
    /// The file.
    pub source: Source,
    /// What there is about it, errors first.
    pub list: Vec<Diagnostic>,
}

impl Problems {
    /// Everything about `source`.
    pub(crate) fn new(source: Source, mut list: Vec<Diagnostic>) -> Self {
        list.sort_by_key(|diagnostic| {
            (std::cmp::Reverse(diagnostic.level), diagnostic.at.map(|at| at.start))
        });
        Self { source, list }
    }

    /// Line and column, from 1, of a place.
    pub fn line_and_column(&self, at: At) -> (usize, usize) {
        let before = self.source.text.get(..at.start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// All of it for a terminal, with the lines that it is about.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let texts: Vec<_> =
            self.list.iter().map(|diagnostic| renderer.render(&[self.group(diagnostic)])).collect();
        texts.join("\n")
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let level = match diagnostic.level {
            Level::Error => SnippetLevel::ERROR,
            Level::Warning => SnippetLevel::WARNING,
            Level::Note => SnippetLevel::NOTE,
        };
        let title = level.primary_title(diagnostic.message.as_str());
        let mut group = match diagnostic.at {
            Some(at) => {
                let length = self.source.text.len();
                let (start, end) = (at.start.min(length), at.end.max(at.start).min(length));
                // A value that goes over several lines is shown by its first.
                let line_end = self.source.text[start..].find('\n').map_or(length, |newline| start + newline);
                let end = end.min(line_end.max(start));
                let snippet = Snippet::source(self.source.text.as_ref())
                    .path(self.source.name.as_str())
                    .annotation(AnnotationKind::Primary.span(start..end));
                title.element(snippet)
            }
            None => Group::with_title(title),
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(SnippetLevel::HELP.message(help.as_str()));
        }
        group
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in &self.list {
            if let Some(at) = diagnostic.at {
                let (line, column) = self.line_and_column(at);
                write!(f, "{}:{line}:{column}: ", self.source.name)?;
            }
            match &diagnostic.help {
                Some(help) => writeln!(f, "{}; {help}", diagnostic.message)?,
                None => writeln!(f, "{}", diagnostic.message)?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
