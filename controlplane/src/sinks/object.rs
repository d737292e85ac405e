//! How does a message become an object? By one PUT, to an S3 or into a directory.

use std::time::Duration;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Certificate, ClientOptions, Error, ObjectStore, ObjectStoreExt as _, RetryConfig,
};

use super::settings::ObjectSettings;
use super::{Fault, causes};
use crate::private_file;

/// One bucket.
pub(super) struct ObjectOutlet {
    store: Box<dyn ObjectStore>,
}

/// Opens a bucket: an S3, or a directory.
pub(crate) fn bucket(
    settings: &ObjectSettings,
    attempt: Duration,
) -> Result<Box<dyn ObjectStore>, String> {
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", settings.url);
    if let Some(dir) = settings.url.strip_prefix("file://") {
        let store = LocalFileSystem::new_with_prefix(dir);
        return Ok(Box::new(store.map_err(|error| about(&causes(&error)))?.with_fsync(true)));
    }
    let Some(bucket) = settings.url.strip_prefix("s3://") else {
        return Err(about(&"it must be s3://bucket or file:///directory"));
    };
    let mut options = ClientOptions::new().with_timeout(attempt);
    if let Some(path) = &settings.ca_file {
        for authority in authorities(path)? {
            options = options.with_root_certificate(authority);
        }
    }
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(bucket.trim_end_matches('/'))
        .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .with_client_options(options);
    if let Some(endpoint) = &settings.endpoint {
        let is_plain = endpoint.starts_with("http://");
        builder = builder.with_endpoint(endpoint).with_allow_http(is_plain);
    }
    if let Some(path) = &settings.credentials_file {
        let text = private_file::read(path)?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(id), Some(secret)) = (lines.next(), lines.next()) else {
            return Err(about(&"credentials_file must have two lines"));
        };
        builder = builder.with_access_key_id(id).with_secret_access_key(secret);
    }
    Ok(Box::new(builder.build().map_err(|error| about(&causes(&error)))?))
}

impl ObjectOutlet {
    pub(super) fn open(settings: &ObjectSettings, attempt: Duration) -> Result<Self, String> {
        Ok(Self { store: bucket(settings, attempt)? })
    }

    pub(super) async fn put(&self, key: &str, payload: &Bytes) -> Result<(), Fault> {
        let path = Path::parse(key).map_err(|error| Fault::lasting(causes(&error)))?;
        let put = self.store.put(&path, payload.clone().into()).await;
        put.map(|_| ()).map_err(|error| {
            let message = format!("Failed to put S3 object: {}", causes(&error));
            match error {
                Error::NotFound { .. }
                | Error::InvalidPath { .. }
                | Error::NotSupported { .. }
                | Error::NotImplemented { .. }
                | Error::PermissionDenied { .. }
                | Error::Unauthenticated { .. } => Fault::lasting(message),
                _ => Fault::passing(message),
            }
        })
    }
}

fn authorities(path: &std::path::Path) -> Result<Vec<Certificate>, String> {
    let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let pem = std::fs::read(path).map_err(|error| about(&error))?;
    let found = Certificate::from_pem_bundle(&pem).map_err(|error| about(&error))?;
    if found.is_empty() { Err(about(&"no certificate in it")) } else { Ok(found) }
}
