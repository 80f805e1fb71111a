//! Schemas that other crates keep as data, or that are more than a type says.

use std::borrow::Cow;

use gateway_trace::schema::{COMPACT, Members, RECORD, REPORT, json_schema_of};
use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Takes the schemas of `gateway-trace`, so that each is said once.
macro_rules! of_trace {
    ($($name:ident => $members:expr;)*) => {$(
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                taken($members)
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($members.title)
            }
        }
    )*};
}

of_trace! {
    TraceRecord => &RECORD;
    SessionReport => &REPORT;
    CompactTraces => &COMPACT;
}

fn taken(members: &'static Members) -> RefOr<Schema> {
    let schema = json_schema_of(members);
    serde_json::from_str(&schema).expect("a JSON Schema of ours is one of OpenAPI")
}

/// Any JSON object: what it holds is somebody else's.
pub(crate) struct AnyObject;

impl PartialSchema for AnyObject {
    fn schema() -> RefOr<Schema> {
        let any = AdditionalProperties::FreeForm(true);
        ObjectBuilder::new()
            .description(Some("Any JSON object."))
            .additional_properties(Some(any))
            .into()
    }
}

impl ToSchema for AnyObject {}

/// The id of a session that must be one: not blank, and nothing that no session can have.
pub(crate) struct NamedSession;

impl PartialSchema for NamedSession {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "At most 512 bytes, without control characters; not blank.",
            ))
            .max_length(Some(512))
            .pattern(Some(
                r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x1f\x7f-\x9f\s][^\x00-\x1f\x7f-\x9f]*$",
            ))
            .into()
    }
}

impl ToSchema for NamedSession {}

/// A schema by its name.
pub(crate) fn reference<T: ToSchema>() -> Ref {
    Ref::from_schema_name(T::name())
}

/// Adds a schema, and those that it refers to, to the document's.
pub(crate) fn add<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
