//! From the text of a value to a `Template`:
//!
//! - `$name` and `${name}` are variables; `$$` is a dollar sign;
//! - a value that is `env:NAME` or `file:PATH` as a whole is that secret;
//! - `${env:NAME}` and `${file:PATH}` put a secret into a longer value.
//!
//! What looks like a variable but is none stays as written and is reported to the caller.

use super::{Piece, Template, Variable};
use crate::model::secret::{InvalidSecretRef, Resolve, Secret, SecretRef};

/// A template, and what in it may be a mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    pub template: Template,
    pub unknown: Vec<UnknownVariable>,
}

/// Something that begins like a variable and is left as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownVariable {
    /// As written, with the dollar sign.
    pub written: String,
    /// What may have been meant.
    pub meant: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    #[error("`${{` without its `}}`")]
    Unclosed,
    #[error(transparent)]
    Reference(#[from] InvalidSecretRef),
    #[error("{reference} cannot be read: {reason}")]
    Missing {
        reference: SecretRef,
        reason: String,
    },
    #[error("a header value cannot contain {0}")]
    Character(&'static str),
    #[error("{reference} contains {character}, which a header value cannot")]
    SecretCharacter {
        reference: SecretRef,
        character: &'static str,
    },
}

/// Reads a header value with variables and secrets.
pub fn parse(text: &str, resolve: &mut Resolve<'_>) -> Result<Parsed, InvalidTemplate> {
    let mut parser = Parser {
        resolve,
        pieces: Vec::new(),
        unknown: Vec::new(),
    };
    match SecretRef::parse(text) {
        Some(reference) => parser.secret(reference?)?,
        None => parser.run(text)?,
    }
    Ok(Parsed {
        template: Template {
            pieces: parser.pieces,
        },
        unknown: parser.unknown,
    })
}

/// Reads a value in which only secrets are filled in; a `$` has no other meaning in it.
pub fn parse_secret(text: &str, resolve: &mut Resolve<'_>) -> Result<Secret, InvalidTemplate> {
    if let Some(reference) = SecretRef::parse(text) {
        return Ok(Secret::new(read(&reference?, resolve)?));
    }
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, inside, after)) = next_braces(rest) {
        match SecretRef::parse(inside) {
            Some(reference) => {
                value.push_str(before);
                value.push_str(&read(&reference?, resolve)?);
                rest = after;
            }
            None => {
                let taken = before.len() + "${".len();
                value.push_str(rest.get(..taken).unwrap_or_default());
                rest = rest.get(taken..).unwrap_or_default();
            }
        }
    }
    value.push_str(rest);
    check_characters(&value)?;
    Ok(Secret::new(value))
}

/// Splits at the first `${...}`: what stands before it, in it and after it.
fn next_braces(text: &str) -> Option<(&str, &str, &str)> {
    let (before, opened) = text.split_once("${")?;
    let (inside, after) = opened.split_once('}')?;
    Some((before, inside, after))
}

struct Parser<'a, 'r> {
    resolve: &'a mut Resolve<'r>,
    pieces: Vec<Piece>,
    unknown: Vec<UnknownVariable>,
}

impl Parser<'_, '_> {
    fn run(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        check_characters(text)?;
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            self.text(before);
            rest = self.after_dollar(after)?;
        }
        self.text(rest);
        Ok(())
    }

    /// Takes what belongs to a dollar sign, gives back what follows it.
    fn after_dollar<'t>(&mut self, after: &'t str) -> Result<&'t str, InvalidTemplate> {
        if let Some(rest) = after.strip_prefix('$') {
            self.text("$");
            return Ok(rest);
        }
        if let Some(braced) = after.strip_prefix('{') {
            let (inside, rest) = braced.split_once('}').ok_or(InvalidTemplate::Unclosed)?;
            match SecretRef::parse(inside) {
                Some(reference) => self.secret(reference?)?,
                None => self.variable(inside, format!("${{{inside}}}")),
            }
            return Ok(rest);
        }
        let (name, rest) = after.split_at(name_length(after));
        match name {
            "" => self.text("$"),
            _ => self.variable(name, format!("${name}")),
        }
        Ok(rest)
    }

    fn variable(&mut self, name: &str, written: String) {
        match Variable::from_name(name) {
            Some(variable) => self.pieces.push(Piece::Variable(variable)),
            None => {
                self.text(&written);
                self.unknown.push(UnknownVariable {
                    written,
                    meant: meant(name),
                });
            }
        }
    }

    fn secret(&mut self, reference: SecretRef) -> Result<(), InvalidTemplate> {
        let value = read(&reference, self.resolve)?;
        self.pieces.push(Piece::Secret(Secret::new(value)));
        Ok(())
    }

    fn text(&mut self, text: &str) {
        match self.pieces.last_mut() {
            _ if text.is_empty() => {}
            Some(Piece::Text(last)) => last.push_str(text),
            _ => self.pieces.push(Piece::Text(text.to_owned())),
        }
    }
}

fn read(reference: &SecretRef, resolve: &mut Resolve<'_>) -> Result<String, InvalidTemplate> {
    let value = resolve(reference).map_err(|reason| InvalidTemplate::Missing {
        reference: reference.clone(),
        reason,
    })?;
    match forbidden(&value) {
        None => Ok(value),
        Some(character) => Err(InvalidTemplate::SecretCharacter {
            reference: reference.clone(),
            character,
        }),
    }
}

/// How much of the text after a dollar sign is its name: `ip`, or `header.` and a header's name.
fn name_length(text: &str) -> usize {
    let header = text.strip_prefix("header.").map(|name| {
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_'));
        end.unwrap_or(name.len())
    });
    if let Some(dotted) = dotted(text) {
        return dotted.len();
    }
    match header {
        Some(length) if length > 0 => "header.".len() + length,
        _ => text
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(text.len()),
    }
}

/// The variable with dots in its name that the text begins with: `tls.client.san`.
fn dotted(text: &str) -> Option<&'static str> {
    let begins = |name: &&&str| {
        let rest = text.strip_prefix(**name);
        let goes_on =
            |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        name.contains('.') && rest.is_some_and(|rest| !goes_on(rest))
    };
    Variable::NAMES.iter().find(begins).copied()
}

/// A variable whose name is near, or begins what was written (`$ipx` may mean `${ip}x`).
fn meant(name: &str) -> Option<String> {
    if name == "header" || name == "header." {
        return Some("$header.NAME".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    let prefix = Variable::NAMES
        .iter()
        .find(|known| lower.starts_with(*known));
    let near = Variable::NAMES
        .iter()
        .find(|known| strsim::damerau_levenshtein(&lower, known) <= 2);
    match (near, prefix) {
        (Some(known), _) if *known == lower || known.len() > 2 => Some(format!("${known}")),
        (_, Some(known)) => name
            .get(known.len()..)
            .map(|rest| format!("${{{known}}}{rest}")),
        _ => None,
    }
}

fn check_characters(text: &str) -> Result<(), InvalidTemplate> {
    forbidden(text).map_or(Ok(()), |character| {
        Err(InvalidTemplate::Character(character))
    })
}

/// The first character that RFC 9110 does not allow in a field value, in words.
fn forbidden(text: &str) -> Option<&'static str> {
    let byte = text
        .bytes()
        .find(|byte| matches!(byte, 0..=8 | 10..=31 | 127))?;
    Some(match byte {
        0 => "a NUL character",
        b'\n' => "a line feed",
        b'\r' => "a carriage return",
        _ => "a control character",
    })
}
