//! The JSON text is read as serde_json reads it, and edits leave JSON.

use gateway_json::{
    Cuts, Dialect, Edits, ErrorKind, Kind, Parsed, Value, parse, quote, strict_text,
};
use serde_json::value::RawValue;

use super::seeded;

/// Two bytes say what to edit, the others are the text.
pub fn check(data: &[u8]) {
    let Some((seed, text)) = seeded(data) else {
        return;
    };
    let lossy = String::from_utf8_lossy(text);
    let quoted = quote(&lossy);
    let back = parse(quoted.as_bytes(), Dialect::Strict).expect("a quoted text is JSON");
    assert_eq!(back.as_str().as_deref(), Some(&*lossy));

    if let Ok(root) = parse(text, Dialect::Python) {
        let strict = strict_text(root);
        parse(strict.as_bytes(), Dialect::Strict).expect("strict text is JSON");
    }
    let readable =
        str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    match parse(text, Dialect::Strict) {
        Ok(root) => {
            assert!(readable);
            let indexed = Parsed::new(text, Dialect::Strict).expect("the same text");
            same_walk(root, indexed.root());
            if let Ok(expected) = serde_json::from_slice(text) {
                same_value(root, &expected);
            }
            check_edits(root, seed);
        }
        Err(error) => assert!(!readable || error.kind == ErrorKind::TooDeep),
    }
}

/// A walk with an index goes the same way as one without.
fn same_walk(plain: Value<'_>, indexed: Value<'_>) {
    assert_eq!(plain.text(), indexed.text());
    assert_eq!(plain.members().count(), indexed.members().count());
    for (plain, indexed) in plain.members().zip(indexed.members()) {
        assert_eq!(plain.key.literal(), indexed.key.literal());
        same_walk(plain.value, indexed.value);
    }
    assert_eq!(plain.elements().count(), indexed.elements().count());
    for (plain, indexed) in plain.elements().zip(indexed.elements()) {
        same_walk(plain, indexed);
    }
}

fn same_value(value: Value<'_>, expected: &serde_json::Value) {
    use serde_json::Value::{Array, Bool, Null, Number, Object, String};
    match expected {
        Null => assert_eq!(value.kind(), Kind::Null),
        Bool(expected) => assert_eq!(value.as_bool(), Some(*expected)),
        Number(expected) => {
            assert_eq!(value.as_f64(), expected.as_f64());
            // `-0` is an integer here, and a float there.
            if let Some(expected) = expected.as_i64() {
                assert_eq!(value.as_i64(), Some(expected));
                assert_eq!(value.as_integral(), Some(expected));
            }
        }
        String(expected) => assert_eq!(value.as_str().as_deref(), Some(expected.as_str())),
        Array(expected) => {
            assert_eq!(value.elements().count(), expected.len());
            for (value, expected) in value.elements().zip(expected) {
                same_value(value, expected);
            }
        }
        Object(expected) => {
            for member in value.members() {
                assert!(expected.contains_key(&*member.key.to_cow()));
            }
            for (key, expected) in expected {
                same_value(value.get(key).expect("a member"), expected);
            }
        }
    }
}

/// Removes the members that a bit of `seed` names, sets one, and looks at what is left.
fn check_edits(root: Value<'_>, seed: u16) {
    let goes = |position: usize| seed >> (position % 15) & 1 == 1;
    let mut edits = Edits::new(root);
    let mut cuts = Cuts::new(root);
    let mut position = 0..;
    edits.remove(root, |_| position.next().is_some_and(goes));
    let mut position = 0..;
    cuts.members(root, |_| position.next().is_some_and(goes));
    let cut = cuts.apply();
    assert_eq!(edits.apply(), cut);

    let left: Vec<_> = root
        .members()
        .enumerate()
        .filter(|(position, _)| !goes(*position))
        .collect();
    let cut = cut.unwrap_or_else(|| root.text().to_owned());
    let root_left = parse(cut.as_bytes(), Dialect::Strict).expect("what is left is JSON");
    assert_eq!(root_left.members().count(), left.len());
    for (member, (_, expected)) in root_left.members().zip(left) {
        assert_eq!(member.key.literal(), expected.key.literal());
        assert_eq!(member.value.text(), expected.value.text());
    }
    if root.is_object() {
        edits.set(root, "k", "[1.0]");
        edits.insert(root, "new", "{}");
        let edited = edits.apply().expect("an edit");
        let edited = parse(edited.as_bytes(), Dialect::Strict).expect("an edited text is JSON");
        assert!(edited.get("new").is_some_and(Value::is_object));
    }
}
