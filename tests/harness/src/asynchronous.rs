//! Waiting for a condition in a task of tokio.

use crate::wait::{LOOK, PATIENCE};

/// Waits for what will come. Fails after [`PATIENCE`], naming what was waited for.
///
/// # Panics
///
/// When the time is over.
#[expect(clippy::panic, reason = "a test fails by it")]
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for: {what}"),
    }
}

/// Waits until `look` finds something. Fails after [`PATIENCE`], naming what was waited for.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    soon(what, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    })
    .await
}
