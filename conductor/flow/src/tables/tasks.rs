//! What a job knows of its tasks, in little memory: a job of a million tasks costs memory for what
//! has happened to them, and not for what its targets imply.
//!
//! A task that was not looked at takes nothing, one that waits somewhere five bytes, and one that
//! something happened to a [`Task`]. No entry ever moves: the tables grow by pages or are reserved
//! whole, so no event pays for copying all the others.

use crate::tables::task::{Parked, Task, UNTOUCHED};

/// The tasks of a job, by their index.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    total: u32,
    parked: Vec<Parked>,
    /// By task: its index in `pages`, counted from 1; 0 if nothing happened to it.
    places: Vec<u32>,
    /// Pages of [`PAGE`] tasks; all are full but the last.
    pages: Vec<Vec<Task>>,
}

/// Tasks of a page: 16 KiB.
const PAGE: usize = 256;

impl Tasks {
    /// This many tasks, to none of which anything has happened.
    pub(crate) fn new(total: u32) -> Self {
        Self { total, parked: Vec::new(), places: Vec::new(), pages: Vec::new() }
    }

    /// What happened to the task, if anything did.
    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&Task> {
        self.at(*self.places.get(index as usize)?)
    }

    /// What happened to the task. From now on it is one that something happened to.
    pub(crate) fn get_mut(&mut self, index: u32) -> &mut Task {
        let place = entry(&mut self.places, index, self.total);
        if *place == 0 {
            if self.pages.last().is_none_or(|page| page.len() == PAGE) {
                let left = self.total as usize - self.pages.len() * PAGE;
                self.pages.push(Vec::with_capacity(left.min(PAGE)));
            }
            let full = self.pages.len() - 1;
            self.pages[full].push(UNTOUCHED.clone());
            *place = u32::try_from(full * PAGE + self.pages[full].len()).unwrap_or(u32::MAX);
        }
        let at = *place as usize - 1;
        &mut self.pages[at / PAGE][at % PAGE]
    }

    /// Where the task is to be found while it waits.
    #[inline]
    pub(crate) fn parked(&self, index: u32) -> Parked {
        self.parked.get(index as usize).copied().unwrap_or(Parked::No)
    }

    /// Notes where the task lies. Returns where it lay before.
    pub(crate) fn park(&mut self, index: u32, to: Parked) -> Parked {
        if to == Parked::No && self.parked.len() <= index as usize {
            return Parked::No;
        }
        std::mem::replace(entry(&mut self.parked, index, self.total), to)
    }

    /// Those below this index are all that are parked anywhere.
    pub(crate) fn parked_below(&self) -> u32 {
        u32::try_from(self.parked.len()).unwrap_or(u32::MAX)
    }

    /// The tasks that something happened to, in the order of their indices.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Task)> {
        let places = (0..).zip(&self.places);
        places.filter_map(|(index, place)| Some((index, self.at(*place)?)))
    }

    #[inline]
    fn at(&self, place: u32) -> Option<&Task> {
        let at = place.checked_sub(1)? as usize;
        Some(&self.pages[at / PAGE][at % PAGE])
    }
}

/// The entry of a task in a table, which is lengthened if it is too short.
fn entry<T: Clone + Default>(table: &mut Vec<T>, index: u32, total: u32) -> &mut T {
    let at = index as usize;
    if table.is_empty() {
        // This reserves address space for all entries; memory is used as entries are written.
        table.reserve_exact(total as usize);
    }
    if table.len() <= at {
        table.resize(at + 1, T::default());
    }
    &mut table[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_something_happened_to_is_known() {
        let mut tasks = Tasks::new(1_000);
        for index in [999, 3, 500] {
            tasks.get_mut(index).attempt = index;
        }
        tasks.park(4, Parked::Player);
        let known: Vec<_> = tasks.iter().map(|(index, task)| (index, task.attempt)).collect();
        assert_eq!(known, [(3, 3), (500, 500), (999, 999)]);
        assert_eq!(tasks.get(4), None);
        assert_eq!((tasks.parked(4), tasks.parked(5)), (Parked::Player, Parked::No));
    }

    #[test]
    fn tasks_keep_their_places_over_pages() {
        let mut tasks = Tasks::new(1_000);
        for index in (0..1_000).rev() {
            tasks.get_mut(index).attempt = index;
        }
        assert!(tasks.iter().all(|(index, task)| index == task.attempt));
        assert_eq!(tasks.iter().count(), 1_000);
        assert_eq!(tasks.pages.iter().map(Vec::capacity).sum::<usize>(), 1_000);
    }
}
