//! Submissions with the same request id are one. The store remembers which it was by a mac over
//! spec and parameters, under the proof key: parameters are erased when their flow ends, and from a
//! plain hash somebody who reads the store could guess short ones.

use orchestra_flow::Submission;
use orchestra_model::{FlowId, proof::Mac};

use super::Desk;
use crate::{declined::Declined, driver::other_submission, proof::Keys};

const CONTEXT: &[u8] = b"orchestra request v1\0";

/// Returns the macs of a submission under every key, newest first.
pub(crate) fn macs(keys: &Keys, submission: &Submission) -> Vec<Mac> {
    let places: Vec<[u8; 4]> = submission.params.keys().map(place).collect();
    let mut parts = vec![&*submission.spec_bytes];
    for (place, params) in places.iter().zip(submission.params.values()) {
        parts.push(place);
        for (key, value) in params.iter() {
            parts.extend([key.as_str().as_bytes(), value.as_bytes()]);
        }
    }
    keys.macs(CONTEXT, &parts)
}

/// Encodes a job's slot and number.
fn place((slot, job): &(u16, u16)) -> [u8; 4] {
    let ([a, b], [c, d]) = (slot.to_le_bytes(), job.to_le_bytes());
    [a, b, c, d]
}

impl Desk {
    /// Declines a submission of these macs if its request id belongs to another one.
    pub(crate) async fn check_same(&self, flow: FlowId, macs: &[Mac]) -> Result<(), Declined> {
        let known = self.read(move |reader| Ok(reader.flow(flow)?)).await?;
        let Some(mac) = known.and_then(|flow| flow.request_mac) else { return Ok(()) };
        match macs.is_empty() || macs.contains(&mac) {
            true => Ok(()),
            false => Err(other_submission(flow)),
        }
    }

    /// Declines a retry if its request id belongs to something else than a retry of this flow, or
    /// of any flow if it names none.
    pub(crate) async fn check_same_retry(
        &self,
        flow: FlowId,
        of: Option<FlowId>,
    ) -> Result<(), Declined> {
        let known = self.read(move |reader| Ok(reader.flow(flow)?)).await?;
        match known.map(|known| known.retry_of) {
            Some(None) => Err(other_submission(flow)),
            Some(known) if of.is_some() && known != of => Err(other_submission(flow)),
            _ => Ok(()),
        }
    }
}
