use super::*;

const DESIGN: &str = "\
server:
  listen: 8080
  workers: 2
  upstreams:
    - id: todos
      url: todos.example.com
    - id: dummy
      url: http://127.0.0.1:9000
  headers:
    - key: x-forward-for
      value: $ip
    - key: Authorization
      value: Bearer xyz
  rules:
    - path: /test
      upstreams: [dummy]
    - path: /
      upstreams: [todos]
";

fn no_secrets(_: &SecretRef) -> Result<String, String> {
    Err("there are no secrets here".to_owned())
}

#[test]
fn the_first_config_loads_without_a_remark() {
    let loaded = load(DESIGN, &mut no_secrets);
    assert_eq!(loaded.diagnostics, []);
    let config = loaded.config.unwrap();
    assert_eq!(config.listeners[0].address.to_string(), "0.0.0.0:8080");
    assert_eq!(config.upstreams[1].id, "dummy");
    assert_eq!(config.headers[0].value.to_string(), "${ip}");
    assert_eq!(config.rules[0].upstreams[0].upstream, 1);
}
