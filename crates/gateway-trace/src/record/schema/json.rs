//! The schema as JSON Schema.

use serde::{Serialize, Serializer};

use super::{Field, Members, RECORD, Shape};

/// The schema of a record as JSON Schema, draft 2020-12: indented text that ends with a newline.
///
/// Objects whose members are ours are closed (`additionalProperties: false`); those that hold what
/// a client or an upstream sent are open.
#[must_use]
pub fn json_schema() -> String {
    let document = Document {
        schema: "https://json-schema.org/draft/2020-12/schema",
        record: Node {
            description: Some(
                "The record of one model call. Made from the code by `cargo xtask docs`; \
                 trace-schema.md is the page for people.",
            ),
            ..Node::of(Shape::Object(&RECORD))
        },
    };
    let mut text = serde_json::to_string_pretty(&document).expect("plain data has a JSON form");
    text.push('\n');
    text
}

/// The schema of an object alone, as JSON Schema: text on one line, to be a part of a larger
/// document.
#[must_use]
pub fn json_schema_of(members: &'static Members) -> String {
    let node = Node::closed(members);
    serde_json::to_string(&node).expect("plain data has a JSON form")
}

#[derive(Serialize)]
struct Document {
    #[serde(rename = "$schema")]
    schema: &'static str,
    #[serde(flatten)]
    record: Node,
}

/// A schema, its keywords in this order.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
    r#type: Type,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    words: Option<Vec<Option<&'static str>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Box<Node>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<Properties>,
    #[serde(skip_serializing_if = "Option::is_none")]
    required: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_properties: Option<bool>,
}

/// The name of a type, or of several.
#[derive(Serialize)]
#[serde(untagged)]
enum Type {
    One(&'static str),
    OrNull([&'static str; 2]),
}

impl Default for Type {
    fn default() -> Self {
        Self::One("object")
    }
}

impl Node {
    fn of(shape: Shape) -> Self {
        let plain = |name| Self {
            r#type: Type::One(name),
            ..Self::default()
        };
        match shape {
            Shape::Text => plain("string"),
            Shape::OneOf(words) => Self {
                words: Some(words.iter().copied().map(Some).collect()),
                ..plain("string")
            },
            Shape::Integer => plain("integer"),
            Shape::Float => plain("number"),
            Shape::Boolean => plain("boolean"),
            Shape::Json => plain("object"),
            Shape::Object(members) => Self::closed(members),
            Shape::Array(item) => Self {
                items: Some(Box::new(Self::of(*item))),
                ..plain("array")
            },
            Shape::OrNull(shape) => Self::of(*shape).or_null(),
        }
    }

    fn closed(members: &'static Members) -> Self {
        let always = members.fields.iter().filter(|field| field.always);
        Self {
            title: Some(members.title),
            properties: Some(Properties(members.fields)),
            required: Some(always.map(|field| field.name).collect()),
            additional_properties: Some(false),
            ..Self::default()
        }
    }

    fn or_null(mut self) -> Self {
        if let Type::One(name) = self.r#type {
            self.r#type = Type::OrNull([name, "null"]);
        }
        if let Some(words) = &mut self.words {
            words.push(None);
        }
        self
    }
}

/// Members and their schemas, in order.
struct Properties(&'static [Field]);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| {
            let node = Node {
                description: Some(field.meaning),
                ..Node::of(field.shape)
            };
            (field.name, node)
        }))
    }
}
