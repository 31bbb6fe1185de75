use super::*;
use crate::model::secret::{InvalidSecretRef, SecretRef};

fn resolve(reference: &SecretRef) -> Result<String, String> {
    match reference {
        SecretRef::Env(name) if name == "TOKEN" => Ok("t0k3n".to_owned()),
        SecretRef::File(path) if path == "/run/two words" => Ok("from file".to_owned()),
        SecretRef::File(path) if path == "/run/lines" => Ok("a\nb".to_owned()),
        _ => Err("it is not set".to_owned()),
    }
}

fn parsed(text: &str) -> Parsed {
    parse(text, &mut resolve).unwrap()
}

fn rendered(text: &str) -> String {
    let headers = Fields::of(&[("X-User", "ada")]);
    let facts = Facts {
        ip: "192.0.2.7",
        host: "shop.example.com",
        scheme: "http",
        method: "GET",
        path: "/a",
        request_id: "r-1",
        upstream: "shop",
        tls: TlsFacts {
            version: "TLSv1.3",
            client_subject: "CN=ada",
            ..TlsFacts::default()
        },
        headers: &headers,
    };
    let mut out = BytesMut::new();
    parsed(text).template.render(&facts, &mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn every_variable_is_filled_in() {
    for (text, value) in [
        ("$ip", "192.0.2.7"),
        ("$host", "shop.example.com"),
        ("$scheme", "http"),
        ("$tls.version", "TLSv1.3"),
        ("<$tls.client.subject>", "<CN=ada>"),
        ("$tls.client.subject.", "CN=ada."),
        ("${tls.client.san}", ""),
        ("$tls.version2", "$tls.version2"),
        ("$method", "GET"),
        ("$path", "/a"),
        ("$request_id", "r-1"),
        ("$upstream", "shop"),
        ("$header.X-User", "ada"),
        ("$header.absent", ""),
        ("$$ip", "$ip"),
        ("${ip}x", "192.0.2.7x"),
        ("${header.x-user}.", "ada."),
        ("$ip, $ip", "192.0.2.7, 192.0.2.7"),
        ("$header.x-user.y", "ada.y"),
        ("costs 5$", "costs 5$"),
        ("$ 5 $-", "$ 5 $-"),
        ("Bearer xyz", "Bearer xyz"),
        ("", ""),
    ] {
        assert_eq!(rendered(text), value, "{text}");
    }
}

#[test]
fn secrets_are_filled_in_whole_or_in_part() {
    assert_eq!(rendered("env:TOKEN"), "t0k3n");
    assert_eq!(rendered("file:/run/two words"), "from file");
    assert_eq!(
        rendered("Bearer ${env:TOKEN} $ip"),
        "Bearer t0k3n 192.0.2.7"
    );
    assert_eq!(rendered("${file:/run/two words}!"), "from file!");
}

#[test]
fn secrets_never_show() {
    let template = parsed("Bearer ${env:TOKEN} $ip").template;
    for shown in [
        format!("{template:?}"),
        format!("{template}"),
        serde_json::to_string(&template).unwrap(),
    ] {
        assert!(!shown.contains("t0k3n"), "{shown}");
    }
    assert_eq!(template.to_string(), "Bearer *** ${ip}");
}

#[test]
fn unknown_variables_stay_as_written_and_are_named() {
    for (text, written, meant) in [
        ("a $hots b", "$hots", Some("$host")),
        ("$IP", "$IP", Some("$ip")),
        ("$ipx", "$ipx", Some("${ip}x")),
        ("${request-id}", "${request-id}", Some("$request_id")),
        ("$header", "$header", Some("$header.NAME")),
        ("$remote_addr", "$remote_addr", None),
    ] {
        let parsed = parsed(text);
        let unknown = UnknownVariable {
            written: written.to_owned(),
            meant: meant.map(str::to_owned),
        };
        assert_eq!(parsed.unknown, [unknown], "{text}");
        assert_eq!(rendered(text), text);
    }
}

#[test]
fn what_cannot_be_a_header_value_is_refused() {
    let reference = SecretRef::Env("NONE".to_owned());
    let lines = SecretRef::File("/run/lines".to_owned());
    for (text, error) in [
        ("${ip", InvalidTemplate::Unclosed),
        ("a\r\nb", InvalidTemplate::Character("a carriage return")),
        ("a\0", InvalidTemplate::Character("a NUL character")),
        (
            "x ${env:NONE}",
            InvalidTemplate::Missing {
                reference,
                reason: "it is not set".to_owned(),
            },
        ),
        (
            "file:/run/lines",
            InvalidTemplate::SecretCharacter {
                reference: lines,
                character: "a line feed",
            },
        ),
        (
            "${env:}",
            InvalidTemplate::Reference(InvalidSecretRef::Env(String::new())),
        ),
    ] {
        assert_eq!(parse(text, &mut resolve), Err(error), "{text}");
    }
}

#[test]
fn a_plain_value_keeps_its_dollars() {
    let value = |text| {
        parse_secret(text, &mut resolve)
            .unwrap()
            .expose()
            .to_owned()
    };
    assert_eq!(value("pa$$word $ip ${x}"), "pa$$word $ip ${x}");
    assert_eq!(value("a ${x} ${env:TOKEN}"), "a ${x} t0k3n");
    assert_eq!(value("env:TOKEN"), "t0k3n");
}

#[test]
fn a_template_travels_with_its_secrets() {
    let template = parsed("Bearer ${env:TOKEN} $header.X-User").template;
    let sent = postcard::to_stdvec(&template).unwrap();
    assert_eq!(postcard::from_bytes::<Template>(&sent).unwrap(), template);
    assert!(!template.is_constant());
    assert!(parsed("Bearer ${env:TOKEN}").template.is_constant());
}
