//! What a launcher's second thread says of taps before its first thread has answered their launch:
//! on a busy host a process may have been born, said that it is ready and ended before that answer.
//! It is kept until the sitter knows whose tap it is.

use std::{collections::BTreeMap, mem::discriminant};

use super::{
    WORDS,
    wire::{Account, TapId},
    words::Word,
};

/// By tap.
#[derive(Debug, Default)]
pub(super) struct Ahead(BTreeMap<TapId, OfTap>);

/// What was said of one tap.
#[derive(Debug, Default)]
pub(super) struct OfTap {
    /// The words of its unit: the last of each kind from each process, at most [`WORDS`].
    pub(super) words: Vec<Word>,
    pub(super) account: Option<Account>,
}

impl Ahead {
    pub(super) fn note_account(&mut self, id: TapId, account: Account) {
        self.0.entry(id).or_default().account = Some(account);
    }

    pub(super) fn note_word(&mut self, id: TapId, word: Word) {
        let words = &mut self.0.entry(id).or_default().words;
        let is_alike = |known: &Word| {
            known.pid == word.pid && discriminant(&known.kind) == discriminant(&word.kind)
        };
        match words.iter().position(is_alike) {
            Some(at) => words[at] = word,
            None if words.len() < WORDS => words.push(word),
            None => {}
        }
    }

    /// Takes out what was said of a tap whose launch is answered.
    pub(super) fn take(&mut self, id: TapId) -> OfTap {
        self.0.remove(&id).unwrap_or_default()
    }
}
