use super::*;
use crate::model::load;

#[test]
fn names_are_looked_up_and_addresses_are_not() {
    let text = "server:\n  upstreams:\n    - id: app\n      servers: [http://10.0.0.9, http://todos:80, \
                http://todos:81, http://whole.example.]\n    - {id: echo, url: 'builtin://echo'}\n  \
                rules:\n    - {path: /, upstreams: [app]}\n";
    let loaded = load(text, &mut |_| Err("none".to_owned()));
    let config = loaded.config.expect("valid");
    let host = |name: &str| Lookup::Host(name.to_owned());
    let wanted = BTreeSet::from([host("todos"), host("whole.example.")]);
    assert_eq!(lookups(&config), wanted);
}
