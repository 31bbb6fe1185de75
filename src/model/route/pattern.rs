//! Path patterns as keys of a table: literal beginnings, each with what must hold after it. Most
//! patterns are nothing but that; what is not keeps its regular expression, tried only behind its
//! literal.
//!
//! Regular expressions are narrowed to ASCII, because request targets are ASCII: `\d` is `[0-9]`, and
//! a class such as `[^/]` is one range of bytes instead of a small automaton for UTF-8. Classes that
//! take everything outside of ASCII go on taking it.

use std::borrow::Cow;

use regex_syntax::hir::{
    Class, ClassBytes, ClassBytesRange, ClassUnicode, Hir, HirKind, Look, Repetition,
};

/// A pattern with more literal beginnings than this is looked up by what they have in common.
const KEYS_PER_PATTERN: usize = 32;
/// Choices within one beginning. Bounds the recursion below.
const CHOICES_PER_KEY: usize = 32;
/// Larger classes are not spelled out.
const CHARACTERS_PER_CLASS: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) literal: Cow<'a, [u8]>,
    pub(super) tail: Tail,
}

/// What must hold behind the literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tail {
    Any,
    /// The end of path and query.
    End,
    /// The end of the path.
    PathEnd,
    /// The end of the path, or a slash in it.
    Element,
    /// The pattern's regular expression decides.
    Regex,
}

/// A regular expression as keys.
#[derive(Debug)]
pub(super) struct Simplified {
    pub(super) keys: Vec<Key<'static>>,
    /// Narrowed to ASCII, without captures; there if a key asks for it.
    pub(super) regex: Option<Hir>,
}

/// Nothing if the pattern can take no path at all.
pub(super) fn exact(path: &str) -> Option<Key<'_>> {
    let literal = Cow::Borrowed(path.as_bytes());
    (!path.contains('?')).then_some(Key {
        literal,
        tail: Tail::PathEnd,
    })
}

/// A slash at the end says nothing: `/api/` takes what `/api` takes.
pub(super) fn prefix(path: &str) -> Option<Key<'_>> {
    let literal = Cow::Borrowed(path.trim_end_matches('/').as_bytes());
    (!path.contains('?')).then_some(Key {
        literal,
        tail: Tail::Element,
    })
}

/// A regular expression without a single special character, which is most of them.
pub(super) fn plain(pattern: &str) -> Option<Key<'_>> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-%=&,:;@!~".contains(&byte);
    let literal = Cow::Borrowed(pattern.as_bytes());
    pattern.bytes().all(plain).then_some(Key {
        literal,
        tail: Tail::Any,
    })
}

/// Any other regular expression.
pub(super) fn simplify(hir: Hir) -> Simplified {
    let hir = narrow(hir);
    let mut spelled = Spelled::default();
    let mut keys = match spell_out(Beginning::default(), vec![&hir], &mut spelled) {
        Ok(()) => spelled.keys,
        Err(TooMany) => vec![common_beginning(&hir)],
    };
    keys.sort_unstable_by(|a, b| (&a.literal, a.tail).cmp(&(&b.literal, b.tail)));
    keys.dedup();
    let regex = keys
        .iter()
        .any(|key| key.tail == Tail::Regex)
        .then_some(hir);
    Simplified { keys, regex }
}

/// Without captures, and with classes and word boundaries narrowed to ASCII.
fn narrow(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(Class::Unicode(class)) => Hir::class(Class::Bytes(narrow_class(&class))),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(narrow_look(look)),
        HirKind::Repetition(Repetition {
            min,
            max,
            greedy,
            sub,
        }) => Hir::repetition(Repetition {
            min,
            max,
            greedy,
            sub: Box::new(narrow(*sub)),
        }),
        HirKind::Capture(capture) => narrow(*capture.sub),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(narrow).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(narrow).collect()),
    }
}

fn narrow_class(class: &ClassUnicode) -> ClassBytes {
    let ascii = class.ranges().iter().filter_map(|range| {
        let start = u8::try_from(range.start()).ok().filter(u8::is_ascii)?;
        let end = u8::try_from(range.end()).map_or(0x7f, |end| end.min(0x7f));
        Some(ClassBytesRange::new(start, end))
    });
    let takes_the_rest = class
        .ranges()
        .last()
        .is_some_and(|range| range.end() == char::MAX);
    let rest = takes_the_rest.then(|| ClassBytesRange::new(0x80, 0xff));
    ClassBytes::new(ascii.chain(rest))
}

fn narrow_look(look: Look) -> Look {
    match look {
        Look::WordUnicode => Look::WordAscii,
        Look::WordUnicodeNegate => Look::WordAsciiNegate,
        Look::WordStartUnicode => Look::WordStartAscii,
        Look::WordEndUnicode => Look::WordEndAscii,
        Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
        Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
        other => other,
    }
}

#[derive(Debug, Clone, Default)]
struct Beginning {
    literal: Vec<u8>,
    choices: usize,
}

struct TooMany;

#[derive(Debug, Default)]
struct Spelled {
    keys: Vec<Key<'static>>,
    /// Of choices: at a key each, or at a class that takes no character, which leaves none.
    ends: usize,
}

/// Follows every choice of the pattern for as long as it is literal. `rest` is what is still to
/// come, the next last.
fn spell_out(
    mut beginning: Beginning,
    mut rest: Vec<&Hir>,
    spelled: &mut Spelled,
) -> Result<(), TooMany> {
    let tail = loop {
        if rest.iter().all(|part| takes_nothing(part)) || takes_everything(&rest) {
            break Tail::Any;
        }
        let Some(next) = rest.pop() else {
            break Tail::Any;
        };
        match next.kind() {
            HirKind::Empty => {}
            HirKind::Literal(literal) => beginning.literal.extend_from_slice(&literal.0),
            HirKind::Concat(parts) => rest.extend(parts.iter().rev()),
            HirKind::Look(Look::Start) if beginning.literal.is_empty() => {}
            HirKind::Look(Look::End) if rest.is_empty() => break Tail::End,
            HirKind::Alternation(parts) => {
                return parts.iter().try_for_each(|part| {
                    spell_out(beginning.with(&[])?, with(&rest, Some(part)), spelled)
                });
            }
            HirKind::Repetition(Repetition {
                min: 0,
                max: Some(1),
                sub,
                ..
            }) => {
                spell_out(beginning.with(&[])?, rest.clone(), spelled)?;
                return spell_out(beginning.with(&[])?, with(&rest, Some(sub)), spelled);
            }
            HirKind::Class(class) if let Some(characters) = few_characters(class) => {
                if characters.is_empty() {
                    return spelled.end();
                }
                return characters.iter().try_for_each(|&character| {
                    spell_out(beginning.with(&[character])?, rest.clone(), spelled)
                });
            }
            _ => break Tail::Regex,
        }
    };
    spelled.end()?;
    spelled.keys.push(Key {
        literal: beginning.literal.into(),
        tail,
    });
    Ok(())
}

impl Spelled {
    fn end(&mut self) -> Result<(), TooMany> {
        self.ends += 1;
        if self.ends > KEYS_PER_PATTERN {
            Err(TooMany)
        } else {
            Ok(())
        }
    }
}

fn with<'a>(rest: &[&'a Hir], next: Option<&'a Hir>) -> Vec<&'a Hir> {
    rest.iter().copied().chain(next).collect()
}

impl Beginning {
    fn with(&self, more: &[u8]) -> Result<Self, TooMany> {
        let literal = [self.literal.as_slice(), more].concat();
        let choices = self.choices + 1;
        if choices > CHOICES_PER_KEY {
            Err(TooMany)
        } else {
            Ok(Self { literal, choices })
        }
    }
}

/// Whether the part can match the empty string anywhere.
fn takes_nothing(part: &Hir) -> bool {
    match part.kind() {
        HirKind::Empty => true,
        HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => false,
        HirKind::Repetition(repetition) => repetition.min == 0 || takes_nothing(&repetition.sub),
        HirKind::Capture(capture) => takes_nothing(&capture.sub),
        HirKind::Concat(parts) => parts.iter().all(takes_nothing),
        HirKind::Alternation(parts) => parts.iter().any(takes_nothing),
    }
}

/// `.*$` and its like: whatever a request target may consist of, up to the end.
fn takes_everything(rest: &[&Hir]) -> bool {
    let [end, all] = rest else { return false };
    let (HirKind::Look(Look::End), HirKind::Repetition(all)) = (end.kind(), all.kind()) else {
        return false;
    };
    let HirKind::Class(Class::Bytes(class)) = all.sub.kind() else {
        return false;
    };
    let covers = |first: u8, last: u8| {
        class
            .ranges()
            .iter()
            .any(|range| range.start() <= first && last <= range.end())
    };
    all.min == 0 && all.max.is_none() && covers(b'!', 0xff)
}

fn few_characters(class: &Class) -> Option<Vec<u8>> {
    let Class::Bytes(class) = class else {
        return None;
    };
    let bytes = class
        .ranges()
        .iter()
        .flat_map(|range| range.start()..=range.end());
    let few: Vec<u8> = bytes.take(CHARACTERS_PER_CLASS + 1).collect();
    (few.len() <= CHARACTERS_PER_CLASS).then_some(few)
}

/// Only as far as there is nothing to choose.
fn common_beginning(hir: &Hir) -> Key<'static> {
    let parts = match hir.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(hir),
    };
    let parts = parts.iter().map(Hir::kind);
    let literal = parts
        .skip_while(|part| matches!(part, HirKind::Look(Look::Start)))
        .map_while(|part| match part {
            HirKind::Literal(literal) => Some(&*literal.0),
            _ => None,
        });
    let literal: Vec<u8> = literal.flatten().copied().collect();
    Key {
        literal: literal.into(),
        tail: Tail::Regex,
    }
}
