//! What a request may hold, as the document tells it: one function for each way in which
//! [`Fields`](crate::fields::Fields) reads a value.

use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{RefOr, Required, Schema};

/// A text.
pub(crate) fn text(name: &str, meaning: &str) -> Parameter {
    query(
        name,
        meaning,
        ObjectBuilder::new().schema_type(Type::String),
    )
}

/// A text that the gateway gave out, and so is of a known form.
pub(crate) fn cursor(name: &str, meaning: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    query(name, meaning, schema.pattern(Some("^[0-9]{1,18}$")))
}

/// A finite number.
pub(crate) fn number(name: &str, meaning: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::Number);
    let double = SchemaFormat::KnownFormat(KnownFormat::Double);
    query(name, meaning, schema.format(Some(double)))
}

/// How many of something.
pub(crate) fn count(name: &str, meaning: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::Integer);
    let long = SchemaFormat::KnownFormat(KnownFormat::Int64);
    let schema = schema.minimum(Some(0)).maximum(Some(i64::MAX));
    query(name, meaning, schema.format(Some(long)))
}

/// True or false.
pub(crate) fn flag(name: &str, meaning: &str) -> Parameter {
    query(
        name,
        meaning,
        ObjectBuilder::new().schema_type(Type::Boolean),
    )
}

/// One of a few words.
pub(crate) fn words<T>(name: &str, words: &[(&'static str, T)], meaning: &str) -> Parameter {
    let words = words.iter().map(|(word, _)| *word);
    let schema = ObjectBuilder::new().schema_type(Type::String);
    query(name, meaning, schema.enum_values(Some(words)))
}

fn query(name: &str, meaning: &str, schema: ObjectBuilder) -> Parameter {
    told(name, ParameterIn::Query, meaning, schema)
}

fn told(name: &str, place: ParameterIn, meaning: &str, schema: ObjectBuilder) -> Parameter {
    let required = match place {
        ParameterIn::Path => Required::True,
        _ => Required::False,
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(meaning))
        .schema(Some(schema))
        .build()
}

/// A parameter as a member of a body, which may be null as well.
pub(crate) fn member(parameter: Parameter) -> (String, RefOr<Schema>) {
    let mut schema = parameter.schema.expect("each has one");
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        if let SchemaType::Type(of) = object.schema_type.clone() {
            object.schema_type = SchemaType::from_iter([of, Type::Null]);
        }
        if let Some(words) = &mut object.enum_values {
            words.push(serde_json::Value::Null);
        }
        object.description = parameter.description;
    }
    (parameter.name, schema)
}

/// Defines a group of parameters that several requests have.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident => $parameter:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoParams for $name {
            fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
                vec![$parameter]
            }
        }
    )*};
}

parameters! {
    /// The session that a path names.
    SessionId => told(
        "session_id",
        ParameterIn::Path,
        "The session; at most 512 bytes, without control characters.",
        ObjectBuilder::new()
            .schema_type(Type::String)
            .min_length(Some(1))
            .max_length(Some(512))
            .pattern(Some(r"^[^\x00-\x1f\x7f-\x9f]*$")),
    );
    /// The trace that a path names.
    TraceId => id("trace_id", "The trace: the `x-rllm-trace-id` of a reply.");
    /// The run that a path names.
    RunId => id("run_id", "The run.");
    /// The worker that a path names.
    WorkerId => id("worker_id", "The worker.");
    /// Which runs of a session are meant.
    Scope => text(
        "run_id",
        "That run; `*` means all. By default the gateway's own, or all if it has none.",
    );
}

fn id(name: &str, meaning: &str) -> Parameter {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    told(name, ParameterIn::Path, meaning, schema.min_length(Some(1)))
}
