//! What does the edge have for a device to read and observe? Set, listed, taken back.

use super::devices::device_id;
use super::{Control, validate};
use crate::core::{Reply, Request};
use crate::model::{
    EdgeResource, NewEdgeResource, Page, PageRequest, RESOURCE_BYTES_MAX, RESOURCE_FIRST_BYTES,
    RESOURCE_PATH_BYTES_MAX, Refused,
};
use crate::store::{Table, records};

impl Control {
    /// Sets a value: durable, and on its way to who observes it, when this returns. Its ETag.
    pub async fn set_resource(
        &self,
        device: &str,
        mut resource: NewEdgeResource,
    ) -> Result<Vec<u8>, Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        check(&resource)?;
        self.find_payload(&mut resource.reference, "PayloadReference").await?;
        if let Some(reference) = &resource.reference {
            let first = self.first_bytes(reference).await?;
            resource.payload = first[..first.len().min(RESOURCE_FIRST_BYTES)].to_vec();
        }
        match self.held.edge.ask(Request::SetResource { device, resource }).await? {
            Reply::Changed { version } => Ok(EdgeResource::tag_of(version)),
            other => unreachable!("a SetResource is answered by Changed, not {other:?}"),
        }
    }

    /// Lists what a device can read, by path.
    pub async fn resources(
        &self,
        device: &str,
        page: PageRequest,
    ) -> Result<Page<EdgeResource>, Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        let page = self.page(Table::Resources, &device.0, &page, |(_, value)| {
            records::decode(&value, "resource").map(Some)
        });
        std::future::ready(page).await
    }

    /// Takes a value back; who observes it hears that it is gone.
    pub async fn delete_resource(&self, device: &str, path: &str) -> Result<(), Refused> {
        let device = device_id(device)?;
        self.read_device(device)?;
        let path = path.trim_start_matches('/').to_owned();
        match self.held.edge.ask(Request::DeleteResource { device, path }).await? {
            Reply::Changed { .. } => Ok(()),
            other => unreachable!("a DeleteResource is answered by Changed, not {other:?}"),
        }
    }
}

fn check(resource: &NewEdgeResource) -> Result<(), Refused> {
    const PATH: &str = "UriPaths";
    let path = &resource.path;
    if path.is_empty() || path.iter().any(|part| part.is_empty() || part.contains('/')) {
        return Err(Refused::invalid(PATH, "Member must have segments, none of them empty"));
    }
    if path.iter().map(|part| part.len() + 1).sum::<usize>() > RESOURCE_PATH_BYTES_MAX + 1 {
        return Err(validate::too_long(PATH, RESOURCE_PATH_BYTES_MAX));
    }
    if resource.payload.len() > RESOURCE_BYTES_MAX {
        let constraint = format!("Member must decode to at most {RESOURCE_BYTES_MAX} bytes");
        return Err(Refused::invalid("PayloadData", constraint));
    }
    Ok(())
}
