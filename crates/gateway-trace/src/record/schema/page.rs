//! The schema as a page for people.

use std::fmt::Write;

use super::{Field, Members, RECORD, Shape};

/// The prose of the page. A line `{{fields: …}}` stands for a table.
const PROSE: &str = include_str!("page.md");

/// The last field of the reference's block.
const REFERENCE_ENDS: &str = "raw_response";

/// The schema of a record as a page in Markdown: every field, and how a record is made.
#[must_use]
pub fn page() -> String {
    let fields = RECORD.fields;
    let last = fields.iter().position(|field| field.name == REFERENCE_ENDS);
    let (reference, added) = fields.split_at(last.expect("the table has that field") + 1);
    let mut page = String::new();
    for line in PROSE.lines() {
        match line {
            "{{fields: reference}}" => table(&mut page, reference),
            "{{fields: added}}" => table(&mut page, added),
            "{{fields: nested}}" => nested(&mut page, "", &RECORD),
            _ => {
                page.push_str(line);
                page.push('\n');
            }
        }
    }
    page
}

fn table(page: &mut String, fields: &[Field]) {
    page.push_str("| field | type | meaning |\n| --- | --- | --- |\n");
    for field in fields {
        let (name, meaning) = (field.name, field.meaning);
        let absent = if field.always {
            ""
        } else {
            "; may be left out"
        };
        let shape = words(field.shape);
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{name}` | {shape}{absent} | {meaning} |");
    }
}

/// A table for each object within `members` whose members are ours, under a heading with its path.
fn nested(page: &mut String, path: &str, members: &Members) {
    for field in members.fields {
        let mut path = format!("{path}{}", field.name);
        if let Some(inner) = object_of(field.shape, &mut path) {
            let _ = writeln!(page, "### `{path}`\n");
            table(page, inner.fields);
            page.push('\n');
            nested(page, &format!("{path}."), inner);
        }
    }
}

/// The object that a shape is or holds; an array on the way adds `[]` to the path.
fn object_of(shape: Shape, path: &mut String) -> Option<&'static Members> {
    match shape {
        Shape::Object(members) => Some(members),
        Shape::Array(item) => {
            path.push_str("[]");
            object_of(*item, path)
        }
        Shape::OrNull(shape) => object_of(*shape, path),
        _ => None,
    }
}

/// A shape in words.
fn words(shape: Shape) -> String {
    match shape {
        Shape::Text => "string".to_owned(),
        Shape::OneOf(all) => all
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(", "),
        Shape::Integer => "integer".to_owned(),
        Shape::Float => "float".to_owned(),
        Shape::Boolean => "boolean".to_owned(),
        Shape::Json | Shape::Object(_) => "object".to_owned(),
        Shape::Array(Shape::OrNull(item)) => format!("array of {} or null", words(**item)),
        Shape::Array(item) => format!("{} array", words(*item)),
        Shape::OrNull(shape) => format!("{}, or null", words(*shape)),
    }
}
