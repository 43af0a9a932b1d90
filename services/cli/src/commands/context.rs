//! `gantry context`

use serde::Serialize;

use crate::args::Context as Command;
use crate::context::Contexts;
use crate::failure::Result;
use crate::output::{self, Row};

#[derive(Serialize)]
struct Known {
    name: String,
    current: bool,
    address: String,
    role: String,
}

impl Row for Known {
    const HEAD: &'static [&'static str] = &["NAME", "ADDRESS", "ROLE"];

    fn cells(&self) -> Vec<String> {
        let mark = if self.current { " *" } else { "" };
        vec![format!("{}{mark}", self.name), self.address.clone(), self.role.clone()]
    }

    fn name(&self) -> String {
        self.name.clone()
    }
}

/// Lists, chooses or forgets clusters.
pub fn run(command: Command) -> Result<()> {
    let contexts = Contexts::open()?;
    match command {
        Command::Ls(list) => {
            let current = contexts.choose(None).ok().map(|context| context.name);
            let rows: Vec<_> = contexts
                .all()
                .into_iter()
                .map(|context| Known {
                    current: current.as_ref() == Some(&context.name),
                    role: context
                        .bundle()
                        .identity()
                        .map(|identity| identity.role.to_string())
                        .unwrap_or_default(),
                    name: context.name,
                    address: context.address,
                })
                .collect();
            output::list(&rows, &list)
        }
        Command::Use { name } => contexts.select(&name),
        Command::Rm { name } => contexts.remove(&name),
    }
}
