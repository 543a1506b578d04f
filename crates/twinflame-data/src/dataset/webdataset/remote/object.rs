use std::io::{self, Read, Seek};
use std::ops::Range;
use std::sync::{Arc, LazyLock, OnceLock};

use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore};
use tokio::runtime::{Builder, Handle, Runtime};

use super::blocks::{Blocks, FIRST_BLOCK};
use super::tries::Failed;
use crate::dataset::webdataset::scan::Span;
use crate::dataset::webdataset::shard::{Stat, failed};

/// Caption and image of a sample are fetched at once if no more bytes lie between them.
const MAX_BETWEEN: u64 = 1 << 16;

/// Threads that serve the connections; the work on what comes is done by those who ask.
const RUNTIME_THREADS: usize = 2;

/// Serves the connections of all sources.
static RUNTIME: LazyLock<io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(RUNTIME_THREADS)
        .thread_name("remote-shards")
        .enable_all()
        .build()
});

/// Waits for a future, from any thread.
pub(super) fn wait<T: Send>(future: impl Future<Output = T> + Send) -> io::Result<T> {
    let runtime = RUNTIME
        .as_ref()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot start threads for connections: {error}")))?;
    if Handle::try_current().is_err() {
        return Ok(runtime.block_on(future));
    }
    // Somebody else's runtime must not be blocked on from inside.
    let waited = std::thread::scope(|scope| scope.spawn(|| runtime.block_on(future)).join());
    waited.map_err(|_| io::Error::other("the thread that waited for a server panicked"))
}

/// A shard on a server.
#[derive(Debug)]
pub(in crate::dataset::webdataset) struct Object {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The URL without secrets.
    name: String,
    /// Scheme and host, or scheme and bucket.
    server: String,
    /// Whether the version that the server tells is the file's own, whichever machine answers.
    versioned: bool,
    /// Size and version when the shard was looked at first.
    seen: OnceLock<Stat>,
}

impl Object {
    pub(super) fn new(store: Arc<dyn ObjectStore>, path: Path, name: String, server: String) -> Self {
        Self {
            store,
            path,
            versioned: !server.starts_with("http"),
            name,
            server,
            seen: OnceLock::new(),
        }
    }

    pub(in crate::dataset::webdataset) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::dataset::webdataset) fn server(&self) -> &str {
        &self.server
    }

    /// Size and version, asked for with the first block of the file, which asks a server for what it has to be able to.
    ///
    /// # Errors
    /// A [`Failed`] request.
    pub(in crate::dataset::webdataset) fn stat(&self) -> io::Result<Stat> {
        Ok(self.beginning(512)?.0)
    }

    /// A reader for the whole, and its length.
    ///
    /// # Errors
    /// A [`Failed`] request.
    pub(in crate::dataset::webdataset) fn open(&self) -> io::Result<(u64, impl Read + Seek)> {
        let (stat, block) = self.beginning(FIRST_BLOCK)?;
        Ok((stat.len, Blocks::new(stat.len, block, |range| self.get(range))))
    }

    pub(in crate::dataset::webdataset) fn read(&self, span: Span) -> io::Result<Vec<u8>> {
        self.get(span.range())
    }

    /// Reads two spans, with one request if they are close.
    pub(in crate::dataset::webdataset) fn read_two(&self, spans: [Span; 2]) -> io::Result<[Vec<u8>; 2]> {
        let [a, b] = spans.map(Span::range);
        let whole = a.start.min(b.start)..a.end.max(b.end);
        let between = (whole.end - whole.start).saturating_sub(a.end - a.start + (b.end - b.start));
        if between > MAX_BETWEEN {
            return Ok([self.get(a)?, self.get(b)?]);
        }
        let bytes = self.get(whole.clone())?;
        let part = |range: Range<u64>| {
            bytes[(range.start - whole.start) as usize..(range.end - whole.start) as usize].to_vec()
        };
        Ok([part(a), part(b)])
    }

    fn beginning(&self, len: u64) -> io::Result<(Stat, Vec<u8>)> {
        match self.fetch(0..len) {
            // Nothing is no part.
            Err(error) if failed(&error).is_some_and(|failed| failed.status == Some(416)) => {
                Ok((Stat::default(), Vec::new()))
            }
            found => found,
        }
    }

    fn get(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = range.end - range.start;
        let (_, bytes) = self.fetch(range)?;
        match bytes.len() as u64 == wanted {
            true => Ok(bytes),
            false => Err(Failed::here("the server sent another number of bytes than was asked for").into()),
        }
    }

    fn fetch(&self, range: Range<u64>) -> io::Result<(Stat, Vec<u8>)> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let fetched = wait(async {
            let result = self.store.get_opts(&self.path, options).await?;
            let stat = stat_of(&result.meta);
            Ok((stat, result.bytes().await?))
        })?;
        let (stat, bytes) =
            fetched.map_err(|error: object_store::Error| io::Error::from(Failed::of(&error, &self.name)))?;
        let seen = self.seen.get_or_init(|| stat.clone());
        if seen.len != stat.len || (self.versioned && seen.stamp != stat.stamp) {
            return Err(Failed::here("the shard is not as it was when it was opened").into());
        }
        Ok((stat, bytes.into()))
    }
}

fn stat_of(meta: &ObjectMeta) -> Stat {
    let time = meta.last_modified.timestamp_nanos_opt().filter(|&nanos| nanos != 0);
    let stamp = match (&meta.e_tag, time) {
        (Some(tag), _) => format!("etag {tag}"),
        (None, Some(nanos)) => format!("time {nanos}"),
        (None, None) => String::new(),
    };
    Stat { len: meta.size, stamp }
}
