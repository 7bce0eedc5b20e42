//! What lay in the upload area when a host entered, and could not be deleted while it waited: files
//! that somebody else has put there by the thousand. A name of these is not that of the host's
//! upload. Pure.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

/// The names, by a hash that nobody else knows: there may be many.
#[derive(Debug, Clone, Default)]
pub(super) struct Left {
    names: HashSet<u64>,
    hashing: RandomState,
}

impl Left {
    /// A name is there.
    pub(super) fn add(&mut self, name: &str) {
        self.names.insert(self.hashing.hash_one(name));
    }

    /// Whether this name was there.
    pub(super) fn has(&self, name: &str) -> bool {
        !self.names.is_empty() && self.names.contains(&self.hashing.hash_one(name))
    }

    /// How many there are.
    pub(super) fn number(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_was_there_is_known_and_no_other() {
        let mut left = Left::default();
        assert!(!left.has("a"));
        left.add("a");
        left.add("a");
        assert!(left.has("a") && !left.has("b"));
        assert_eq!(left.number(), 1);
    }
}
