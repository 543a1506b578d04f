//! A server on the loopback interface: files by path, as a web server, S3 (path-style) and Google Cloud Storage give them, with
//! the faults that a test asks for. Standard library only, because the suite of the command line includes this file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// What an answer has instead of what it should.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// An error status with a page.
    Status(u16),
    /// The connection closes after half of the body.
    Cut,
    /// Silence.
    Hang,
    /// Silence after half of the body.
    Stall,
    /// More or fewer bytes are announced than come.
    Announced(i64),
    /// Bytes without end after those that were asked for.
    Endless,
    /// The whole file, whatever was asked for.
    NoRange,
    /// The connection closes at once.
    Reset,
}

#[derive(Debug, Default)]
struct State {
    /// By path without the first slash.
    files: BTreeMap<String, Vec<u8>>,
    /// Path, fault, and how often it is still to come.
    faults: Vec<(String, Fault, usize)>,
    /// Method, path and range of every request.
    log: Vec<String>,
    /// Whether requests have to be signed.
    signed: bool,
}

/// The server; it runs until the process ends.
#[derive(Clone, Debug)]
pub(crate) struct TestServer {
    port: u16,
    state: Arc<Mutex<State>>,
}

/// A request without its body.
struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    range: Option<(u64, u64)>,
    authorization: String,
}

impl TestServer {
    pub(crate) fn new(files: &[(&str, Vec<u8>)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            state: Arc::default(),
        };
        for (path, bytes) in files {
            server.put(path, bytes.clone());
        }
        let accepting = server.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = accepting.clone();
                thread::spawn(move || server.serve(&stream));
            }
        });
        server
    }

    /// Its URL without a slash at the end.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn put(&self, path: &str, bytes: Vec<u8>) {
        self.state().files.insert(path.to_owned(), bytes);
    }

    /// Answers the next `times` requests for a path with a fault.
    pub(crate) fn fail(&self, path: &str, fault: Fault, times: usize) {
        self.state().faults.push((path.to_owned(), fault, times));
    }

    pub(crate) fn heal(&self) {
        self.state().faults.clear();
    }

    /// Answers only signed requests from now on.
    pub(crate) fn sign(&self) {
        self.state().signed = true;
    }

    /// Requests since it was called last: `GET a.tar 0-511`.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Some(request) = Request::read(&mut reader) {
            if self.answer(&request, stream).is_none() {
                let _ = stream.shutdown(std::net::Shutdown::Both);
                return;
            }
        }
    }

    /// `None` closes the connection.
    fn answer(&self, request: &Request, stream: &TcpStream) -> Option<()> {
        let (fault, file, signed) = self.look_up(request);
        if signed && !request.authorization.starts_with("AWS4-HMAC-SHA256 Credential=") {
            return send(stream, 403, "", b"<Error><Code>AccessDenied</Code></Error>", 0);
        }
        match fault {
            Some(Fault::Status(status)) => return send(stream, status, "", b"<html>\n out of\n order</html>", 0),
            Some(Fault::Hang) => thread::sleep(Duration::from_secs(3600)),
            Some(Fault::Reset) => return None,
            _ => {}
        }
        if request.query.contains_key("list-type") {
            return send(
                stream,
                200,
                "Content-Type: application/xml\r\n",
                self.list(request).as_bytes(),
                0,
            );
        }
        let Some(file) = file else {
            return send(stream, 404, "", b"<Error><Code>NoSuchKey</Code></Error>", 0);
        };
        let sum = file
            .iter()
            .fold(7_u64, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut headers =
            format!("ETag: \"{sum:x}\"\r\nLast-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\nAccept-Ranges: bytes\r\n");
        let len = file.len() as u64;
        let (status, body) = match request.range.filter(|_| fault != Some(Fault::NoRange)) {
            Some((first, _)) if first >= len => return send(stream, 416, "", b"", 0),
            Some((first, last)) => {
                let last = last.min(len - 1);
                headers.push_str(&format!("Content-Range: bytes {first}-{last}/{len}\r\n"));
                (206, &file[first as usize..=last as usize])
            }
            None => (200, file.as_slice()),
        };
        send_with(stream, fault.as_ref(), status, &headers, body)
    }

    /// Notes a request; the fault that it meets, the file, and whether it had to be signed.
    fn look_up(&self, request: &Request) -> (Option<Fault>, Option<Vec<u8>>, bool) {
        let mut state = self.state();
        let range = request
            .range
            .map_or_else(String::new, |(first, last)| format!(" {first}-{last}"));
        state.log.push(format!("{} {}{range}", request.method, request.path));
        let waiting = |(path, _, times): &&mut (String, Fault, usize)| *path == request.path && *times > 0;
        let fault = state.faults.iter_mut().find(waiting).map(|(_, fault, times)| {
            *times = times.saturating_sub(1);
            fault.clone()
        });
        (fault, state.files.get(&request.path).cloned(), state.signed)
    }

    /// S3's list, two names a page.
    fn list(&self, request: &Request) -> String {
        let of = |name: &str| request.query.get(name).cloned().unwrap_or_default();
        let (prefix, delimiter, after) = (of("prefix"), of("delimiter"), of("continuation-token"));
        let bucket = format!("{}/", request.path.trim_end_matches('/'));
        let state = self.state();
        let (mut contents, mut folders) = (String::new(), String::new());
        let mut last = String::new();
        let mut count = 0;
        let mut more = false;
        for (path, bytes) in &state.files {
            let Some(key) = path
                .strip_prefix(&bucket)
                .filter(|key| key.starts_with(&prefix) && **key > *after)
            else {
                continue;
            };
            if count == 2 {
                more = true;
                break;
            }
            last = key.to_owned();
            let below = key[prefix.len()..].find('/').filter(|_| !delimiter.is_empty());
            if let Some(slash) = below {
                folders.push_str(&format!(
                    "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>",
                    &key[..=prefix.len() + slash]
                ));
                continue;
            }
            count += 1;
            contents.push_str(&format!(
                "<Contents><Key>{key}</Key><LastModified>2026-10-21T07:28:00.000Z</LastModified><ETag>\"x\"</ETag>\
                 <Size>{}</Size></Contents>",
                bytes.len()
            ));
        }
        let next = match more {
            true => format!("<NextContinuationToken>{last}</NextContinuationToken>"),
            false => String::new(),
        };
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>b</Name><Prefix>{prefix}</Prefix>\
             <KeyCount>{count}</KeyCount><IsTruncated>{more}</IsTruncated>{contents}{folders}{next}</ListBucketResult>"
        )
    }
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|&read| read > 0)?;
        let mut words = first.split_whitespace();
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut request = Self {
            method,
            path: unescaped(path.trim_start_matches('/')),
            query: query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (unescaped(name), unescaped(value)))
                .collect(),
            range: None,
            authorization: String::new(),
        };
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok().filter(|&read| read > 0)?;
            let Some((name, value)) = header.trim_end().split_once(':') else {
                return Some(request);
            };
            match name.to_lowercase().as_str() {
                "range" => {
                    let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                    request.range = Some((first.parse().ok()?, last.parse().ok()?));
                }
                "authorization" => request.authorization = value.trim().to_owned(),
                _ => {}
            }
        }
    }
}

/// Sends a part of a file as the fault has it. `None` closes the connection.
fn send_with(mut stream: &TcpStream, fault: Option<&Fault>, status: u16, headers: &str, body: &[u8]) -> Option<()> {
    let (half, other_half) = body.split_at(body.len() / 2);
    match fault {
        Some(Fault::Cut) => {
            send(stream, status, headers, half, other_half.len() as i64);
            None
        }
        Some(Fault::Stall) => {
            send(stream, status, headers, half, other_half.len() as i64);
            thread::sleep(Duration::from_secs(3600));
            None
        }
        Some(Fault::Endless) => {
            let head = format!("HTTP/1.1 {status} Test\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).ok()?;
            // Until nobody listens any more.
            while stream.write_all(body).is_ok() {}
            None
        }
        Some(&Fault::Announced(more)) => {
            send(stream, status, headers, body, more);
            None
        }
        _ => send(stream, status, headers, body, 0),
    }
}

/// Sends an answer that announces `more` bytes than it has.
fn send(mut stream: &TcpStream, status: u16, headers: &str, body: &[u8], more: i64) -> Option<()> {
    let len = body.len() as i64 + more;
    let head = format!("HTTP/1.1 {status} Test\r\nContent-Length: {len}\r\n{headers}\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(body).ok()
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = match first {
            b'%' => after
                .get(..2)
                .and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok()),
            _ => None,
        };
        bytes.push(code.unwrap_or(first));
        rest = &after[if code.is_some() { 2 } else { 0 }..];
    }
    String::from_utf8(bytes).unwrap()
}
