//! Other numbers of instances of a service that is placed.
//!
//! A number is no version: nothing that runs has to begin anew for it. It stands until a version is
//! applied that says one of its own.

use std::sync::Arc;

use orchestra_model::{
    Asker, ServiceName,
    names::LabelValue,
    service::{Cause, Change, InvalidService, PlaceRule},
};

use crate::{input::Rejection, services::Services};

impl Services {
    /// Wants another number of instances. Returns whether anything has changed.
    pub(super) fn scale(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        zone: Option<&LabelValue>,
        count: u32,
        take_over: bool,
    ) -> Result<bool, Rejection> {
        let service = self.existing(name)?;
        let file = service.record.file.as_ref().filter(|file| file.owns());
        if let Some(file) = file.filter(|_| !take_over) {
            return Err(Rejection::OfFile(name.clone(), Arc::clone(&file.name)));
        }
        let is_taken = file.is_some();
        let rule = service.spec().and_then(|spec| spec.place.clone());
        let Some((rule, layout)) = rule.zip(service.record.layout.clone()) else {
            return Err(Rejection::NotPlaced(name.clone()));
        };
        let Some(scaled) = layout.scaled(zone, count) else {
            return Err(Rejection::OtherLayout(name.clone(), layout));
        };
        let rule = PlaceRule { layout: scaled.clone(), ..rule };
        rule.check().map_err(|cause| Rejection::Invalid(InvalidService::Place(cause)))?;
        if is_taken {
            service.record.owner = by.clone();
            service.leave_file();
        }
        if scaled == layout {
            return Ok(is_taken);
        }
        if service.record.surged.is_some() {
            // An update that goes on keeps as many more.
            let more = service.spec().map_or(0, |spec| spec.update.surge);
            service.record.surged = Some(scaled.raised(more));
        }
        service.record.layout = Some(scaled);
        service.want_change(Change::new(Cause::Scale, by.clone()));
        Ok(true)
    }
}
