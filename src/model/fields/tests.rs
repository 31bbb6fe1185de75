use http::header::{self, HeaderMap};

use super::*;

impl Fields {
    /// From pairs of name and value, as they would be read.
    pub(crate) fn of<N: AsRef<str>, V: AsRef<str>>(lines: &[(N, V)]) -> Self {
        let lines: Vec<String> = lines
            .iter()
            .map(|(name, value)| format!("{}: {}\r\n", name.as_ref(), value.as_ref()))
            .collect();
        Self::of_lines(&lines.concat())
    }

    /// From whole lines, with a space or none before the values.
    pub(crate) fn of_lines(text: &str) -> Self {
        let mut fields = Self::default();
        fields.begin(Bytes::copy_from_slice(text.as_bytes()));
        let mut start = 0;
        for line in text.split_inclusive("\r\n") {
            let (name, rest) = line.split_once(':').unwrap();
            let value = rest.trim();
            let before = rest.find(|c: char| !c.is_whitespace()).unwrap_or(0);
            let place = Place {
                start,
                name_length: name.len(),
                value: start + name.len() + 1 + before,
                value_length: value.len(),
                end: start + line.len(),
            };
            fields.push_read(place, Kind::of(name.as_bytes()));
            start += line.len();
        }
        fields
    }

    /// The first of that name.
    pub(crate) fn text(&self, name: &str) -> &str {
        let value = self.get(&name.parse().unwrap());
        let value = value.unwrap_or_else(|| panic!("no {name} in {self:?}"));
        str::from_utf8(value).unwrap()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.contains(&name.parse().unwrap())
    }
}

fn written(fields: &Fields, without: &[Role]) -> String {
    let mut out = BytesMut::new();
    fields.write(Roles::of(without), &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

fn value(text: &'static str) -> HeaderValue {
    HeaderValue::from_static(text)
}

#[test]
fn lines_are_written_as_they_came() {
    let lines = "HOST: a\r\nX-Tenant: one\r\nCookie: a=1\r\nx-tenant: two\r\nTE: trailers\r\n";
    let fields = Fields::of_lines(lines);
    assert_eq!(written(&fields, &[]), lines);
    assert_eq!(
        written(&fields, &[Role::Host, Role::Te]),
        "X-Tenant: one\r\nCookie: a=1\r\nx-tenant: two\r\n"
    );
    assert_eq!(written(&Fields::default(), &[]), "");
    assert_eq!(written(&Fields::of(&[("Host", "a")]), &[Role::Host]), "");
}

#[test]
fn space_around_a_value_is_written_as_one() {
    let fields = Fields::of_lines("a:1\r\nb: 2\r\nc:   3\t\r\nd: 4 \r\ne: 5\r\nf:\r\ng:\t6\r\n");
    assert_eq!(
        written(&fields, &[]),
        "a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\nf: \r\ng: 6\r\n"
    );
}

#[test]
fn names_are_found_in_any_case_and_the_first_counts() {
    let fields = Fields::of(&[("X-Tenant", "one"), ("accept", "*/*"), ("x-TENANT", "two")]);
    let name = HeaderName::from_static("x-tenant");
    assert_eq!(fields.get(&name), Some(&b"one"[..]));
    let all: Vec<&[u8]> = fields.get_all(&name).collect();
    assert_eq!(all, [b"one", b"two"]);
    assert_eq!(fields.get_all(&name).next_back(), Some(&b"two"[..]));
    assert_eq!(fields.get_shared(&name).unwrap(), "one");
    assert!(!fields.contains(&header::HOST) && fields.get_all(&header::HOST).next().is_none());
    assert_eq!(fields.len(), 3);
}

#[test]
fn insert_replaces_all_where_the_first_stood() {
    let mut fields = Fields::of(&[("a", "1"), ("B", "2"), ("c", "3"), ("b", "4")]);
    fields.insert(&HeaderName::from_static("b"), &value("new"));
    assert_eq!(written(&fields, &[]), "a: 1\r\nb: new\r\nc: 3\r\n");
    fields.insert(&HeaderName::from_static("d"), &value("last"));
    fields.append(&HeaderName::from_static("a"), &value("again"));
    assert_eq!(
        written(&fields, &[]),
        "a: 1\r\nb: new\r\nc: 3\r\nd: last\r\na: again\r\n"
    );
    assert_eq!(
        fields.get_shared(&HeaderName::from_static("b")).unwrap(),
        "new"
    );
    fields.remove(&HeaderName::from_static("a"));
    assert_eq!(written(&fields, &[]), "b: new\r\nc: 3\r\nd: last\r\n");
}

#[test]
fn roles_are_those_of_the_fields_that_are_left() {
    let mut fields = Fields::of(&[
        ("connection", "close"),
        ("X-Forwarded-Anything", "x"),
        ("x-forwarded", "no claim"),
        ("keep-alive", "timeout=5"),
    ]);
    let claims = Roles::of(&[Role::Claim]);
    assert!(fields.may_have(claims) && fields.may_have(Roles::of(&[Role::OfConnection])));
    assert!(!fields.may_have(Roles::of(&[Role::Host, Role::Length])));
    fields.retain(|role, _| role != Role::Claim);
    assert!(!fields.may_have(claims));
    assert_eq!(fields.len(), 3);
}

#[test]
fn each_name_with_a_role_is_found_in_any_case() {
    for (name, role) in [
        ("Connection", Role::Connection),
        ("CONTENT-LENGTH", Role::Length),
        ("transfer-encoding", Role::Encoding),
        ("Expect", Role::Expect),
        ("hOst", Role::Host),
        ("te", Role::Te),
        ("Upgrade", Role::Upgrade),
        ("HTTP2-Settings", Role::OfConnection),
        ("Keep-Alive", Role::OfConnection),
        ("Proxy-Connection", Role::OfConnection),
        ("Proxy-Authenticate", Role::OfConnection),
        ("Proxy-Authorization", Role::OfConnection),
        ("Forwarded", Role::Claim),
        ("X-Request-Id", Role::Claim),
        ("X-FORWARDED-FOR", Role::Claim),
        ("x-forwarded-proto", Role::Claim),
        ("x-forwarded-", Role::Claim),
        ("x-forwarded", Role::Plain),
        ("", Role::Plain),
        ("h", Role::Plain),
        ("hosu", Role::Plain),
        ("Content_Length", Role::Plain),
        ("x-host", Role::Plain),
        ("\u{212a}eep-alive", Role::Plain),
    ] {
        assert_eq!(Kind::of(name.as_bytes()).role, role, "{name}");
    }
}

#[test]
fn memory_is_kept_for_the_next_message() {
    let mut fields = Fields::of(&[("a", "1"), ("b", "2")]);
    fields.insert(&header::VIA, &value("1.1 sluice"));
    let before = fields.capacity();
    fields.begin(Bytes::from_static(b"c: 3\r\n"));
    assert!(fields.is_empty() && !fields.contains(&header::VIA));
    assert_eq!(fields.capacity(), before);
}

#[test]
fn a_map_comes_out_as_it_went_in() {
    let mut map = HeaderMap::new();
    map.append("x-tenant", value("one"));
    map.append("accept", value("*/*"));
    map.append("x-tenant", value(""));
    let mut secret = value("Bearer xyz");
    secret.set_sensitive(true);
    map.append("authorization", secret);
    let mut fields = Fields::of(&[("of", "before")]);
    fields.read_map(&map);
    assert_eq!(
        written(&fields, &[]),
        "x-tenant: one\r\nx-tenant: \r\naccept: */*\r\nauthorization: Bearer xyz\r\n"
    );
    fields.append(&header::VIA, &value("1.1 sluice"));
    map.append("via", value("1.1 sluice"));
    let again = fields.to_map(HeaderName::from_bytes).unwrap();
    assert_eq!(again, map);
    let sensitive = |name: &str| again[name].is_sensitive();
    assert!(sensitive("authorization") && !sensitive("x-tenant") && !sensitive("via"));
}

#[test]
fn names_come_out_of_a_map_in_lower_case() {
    let map =
        Fields::of(&[("X-Tenant", "one"), ("X-TENANT", "two")]).to_map(HeaderName::from_bytes);
    let map = map.unwrap();
    assert_eq!(map.get_all("x-tenant").iter().count(), 2);
    let many: Vec<_> = (0..40_000).map(|n| (format!("x-{n}"), "")).collect();
    assert_eq!(
        Fields::of(&many).to_map(HeaderName::from_bytes),
        Err(Unfit::TooMany)
    );
}
