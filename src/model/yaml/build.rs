//! From the parser's events to the tree.
//!
//! The parser is pulled event by event and the open lists and mappings stand on a stack of ours, so
//! that neither depth nor aliases can cost more than the bounds say.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};

use super::{
    MAX_BYTES, MAX_DEPTH, MAX_NODES, Node, NodeId, Parsed, Place, Step, SyntaxError, Tree, Value,
};

/// Mappings up to this size are searched for equal keys pair by pair.
const FEW_KEYS: usize = 12;
/// With more of them the reading ends.
const MOST_REPEATED_KEYS: usize = 100;

/// Reads a text; the errors are none, one that ended the reading, or keys given twice.
pub(in crate::model) fn parse(text: &str) -> Parsed<'_> {
    if text.len() > MAX_BYTES {
        return Parsed {
            tree: None,
            errors: vec![too_large(text.len())],
        };
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut builder = Builder::new(text.len());
    let mut parser = Parser::new_from_str(text);
    let ended = builder.run(&mut parser);
    builder.finish(ended)
}

struct Builder<'t> {
    tree: Tree<'t>,
    /// Lists and mappings that have not ended.
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Anchor>,
    documents: usize,
    /// Nodes so far, aliases written out.
    expanded: u64,
    /// What is wrong and yet lets the reading go on.
    errors: Vec<SyntaxError>,
}

struct Open<'t> {
    id: NodeId,
    anchor: usize,
    /// `expanded` when it began.
    before: u64,
    items: Items<'t>,
}

enum Items<'t> {
    List(Vec<NodeId>),
    /// The pairs, and a key that waits for its value.
    Mapping(Vec<(NodeId, NodeId)>, Option<NodeId>, KeySet<'t>),
}

/// Finds equal keys; a set only where there are many.
type KeySet<'t> = Option<HashSet<Cow<'t, str>>>;

#[derive(Clone, Copy)]
struct Anchor {
    target: NodeId,
    size: u64,
}

impl<'t> Builder<'t> {
    fn new(bytes: usize) -> Self {
        // Configurations as people write them have fewer nodes than that, and what is not used of
        // the room is never touched.
        let tree = Tree {
            nodes: Vec::with_capacity(bytes / 6),
        };
        let (open, anchors) = (Vec::new(), HashMap::new());
        Self {
            tree,
            open,
            anchors,
            documents: 0,
            expanded: 0,
            errors: Vec::new(),
        }
    }

    fn run(&mut self, parser: &mut Parser<'t, StrInput<'t>>) -> Result<(), SyntaxError> {
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| scan_error(&error))?;
            self.event(event, place(span.start))?;
        }
        Ok(())
    }

    fn finish(mut self, ended: Result<(), SyntaxError>) -> Parsed<'t> {
        let whole = ended.is_ok() && !self.tree.nodes.is_empty();
        self.errors.extend(ended.err());
        Parsed {
            tree: whole.then_some(self.tree),
            errors: self.errors,
        }
    }

    fn event(&mut self, event: Event<'t>, place: Place) -> Result<(), SyntaxError> {
        match event {
            Event::DocumentStart(_) => self.document(place),
            Event::Scalar(text, style, anchor, tag) => {
                self.check_tag(tag.as_deref(), place)?;
                let id = self.add(scalar(text, style), place)?;
                self.close(id, anchor, self.expanded.saturating_sub(1));
                Ok(())
            }
            Event::Alias(anchor) => self.alias(anchor, place),
            Event::SequenceStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), place)?;
                self.begin(Items::List(Vec::new()), anchor, place)
            }
            Event::MappingStart(anchor, tag) => {
                self.check_tag(tag.as_deref(), place)?;
                self.begin(Items::Mapping(Vec::new(), None, None), anchor, place)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.end();
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn document(&mut self, place: Place) -> Result<(), SyntaxError> {
        self.documents += 1;
        if self.documents < 2 {
            return Ok(());
        }
        let message = "a second document begins here".to_owned();
        let help =
            "keep one document in the file: remove this `---` and what follows, or join the two";
        Err(SyntaxError {
            place,
            path: String::new(),
            message,
            help: help.to_owned(),
        })
    }

    fn begin(&mut self, items: Items<'t>, anchor: usize, place: Place) -> Result<(), SyntaxError> {
        let before = self.expanded;
        let id = self.add(Value::Null, place)?;
        self.open.push(Open {
            id,
            anchor,
            before,
            items,
        });
        if self.open.len() > MAX_DEPTH {
            let message = format!("lists and mappings are nested deeper than {MAX_DEPTH}");
            return Err(self.error(id, message, "no key of the configuration needs such depth"));
        }
        Ok(())
    }

    fn end(&mut self) {
        let Some(open) = self.open.pop() else { return };
        let value = match open.items {
            Items::List(items) => Value::List(items),
            Items::Mapping(pairs, ..) => Value::Mapping(pairs),
        };
        if let Some(node) = self.tree.nodes.get_mut(open.id.0 as usize) {
            node.value = value;
        }
        self.close(open.id, open.anchor, open.before);
    }

    /// A node is whole: its anchor may be referred to from now on.
    fn close(&mut self, target: NodeId, anchor: usize, before: u64) {
        if anchor != 0 {
            let size = self.expanded.saturating_sub(before);
            self.anchors.insert(anchor, Anchor { target, size });
        }
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), SyntaxError> {
        let Some(Anchor { target, size }) = self.anchors.get(&anchor).copied() else {
            let id = self.add(Value::Null, place)?;
            let message = "this alias stands inside what it refers to".to_owned();
            return Err(self.error(id, message, "write the value out here"));
        };
        let id = self.add(Value::Alias(target), place)?;
        self.expanded = self.expanded.saturating_add(size);
        self.check_size(id)
    }

    /// Puts a node under the list or mapping that is open.
    fn add(&mut self, value: Value<'t>, place: Place) -> Result<NodeId, SyntaxError> {
        let id = NodeId(u32::try_from(self.tree.nodes.len()).unwrap_or(u32::MAX));
        let (parent, step) = self.position(id);
        self.tree.nodes.push(Node {
            place,
            parent,
            step,
            value,
        });
        self.expanded = self.expanded.saturating_add(1);
        self.check_size(id)?;
        if matches!(step, Step::IsKey) {
            self.check_key(id)?;
        }
        Ok(id)
    }

    fn position(&mut self, id: NodeId) -> (NodeId, Step) {
        let Some(open) = self.open.last_mut() else {
            return (Tree::ROOT, Step::Root);
        };
        let step = match &mut open.items {
            Items::List(items) => {
                let index = u32::try_from(items.len()).unwrap_or(u32::MAX);
                items.push(id);
                Step::Index(index)
            }
            Items::Mapping(pairs, key, _) => match key.take() {
                Some(key) => {
                    pairs.push((key, id));
                    Step::Key(key)
                }
                None => {
                    *key = Some(id);
                    Step::IsKey
                }
            },
        };
        (open.id, step)
    }

    fn check_size(&self, id: NodeId) -> Result<(), SyntaxError> {
        if self.expanded <= MAX_NODES {
            return Ok(());
        }
        let message =
            format!("with its aliases written out the file has more than {MAX_NODES} values");
        Err(self.error(id, message, "use fewer aliases of aliases"))
    }

    fn check_key(&mut self, id: NodeId) -> Result<(), SyntaxError> {
        let Some(node) = self.tree.nodes.get(id.0 as usize) else {
            return Ok(());
        };
        let (Value::Plain(text) | Value::Quoted(text)) = &node.value else {
            let message = "a key must be a plain text".to_owned();
            return Err(self.error(id, message, "write `key: value`"));
        };
        let text = text.clone();
        if let Some(line) = self.first_use(text.clone()) {
            let message = format!("the key `{text}` is given twice");
            let help = format!("remove one of the two; the first is on line {line}");
            let error = self.error(id, message, &help);
            if self.errors.len() >= MOST_REPEATED_KEYS {
                return Err(error);
            }
            self.errors.push(error);
        }
        Ok(())
    }

    /// The line on which the open mapping has this key already.
    fn first_use(&mut self, text: Cow<'t, str>) -> Option<u32> {
        let Items::Mapping(pairs, _, set) = &mut self.open.last_mut()?.items else {
            return None;
        };
        let tree = &self.tree;
        if pairs.len() >= FEW_KEYS {
            let set = set.get_or_insert_with(|| keys(tree, pairs));
            if set.insert(text.clone()) {
                return None;
            }
        }
        let (key, _) = pairs
            .iter()
            .find(|(key, _)| tree.text(*key) == Some(text.as_ref()))?;
        Some(tree.place(*key).line)
    }

    fn check_tag(&self, tag: Option<&Tag>, place: Place) -> Result<(), SyntaxError> {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else {
            return Ok(());
        };
        let message = format!("the tag `{tag}` has no meaning here");
        let help = "remove it; a text that begins with `!` needs quotes".to_owned();
        let path = self
            .open
            .last()
            .map(|open| self.tree.path(open.id))
            .unwrap_or_default();
        Err(SyntaxError {
            place,
            path,
            message,
            help,
        })
    }

    fn error(&self, at: NodeId, message: String, help: &str) -> SyntaxError {
        let (place, path) = (self.tree.place(at), self.tree.path(at));
        SyntaxError {
            place,
            path,
            message,
            help: help.to_owned(),
        }
    }
}

fn keys<'t>(tree: &Tree<'t>, pairs: &[(NodeId, NodeId)]) -> HashSet<Cow<'t, str>> {
    let key = |(key, _): &(NodeId, NodeId)| match tree.value(*key) {
        Value::Plain(text) | Value::Quoted(text) => Some(text.clone()),
        Value::Null | Value::List(_) | Value::Mapping(_) | Value::Alias(_) => None,
    };
    pairs.iter().filter_map(key).collect()
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value<'_> {
    match style {
        ScalarStyle::Plain if matches!(&*text, "" | "~" | "null" | "Null" | "NULL") => Value::Null,
        ScalarStyle::Plain => Value::Plain(text),
        _ => Value::Quoted(text),
    }
}

fn place(mark: Marker) -> Place {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Place {
        line: number(mark.line().max(1)),
        column: number(mark.col()).saturating_add(1),
    }
}

fn scan_error(error: &ScanError) -> SyntaxError {
    let message = format!("this is not YAML: {}", error.info());
    let help = match error.info() {
        info if info.contains("tab") => "indent with spaces",
        info if info.contains("unknown anchor") => "define the anchor (`&name`) before its alias",
        _ => "check the indentation, the quotes and the colons here and on the line before",
    };
    let path = String::new();
    SyntaxError {
        place: place(*error.marker()),
        path,
        message,
        help: help.to_owned(),
    }
}

fn too_large(bytes: usize) -> SyntaxError {
    let mib = MAX_BYTES / (1024 * 1024);
    let message = format!("the file has {bytes} bytes; the limit is {mib} MiB");
    let help =
        "split the configuration over several proxies, or shorten it with aliases".to_owned();
    SyntaxError {
        place: Place::START,
        path: String::new(),
        message,
        help,
    }
}
