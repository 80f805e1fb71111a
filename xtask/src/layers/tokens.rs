//! Rust source as identifiers and punctuation: enough to find paths, derives
//! and impls without being fooled by comments and strings.

/// One token; literals are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// An identifier or keyword.
    Word(String),
    /// `::`
    Path,
    /// Any other single character of punctuation.
    Mark(char),
}

/// A token and the line that it stands on, counted from 1.
pub(super) type Placed = (Token, usize);

/// Splits a source into tokens; comments, strings, characters, lifetimes and
/// numbers vanish, and so do items under `#[cfg(test)]`.
pub(super) fn tokens(source: &str) -> Vec<Placed> {
    without_tests(&scan(source))
}

fn scan(source: &str) -> Vec<Placed> {
    let text: Vec<char> = source.chars().collect();
    let at = |index: usize| text.get(index).copied().unwrap_or('\0');
    let (mut found, mut index, mut line) = (Vec::new(), 0, 1);
    while index < text.len() {
        let start = index;
        match at(index) {
            '/' if at(index + 1) == '/' => {
                while index < text.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            '/' if at(index + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (depth, index) = (depth + 1, index + 2),
                        ('*', '/') => (depth, index) = (depth - 1, index + 2),
                        _ => index += 1,
                    }
                    if depth == 0 || index >= text.len() {
                        break;
                    }
                }
            }
            '"' => index = after_string(&text, index),
            '\'' => {
                index = match (at(index + 1), at(index + 2)) {
                    ('\\', _) => {
                        let mut end = index + 3;
                        while end < text.len() && at(end) != '\'' {
                            end += 1;
                        }
                        end + 1
                    }
                    (_, '\'') => index + 3,
                    // A lifetime: its name must not look like a word.
                    _ => {
                        let mut end = index + 1;
                        while is_word(at(end)) {
                            end += 1;
                        }
                        end
                    }
                };
            }
            first if is_word(first) => {
                while is_word(at(index)) {
                    index += 1;
                }
                let word: String = text[start..index].iter().collect();
                let raw = matches!(word.as_str(), "r" | "br" | "cr");
                if at(index) == '"' && (raw || matches!(word.as_str(), "b" | "c")) {
                    index = if raw {
                        after_raw_string(&text, index)
                    } else {
                        after_string(&text, index)
                    };
                } else if raw && at(index) == '#' && matches!(at(index + 1), '#' | '"') {
                    index = after_raw_string(&text, index);
                } else if !first.is_ascii_digit() {
                    found.push((Token::Word(word), line));
                }
            }
            ':' if at(index + 1) == ':' => {
                found.push((Token::Path, line));
                index += 2;
            }
            mark => {
                if !mark.is_whitespace() {
                    found.push((Token::Mark(mark), line));
                }
                index += 1;
            }
        }
        let end = index.min(text.len());
        line += text[start..end].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The index after the string whose opening quote stands at `index`.
fn after_string(text: &[char], mut index: usize) -> usize {
    index += 1;
    while index < text.len() && text[index] != '"' {
        index += if text[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// The index after the raw string whose first `#` or quote stands at `index`.
fn after_raw_string(text: &[char], mut index: usize) -> usize {
    let mut hashes = 0;
    while text.get(index) == Some(&'#') {
        (hashes, index) = (hashes + 1, index + 1);
    }
    index += 1;
    while index < text.len() {
        let closes = text[index] == '"'
            && text[index + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes;
        if closes {
            return index + 1 + hashes;
        }
        index += 1;
    }
    index
}

/// Leaves out each item that follows `#[cfg(test)]`: up to its `;`, or over
/// its braces.
fn without_tests(all: &[Placed]) -> Vec<Placed> {
    let word = |text: &str| Token::Word(text.to_owned());
    let attribute = [
        Token::Mark('#'),
        Token::Mark('['),
        word("cfg"),
        Token::Mark('('),
        word("test"),
        Token::Mark(')'),
        Token::Mark(']'),
    ];
    let mut kept = Vec::new();
    let mut index = 0;
    while index < all.len() {
        let here = all[index..].iter().map(|(token, _)| token);
        if !here.take(attribute.len()).eq(attribute.iter()) {
            kept.push(all[index].clone());
            index += 1;
            continue;
        }
        index += attribute.len();
        let mut depth = 0_i32;
        while index < all.len() {
            let token = &all[index].0;
            index += 1;
            match token {
                Token::Mark('{' | '(' | '[') => depth += 1,
                Token::Mark(close @ ('}' | ')' | ']')) => {
                    depth -= 1;
                    if depth == 0 && *close == '}' {
                        break;
                    }
                }
                Token::Mark(';') if depth == 0 => break,
                _ => {}
            }
        }
    }
    kept
}
