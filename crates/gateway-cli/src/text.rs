//! Texts of others on a person's screen: nothing in them may move the cursor or hide what stands
//! beside it.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text in one line: white space in one piece each, control characters escaped.
pub(crate) fn one_line(text: &str) -> String {
    let words: Vec<String> = text.split_whitespace().map(escaped).collect();
    words.join(" ")
}

/// A text with its line ends and tabs, but with no other control character.
pub(crate) fn lines(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines()
        .map(|line| escaped(&line.replace('\t', "    ")))
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() || turns_text(character) {
            out.extend(character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    out
}

/// The characters that set the direction of the text after them.
fn turns_text(character: char) -> bool {
    matches!(
        character,
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// The beginning of a text, within so many columns; what is cut off leaves a `…`.
pub(crate) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let mut out = String::new();
    for character in text.chars() {
        used += character.width().unwrap_or(0);
        if used > columns {
            break;
        }
        out.push(character);
    }
    out.truncate(out.trim_end().len());
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn controls_and_directions_are_shown_and_not_obeyed() {
        for (text, expected) in [
            ("plain é 語", "plain é 語"),
            (" a\n\n\tb\r ", "a b"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ] {
            assert_eq!(one_line(text), expected);
        }
        let shown: Vec<String> = lines("a\n\tb\u{1b}[0m\r\nc").collect();
        assert_eq!(shown, ["a", "    b\\u{1b}[0m", "c"]);
    }

    #[test]
    fn a_cut_leaves_a_mark() {
        for (text, columns, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("ab cd", 4, "ab…"),
            ("語語語", 5, "語語…"),
            ("語語語", 4, "語…"),
            ("abc", 1, "…"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} {columns}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_fits_and_holds_no_control(text in any::<String>(), columns in 1usize..40) {
            let shown = cut(&one_line(&text), columns);
            prop_assert!(width(&shown) <= columns, "{shown:?}");
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
