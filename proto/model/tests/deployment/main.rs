//! Deployments: what is checked, which cells follow, who would wait for whom.

#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod built;
mod examples;
mod properties;
