//! Sends an output that many tasks have once in a list, and from then on its number.

use std::collections::HashMap;

use bytes::Bytes;
use orchestra_model::status::TaskStatus;
use orchestra_proto::{EndInParts, LEAST_SHARED_BYTES, SHARED_BYTES, SHARED_OUTPUTS, v1};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use super::pages::PAGE_BYTES;

/// The outputs of one list that were sent under a number: by their hashes, so that they are in no memory.
#[derive(Debug, Default)]
pub(super) struct SentOutputs {
    numbers: HashMap<[u8; 32], u32>,
    bytes: usize,
}

impl SentOutputs {
    /// Encodes tasks as pages. An output is in the page of the first task that names it, or in one before.
    pub(super) fn pages(&mut self, tasks: &[TaskStatus]) -> Vec<v1::TaskPage> {
        let mut pages = Vec::new();
        let mut page = v1::TaskPage::default();
        let mut length = 0;
        for task in tasks {
            let mut outputs = Vec::new();
            let task = self.share(task.into(), &mut outputs);
            let more = task.encoded_len() + outputs.iter().map(Bytes::len).sum::<usize>();
            if length + more > PAGE_BYTES && !page.tasks.is_empty() {
                pages.push(std::mem::take(&mut page));
                length = 0;
            }
            length += more;
            page.tasks.push(task);
            page.outputs.append(&mut outputs);
        }
        if !page.tasks.is_empty() {
            pages.push(page);
        }
        pages
    }

    /// Takes out of a task's end the outputs that have a number. Those that get one now are added to `outputs`.
    fn share(&mut self, mut task: v1::TaskStatus, outputs: &mut Vec<Bytes>) -> v1::TaskStatus {
        let Some(mut parts) = EndInParts::of(&task.end) else { return task };
        task.shared_stdout = self.number(&mut parts.stdout, outputs);
        task.shared_stderr = self.number(&mut parts.stderr, outputs);
        if task.shared_stdout + task.shared_stderr > 0 {
            task.end = parts.whole();
        }
        task
    }

    /// Returns the number of an output, which is taken then; 0 if it has none.
    fn number(&mut self, output: &mut Bytes, outputs: &mut Vec<Bytes>) -> u32 {
        if output.len() < LEAST_SHARED_BYTES {
            return 0;
        }
        let hash = Sha256::digest(&output[..]).into();
        if let Some(number) = self.numbers.get(&hash) {
            output.clear();
            return *number;
        }
        let bytes = self.bytes + output.len();
        let number = self.numbers.len() + 1;
        match u32::try_from(number) {
            Ok(given) if number <= SHARED_OUTPUTS && bytes <= SHARED_BYTES => {
                self.bytes = bytes;
                self.numbers.insert(hash, given);
                outputs.push(std::mem::take(output));
                given
            }
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use orchestra_model::{
        FlowId, HostName, JobId, TaskState,
        delivery::{AttemptEnd, Outcome, Output},
        limits::OUTPUT_HEAD_BYTES,
    };
    use orchestra_proto::{HeardOutputs, decode_end, encode_end};

    use super::*;

    fn task(host: usize, text: &str) -> TaskStatus {
        let output = |text: &str| {
            let bytes = text.as_bytes();
            let (head, tail) = bytes.split_at(bytes.len().min(OUTPUT_HEAD_BYTES));
            let (head, tail) = (head.to_vec(), tail.to_vec());
            Output { head, tail, bytes: text.len() as u64, truncated: false }
        };
        let end = AttemptEnd {
            outcome: Outcome::Exited(0),
            started_at: None,
            ended_at: orchestra_model::Timestamp(host as u64),
            response: Default::default(),
            stdout: output(text),
            stderr: output("hm"),
        };
        let job = JobId { flow: FlowId(1), slot: 1, job: 1 };
        let host = HostName::new(&format!("fe{host}")).unwrap();
        let wire = v1::TaskStatus {
            job: Some(job.into()),
            host: host.to_string(),
            state: TaskState::Ok.to_string(),
            attempt: 1,
            end: Bytes::copy_from_slice(encode_end(&end).unwrap().as_slice()),
            ..Default::default()
        };
        wire.try_into().unwrap()
    }

    /// What a reader makes of pages.
    fn heard(pages: Vec<v1::TaskPage>) -> Vec<TaskStatus> {
        let mut heard = HeardOutputs::default();
        let pages = pages.into_iter().flat_map(|page| heard.restore(page).unwrap().tasks);
        pages.map(|task| task.try_into().unwrap()).collect()
    }

    fn says(tasks: &[TaskStatus]) -> Vec<(Option<HostName>, AttemptEnd)> {
        let says = |task: &TaskStatus| {
            (task.host.clone(), decode_end(task.end.as_ref().unwrap()).unwrap())
        };
        tasks.iter().map(says).collect()
    }

    #[test]
    fn three_outputs_of_many_tasks_are_sent_three_times() {
        let texts = ["a".repeat(1_000), "b".repeat(40_000), "c".repeat(20)];
        let tasks: Vec<TaskStatus> = (0..1_000).map(|n| task(n, &texts[n % 3])).collect();
        let mut sent = SentOutputs::default();
        let pages: Vec<v1::TaskPage> =
            tasks.chunks(16).flat_map(|piece| sent.pages(piece)).collect();
        let outputs: Vec<&Bytes> = pages.iter().flat_map(|page| &page.outputs).collect();
        assert_eq!(outputs.len(), 3);
        assert_eq!(outputs.iter().collect::<BTreeSet<_>>().len(), 3, "each once");
        let bytes: usize = pages.iter().map(v1::TaskPage::encoded_len).sum();
        assert!(bytes < 1_000 * 60 + 42_000, "{bytes} bytes");
        assert_eq!(says(&heard(pages)), says(&tasks));
    }

    #[test]
    fn more_outputs_than_have_a_number_come_with_their_ends() {
        let tasks: Vec<TaskStatus> =
            (0..1_000).map(|n| task(n, &format!("{:030}", n % 500))).collect();
        let mut sent = SentOutputs::default();
        let pages = sent.pages(&tasks);
        let outputs = pages.iter().map(|page| page.outputs.len()).sum::<usize>();
        assert_eq!(outputs, SHARED_OUTPUTS);
        assert_eq!(says(&heard(pages)), says(&tasks));
        // The same of large ones.
        let tasks: Vec<TaskStatus> =
            (0..400).map(|n| task(n, &format!("{:060000}", n % 200))).collect();
        let mut sent = SentOutputs::default();
        let pages = sent.pages(&tasks);
        assert!(pages.iter().all(|page| page.encoded_len() <= PAGE_BYTES + (64 << 10)));
        let outputs = pages.iter().flat_map(|page| &page.outputs).map(Bytes::len).sum::<usize>();
        assert!(outputs > SHARED_BYTES - (65 << 10) && outputs <= SHARED_BYTES);
        assert_eq!(says(&heard(pages)), says(&tasks));
    }
}
