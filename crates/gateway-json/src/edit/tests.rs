//! The comma rules, and that nothing but what was named changes.

use proptest::prelude::*;

use crate::{Cuts, Dialect, Edits, parse};

#[track_caller]
fn check_removed(text: &str, keys: &[&str], expected: Option<&str>) {
    let root = parse(text.as_bytes(), Dialect::Strict).expect("valid");
    let mut edits = Edits::new(root);
    edits.remove(root, |member| keys.iter().any(|key| member.key.is(key)));
    assert_eq!(
        edits.apply().as_deref(),
        expected,
        "{text} without {keys:?}"
    );
    let mut cuts = Cuts::new(root);
    cuts.members(root, |member| keys.iter().any(|key| member.key.is(key)));
    assert_eq!(cuts.apply().as_deref(), expected, "{text} cut of {keys:?}");
}

#[test]
fn a_removed_member_takes_one_comma_along() {
    check_removed(r#"{"a":1}"#, &["b"], None);
    check_removed(r#"{"a":1}"#, &["a"], Some("{}"));
    check_removed(r#"{"a":1,"b":2}"#, &["a"], Some(r#"{"b":2}"#));
    check_removed(r#"{"a":1 , "b":2}"#, &["b"], Some(r#"{"a":1 }"#));
    check_removed(
        r#"{"a":1, "b":2, "c":3}"#,
        &["b"],
        Some(r#"{"a":1, "c":3}"#),
    );
    check_removed(r#"{"a":1,"b":2,"c":3}"#, &["a", "b"], Some(r#"{"c":3}"#));
    check_removed(r#"{"a":1,"b":2,"c":3}"#, &["b", "c"], Some(r#"{"a":1}"#));
    check_removed(r#"{"a":1,"b":2,"c":3}"#, &["a", "c"], Some(r#"{"b":2}"#));
    check_removed(r#"{ "a":1 , "b":2 }"#, &["a", "b"], Some("{   }"));
    check_removed(r#"{"a":1,"\u0061":2,"c":3}"#, &["a"], Some(r#"{"c":3}"#));
}

#[test]
fn a_new_member_stands_before_the_closing_brace() {
    let check = |text: &str, removed: &str, expected: &str| {
        let root = parse(text.as_bytes(), Dialect::Strict).expect("valid");
        let mut edits = Edits::new(root);
        edits.remove(root, |member| member.key.is(removed));
        edits.insert(root, "n\"", "[1]");
        edits.set(root, "m", "2");
        assert_eq!(edits.apply().as_deref(), Some(expected));
    };
    check("{}", "", r#"{"n\"":[1],"m":2}"#);
    check("{ }", "", r#"{ "n\"":[1],"m":2}"#);
    check(r#"{"a":1 }"#, "", r#"{"a":1 ,"n\"":[1],"m":2}"#);
    check(r#"{"a":1}"#, "a", r#"{"n\"":[1],"m":2}"#);
    check(r#"{"m":1,"a":1}"#, "a", r#"{"m":2,"n\"":[1]}"#);
}

#[test]
fn removing_outranks_edits_inside() {
    let text = r#"{"a":{"x":1},"b":[{"y":2}]}"#;
    let root = parse(text.as_bytes(), Dialect::Strict).expect("valid");
    let inner = root.get("a").expect("a");
    let element = root.get("b").expect("b").elements().next().expect("one");
    let mut edits = Edits::new(root);
    edits.set(inner, "x", "9");
    edits.insert(inner, "z", "9");
    edits.set(element, "y", "3");
    edits.remove(root, |member| member.key.is("a"));
    assert_eq!(edits.apply().as_deref(), Some(r#"{"b":[{"y":3}]}"#));
}

fn spaced() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just(" "), Just("\n\t")]
}

proptest! {
    /// Members with awkward values and spacing: what is left reads as the kept members, and each
    /// kept member's text is untouched.
    #[test]
    fn kept_members_keep_their_text(
        members in prop::collection::vec(
            (0..6_u8, prop_oneof![Just("1.0"), Just("1e3"), Just("\"\\ud800,}\""), Just("[1 , 2]"), Just("{\"k\":{}}")], spaced(), spaced(), any::<bool>()),
            0..8,
        ),
        inserted: bool,
    ) {
        let text = format!(
            "{{{}}}",
            members
                .iter()
                .map(|(key, value, before, after, _)| format!("{before}\"k{key}\"{after}:{before}{value}{after}"))
                .collect::<Vec<_>>()
                .join(",")
        );
        let root = parse(text.as_bytes(), Dialect::Strict).expect("valid");
        let mut index = 0;
        let mut edits = Edits::new(root);
        edits.remove(root, |_| {
            index += 1;
            members[index - 1].4
        });
        if inserted {
            edits.insert(root, "new", "null");
        }
        let out = edits.apply().unwrap_or_else(|| text.clone());
        let read = parse(out.as_bytes(), Dialect::Strict).expect("still valid");
        let mut expected: Vec<(String, &str)> = members
            .iter()
            .filter(|member| !member.4)
            .map(|member| (format!("k{}", member.0), member.1))
            .collect();
        if inserted {
            expected.push(("new".into(), "null"));
        }
        let found: Vec<(String, &str)> = read
            .members()
            .map(|member| (member.key.to_cow().into_owned(), member.value.text()))
            .collect();
        prop_assert_eq!(found, expected);
    }
}
