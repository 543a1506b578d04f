//! Requests that are tried again: one place for every store, for its credentials, and for bodies that stop in the middle.

use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_lite::StreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};

use crate::dataset::webdataset::url::masked;

/// Pause after the first try; it doubles up to [`LONGEST_PAUSE`]. Each is shortened by a random share of up to a half, so that
/// many workers do not come back at once.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// No further try once so many times `timeout` are over: a server that hangs is given up soon.
const MOST_TIMEOUTS: u32 = 3;
/// Longest part of an answer that a message quotes, in characters.
const MAX_QUOTED: usize = 200;
/// Where machines in a cloud ask for credentials. Elsewhere nobody answers: one retry is enough.
const METADATA_HOSTS: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];

/// How long servers are waited for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Patience {
    /// Longest time without a byte.
    pub(crate) timeout: Duration,
    /// Further tries after the first one.
    pub(crate) retries: usize,
}

/// A request that failed for good.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}{}", self.place())]
pub(crate) struct Failed {
    /// Where it went, secrets masked; empty where that is the shard's own name.
    pub(crate) url: String,
    /// What the last try met.
    pub(crate) what: String,
    /// The status that the server answered with, if it did.
    pub(crate) status: Option<u16>,
    /// Number of tries.
    pub(crate) tries: usize,
    kind: io::ErrorKind,
}

impl Failed {
    /// What object_store reports about the file `name`, reduced to the request that failed where there was one.
    pub(super) fn of(error: &(dyn Error + 'static), name: &str) -> Self {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(failed) = error.downcast_ref::<Self>() {
                let mut failed = failed.clone();
                if failed.url == name {
                    failed.url.clear();
                }
                return failed;
            }
            cause = error.source();
        }
        Self::here(&error.to_string())
    }

    /// An answer that came, and does not serve.
    pub(super) fn here(what: &str) -> Self {
        Self {
            url: String::new(),
            what: what.to_owned(),
            status: Some(200),
            tries: 0,
            kind: io::ErrorKind::InvalidData,
        }
    }

    fn place(&self) -> String {
        let tries = match self.tries {
            0 => return String::new(),
            1 => "1 try".to_owned(),
            tries => format!("{tries} tries"),
        };
        match self.url.is_empty() {
            true => format!(" ({tries})"),
            false => format!(" ({tries} of {})", self.url),
        }
    }

    /// Whether the server was never heard, so that asking it for other files is no use.
    pub(crate) fn no_answer(&self) -> bool {
        self.status.is_none()
    }
}

impl From<Failed> for io::Error {
    fn from(failed: Failed) -> Self {
        Self::new(failed.kind, failed)
    }
}

/// Makes clients that try again.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) patience: Patience,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // Fails where the program has chosen another one, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(HttpClient::new(Tries {
            inner: ReqwestConnector::default().connect(options)?,
            patience: self.patience,
        }))
    }
}

/// Connects through a client that is there already: the stores of one server share its connections.
#[derive(Debug)]
pub(super) struct Shared(pub(super) HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(self.0.clone())
    }
}

/// Sends requests and reads the answers whole, again after what may pass.
#[derive(Debug)]
struct Tries {
    inner: HttpClient,
    patience: Patience,
}

/// What one try met.
struct Met {
    what: String,
    status: Option<u16>,
    kind: io::ErrorKind,
    may_pass: bool,
}

#[async_trait]
impl HttpService for Tries {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let start = Instant::now();
        let host = request.uri().host().unwrap_or_default();
        let retries = match METADATA_HOSTS.contains(&host) {
            true => self.patience.retries.min(1),
            false => self.patience.retries,
        };
        let mut tries = 0;
        loop {
            let met = match self.once(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(met) => met,
            };
            tries += 1;
            let spent = start.elapsed() >= self.patience.timeout * MOST_TIMEOUTS;
            if !met.may_pass || tries > retries || spent {
                let failed = Failed {
                    url: masked(&request.uri().to_string()),
                    what: met.what,
                    status: met.status,
                    tries,
                    kind: met.kind,
                };
                // Not one of the kinds that object_store itself tries again.
                return Err(HttpError::new(HttpErrorKind::Unknown, failed));
            }
            tokio::time::sleep(pause(tries)).await;
        }
    }
}

impl Tries {
    async fn once(&self, request: HttpRequest) -> Result<HttpResponse, Met> {
        let asked_part = request.headers().contains_key("range");
        let response = self.in_time(self.inner.execute(request)).await?;
        let response = response.map_err(|error| transport(&error))?;
        let status = response.status();
        let (parts, body) = response.into_parts();
        if status.is_redirection() || status.as_u16() == 304 {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        if asked_part && status.as_u16() == 200 {
            return Err(Met {
                what:
                    "the server sends whole files only: it does not support range requests, which shards are read with"
                        .to_owned(),
                status: Some(200),
                kind: io::ErrorKind::Unsupported,
                may_pass: false,
            });
        }
        let bytes = self.whole(body).await;
        if !status.is_success() {
            // What little of the page could be read will do.
            return Err(refused(
                status.as_u16(),
                &status.to_string(),
                &bytes.unwrap_or_default(),
            ));
        }
        let bytes = bytes?;
        let promised = parts
            .headers
            .get("content-range")
            .and_then(|value| part_len(value.to_str().ok()?));
        if let Some(promised) = promised.filter(|&len| asked_part && len != bytes.len() as u64) {
            return Err(Met {
                what: format!("the server sent {} bytes of {promised}", bytes.len()),
                status: Some(status.as_u16()),
                kind: io::ErrorKind::InvalidData,
                may_pass: true,
            });
        }
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }

    async fn whole(&self, body: HttpResponseBody) -> Result<Vec<u8>, Met> {
        let mut stream = body.bytes_stream();
        let mut bytes = Vec::new();
        while let Some(part) = self.in_time(stream.next()).await? {
            bytes.extend_from_slice(&part.map_err(|error| transport(&error))?);
        }
        Ok(bytes)
    }

    async fn in_time<T>(&self, future: impl Future<Output = T>) -> Result<T, Met> {
        tokio::time::timeout(self.patience.timeout, future)
            .await
            .map_err(|_| Met {
                what: format!("no answer within {} s", self.patience.timeout.as_secs_f64()),
                status: None,
                kind: io::ErrorKind::TimedOut,
                may_pass: true,
            })
    }
}

fn pause(tries: usize) -> Duration {
    let doubled = FIRST_PAUSE * 2_u32.pow(tries.saturating_sub(1).min(10) as u32);
    let random = RandomState::new().build_hasher().finish();
    doubled
        .min(LONGEST_PAUSE)
        .mul_f64(1.0 - 0.5 * (random % 1024) as f64 / 1024.0)
}

/// Neither a connection nor an answer, or one that stopped.
fn transport(error: &HttpError) -> Met {
    let mut what = String::new();
    let mut cause: Option<&dyn Error> = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Many repeat what their cause says.
        if !what.ends_with(&text) {
            what.push_str(if what.is_empty() { "" } else { ": " });
            what.push_str(&text);
        }
        cause = error.source();
    }
    Met {
        what,
        status: None,
        kind: match error.kind() {
            HttpErrorKind::Timeout => io::ErrorKind::TimedOut,
            HttpErrorKind::Connect => io::ErrorKind::NotConnected,
            _ => io::ErrorKind::ConnectionAborted,
        },
        may_pass: true,
    }
}

/// An answer that is an error.
fn refused(status: u16, name: &str, page: &[u8]) -> Met {
    let page = String::from_utf8_lossy(page);
    let words: Vec<&str> = page.split_whitespace().collect();
    let quoted: String = words
        .join(" ")
        .chars()
        .filter(|sign| !sign.is_control())
        .take(MAX_QUOTED)
        .collect();
    Met {
        what: match quoted.is_empty() {
            true => format!("status {name}"),
            false => format!("status {name}: {quoted}"),
        },
        status: Some(status),
        kind: match status {
            404 | 410 => io::ErrorKind::NotFound,
            401 | 403 => io::ErrorKind::PermissionDenied,
            _ => io::ErrorKind::InvalidData,
        },
        may_pass: status >= 500 || matches!(status, 408 | 429),
    }
}

/// Length of the part that `bytes 0-99/1000` names.
fn part_len(content_range: &str) -> Option<u64> {
    let (first, last) = content_range
        .trim()
        .strip_prefix("bytes ")?
        .split_once('/')?
        .0
        .split_once('-')?;
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
    last.checked_sub(first)?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_have_an_end() {
        for (tries, most) in [(1, 0.2), (2, 0.4), (4, 1.6), (40, 5.0)] {
            let seconds = pause(tries).as_secs_f64();
            assert!(seconds >= 0.49 * most && seconds <= most, "{tries}: {seconds}");
        }
    }

    #[test]
    fn a_content_range_has_a_length() {
        assert_eq!(part_len("bytes 0-511/1000"), Some(512));
        assert_eq!(part_len("bytes 9-4/1000"), None);
        assert_eq!(part_len("bytes */1000"), None);
    }
}
