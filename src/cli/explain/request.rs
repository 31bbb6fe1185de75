//! The request that is asked about, as a listener would have understood it.

use std::net::IpAddr;

use http::header::HOST;
use http::{HeaderName, HeaderValue, Method, Uri};

use crate::model::fields::Fields;
use crate::model::route::RouteQuery;

/// Asked for where a URL is only a path.
const HOST_OF_A_PATH: &str = "localhost";

#[derive(Debug)]
pub(super) struct Request {
    pub(super) from: IpAddr,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) method: Method,
    pub(super) uri: Uri,
    /// `Host` among them.
    pub(super) headers: Fields,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidRequest {
    #[error("{0:?} is not a URL: write `http://HOST/PATH` or `/PATH`, percent-encoded")]
    Url(String),
    #[error("scheme {0:?} is not proxied: write http or https")]
    Scheme(String),
    #[error("{0:?} is not a method")]
    Method(String),
    #[error("CONNECT is never proxied")]
    Connect,
    #[error("{0:?} is not a header: write `NAME: VALUE`")]
    Header(String),
}

impl Request {
    pub(super) fn parse(
        url: &str,
        method: &str,
        headers: &[String],
        from: IpAddr,
    ) -> Result<Self, InvalidRequest> {
        let uri = parse_url(url)?;
        let scheme = match uri.scheme_str() {
            None | Some("http") => "http",
            Some("https") => "https",
            Some(other) => return Err(InvalidRequest::Scheme(other.to_owned())),
        };
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| InvalidRequest::Method(method.to_owned()))?;
        if method == Method::CONNECT {
            return Err(InvalidRequest::Connect);
        }
        let mut headers = headers.iter().map(|line| header(line)).try_fold(
            Fields::default(),
            |mut all, line| {
                let (name, value) = line?;
                all.append(&name, &value);
                Ok(all)
            },
        )?;
        let host = host(&uri, &headers)?;
        let value = HeaderValue::from_str(&host);
        let value = value.map_err(|_| InvalidRequest::Url(url.to_owned()))?;
        headers.insert(&HOST, &value);
        Ok(Self {
            from,
            scheme,
            host,
            method,
            uri,
            headers,
        })
    }

    pub(super) fn query(&self) -> RouteQuery<'_> {
        RouteQuery {
            host: &self.host,
            method: &self.method,
            path: self.uri.path(),
            path_and_query: self.target(),
            headers: &self.headers,
        }
    }

    pub(super) fn target(&self) -> &str {
        self.uri
            .path_and_query()
            .map_or("/", |whole| whole.as_str())
    }
}

/// With a path at least: `shop.example` alone would be taken for one.
fn parse_url(url: &str) -> Result<Uri, InvalidRequest> {
    let uri: Uri = url
        .parse()
        .map_err(|_| InvalidRequest::Url(url.to_owned()))?;
    let whole = uri.scheme().is_some() && uri.authority().is_some();
    if whole || url.starts_with('/') {
        Ok(uri)
    } else {
        Err(InvalidRequest::Url(url.to_owned()))
    }
}

fn header(line: &str) -> Result<(HeaderName, HeaderValue), InvalidRequest> {
    let invalid = || InvalidRequest::Header(line.to_owned());
    let (name, value) = line.split_once(':').ok_or_else(invalid)?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| invalid())?;
    Ok((name, value))
}

/// A `Host` that is given wins, as curl has it.
fn host(uri: &Uri, headers: &Fields) -> Result<String, InvalidRequest> {
    let Some(given) = headers.get(&HOST) else {
        let authority = uri.authority().map(|authority| {
            let whole = authority.as_str();
            whole.rsplit_once('@').map_or(whole, |(_, host)| host)
        });
        return Ok(authority.unwrap_or(HOST_OF_A_PATH).to_owned());
    };
    let text = str::from_utf8(given).ok().filter(|text| !text.is_empty());
    text.map(str::to_owned)
        .ok_or_else(|| InvalidRequest::Header("host".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str, method: &str, headers: &[&str]) -> Result<Request, InvalidRequest> {
        let headers: Vec<String> = headers.iter().map(|&line| line.to_owned()).collect();
        Request::parse(url, method, &headers, "192.0.2.1".parse().unwrap())
    }

    #[test]
    fn url_says_scheme_host_and_target() {
        for (url, scheme, host, target) in [
            (
                "http://shop.example/a?b=1",
                "http",
                "shop.example",
                "/a?b=1",
            ),
            (
                "https://shop.example:8443",
                "https",
                "shop.example:8443",
                "/",
            ),
            (
                "http://user:pass@shop.example/#part",
                "http",
                "shop.example",
                "/",
            ),
            ("/a", "http", "localhost", "/a"),
            ("http://[::1]:80/a", "http", "[::1]:80", "/a"),
        ] {
            let request = parse(url, "GET", &[]).unwrap();
            let found = (request.scheme, request.host.as_str(), request.target());
            assert_eq!(found, (scheme, host, target), "{url}");
            assert_eq!(request.headers.text("host"), host, "{url}");
        }
    }

    #[test]
    fn host_header_wins_over_the_url() {
        let request = parse("http://10.0.0.1/", "GET", &["Host: shop.example"]).unwrap();
        assert_eq!(
            (request.host.as_str(), request.headers.len()),
            ("shop.example", 1)
        );
    }

    #[test]
    fn nonsense_is_refused_with_what_to_write() {
        for (url, method, headers, words) in [
            ("shop.example/a", "GET", &[][..], "http://HOST/PATH"),
            ("shop.example", "GET", &[], "http://HOST/PATH"),
            ("http://a/ b", "GET", &[], "percent-encoded"),
            ("ftp://a/", "GET", &[], "http or https"),
            ("/", "G ET", &[], "not a method"),
            ("/", "CONNECT", &[], "never proxied"),
            ("/", "GET", &["x-a"], "NAME: VALUE"),
            ("/", "GET", &["x a: 1"], "NAME: VALUE"),
            ("/", "GET", &["host:"], "not a header"),
        ] {
            let error = parse(url, method, headers).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
