//! Why a message is not what it claims to be.

use std::{error::Error, fmt};

/// A message that decodes as protobuf but does not make sense, or does not decode at all.
#[derive(Debug, thiserror::Error)]
pub struct Invalid {
    /// The message and field, as `.proto` names them: `Order.key`.
    field: &'static str,
    /// What is wrong with it.
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Invalid {
    /// The field is missing, or outside its bounds.
    pub fn field(field: &'static str) -> Self {
        Self { field, cause: None }
    }
}

/// Adds the field to whatever error its content made.
pub(crate) trait InField<T> {
    fn in_field(self, field: &'static str) -> Result<T, Invalid>;
}

impl<T, E: Error + Send + Sync + 'static> InField<T> for Result<T, E> {
    fn in_field(self, field: &'static str) -> Result<T, Invalid> {
        self.map_err(|cause| Invalid { field, cause: Some(Box::new(cause)) })
    }
}

impl<T> InField<T> for Option<T> {
    fn in_field(self, field: &'static str) -> Result<T, Invalid> {
        self.ok_or(Invalid { field, cause: None })
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Some(_) => write!(f, "{} is not valid", self.field),
            None => write!(f, "{} is missing or out of bounds", self.field),
        }
    }
}
