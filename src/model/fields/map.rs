//! Fields from a map of `http` and into one, for who speaks HTTP/2: the `h2` crate knows no other form.

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::line::{Form, Indexing, Line, Place};
use super::role::Kind;
use super::{Fields, Unfit};

impl Fields {
    /// Takes what is in the map, in whose order, in place of what was there; keeps the memory that it has.
    pub fn read_map(&mut self, map: &HeaderMap) {
        let sizes = map
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4);
        let mut text = BytesMut::with_capacity(sizes.sum());
        self.clear();
        self.reserve(map.len());
        for (name, value) in map {
            let start = text.len();
            let name = name.as_str().as_bytes();
            text.put_slice(name);
            text.put_slice(b": ");
            let value_start = text.len();
            text.put_slice(value.as_bytes());
            text.put_slice(b"\r\n");
            let place = Place {
                start,
                name_length: name.len(),
                value: value_start,
                value_length: value.len(),
                end: text.len(),
            };
            let indexing = match value.is_sensitive() {
                true => Indexing::Never,
                false => Indexing::Allowed,
            };
            self.add(Line::new(place, Kind::of(name), Form::Plain).with_indexing(indexing));
        }
        self.read = text.freeze();
    }

    /// What was read is shared, not copied. `name_of` reads a name, in any case.
    ///
    /// # Errors
    /// Where there are more fields than a map takes, which is some twenty thousand.
    pub fn to_map<E>(
        &self,
        name_of: impl Fn(&[u8]) -> Result<HeaderName, E>,
    ) -> Result<HeaderMap, Unfit> {
        let mut map = HeaderMap::new();
        map.try_reserve(self.len()).map_err(|_| Unfit::TooMany)?;
        for line in &self.lines {
            let text = self.text_of(line);
            let name = name_of(line.name(text)).map_err(|_| Unfit::Value)?;
            let value = line.value(text);
            let value = match line.is_made() {
                true => Bytes::copy_from_slice(value),
                false => self.read.slice_ref(value),
            };
            let value = HeaderValue::from_maybe_shared(value);
            let mut value = value.map_err(|_| Unfit::Value)?;
            value.set_sensitive(line.indexing() == Indexing::Never);
            map.try_append(name, value).map_err(|_| Unfit::TooMany)?;
        }
        Ok(map)
    }
}
