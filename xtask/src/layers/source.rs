//! The rules that no dependency shows: what the sources must not call, and
//! what secret types must not implement.

use std::fs;
use std::path::Path;

use super::tokens::{Placed, Token, tokens};
use super::{PURE, READS_COMMAND_LINE, READS_ENVIRONMENT};

/// What a pure crate must not name. Addresses (`std::net::IpAddr`) are plain
/// values and stay allowed; a `Duration` is no clock.
const IMPURE_PATHS: &[&str] = &[
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::net::TcpStream",
    "std::net::TcpListener",
    "std::net::UdpSocket",
    "std::net::ToSocketAddrs",
    "std::os",
    "std::time::SystemTime",
    "std::time::Instant",
    "std::time::UNIX_EPOCH",
    "Instant::now",
    "SystemTime::now",
];

/// Traits that would let a secret out.
const LEAKS: &[&str] = &["Display", "Serialize", "ToString", "LowerHex", "UpperHex"];

/// Checks every source file of a crate, its tests aside.
///
/// # Errors
///
/// A message that names the file or folder that could not be read.
pub(super) fn violations(crate_name: &str, folder: &Path) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("src")];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| e.to_string())?.path();
            if path.file_stem().is_some_and(|stem| stem == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let source =
                    fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                for (line, what) in violations_in(crate_name, &source) {
                    found.push(format!("{}:{line}: {what}", path.display()));
                }
            }
        }
    }
    Ok(found)
}

fn violations_in(crate_name: &str, source: &str) -> Vec<(usize, String)> {
    let tokens = tokens(source);
    let mut banned: Vec<(&str, &str)> = Vec::new();
    if PURE.contains(&crate_name) {
        banned.extend(IMPURE_PATHS.iter().map(|path| (*path, "a pure crate")));
    } else if !READS_ENVIRONMENT.contains(&crate_name) {
        banned.push(("std::env", "a crate below the configuration"));
    }
    if !READS_COMMAND_LINE.contains(&crate_name) {
        banned.push(("std::env::args", "a crate below the executable"));
        banned.push(("std::env::args_os", "a crate below the executable"));
        banned.push(("clap", "a crate below the executable"));
    }
    let mut found = Vec::new();
    for (path, line) in paths(&tokens) {
        let hit = banned.iter().find(|(rule, _)| {
            path.strip_prefix(rule)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        if let Some((_, who)) = hit {
            found.push((line, format!("{who} names {path}")));
        }
    }
    found.extend(leaks(&tokens));
    found
}

/// Every path of the source with the line that it stands on; the trees of
/// `use` declarations are spelt out.
fn paths(tokens: &[Placed]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let (token, line) = &tokens[index];
        match token {
            Token::Word(word) if word == "use" => {
                index = use_tree(tokens, index + 1, "", &mut found);
            }
            Token::Word(word) => {
                let mut path = word.clone();
                index += 1;
                while let (Some((Token::Path, _)), Some((Token::Word(next), _))) =
                    (tokens.get(index), tokens.get(index + 1))
                {
                    path = format!("{path}::{next}");
                    index += 2;
                }
                // A macro (`env!`) is no module.
                if !matches!(tokens.get(index), Some((Token::Mark('!'), _))) {
                    found.push((path, *line));
                }
            }
            _ => index += 1,
        }
    }
    found
}

/// Reads one branch of a `use` tree that begins at `index`; gives the index
/// after it.
fn use_tree(
    tokens: &[Placed],
    mut index: usize,
    prefix: &str,
    found: &mut Vec<(String, usize)>,
) -> usize {
    let mut path = prefix.to_owned();
    while let Some((token, line)) = tokens.get(index) {
        match token {
            Token::Word(word) if word == "as" => index += 2,
            Token::Word(word) => {
                if word != "self" {
                    if !path.is_empty() {
                        path.push_str("::");
                    }
                    path.push_str(word);
                }
                index += 1;
            }
            Token::Path => index += 1,
            Token::Mark('*') => {
                path.push_str("::*");
                index += 1;
            }
            Token::Mark('{') => {
                index += 1;
                while !matches!(tokens.get(index), Some((Token::Mark('}'), _)) | None) {
                    index = use_tree(tokens, index, &path, found);
                    if matches!(tokens.get(index), Some((Token::Mark(','), _))) {
                        index += 1;
                    }
                }
                return index + 1;
            }
            _ => {
                found.push((path, *line));
                return index;
            }
        }
    }
    index
}

/// Whether a type of this name holds a secret.
fn is_secret(name: &str) -> bool {
    name.contains("Secret") || name.contains("Credential") || matches!(name, "Token" | "Tokens")
}

/// Secret types that derive or implement what would show their content.
fn leaks(tokens: &[Placed]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut derived: Vec<String> = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let (token, line) = &tokens[index];
        let Token::Word(word) = token else {
            index += 1;
            continue;
        };
        match word.as_str() {
            "derive" => {
                while let Some((token, _)) = tokens.get(index) {
                    match token {
                        Token::Mark(')') => break,
                        Token::Word(word) => derived.push(word.clone()),
                        _ => {}
                    }
                    index += 1;
                }
            }
            "struct" | "enum" => {
                if let Some((Token::Word(name), _)) = tokens.get(index + 1)
                    && is_secret(name)
                {
                    let leaking = derived.iter().filter(|d| LEAKS.contains(&d.as_str()));
                    found.extend(
                        leaking.map(|d| (*line, format!("secret type {name} derives {d}"))),
                    );
                }
                derived.clear();
            }
            "fn" | "mod" | "const" | "static" | "type" | "trait" => derived.clear(),
            "impl" => found.extend(leak_of_impl(&tokens[index..])),
            _ => {}
        }
        index += 1;
    }
    found
}

/// `impl … Display for … Secret …`, if that is what the tokens begin with.
fn leak_of_impl(tokens: &[Placed]) -> Option<(usize, String)> {
    let head = tokens
        .iter()
        .take_while(|(token, _)| !matches!(token, Token::Mark('{' | ';')));
    let words: Vec<&str> = head
        .filter_map(|(token, _)| match token {
            Token::Word(word) => Some(word.as_str()),
            _ => None,
        })
        .collect();
    let middle = words.iter().position(|word| *word == "for")?;
    let (before, after) = words.split_at(middle);
    let leak = before.iter().find(|word| LEAKS.contains(word))?;
    let name = after.iter().find(|word| is_secret(word))?;
    Some((tokens[0].1, format!("secret type {name} implements {leak}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(crate_name: &str, source: &str, expected: &[&str]) {
        let found = violations_in(crate_name, source);
        let found: Vec<String> = found.iter().map(|(l, w)| format!("{l}: {w}")).collect();
        assert_eq!(found, expected, "{source}");
    }

    #[test]
    fn a_pure_crate_may_not_touch_files_clock_or_environment() {
        check(
            "gateway-trace",
            "fn f() {\n  std::fs::read(\"x\");\n}",
            &["2: a pure crate names std::fs::read"],
        );
        check(
            "gateway-sse",
            "use std::{fmt, time::{Duration, Instant as Clock}};",
            &["1: a pure crate names std::time::Instant"],
        );
        check(
            "gateway-json",
            "use std::{env::{self}, str};",
            &["1: a pure crate names std::env"],
        );
        check(
            "gateway-route",
            "let now = Instant::now();",
            &["1: a pure crate names Instant::now"],
        );
    }

    #[test]
    fn harmless_look_alikes_pass() {
        check(
            "gateway-trace",
            r##"
            //! Reads no std::fs and no std::env.
            /* std::fs /* nested */ std::net::TcpStream */
            use std::net::IpAddr;
            use std::time::Duration;
            const A: &str = "std::fs::read"; const B: &str = r#"use std::env;"#;
            const C: &str = env!("CARGO_PKG_VERSION"); const D: char = '"';
            fn f<'a>(x: &'a str) -> &'a str { x }
            "##,
            &[],
        );
    }

    #[test]
    fn tests_may_do_what_the_crate_may_not() {
        check(
            "gateway-trace",
            "#[cfg(test)]\nmod tests { fn f() { std::fs::read(\"x\"); } }\nfn g() {}",
            &[],
        );
        check("gateway-trace", "#[cfg(test)]\nmod tests;", &[]);
    }

    #[test]
    fn only_the_configuration_reads_the_environment() {
        let source = "fn f() { std::env::var(\"X\"); }";
        check(
            "gateway-proxy",
            source,
            &["1: a crate below the configuration names std::env::var"],
        );
        check("gateway-config", source, &[]);
    }

    #[test]
    fn only_the_executable_reads_the_command_line() {
        let source = "use std::env::args;";
        check(
            "gateway-config",
            source,
            &["1: a crate below the executable names std::env::args"],
        );
        check("gateway-bin", source, &[]);
    }

    #[test]
    fn a_secret_that_could_be_shown_is_caught() {
        check(
            "gateway-auth",
            "#[derive(Clone, Serialize)]\npub struct Secret(String);",
            &["2: secret type Secret derives Serialize"],
        );
        check(
            "gateway-auth",
            "impl<'a> std::fmt::Display for ApiSecret<'a> {}",
            &["1: secret type ApiSecret implements Display"],
        );
        check(
            "gateway-auth",
            "#[derive(Serialize)] struct Plain; struct Secret; impl Debug for Secret {}",
            &[],
        );
    }
}
