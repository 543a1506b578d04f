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
/// Where machines in a cloud ask for credentials, which answers at once. Elsewhere nobody does, and a connection may hang.
const METADATA_HOSTS: [&str; 3] = ["169.254.169.254", "169.254.170.2", "metadata.google.internal"];
/// How what it is asked for begins, wherever it is.
const METADATA_PATHS: [&str; 3] = ["/latest/api/token", "/latest/meta-data/", "/computeMetadata/"];
/// For that: the time that the clouds' own tools wait, which is a second.
const METADATA_PATIENCE: Patience = Patience {
    timeout: Duration::from_secs(1),
    retries: 1,
};
/// Longest answer to a question that is not for a part of a file, in bytes: a page of a bucket's list has 1000 names.
const MAX_ANSWER: u64 = 64 << 20;
/// How much is read of the page that comes with an error, in bytes.
const MAX_PAGE: u64 = 1 << 16;

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
        let Patience { timeout, retries } = self.patience_with(&request);
        let mut tries = 0;
        loop {
            let met = match self.once(request.clone(), timeout).await {
                Ok(response) => return Ok(response),
                Err(met) => met,
            };
            tries += 1;
            let spent = start.elapsed() >= timeout * MOST_TIMEOUTS;
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
    fn patience_with(&self, request: &HttpRequest) -> Patience {
        let (host, path) = (request.uri().host().unwrap_or_default(), request.uri().path());
        let is_metadata =
            METADATA_HOSTS.contains(&host) || METADATA_PATHS.iter().any(|beginning| path.starts_with(beginning));
        match is_metadata {
            true => Patience {
                timeout: self.patience.timeout.min(METADATA_PATIENCE.timeout),
                retries: self.patience.retries.min(METADATA_PATIENCE.retries),
            },
            false => self.patience,
        }
    }

    async fn once(&self, request: HttpRequest, timeout: Duration) -> Result<HttpResponse, Met> {
        let asked = request.headers().get("range").and_then(|value| value.to_str().ok());
        // Without an end it is never asked for.
        let asked = asked.map(|range| range_len(range, "bytes=").unwrap_or(MAX_ANSWER));
        let response = in_time(timeout, self.inner.execute(request)).await?;
        let response = response.map_err(|error| transport(&error))?;
        let status = response.status();
        let (parts, body) = response.into_parts();
        if status.is_redirection() || status.as_u16() == 304 {
            return Ok(HttpResponse::from_parts(parts, body));
        }
        if asked.is_some() && status.as_u16() == 200 {
            return Err(Met {
                what:
                    "the server sends whole files only: it does not support range requests, which shards are read with"
                        .to_owned(),
                status: Some(200),
                kind: io::ErrorKind::Unsupported,
                may_pass: false,
            });
        }
        if !status.is_success() {
            let mut page = Vec::new();
            // What little of it can be read will do.
            let _ = read_up_to(MAX_PAGE, timeout, body, &mut page).await;
            return Err(refused(status.as_u16(), &status.to_string(), &page));
        }
        let promised = parts
            .headers
            .get("content-range")
            .filter(|_| asked.is_some())
            .and_then(|value| range_len(value.to_str().ok()?.split_once('/')?.0, "bytes "));
        let bytes = whole(body, timeout, asked.unwrap_or(MAX_ANSWER), promised).await?;
        Ok(HttpResponse::from_parts(parts, bytes.into()))
    }
}

/// Reads a body of at most `limit` bytes, of `promised` ones if that is known.
async fn whole(body: HttpResponseBody, timeout: Duration, limit: u64, promised: Option<u64>) -> Result<Vec<u8>, Met> {
    let limit = limit.min(promised.unwrap_or(u64::MAX));
    let mut bytes = Vec::new();
    let is_all = read_up_to(limit, timeout, body, &mut bytes).await?;
    let what = match promised.filter(|&promised| promised != bytes.len() as u64) {
        _ if !is_all => format!("the server sent more than {limit} bytes"),
        Some(promised) => format!("the server sent {} bytes of {promised}", bytes.len()),
        None => return Ok(bytes),
    };
    Err(Met {
        what,
        status: Some(200),
        kind: io::ErrorKind::InvalidData,
        may_pass: true,
    })
}

/// Reads a body of at most `limit` bytes; false if there are more.
async fn read_up_to(limit: u64, timeout: Duration, body: HttpResponseBody, bytes: &mut Vec<u8>) -> Result<bool, Met> {
    let mut stream = body.bytes_stream();
    loop {
        let part = in_time(timeout, stream.next()).await.map_err(|met| Met {
            what: format!(
                "no more of the answer within {} s, after {} bytes",
                timeout.as_secs_f64(),
                bytes.len()
            ),
            ..met
        })?;
        let Some(part) = part else {
            return Ok(true);
        };
        let part = part.map_err(|error| transport(&error))?;
        let room = limit - bytes.len() as u64;
        if part.len() as u64 > room {
            bytes.extend_from_slice(&part[..room as usize]);
            return Ok(false);
        }
        bytes.extend_from_slice(&part);
    }
}

async fn in_time<T>(timeout: Duration, future: impl Future<Output = T>) -> Result<T, Met> {
    tokio::time::timeout(timeout, future).await.map_err(|_| Met {
        what: format!("no answer within {} s", timeout.as_secs_f64()),
        status: None,
        kind: io::ErrorKind::TimedOut,
        may_pass: true,
    })
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

/// Length of the part that `bytes 0-99` names.
fn range_len(range: &str, unit: &str) -> Option<u64> {
    let (first, last) = range.trim().strip_prefix(unit)?.split_once('-')?;
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
    fn a_range_has_a_length() {
        assert_eq!(range_len("bytes 0-511", "bytes "), Some(512));
        assert_eq!(range_len("bytes=7-7", "bytes="), Some(1));
        assert_eq!(range_len("bytes 9-4", "bytes "), None);
        assert_eq!(range_len("bytes *", "bytes "), None);
    }
}
