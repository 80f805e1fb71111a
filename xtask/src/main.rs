//! Front door of the workspace.
fn main() {}
