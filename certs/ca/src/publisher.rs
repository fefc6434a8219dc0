//! Keys of publishers. No CA signs them: places on hosts name each by its public key.

use std::path::{Path, PathBuf};

use orchestra_certs::Publisher;
use orchestra_model::{AudienceName, bundle::PublisherKey};
use rcgen::{KeyPair, PKCS_ED25519};

use crate::{
    error::CaError,
    place::{self, Access},
};

/// A publisher's new key, and where it lies.
#[derive(Debug)]
pub struct NewPublisher {
    /// The private key: mode 0600, for who publishes.
    pub private: PathBuf,
    /// The public key as text, for the files of places.
    pub public: PathBuf,
    /// What [`NewPublisher::public`] holds.
    pub key: PublisherKey,
}

/// Makes the key of a publisher: `directory/publisher/NAME.key` and `NAME.pub`. Nothing that is there
/// is replaced, because hosts believe the key that they know.
pub fn new_publisher(directory: &Path, name: &AudienceName) -> Result<NewPublisher, CaError> {
    let directory = directory.join("publisher");
    place::private_directory(&directory)?;
    let private = directory.join(format!("{name}.key"));
    let public = directory.join(format!("{name}.pub"));
    place::refuse_existing(&private)?;
    place::refuse_existing(&public)?;
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(CaError::Make)?;
    place::write(&private, &pair.serialize_pem(), Access::Private, false)?;
    // Read back, so that what is told is what signs.
    let key = Publisher::load(&private).map_err(|why| CaError::Publisher(Box::new(why)))?.key();
    place::write(&public, &format!("{key}\n"), Access::Public, false)?;
    place::sync_directory(&directory)?;
    Ok(NewPublisher { private, public, key })
}
