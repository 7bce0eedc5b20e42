//! What suppaftp uses of the crate of this name, on the small engine for regular expressions.
//!
//! suppaftp reads a few short lines of an FTP server with regular expressions. The engine that it
//! asks for is built for long texts: it was a fifth of the daemon's binary. lazy-regex itself can
//! use the small one (its feature `lite`), but suppaftp does not let its users choose, so this
//! crate takes its place (`[patch.crates-io]` in Cargo.toml). It must not know FTP.

/// A value that is made when it is first used.
pub use std::sync::LazyLock as Lazy;

pub use regex_lite::Regex;

/// A regular expression that is compiled when it is first used.
#[macro_export]
macro_rules! lazy_regex {
    ($expression:literal $(,)?) => {
        $crate::Lazy::new(|| match $crate::Regex::new($expression) {
            Ok(expression) => expression,
            Err(error) => panic!("{} is no regular expression: {error}", $expression),
        })
    };
}

#[cfg(test)]
mod tests {
    use super::{Lazy, Regex};

    static PORTS: Lazy<Regex> = lazy_regex!(r"\((\d+),(\d+)\)");

    #[test]
    fn a_static_expression_finds_its_groups() {
        let found = PORTS.captures("227 Entering Passive Mode (21,7).").unwrap();
        assert_eq!((&found[1], &found[2]), ("21", "7"));
        assert!(PORTS.captures("227 (a,b)").is_none());
    }

    #[test]
    #[should_panic(expected = "is no regular expression")]
    fn a_wrong_expression_is_named() {
        static WRONG: Lazy<Regex> = lazy_regex!("(");
        Lazy::force(&WRONG);
    }
}
