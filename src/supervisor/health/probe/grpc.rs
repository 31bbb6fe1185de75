//! The question of the gRPC health service, and what its answers mean.

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};

use super::{AGENT, Opened, Outcome, Whole, over_http2, read};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// Flag and length before a message.
const PREFIX: usize = 5;

pub(super) async fn ask(host: &str, service: &str, connection: Opened) -> Outcome {
    let scheme = connection.scheme.as_str();
    let request = Request::post(format!("{scheme}://{host}{PATH}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, AGENT)
        .body(Whole(Some(question(service))))
        .map_err(|error| error.to_string())?;
    let answer = over_http2(connection.stream, request).await?;
    let (head, body) = answer.response.into_parts();
    if head.status != StatusCode::OK {
        return Err(format!("status {}", head.status.as_u16()));
    }
    let (message, trailers) = read(body).await?;
    let trailers = trailers.unwrap_or(head.headers);
    grpc_status(&trailers)?;
    match serving_status(&message) {
        Some(1) => Ok(()),
        Some(2) => Err("NOT_SERVING".to_owned()),
        Some(3) => Err("SERVICE_UNKNOWN".to_owned()),
        Some(0) => Err("UNKNOWN".to_owned()),
        _ => Err("the answer is no HealthCheckResponse".to_owned()),
    }
}

fn grpc_status(trailers: &HeaderMap) -> Outcome {
    let status = trailers
        .get("grpc-status")
        .and_then(|value| value.to_str().ok());
    match status {
        Some("0") => Ok(()),
        Some(code) => Err(format!("grpc-status {}", code.escape_debug())),
        None => Err("the answer has no grpc-status".to_owned()),
    }
}

/// `HealthCheckRequest { string service = 1; }` with its prefix.
fn question(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        put_varint(&mut message, service.len());
        message.extend_from_slice(service.as_bytes());
    }
    let mut framed = vec![0];
    framed.extend_from_slice(
        &u32::try_from(message.len())
            .unwrap_or_default()
            .to_be_bytes(),
    );
    framed.append(&mut message);
    framed.into()
}

fn put_varint(into: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        into.push((value & 0x7f | 0x80) as u8);
        value >>= 7;
    }
    into.push(value as u8);
}

/// Of `HealthCheckResponse { ServingStatus status = 1; }`: 0 where it is left out, as protobuf has it.
fn serving_status(framed: &[u8]) -> Option<u8> {
    match framed.get(PREFIX..)? {
        [] => Some(0),
        [0x08, status @ 0..0x80, ..] => Some(*status),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_grpc_are_those_of_the_protocol() {
        assert_eq!(&question("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&question("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(serving_status(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving_status(&[0, 0, 0, 0, 0]), Some(0));
        assert_eq!(serving_status(b"<html>"), None);
        assert_eq!(serving_status(b""), None);
    }
}
