//! `cargo xtask schema`: the pages about the record, from the table in the code. A test of
//! `gateway-trace` fails while they are stale.

use std::fs;
use std::path::Path;

use gateway_trace::schema;

/// Writes both pages.
///
/// # Errors
///
/// A message that names the file that could not be written.
pub(crate) fn run(workspace: &Path) -> Result<(), String> {
    for (name, text) in [
        ("trace-schema.json", schema::json_schema()),
        ("trace-schema.md", schema::page()),
    ] {
        let file = workspace.join("docs").join(name);
        fs::write(&file, text).map_err(|error| format!("{}: {error}", file.display()))?;
        println!("wrote docs/{name}");
    }
    Ok(())
}
