//! `gantry config`

use crate::args::FileArgs;
use crate::failure::Result;
use crate::{output, project};

/// Shows the file with everything put in.
pub fn run(file: &FileArgs) -> Result<()> {
    let project = project::read(file, true)?;
    output::print(&output::yaml(&project.resolved)?)
}
