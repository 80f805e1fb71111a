//! `cargo xtask docs`: the pages that are made from tables in the code. A test of the crate that
//! holds the table fails while a page is stale.

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
    ] {
        let file = workspace.join("docs").join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("wrote docs/{name}");
    }
    Ok(())
}
