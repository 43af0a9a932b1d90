//! Which stack is meant: that of the Compose file, or the one that is named.

use std::path::PathBuf;

use gantry_compose::{Options, Project, find_file, load};
use gantry_model::StackName;

use crate::args::{FileArgs, ScopeArgs};
use crate::failure::{Failure, Result, colours};

impl From<&ScopeArgs> for FileArgs {
    fn from(scope: &ScopeArgs) -> Self {
        Self { file: scope.file.clone(), project: scope.project.clone(), ..Self::default() }
    }
}

/// Reads the Compose file, and says what is worth knowing about it. `local`: the cluster runs on this
/// machine, so that what is bound must be there.
pub fn read(args: &FileArgs, local: bool) -> Result<Project> {
    let file = file(args)?.ok_or_else(no_file)?;
    let project = load(&file, &options(args, local)).map_err(|problems| {
        let errors = problems.list.iter().filter(|one| one.level == gantry_compose::Level::Error).count();
        let many = if errors == 1 { "1 mistake".to_owned() } else { format!("{errors} mistakes") };
        Failure::bad_input(format!("{} has {many}; nothing was changed", file.display()))
            .details(problems.render(colours()))
    })?;
    if !project.remarks.list.is_empty() {
        eprintln!("{}", project.remarks.render(colours()));
    }
    Ok(project)
}

fn options(args: &FileArgs, local: bool) -> Options {
    Options {
        name: args.project.clone(),
        environment: std::env::vars().collect(),
        env_files: args.env_file.clone(),
        profiles: args.profile.clone(),
        check_binds: local,
    }
}

fn file(args: &FileArgs) -> Result<Option<PathBuf>> {
    if let Some(file) = &args.file {
        if file.is_dir() {
            return Ok(Some(find_file(file).filter(|found| found.parent() == Some(file)).ok_or_else(
                || Failure::bad_input(format!("there is no compose.yaml in {}", file.display())),
            )?));
        }
        return Ok(Some(file.clone()));
    }
    let here = std::env::current_dir()
        .map_err(|error| Failure::error(format!("cannot read the current folder: {error}")))?;
    Ok(find_file(&here))
}

fn no_file() -> Failure {
    Failure::bad_input("there is no compose.yaml here, nor in a folder above").hint("give one with -f FILE")
}

/// The stack that is meant; `None` if nothing says which.
pub fn find_stack(args: &FileArgs) -> Result<Option<StackName>> {
    if let Some(name) = args
        .project
        .clone()
        .or_else(|| std::env::var("COMPOSE_PROJECT_NAME").ok())
        .filter(|name| !name.is_empty())
    {
        return StackName::new(name).map(Some).map_err(|bad| Failure::bad_input(bad.to_string()));
    }
    match file(args)? {
        // Only the name is wanted: what else is wrong with the file does not matter here.
        Some(file) => match load(&file, &options(args, false)) {
            Ok(project) => Ok(Some(project.stack.name)),
            Err(problems) => Err(Failure::bad_input(format!("{} cannot be read", file.display()))
                .details(problems.render(colours()))
                .hint("or name the stack with -p NAME")),
        },
        None => Ok(None),
    }
}

/// The stack that is meant; it is an error if nothing says which.
pub fn stack(args: &FileArgs) -> Result<StackName> {
    find_stack(args)?.ok_or_else(|| {
        Failure::bad_input("which stack? there is no compose.yaml here")
            .hint("name it with -p NAME, or give services as STACK/SERVICE")
    })
}

/// A service's full name: as it is, or in the stack that is meant.
pub fn service(args: &FileArgs, name: &str) -> Result<String> {
    if name.contains('/') {
        return Ok(name.to_owned());
    }
    Ok(format!("{}/{name}", stack(args)?))
}
