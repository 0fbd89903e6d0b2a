//! Many patterns, and for a destination all that match it, without asking each.
//!
//! ```text
//! /topic/*/price   /topic/**   /topic/eu/{id}
//!
//!          (root) -- topic -+-- * ---- price .
//!                           +-- ** .
//!                           +-- eu --- {id} .
//! ```
//!
//! A look-up walks the segments of the destination once and keeps the set of nodes it may be at: a hash look-up and the
//! wildcard children per node, no more, so patterns that begin otherwise cost nothing. A node is at most once in that set,
//! however many `**` lead to it.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use rustc_hash::FxHashSet;
use slab::Slab;
use smallvec::SmallVec;

use super::pattern::{Pattern, SLASH, split};
use super::segment::Segment;

/// Patterns, each with the keys of those who want what it matches.
///
/// Texts come from clients, so they are hashed with a secret: nobody can choose them to collide.
#[derive(Debug, Clone)]
pub struct PatternIndex<K> {
    separator: char,
    plain: HashMap<Box<str>, HashSet<K>>,
    nodes: Slab<Node<K>>,
    /// For patterns that begin without a separator, and with one.
    roots: [usize; 2],
    len: usize,
}

#[derive(Debug, Clone)]
struct Node<K> {
    parent: Option<usize>,
    segment: Segment,
    /// Whether a `**` stands on the way here.
    under_deep: bool,
    texts: HashMap<Box<str>, usize>,
    any: Option<usize>,
    globs: Vec<usize>,
    deep: Option<usize>,
    /// Keys of the patterns that end here: without and with a trailing separator.
    ends: [HashSet<K>; 2],
}

impl<K: Eq + Hash> Default for PatternIndex<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq + Hash> PatternIndex<K> {
    /// An empty index of patterns with `/` between segments.
    #[must_use]
    pub fn new() -> Self {
        Self::with_separator(SLASH)
    }

    /// An empty index of patterns with this separator.
    #[must_use]
    pub fn with_separator(separator: char) -> Self {
        let mut nodes = Slab::new();
        let roots = [(); 2].map(|()| nodes.insert(Node::new(None, Segment::Text("".into()), false)));
        Self { separator, plain: HashMap::new(), nodes, roots, len: 0 }
    }

    /// Adds `key` under `pattern`; `false` if it was there. The pattern must have been read with the separator of this
    /// index.
    pub fn insert(&mut self, pattern: &Pattern, key: K) -> bool {
        debug_assert_eq!(pattern.separator(), self.separator);
        let added = if pattern.is_plain() {
            self.plain.entry(pattern.as_str().into()).or_default().insert(key)
        } else {
            let mut at = self.roots[usize::from(pattern.starts_with_separator())];
            for segment in &pattern.segments {
                at = self.child(at, segment).unwrap_or_else(|| self.grow(at, segment));
            }
            self.nodes[at].ends[end_of(pattern)].insert(key)
        };
        self.len += usize::from(added);
        added
    }

    /// Takes `key` away from `pattern`; `false` if it was not there.
    pub fn remove(&mut self, pattern: &Pattern, key: &K) -> bool {
        let removed = if pattern.is_plain() { self.remove_plain(pattern, key) } else { self.remove_node(pattern, key) };
        self.len -= usize::from(removed);
        removed
    }

    /// Calls `f` with the key of every pattern that matches `destination`; a key under several of them comes several
    /// times.
    pub fn for_each_match(&self, destination: &str, mut f: impl FnMut(&K)) {
        if let Some(keys) = self.plain.get(destination) {
            keys.iter().for_each(&mut f);
        }
        if self.nodes.len() == self.roots.len() {
            return;
        }
        let trailing = destination.ends_with(self.separator);
        let mut current: SmallVec<[usize; 16]> = SmallVec::new();
        let mut next: SmallVec<[usize; 16]> = SmallVec::new();
        let mut deep = DeepNodes::default();
        current.push(self.roots[usize::from(destination.starts_with(self.separator))]);
        deep.enter(&self.nodes, &current);
        for segment in split(destination, self.separator) {
            for &at in current.iter().chain(&deep.list) {
                self.step(at, segment, &mut next);
            }
            deep.enter(&self.nodes, &next);
            std::mem::swap(&mut current, &mut next);
            next.clear();
            if current.is_empty() && deep.list.is_empty() {
                return;
            }
        }
        for &at in &current {
            self.nodes[at].ends[usize::from(trailing)].iter().for_each(&mut f);
            if trailing && !self.nodes[at].under_deep {
                // `/topic/*` matches `/topic/`.
                let any = self.nodes[at].any.map(|any| &self.nodes[any].ends);
                any.into_iter().flatten().flatten().for_each(&mut f);
            }
        }
        for &at in &deep.list {
            self.nodes[at].ends.iter().flatten().for_each(&mut f);
        }
    }

    /// How many pairs of pattern and key there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn remove_plain(&mut self, pattern: &Pattern, key: &K) -> bool {
        let Some(keys) = self.plain.get_mut(pattern.as_str()) else { return false };
        let removed = keys.remove(key);
        if keys.is_empty() {
            self.plain.remove(pattern.as_str());
        }
        removed
    }

    fn remove_node(&mut self, pattern: &Pattern, key: &K) -> bool {
        let mut at = self.roots[usize::from(pattern.starts_with_separator())];
        for segment in &pattern.segments {
            let Some(child) = self.child(at, segment) else { return false };
            at = child;
        }
        let removed = self.nodes[at].ends[end_of(pattern)].remove(key);
        while let Some(parent) = self.nodes[at].parent.filter(|_| self.nodes[at].is_bare()) {
            let node = self.nodes.remove(at);
            let parent_node = &mut self.nodes[parent];
            match &node.segment {
                Segment::Deep => parent_node.deep = None,
                Segment::Any => parent_node.any = None,
                Segment::Text(text) => drop(parent_node.texts.remove(text)),
                Segment::Glob(_) => parent_node.globs.retain(|&child| child != at),
            }
            at = parent;
        }
        removed
    }

    fn child(&self, at: usize, segment: &Segment) -> Option<usize> {
        let node = &self.nodes[at];
        match segment {
            Segment::Deep => node.deep,
            Segment::Any => node.any,
            Segment::Text(text) => node.texts.get(text).copied(),
            Segment::Glob(_) => {
                let shape = segment.shape();
                node.globs.iter().copied().find(|&child| self.nodes[child].segment == shape)
            }
        }
    }

    fn grow(&mut self, at: usize, segment: &Segment) -> usize {
        let under_deep = self.nodes[at].under_deep || *segment == Segment::Deep;
        let child = self.nodes.insert(Node::new(Some(at), segment.shape(), under_deep));
        let node = &mut self.nodes[at];
        match segment {
            Segment::Deep => node.deep = Some(child),
            Segment::Any => node.any = Some(child),
            Segment::Text(text) => drop(node.texts.insert(text.clone(), child)),
            Segment::Glob(_) => node.globs.push(child),
        }
        child
    }

    /// Adds the nodes one segment further to `next`.
    fn step(&self, at: usize, segment: &str, next: &mut SmallVec<[usize; 16]>) {
        let node = &self.nodes[at];
        if !node.texts.is_empty() {
            next.extend(node.texts.get(segment).copied());
        }
        next.extend(node.any);
        next.extend(node.globs.iter().copied().filter(|&child| self.nodes[child].segment.matches(segment)));
    }
}

/// The `**` nodes reached so far: once reached they stay, for they take any further segment.
#[derive(Default)]
struct DeepNodes {
    list: SmallVec<[usize; 8]>,
    seen: FxHashSet<usize>,
}

impl DeepNodes {
    fn enter<K>(&mut self, nodes: &Slab<Node<K>>, reached: &[usize]) {
        for &at in reached {
            if let Some(deep) = nodes[at].deep
                && self.seen.insert(deep)
            {
                self.list.push(deep);
            }
        }
    }
}

impl<K: Eq + Hash> Node<K> {
    fn new(parent: Option<usize>, segment: Segment, under_deep: bool) -> Self {
        Self {
            parent,
            segment,
            under_deep,
            texts: HashMap::new(),
            any: None,
            globs: Vec::new(),
            deep: None,
            ends: [HashSet::new(), HashSet::new()],
        }
    }

    fn is_bare(&self) -> bool {
        self.texts.is_empty()
            && self.any.is_none()
            && self.globs.is_empty()
            && self.deep.is_none()
            && self.ends.iter().all(HashSet::is_empty)
    }
}

/// Which of a node's two sets a pattern belongs to; behind `**` a trailing separator means nothing.
fn end_of(pattern: &Pattern) -> usize {
    usize::from(!pattern.ends_deep() && pattern.ends_with_separator())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::destination::generate;

    fn matches(index: &PatternIndex<usize>, destination: &str) -> Vec<usize> {
        let mut found = Vec::new();
        index.for_each_match(destination, |key| found.push(*key));
        found.sort_unstable();
        found
    }

    proptest! {
        #[test]
        fn the_index_finds_what_asking_every_pattern_finds(
            patterns in prop::collection::vec(generate::pattern(), 0..24),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
            destinations in prop::collection::vec(generate::destination(), 1..12),
        ) {
            let mut index = PatternIndex::new();
            for (key, pattern) in patterns.iter().enumerate() {
                prop_assert!(index.insert(pattern, key));
            }
            let mut kept: Vec<(usize, &Pattern)> = patterns.iter().enumerate().collect();
            for which in removed.iter().filter(|_| !patterns.is_empty()) {
                let which = which.index(patterns.len());
                let there = kept.iter().any(|(key, _)| *key == which);
                prop_assert_eq!(index.remove(&patterns[which], &which), there);
                kept.retain(|(key, _)| *key != which);
            }
            prop_assert_eq!(index.len(), kept.len());
            for destination in &destinations {
                let scan = kept.iter().filter(|(_, pattern)| pattern.matches(destination)).map(|(key, _)| *key);
                prop_assert_eq!(matches(&index, destination), scan.collect::<Vec<_>>(), "{}", destination);
            }
            for (key, pattern) in kept {
                prop_assert!(index.remove(pattern, &key));
            }
            prop_assert!(index.is_empty());
            prop_assert_eq!(index.nodes.len(), 2, "empty branches are taken out");
        }
    }

    #[test]
    fn many_deep_patterns_meet_each_node_once() {
        let mut index = PatternIndex::new();
        let pattern = Pattern::parse(&"/**/a".repeat(14)).unwrap();
        index.insert(&pattern, 1);
        assert_eq!(matches(&index, &"/a".repeat(2_000)), [1]);
    }

    #[test]
    fn the_same_key_under_the_same_pattern_counts_once() {
        let mut index = PatternIndex::new();
        let (x, y) = (Pattern::parse("/a/{x}").unwrap(), Pattern::parse("/a/{y}").unwrap());
        assert!(index.insert(&x, 1) && !index.insert(&x, 1));
        assert!(!index.insert(&y, 1), "names make no difference");
        assert!(index.remove(&y, &1) && !index.remove(&x, &1));
    }
}
