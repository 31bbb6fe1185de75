//! What a field is to a proxy, by its name: most are nothing to it and are passed on.

/// Of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    Plain,
    Connection,
    /// Content-Length.
    Length,
    /// Transfer-Encoding.
    Encoding,
    Expect,
    Host,
    Te,
    Upgrade,
    /// Another one that belongs to the connection and never goes on (RFC 9110, 7.6.1).
    OfConnection,
    /// Says where a request comes from.
    Claim,
}

/// What a name says of its field, and how it is told from other names at one glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    pub role: Role,
    /// Equal for equal names, whatever their case.
    pub(super) tag: u8,
}

/// A set of roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles(u16);

impl Roles {
    pub const fn of(roles: &[Role]) -> Self {
        let mut bits = 0;
        let mut rest = roles;
        while let [role, behind @ ..] = rest {
            bits |= 1 << *role as u16;
            rest = behind;
        }
        Self(bits)
    }

    pub(super) fn add(&mut self, role: Role) {
        self.0 |= 1 << role as u16;
    }

    pub fn has(self, role: Role) -> bool {
        self.0 & 1 << role as u16 != 0
    }

    pub fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Kind {
    pub fn of(name: &[u8]) -> Self {
        let tag = tag(name);
        let role = find(name, tag);
        Self { role, tag }
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        let mut all = Self::default();
        roles.into_iter().for_each(|role| all.add(role));
        all
    }
}

/// Every name with a role, but for those that begin with `FAMILY`, as they are mostly written.
static NAMED: [(&str, Role); 14] = [
    ("Connection", Role::Connection),
    ("Content-Length", Role::Length),
    ("Expect", Role::Expect),
    ("Forwarded", Role::Claim),
    ("Host", Role::Host),
    // Goes with an `Upgrade` to h2c, which is not passed on (RFC 7540, 3.2.1).
    ("HTTP2-Settings", Role::OfConnection),
    ("Keep-Alive", Role::OfConnection),
    ("Proxy-Authenticate", Role::OfConnection),
    ("Proxy-Authorization", Role::OfConnection),
    ("Proxy-Connection", Role::OfConnection),
    ("TE", Role::Te),
    ("Transfer-Encoding", Role::Encoding),
    ("Upgrade", Role::Upgrade),
    ("X-Request-ID", Role::Claim),
];
/// All of them are claims.
const FAMILY: &[u8] = b"x-forwarded-";

/// Of a name in any case, which has this tag.
fn find(name: &[u8], tag: u8) -> Role {
    let entry = SLOTS.get(usize::from(tag)).copied().unwrap_or_default();
    if let Some((text, role)) = NAMED.get(usize::from(entry).wrapping_sub(1))
        && (name == text.as_bytes() || name.eq_ignore_ascii_case(text.as_bytes()))
    {
        return *role;
    }
    match name {
        [b'x' | b'X', ..] if is_of_family(name) => Role::Claim,
        _ => Role::Plain,
    }
}

fn is_of_family(name: &[u8]) -> bool {
    let family = name.get(..FAMILY.len());
    family.is_some_and(|family| family.eq_ignore_ascii_case(FAMILY))
}

/// Of a name in any case: those with a role have one each, and few of the names that are often seen share one.
#[expect(clippy::indexing_slicing, reason = "the length is checked before")]
pub(super) const fn tag(name: &[u8]) -> u8 {
    let length = name.len();
    if length < 2 {
        return 0;
    }
    let first = (name[0] | 0x20) as usize;
    let middle = (name[length / 2] | 0x20) as usize;
    let last_but_one = (name[length - 2] | 0x20) as usize;
    ((length * 52 + first * 31 + middle * 6 + last_but_one * 10) % 256) as u8
}

/// Where each name stands in `NAMED`, from one on; zero is nowhere. That no two share a slot is checked while this is
/// compiled: a new name may ask for other factors in `tag`.
static SLOTS: [u8; 256] = build_slots();

#[expect(clippy::indexing_slicing, reason = "runs while compiling")]
const fn build_slots() -> [u8; 256] {
    let mut slots = [0; 256];
    let mut at = 0;
    while at < NAMED.len() {
        let slot = tag(NAMED[at].0.as_bytes()) as usize;
        assert!(slots[slot] == 0, "two names in one slot");
        at += 1;
        slots[slot] = at as u8;
    }
    slots
}
