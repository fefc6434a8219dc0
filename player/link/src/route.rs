//! Which conductor to try next: the configured ones in turn, and those to which one of them
//! redirects.

use std::collections::VecDeque;

use crate::endpoint::Endpoint;

/// Most redirects in a row without a welcome. Two conductors of which each takes the other for the
/// leader would otherwise keep us busy.
const HOPS: u32 = 4;
/// Most addresses of one redirect that are tried.
const DETOURS: usize = 8;

/// The way to a conductor.
#[derive(Debug)]
pub(super) struct Route<'a> {
    /// At least one.
    conductors: &'a [Endpoint],
    index: usize,
    /// Addresses of a redirect that are not tried yet, or are being tried.
    detours: VecDeque<Endpoint>,
    hops: u32,
}

impl<'a> Route<'a> {
    /// Begins with the first of `conductors`, which are not empty.
    pub(super) fn new(conductors: &'a [Endpoint]) -> Self {
        Self { conductors, index: 0, detours: VecDeque::new(), hops: 0 }
    }

    /// Returns where to connect now.
    pub(super) fn present(&self) -> &Endpoint {
        self.detours.front().unwrap_or(&self.conductors[self.index])
    }

    /// The present endpoint failed.
    pub(super) fn advance(&mut self) {
        if self.detours.pop_front().is_none() {
            self.index = (self.index + 1) % self.conductors.len();
        }
    }

    /// The present endpoint welcomed us.
    pub(super) fn arrived(&mut self) {
        self.hops = 0;
    }

    /// The present endpoint redirects us. Returns `false` if that was too often in a row, or if it
    /// named no address.
    pub(super) fn redirect(&mut self, to: &[Endpoint]) -> bool {
        self.hops += 1;
        if self.hops > HOPS || to.is_empty() {
            self.hops = 0;
            self.detours.clear();
            return false;
        }
        self.detours = to.iter().take(DETOURS).cloned().collect();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(texts: &[&str]) -> Vec<Endpoint> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn follow(route: &mut Route<'_>, steps: usize) -> Vec<String> {
        let mut seen = Vec::new();
        for _ in 0..steps {
            seen.push(route.present().to_string());
            route.advance();
        }
        seen
    }

    #[test]
    fn conductors_are_tried_in_turn() {
        let conductors = endpoints(&["a:1", "b:1"]);
        assert_eq!(follow(&mut Route::new(&conductors), 3), ["a:1", "b:1", "a:1"]);
    }

    #[test]
    fn a_redirect_goes_first_and_then_the_list_again() {
        let conductors = endpoints(&["a:1", "b:1"]);
        let mut route = Route::new(&conductors);
        assert!(route.redirect(&endpoints(&["x:1", "y:1"])));
        assert_eq!(follow(&mut route, 4), ["x:1", "y:1", "a:1", "b:1"]);
    }

    #[test]
    fn redirects_in_a_row_are_bounded() {
        let conductors = endpoints(&["a:1"]);
        let mut route = Route::new(&conductors);
        for _ in 0..HOPS {
            assert!(route.redirect(&endpoints(&["x:1"])));
        }
        assert!(!route.redirect(&endpoints(&["x:1"])));
        assert_eq!(route.present().to_string(), "a:1");
        assert!(route.redirect(&endpoints(&["x:1"])));
        route.arrived();
        for _ in 0..HOPS {
            assert!(route.redirect(&endpoints(&["x:1"])));
        }
        assert!(!route.redirect(&[]));
    }
}
