//! Which route a model takes.

use super::{RouteTable, glob_matches};
use proptest::prelude::*;

fn table(keys: &[&str]) -> RouteTable<()> {
    RouteTable::new(keys.iter().map(|key| ((*key).to_owned(), ())))
}

#[test]
fn a_model_takes_its_own_route_else_that_of_the_longest_glob() {
    #[track_caller]
    fn check(keys: &[&str], model: &str, expected: Option<&str>) {
        assert_eq!(
            table(keys).find(model).map(|(key, _)| key),
            expected,
            "{model} in {keys:?}"
        );
    }
    check(&["gpt-5"], "gpt-5", Some("gpt-5"));
    check(&["gpt-5"], "gpt-5-mini", None);
    check(&["gpt-5"], "GPT-5", None);
    check(&["*"], "anything/at:all", Some("*"));
    check(&["*"], "", Some("*"));
    check(&["gpt-*", "gpt-5"], "gpt-5", Some("gpt-5"));
    check(&["*", "gpt-*", "gpt-5-*"], "gpt-5-mini", Some("gpt-5-*"));
    check(&["*", "gpt-*", "gpt-5-*"], "gpt-4", Some("gpt-*"));
    check(&["*", "gpt-*", "gpt-5-*"], "claude", Some("*"));
    check(&["claude-*"], "claude-", Some("claude-*"));
    check(&["claude-*"], "claude", None);
    check(&["org/*"], "org/name:tag/deep", Some("org/*"));
    check(&["*-mini"], "gpt-5-mini", Some("*-mini"));
    check(&["a*b*c"], "a-b-b-c", Some("a*b*c"));
    // The wildcards do not count, so that two do not beat one with more to it.
    check(&["**a**", "*ab"], "ab", Some("*ab"));
    // Of equally long ones: fewer wildcards, then the order of the text.
    check(&["a*b*", "ab*"], "ab", Some("ab*"));
    check(&["*ab", "ab*"], "ab", Some("*ab"));
    // Characters are counted, not bytes.
    check(&["é*", "*ab"], "éab", Some("*ab"));
    // A key is also its own name.
    check(&["claude-*", "claude-*-long"], "claude-*", Some("claude-*"));
    check(&[], "gpt-5", None);
    // Other wildcards of other globs are ordinary characters.
    check(&["gpt-?", "gpt-[5]"], "gpt-5", None);
}

#[test]
fn the_catch_all_and_the_exact_keys_can_be_told() {
    let routes = table(&["b", "a", "x-*", "*"]);
    assert_eq!(routes.catch_all().map(|(key, _)| key), Some("*"));
    assert_eq!(routes.exact_keys().collect::<Vec<_>>(), ["a", "b"]);
    assert!(!routes.is_empty());
    assert_eq!(table(&["x-*"]).catch_all(), None);
    assert!(table(&[]).is_empty());
}

/// The definition of a glob, with no thought of speed.
fn matches_by_definition(glob: &[char], text: &[char]) -> bool {
    match glob.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => {
            (0..=text.len()).any(|from| matches_by_definition(rest, &text[from..]))
        }
        Some((first, rest)) => text
            .split_first()
            .is_some_and(|(t, ts)| t == first && matches_by_definition(rest, ts)),
    }
}

proptest! {
    #[test]
    fn a_glob_matches_as_defined(glob in "[ab*]{0,7}", text in "[ab]{0,8}") {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        let expected = matches_by_definition(&chars(&glob), &chars(&text));
        prop_assert_eq!(glob_matches(&glob, &text), expected);
    }

    #[test]
    fn the_order_of_the_file_decides_nothing(
        keys in proptest::collection::vec("[ab*]{1,4}", 0..8),
        model in "[ab]{0,6}",
    ) {
        let forward: Vec<&str> = keys.iter().map(String::as_str).collect();
        let backward: Vec<&str> = forward.iter().rev().copied().collect();
        let (forward, backward) = (table(&forward), table(&backward));
        prop_assert_eq!(forward.find(&model), backward.find(&model));
    }
}
