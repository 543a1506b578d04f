//! From URLs to objects.

use std::collections::HashMap;
use std::env;
use std::error::Error;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::StreamExt;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientOptions, CredentialProvider, ObjectStore, RetryConfig};

use super::object::{Object, wait};
use super::tries::{Connector, Failed, Patience, Shared};
use crate::dataset::webdataset::url::masked;

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Finds the objects that URLs name. Credentials come from the environment, under the names that the cloud's own tools use.
#[derive(Debug)]
pub(in crate::dataset::webdataset) struct Stores {
    patience: Patience,
    /// Variables of the environment.
    vars: Vec<(String, String)>,
    http: Option<HttpClient>,
    buckets: HashMap<String, Arc<dyn ObjectStore>>,
}

impl Stores {
    pub(in crate::dataset::webdataset) fn new(patience: Patience) -> Self {
        let unicode =
            env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::with_vars(patience, unicode.collect())
    }

    /// With other variables than those of the environment.
    pub(super) fn with_vars(patience: Patience, vars: Vec<(String, String)>) -> Self {
        Self {
            patience,
            vars,
            http: None,
            buckets: HashMap::new(),
        }
    }

    /// The objects that a URL names: one, or those that match its `*`, `?` and `[…]`, sorted as files are.
    ///
    /// # Errors
    /// What is wrong with the URL, the credentials or the listing.
    pub(in crate::dataset::webdataset) fn objects(&mut self, url: &str) -> Result<Vec<Object>, String> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err("it is no URL".to_owned());
        };
        match scheme {
            "http" | "https" => Ok(vec![self.http_object(url, scheme, rest)?]),
            "s3" | "gs" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || key.is_empty() {
                    return Err(format!("it has to be {scheme}://BUCKET/NAME"));
                }
                let server = format!("{scheme}://{bucket}");
                let store = self.bucket(scheme, bucket)?;
                let object = |path: Path| {
                    let name = format!("{server}/{path}");
                    Object::new(store.clone(), path, name, server.clone())
                };
                Ok(match key.contains(['*', '?', '[']) {
                    true => matching(&*store, &server, key)?.into_iter().map(object).collect(),
                    false => vec![object(Path::parse(key).map_err(|error| error.to_string())?)],
                })
            }
            _ => Err(format!("{scheme}:// is none of http://, https://, s3:// and gs://")),
        }
    }

    fn http_object(&mut self, url: &str, scheme: &str, rest: &str) -> Result<Object, String> {
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        if path.split('?').next().is_some_and(|path| path.contains(['*', '['])) {
            return Err(
                "files on a web server cannot be listed: name them with braces, such as {00000..00331}".to_owned(),
            );
        }
        let client = match &self.http {
            Some(client) => client.clone(),
            None => {
                let made = self
                    .connector()
                    .connect(&self.options().with_allow_http(true))
                    .map_err(|error| told(&error))?;
                self.http.insert(made).clone()
            }
        };
        let store = HttpBuilder::new()
            .with_url(url)
            .with_retry(once())
            .with_http_connector(Shared(client))
            .build()
            .map_err(|error| told(&error))?;
        // A name and a password are no part of the server's name.
        let server = masked(&format!("{scheme}://{host}"));
        Ok(Object::new(Arc::new(store), Path::default(), masked(url), server))
    }

    fn connector(&self) -> Connector {
        Connector {
            patience: self.patience,
        }
    }

    fn options(&self) -> ClientOptions {
        // Time is kept by the connector.
        ClientOptions::new()
            .with_timeout_disabled()
            .with_connect_timeout(CONNECT_TIMEOUT.min(self.patience.timeout))
    }

    fn bucket(&mut self, scheme: &str, bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
        let server = format!("{scheme}://{bucket}");
        if let Some(store) = self.buckets.get(&server) {
            return Ok(store.clone());
        }
        let store = match scheme {
            "s3" => self.s3(bucket)?,
            _ => self.gs(bucket)?,
        };
        self.buckets.insert(server, store.clone());
        Ok(store)
    }

    fn s3(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
        self.http_is_meant(
            &["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"],
            "AWS_ALLOW_HTTP",
        )?;
        let mut builder = AmazonS3Builder::new()
            .with_client_options(self.options())
            .with_retry(once())
            .with_http_connector(self.connector());
        for (key, value) in self.keys::<AmazonS3ConfigKey>("AWS_") {
            builder = builder.with_config(key, value);
        }
        let store = builder.with_bucket_name(bucket).build().map_err(|error| told(&error))?;
        if !self.switched_on("AWS_SKIP_SIGNATURE") {
            let help =
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket";
            self.credentials(&**store.credentials(), help)?;
        }
        Ok(Arc::new(store))
    }

    fn gs(&self, bucket: &str) -> Result<Arc<dyn ObjectStore>, String> {
        self.http_is_meant(&["GOOGLE_BASE_URL"], "GOOGLE_ALLOW_HTTP")?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_client_options(self.options())
            .with_retry(once())
            .with_http_connector(self.connector());
        for (key, value) in self.keys::<GoogleConfigKey>("GOOGLE_") {
            builder = builder.with_config(key, value);
        }
        let store = builder.with_bucket_name(bucket).build().map_err(|error| told(&error))?;
        if !self.switched_on("GOOGLE_SKIP_SIGNATURE") {
            let help = "set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account or of `gcloud auth application-default \
                        login`, or GOOGLE_SKIP_SIGNATURE=true for a public bucket";
            self.credentials(&**store.credentials(), help)?;
        }
        Ok(Arc::new(store))
    }

    /// What the environment sets, of which object_store knows the names.
    fn keys<K: FromStr>(&self, prefix: &str) -> Vec<(K, &str)> {
        let ours = self.vars.iter().filter(|(name, _)| name.starts_with(prefix));
        ours.filter_map(|(name, value)| Some((name.to_lowercase().parse().ok()?, &**value)))
            .collect()
    }

    /// An error if a variable names a server without encryption and `switch` does not allow that.
    fn http_is_meant(&self, names: &[&str], switch: &str) -> Result<(), String> {
        let plain = |(name, value): &&(String, String)| names.contains(&&**name) && value.starts_with("http://");
        match self.vars.iter().find(plain).filter(|_| !self.switched_on(switch)) {
            Some((name, value)) => Err(format!(
                "{name} = {value} is not encrypted: set {switch}=true if that is meant"
            )),
            None => Ok(()),
        }
    }

    fn switched_on(&self, name: &str) -> bool {
        let value = self
            .vars
            .iter()
            .find(|(var, _)| var == name)
            .map(|(_, value)| value.to_lowercase());
        value.is_some_and(|value| ["1", "true", "on", "yes", "y"].contains(&&*value))
    }

    /// Asks for credentials once, so that their lack shows at once and not shard by shard.
    fn credentials<C: Send + Sync>(
        &self,
        provider: &dyn CredentialProvider<Credential = C>,
        help: &str,
    ) -> Result<(), String> {
        let asked = wait(async { tokio::time::timeout(self.patience.timeout, provider.get_credential()).await });
        let cause = match asked.map_err(|error| error.to_string())? {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => told(&error),
            Err(_) => format!("nobody gave any within {} s", self.patience.timeout.as_secs_f64()),
        };
        Err(format!("no credentials: {help}. {cause}"))
    }
}

/// No tries of object_store's own.
fn once() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// An error with its causes, as far as it does not say them itself.
fn told(error: &(dyn Error + 'static)) -> String {
    Failed::of(error, "").to_string()
}

/// Names in a bucket that match a pattern.
fn matching(store: &dyn ObjectStore, server: &str, pattern: &str) -> Result<Vec<Path>, String> {
    let glob = glob::Pattern::new(pattern).map_err(|error| error.to_string())?;
    // As files are matched: no sign but a slash stands for a slash.
    let options = glob::MatchOptions {
        require_literal_separator: true,
        ..glob::MatchOptions::new()
    };
    let special = pattern.find(['*', '?', '[']).unwrap_or(pattern.len());
    let folder = pattern[..special].rfind('/').map_or("", |slash| &pattern[..slash]);
    let folder = Path::parse(folder).map_err(|error| error.to_string())?;
    let in_folder = !pattern[special..].contains('/');
    let listed = wait(async {
        if in_folder {
            return Ok(store.list_with_delimiter(Some(&folder)).await?.objects);
        }
        let mut objects = Vec::new();
        let mut stream = store.list(Some(&folder));
        while let Some(object) = stream.next().await {
            objects.push(object?);
        }
        Ok(objects)
    });
    let listed = listed
        .map_err(|error| error.to_string())?
        .map_err(|error: object_store::Error| format!("{server} cannot be listed: {}", told(&error)))?;
    let mut names: Vec<Path> = listed
        .into_iter()
        .map(|object| object.location)
        .filter(|name| glob.matches_with(name.as_ref(), options))
        .collect();
    names.sort_by(|a, b| a.as_ref().split('/').cmp(b.as_ref().split('/')));
    Ok(names)
}
