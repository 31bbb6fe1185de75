//! A YAML document as a tree in which every node knows its place: line, column, and path from the
//! root. One document, no tags, keys that are texts; aliases are shared, never copied.
//!
//! Not here: what any key means (`raw`).

mod build;

use std::borrow::Cow;
use std::fmt::Write as _;

pub(super) use build::parse;

/// The largest file that is read at all, in bytes.
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// How deep lists and mappings may stand inside one another.
pub(super) const MAX_DEPTH: usize = 64;
/// How many nodes a document may have with all its aliases written out.
pub(super) const MAX_NODES: u64 = 8 * 1024 * 1024;

/// A node of one `Tree`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

#[derive(Debug)]
pub(super) struct Tree<'t> {
    nodes: Vec<Node<'t>>,
}

#[derive(Debug)]
struct Node<'t> {
    place: Place,
    parent: NodeId,
    step: Step,
    value: Value<'t>,
}

/// Both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

impl Place {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// How one gets from a node's parent to it.
#[derive(Debug, Clone, Copy)]
enum Step {
    Root,
    Index(u32),
    /// The value of a key.
    Key(NodeId),
    /// The key itself: its path is that of its value.
    IsKey,
}

#[derive(Debug)]
pub(super) enum Value<'t> {
    /// Nothing written, `~` or `null`.
    Null,
    Plain(Cow<'t, str>),
    Quoted(Cow<'t, str>),
    List(Vec<NodeId>),
    Mapping(Vec<(NodeId, NodeId)>),
    Alias(NodeId),
}

impl<'t> Tree<'t> {
    pub(super) const ROOT: NodeId = NodeId(0);

    /// What stands at a node, aliases followed.
    pub(super) fn value(&self, at: NodeId) -> &Value<'t> {
        let mut value = self.node(at).map_or(&Value::Null, |node| &node.value);
        // An alias refers to an earlier, finished node, so this ends.
        while let Value::Alias(target) = value {
            value = self.node(*target).map_or(&Value::Null, |node| &node.value);
        }
        value
    }

    /// The text of a key or of another scalar.
    pub(super) fn text(&self, at: NodeId) -> Option<&str> {
        match self.value(at) {
            Value::Plain(text) | Value::Quoted(text) => Some(text),
            Value::Null | Value::List(_) | Value::Mapping(_) | Value::Alias(_) => None,
        }
    }

    pub(super) fn place(&self, at: NodeId) -> Place {
        self.node(at).map_or(Place::START, |node| node.place)
    }

    /// As in `server.rules[2].upstreams[0]`; the root is the empty path.
    pub(super) fn path(&self, at: NodeId) -> String {
        let mut steps = Vec::new();
        let mut next = self.node(at);
        while let Some(node) = next {
            match node.step {
                Step::Root => break,
                Step::IsKey => steps.push(Step::Key(at)),
                Step::Index(_) | Step::Key(_) => steps.push(node.step),
            }
            next = self.node(node.parent);
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            self.write_step(*step, &mut path);
        }
        path
    }

    fn write_step(&self, step: Step, path: &mut String) {
        match step {
            Step::Index(index) => {
                // Writing to a String cannot fail.
                let _ = write!(path, "[{index}]");
            }
            Step::Key(key) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(self.text(key).unwrap_or_default());
            }
            Step::Root | Step::IsKey => {}
        }
    }

    fn node(&self, at: NodeId) -> Option<&Node<'t>> {
        self.nodes.get(at.0 as usize)
    }
}

/// What became of a text.
#[derive(Debug)]
pub(super) struct Parsed<'t> {
    /// `None` where the text is empty or cannot be read to its end.
    pub(super) tree: Option<Tree<'t>>,
    pub(super) errors: Vec<SyntaxError>,
}

/// Why a text is no document that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    pub(super) place: Place,
    pub(super) path: String,
    pub(super) message: String,
    pub(super) help: String,
}
