//! What was applied of a service, in the canonical form.

use std::io;

use orchestra_client::AppliedVersion;
use orchestra_document::service::{Canonical, Values, show};
use serde::Serialize;

use crate::view::{Output, Page, Style};

/// A version's spec, as a file of a service.
pub(crate) struct Spec<'a>(pub(crate) &'a AppliedVersion);

impl Output for Spec<'_> {
    fn noun(&self) -> &'static str {
        "spec"
    }

    fn json(self) -> impl Serialize {
        Canonical { spec: &self.0.spec, values: Values::Withheld }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        out.write_all(show(&self.0.spec, Values::Withheld).as_bytes())
    }

    fn remark(&self) -> Option<String> {
        let has_params = !self.0.spec.params.is_empty();
        has_params.then(|| "the values of parameters are not told".to_owned())
    }
}
