//! A set that mostly has one member, or none: of the jobs or the players that an event concerns.
//!
//! Its least member lies apart, so that no tree is grown and cut down for it.

use std::collections::BTreeSet;

/// An ordered set, mostly of few.
#[derive(Clone, Debug)]
pub(crate) struct Few<T> {
    least: Option<T>,
    /// The other members; empty where there is no least one.
    others: BTreeSet<T>,
}

impl<T: Copy + Ord> Few<T> {
    pub(crate) fn is_empty(&self) -> bool {
        self.least.is_none()
    }

    pub(crate) fn contains(&self, member: T) -> bool {
        self.least == Some(member) || self.others.contains(&member)
    }

    pub(crate) fn insert(&mut self, member: T) {
        match self.least {
            Some(least) if least < member => {
                self.others.insert(member);
            }
            Some(least) if least == member => {}
            least => {
                self.others.extend(least);
                self.least = Some(member);
            }
        }
    }

    pub(crate) fn remove(&mut self, member: T) {
        if self.least == Some(member) {
            self.pop_first();
        } else {
            self.others.remove(&member);
        }
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        std::mem::replace(&mut self.least, self.others.pop_first())
    }

    /// The least member that is not below `from`.
    pub(crate) fn first_from(&self, from: T) -> Option<T> {
        match self.least {
            Some(least) if least < from => self.others.range(from..).next().copied(),
            least => least,
        }
    }
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { least: None, others: BTreeSet::new() }
    }
}

impl<T: Copy + Ord> Extend<T> for Few<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, members: I) {
        members.into_iter().for_each(|member| self.insert(member));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_and_each_once() {
        let mut few = Few::default();
        assert!(few.is_empty() && few.pop_first().is_none() && few.first_from(0).is_none());
        few.extend([5, 3, 9, 3, 7, 5, 1, 1]);
        assert!([1, 3, 5, 7, 9].iter().all(|member| few.contains(*member)) && !few.contains(4));
        assert_eq!([0, 1, 2, 6, 9, 10].map(|from| few.first_from(from)), {
            [Some(1), Some(1), Some(3), Some(7), Some(9), None]
        });
        assert_eq!((few.pop_first(), few.pop_first()), (Some(1), Some(3)));
        few.insert(4);
        few.remove(7);
        few.remove(4);
        few.remove(4);
        let left: Vec<i32> = std::iter::from_fn(|| few.pop_first()).collect();
        assert_eq!(left, [5, 9]);
        assert!(few.is_empty());
    }
}
