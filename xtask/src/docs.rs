//! `cargo xtask docs`: the pages that are made from the code. A test of the crate that a page is
//! made from fails while it is stale.

use std::fs;
use std::path::Path;

use gateway_trace::schema;

/// Writes every such page.
///
/// # Errors
///
/// A message that names the file that could not be written.
pub(crate) fn run(workspace: &Path) -> Result<(), String> {
    for (name, text) in [
        ("trace-schema.json", schema::json_schema()),
        ("trace-schema.md", schema::page()),
        ("configuration.md", gateway_config::page()),
        ("openapi.json", gateway_admin::openapi().to_owned()),
    ] {
        let file = workspace.join("docs").join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("wrote docs/{name}");
    }
    Ok(())
}
