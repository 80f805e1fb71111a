//! The members of a body that are the gateway's own: cut them, or read `metadata` without them.

use std::borrow::Cow;

use gateway_json::{Edits, Member, Value};

/// Removes the gateway's own members from a body: every top-level `rllm`, every `rllm` in
/// `metadata`, and `metadata` itself where that empties it. `edits` must be edits to `root`; a
/// root that is no object has nothing to remove. All other bytes stay as they were.
pub fn strip_body<'a>(edits: &mut Edits<'a>, root: Value<'a>) {
    strip_members(edits, root, |_| true);
}

/// The same for those members of the root for which `which` is true: what is put in the place of
/// the others is whole already, see [`strip_member`].
pub fn strip_members<'a>(
    edits: &mut Edits<'a>,
    root: Value<'a>,
    which: impl Fn(&Member<'a>) -> bool,
) {
    let mut metadata_to_strip = Vec::new();
    edits.remove(root, |member| {
        if !which(member) {
            false
        } else if member.key.is("metadata") {
            let (ours, others) = count_rllm(member.value);
            if ours > 0 && others > 0 {
                metadata_to_strip.push(member.value);
            }
            ours > 0 && others == 0
        } else {
            is_rllm(member)
        }
    });
    for metadata in metadata_to_strip {
        edits.remove(metadata, is_rllm);
    }
}

/// The top-level members of a body that [`strip_member`] may change.
pub const STRIPPED_MEMBERS: [&str; 2] = ["rllm", "metadata"];

/// What is left of one top-level member of a body without the gateway's own, as JSON text; `None`
/// where the member goes as a whole.
#[must_use]
pub fn strip_member<'v>(name: &str, value: Value<'v>) -> Option<Cow<'v, str>> {
    match name {
        "rllm" => None,
        "metadata" => match count_rllm(value) {
            (0, _) => Some(Cow::Borrowed(value.text())),
            (_, 0) => None,
            _ => Some(without_rllm(value)),
        },
        _ => Some(Cow::Borrowed(value.text())),
    }
}

/// The body's `metadata` as JSON text, without the gateway's own `rllm`, which may leave `{}`;
/// `None` where it is no object. Of a repeated `metadata` the last one counts.
#[must_use]
pub fn client_metadata(root: Value<'_>) -> Option<Cow<'_, str>> {
    root.get("metadata")
        .filter(|metadata| metadata.is_object())
        .map(without_rllm)
}

fn without_rllm(object: Value<'_>) -> Cow<'_, str> {
    let mut edits = Edits::new(object);
    edits.remove(object, is_rllm);
    edits
        .apply()
        .map_or(Cow::Borrowed(object.text()), Cow::Owned)
}

fn is_rllm(member: &Member<'_>) -> bool {
    member.key.is("rllm")
}

/// How many members of `metadata` are the gateway's own, and how many are not.
fn count_rllm(metadata: Value<'_>) -> (usize, usize) {
    metadata.members().fold((0, 0), |(ours, others), member| {
        if is_rllm(&member) {
            (ours + 1, others)
        } else {
            (ours, others + 1)
        }
    })
}

#[cfg(test)]
mod tests;
