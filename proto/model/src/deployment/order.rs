//! Which apps come before which, from the sequences of one environment type.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::names::AppName;

/// The pairs that the lists say and all that follow from them. Meaningful where there is no
/// [`cycles`](Self::cycles).
pub(super) struct Order<'a> {
    /// Each app's immediate successors.
    next: BTreeMap<&'a AppName, BTreeSet<&'a AppName>>,
}

impl<'a> Order<'a> {
    pub(super) fn of(sequences: &'a [Vec<AppName>]) -> Self {
        let mut next: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for pair in sequences.iter().flat_map(|apps| apps.windows(2)) {
            if let [first, second] = pair {
                next.entry(first).or_default().insert(second);
            }
        }
        Self { next }
    }

    /// Every app that comes after `app`, near or far.
    pub(super) fn after(&self, app: &'a AppName) -> BTreeSet<&'a AppName> {
        self.reached_from(app).into_keys().collect()
    }

    /// One shortest circle through each app that is in one, unless it is in one already told. Each
    /// app comes before the next, the last before the first.
    pub(super) fn cycles(&self) -> Vec<Vec<AppName>> {
        let mut told: BTreeSet<&AppName> = BTreeSet::new();
        let mut cycles = Vec::new();
        for &app in self.next.keys() {
            if told.contains(app) {
                continue;
            }
            let reached = self.reached_from(app);
            let Some(mut last) = reached.get(app).copied() else { continue };
            let mut cycle = vec![app.clone()];
            while last != app {
                cycle.push(last.clone());
                let Some(before) = reached.get(last) else { break };
                last = before;
            }
            cycle[1..].reverse();
            told.extend(
                cycle.iter().filter_map(|app| self.next.get_key_value(app)).map(|(k, _)| k),
            );
            cycles.push(cycle);
        }
        cycles
    }

    /// Every app on a way from `app`, with the one before it on a shortest such way. `app` itself
    /// only where a way leads back.
    fn reached_from(&self, app: &'a AppName) -> BTreeMap<&'a AppName, &'a AppName> {
        let mut reached = BTreeMap::new();
        let mut queue = VecDeque::from([app]);
        while let Some(here) = queue.pop_front() {
            for &there in self.next.get(here).into_iter().flatten() {
                reached.entry(there).or_insert_with(|| {
                    if there != app {
                        queue.push_back(there);
                    }
                    here
                });
            }
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppName {
        AppName::new(name).unwrap()
    }

    fn sequences(lists: &[&str]) -> Vec<Vec<AppName>> {
        lists.iter().map(|list| list.split(' ').map(app).collect()).collect()
    }

    #[test]
    fn order_is_transitive_over_all_lists() {
        let lists = sequences(&["a b c", "c d", "x y"]);
        let after = |name: &str| -> Vec<String> {
            let app = app(name);
            Order::of(&lists).after(&app).iter().map(ToString::to_string).collect()
        };
        assert_eq!(after("a"), ["b", "c", "d"]);
        assert_eq!(after("c"), ["d"]);
        assert_eq!(after("x"), ["y"]);
        assert!(after("d").is_empty() && after("z").is_empty());
        assert!(Order::of(&lists).cycles().is_empty());
    }

    #[test]
    fn a_circle_is_told_once_and_in_order() {
        let cycles = |lists: &[&str]| -> Vec<String> {
            let lists = sequences(lists);
            let cycles = Order::of(&lists).cycles();
            cycles.iter().map(|apps| apps.iter().map(AppName::as_str).collect()).collect()
        };
        assert_eq!(cycles(&["a b", "b a"]), ["ab"]);
        assert_eq!(cycles(&["a a"]), ["a"]);
        assert_eq!(cycles(&["a b c d b"]), ["bcd"]);
        assert_eq!(cycles(&["a b c a", "x y x", "c x"]), ["abc", "xy"]);
        assert_eq!(cycles(&["a b c", "a c"]), Vec::<String>::new());
    }
}
